"""CodeCarbon's own tables of grid intensities, read as files where the extra is installed; the package is not imported.

Countries: data/private_infra/global_energy_mix.json (g CO2e/kWh, Our World in Data/Ember, each with its year).
States of the USA: data/private_infra/<year>/usa_emissions.json (lb/MWh; CO2e from 3.3.2 on, CO2 before).
Cloud regions: data/cloud/impact.csv (g/kWh, as Google publishes them; Amazon's and Microsoft's were dropped in 2.2.2).
"""

from __future__ import annotations

import csv
import functools
import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.errors import UserInputError
from harness.footprint.factors import Factor
from harness.units import G_PER_LB

PACKAGE = "codecarbon"
_URL = "https://github.com/mlco2/codecarbon"
_KWH_PER_MWH = 1000


@functools.cache
def installed_grids() -> tuple[tuple[tuple[str, ...], Factor], ...]:
    """Grids of the installed CodeCarbon, each with the names it goes by; empty where the extra is not installed.

    Raises:
        UserInputError: It is installed, but a table cannot be read.
    """
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return ()
    return read_grids(Path(str(package.locate_file(PACKAGE))) / "data", package.version)


def read_grids(folder: Path, version: str) -> tuple[tuple[tuple[str, ...], Factor], ...]:
    """Grids of a folder with CodeCarbon's data files; a table that is not there adds none.

    Raises:
        UserInputError: A table cannot be read.
    """
    try:
        return (*_countries(folder, version), *_states(folder, version), *_clouds(folder, version))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserInputError(
            f"The tables of CodeCarbon {version} in {folder} cannot be read: {error!r}.",
            "Name a grid of `harness list factors --about grid`, or a number.",
        ) from error


def _countries(folder: Path, version: str) -> Iterator[tuple[tuple[str, ...], Factor]]:
    for path in folder.glob("private_infra/global_energy_mix.json"):
        for code, row in _json(path).items():
            if row.get("carbon_intensity") is not None:
                names = (_slug(code), _slug(row["country_name"]))
                yield (
                    names,
                    _factor(
                        names[0],
                        float(row["carbon_intensity"]),
                        "g CO2e/kWh",
                        row["country_name"],
                        str(row["year"]),
                        "average of generation, location-based",
                        f"CodeCarbon {version} as installed, {path.name} (Our World in Data/Ember)",
                    ),
                )


def _states(folder: Path, version: str) -> Iterator[tuple[tuple[str, ...], Factor]]:
    for path in sorted(folder.glob("private_infra/[0-9]*/usa_emissions.json"))[-1:]:
        table = _json(path)
        source = table.get("_source", {})
        gas = "CO2e" if "CO2 equivalent" in source.get("name", "") else "CO2"
        year = str(source.get("year", path.parent.name))
        for name, row in table.items():
            if name.startswith("_") or name == "usa":
                continue
            yield (
                (f"us-{_slug(name)}", _slug(name), f"us-{_slug(row['regionCode'])}"),
                _factor(
                    f"us-{_slug(name)}",
                    float(row["emissions"]) * G_PER_LB / _KWH_PER_MWH,
                    f"g {gas}/kWh",
                    f"{name.title()}, USA",
                    year,
                    f"average of generation in the state, location-based{'' if gas == 'CO2e' else ', CO2 only'}",
                    f"CodeCarbon {version} as installed, {path.parent.name}/{path.name}: "
                    f"{row['emissions']} lb/MWh ({source.get('name', 'EPA eGRID')})",
                ),
            )


def _clouds(folder: Path, version: str) -> Iterator[tuple[tuple[str, ...], Factor]]:
    for path in folder.glob("cloud/impact.csv"):
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                name = f"{_slug(row['provider'])}-{_slug(row['region'])}"
                yield (
                    (name, _slug(row["region"])),
                    _factor(
                        name,
                        float(row["impact"]),
                        "g CO2/kWh",
                        ", ".join(part for part in (row["city"], row["country_name"]) if part),
                        None,
                        "cloud region's grid, location-based, CO2 only",
                        f"CodeCarbon {version} as installed, cloud/{path.name} ({row['source']})",
                    ),
                )


def _factor(edition: str, value: float, unit: str, region: str, year: str | None, scope: str, source: str) -> Factor:
    named = f"codecarbon-{edition}" + (f"-{year}" if year else "")
    return Factor(
        id=f"grid-{named}",
        kind="grid",
        edition=named,
        value=value,
        unit=unit,
        region=region,
        year=year,
        scope=scope,
        source=source,
        url=_URL,
        verified="primary",
    )


def _json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is no table")
    return content


def _slug(name: str) -> str:
    """A name as grids are named: small letters and digits, parted by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
