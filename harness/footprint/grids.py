"""Which grid a user means: an edition on record, a country, a US state, a cloud region, a number, or an hourly CSV."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from harness.errors import UserInputError
from harness.footprint.cloud_regions import CloudRegion, cloud_region
from harness.footprint.defaults import DEFAULTS
from harness.footprint.factors import Factor, as_number, editions, factor, given, nearest, spanning
from harness.footprint.hourly import is_hourly, read_hourly

GIVEN_UNIT = "g CO2e/kWh"
Grids = Sequence[tuple[tuple[str, ...], Factor]]
_PER_KWH = re.compile(r"\s*g(\s*CO2(e|-eq)?)?\s*/\s*kWh$", re.IGNORECASE)


def find_grid(text: str, installed: Grids = (), when: tuple[datetime, datetime] | None = None) -> Factor:
    """The grid that a text names.

    An edition on record is exact ("france-2023"). A name without a year ("France", "FRA", "us-oregon", "gcp-us-west1")
    is looked up in CodeCarbon's tables where they are installed, else among the editions on record, the newest first;
    "world" is the edition that also stands in where no grid is named. "FR" is France, as ISO 3166 has it.

    Args:
        text: As the user typed it: a name, a number in g/kWh, or a CSV file.
        installed: CodeCarbon's grids with their names (codecarbon_tables).
        when: Start and end of the run; an hourly CSV needs it.

    Raises:
        UserInputError: No such grid (the nearest are offered), a name of two, a cloud region of which nothing is on
            record (its country is offered), a number that no intensity can be, or a CSV that cannot be used.
    """
    text = text.strip()
    if is_hourly(text):
        if when is None:
            raise UserInputError(
                f"{text} tells the intensity by the hour, which needs to know when.",
                "Use it with a run: harness explain RUN --grid FILE.csv",
            )
        return read_hourly(Path(text)).during(*when)
    value = as_number(_PER_KWH.sub("", text))
    if value is not None:
        return given("grid", value, GIVEN_UNIT)
    wanted = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    known = editions("grid")
    exact = next((each for each in known if each.edition == wanted), None)
    if exact is not None:
        return exact
    wanted = _three_letters().get(wanted, wanted)
    found = [each for names, each in installed if wanted in names or wanted == each.edition]
    if len(found) > 1:
        raise UserInputError(
            f"The grid {text!r} could be {' or '.join(f'{each.region}' for each in found)}.",
            f"Say which: {', '.join(_longest(installed, each) for each in found)}.",
        )
    if found:
        return found[0]
    by_place = [each for each in known if wanted in _shipped_names(each)]
    if by_place:
        unnamed = next((each for each in by_place if each.edition == DEFAULTS["grid"]), None)
        return unnamed or max(by_place, key=lambda each: each.year or "")
    elsewhere = cloud_region(wanted)
    if elsewhere is not None:
        raise _no_region(elsewhere, installed)
    offered = [each.edition for each in known] + [name for names, _ in installed for name in names]
    raise UserInputError(
        f"There is no grid named {text!r}; the nearest are {nearest(wanted, offered)}.",
        "A country, a US state (us-oregon), a cloud region (gcp-us-west1), a number in g/kWh, or an edition of: "
        "harness list factors --about grid",
    )


def _no_region(region: CloudRegion, installed: Grids) -> UserInputError:
    """That no intensity of a cloud region is on record, and which grids of its place are."""
    known = editions("grid")
    names = {name for each in known for name in _shipped_names(each)} | {name for each, _ in installed for name in each}
    places = [place for place in region.places if place in names]
    places += [each.edition for each in known if each.edition.startswith(f"{region.provider}-{region.region}-")]
    country = f"grid of its country ({region.places[-1].upper()})"
    return UserInputError(
        f"No current intensity of {region.owner}'s region {region.region} is on record: CodeCarbon dropped Amazon's "
        "and Microsoft's in 2.2.2.",
        f"Take the grid of its place: --grid {' or '.join(places)}."
        if places
        else f"The {country} comes with the codecarbon extra; or give a number in g/kWh.",
    )


@functools.cache
def default_grid() -> Factor:
    """What stands in where nobody named a grid: the world's average, with the range of all on record in CO2e."""
    return spanning(factor("grid", DEFAULTS["grid"]))


def unnamed_grid(grid: Factor) -> str | None:
    """What to say where the default grid stands in for one that nobody named; None where one was."""
    if grid != default_grid():
        return None
    return (
        f"No grid was named: {grid.edition} stands in, and its range is that of all grids on record in CO2e, "
        f"{grid.range_text} {grid.unit}. Name yours: --grid france, us-oregon."
    )


def _shipped_names(each: Factor) -> set[str]:
    """What an edition on record goes by without its year: "france", "fra"; "oregon", "us-oregon"; "us-west1".

    Only plain averages have such names: usa-2023 is "usa", usa-epa-2023 is not.
    """
    found = re.fullmatch(r"(.+)-(?:19|20)\d\d", each.edition)
    if found is None:
        return set()
    names = {found[1], found[1].removeprefix("gcp-")}
    if (each.region or "").lower() == f"{found[1]}, usa":
        names.add(f"us-{found[1]}")
    code = country_code(each)
    if code is not None:
        names |= {code, (each.region or "").lower().replace(" ", "-")}
    return names


def country_code(grid: Factor) -> str | None:
    """Three letters (ISO 3166-1) of the country whose average a grid is, as the tables it is from have them."""
    found = re.fullmatch(r"grid-(?:codecarbon(?:231)?|ecologits)-([a-z]{3})(?:-\d{4})?", grid.id)
    return found[1] if found else None


@functools.cache
def _three_letters() -> dict[str, str]:
    """Codes of countries, ISO 3166-1: of two letters to three, by which the tables have them."""
    text = files("harness").joinpath("data", "countries.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["alpha2"]: row["alpha3"] for row in rows}


def _longest(installed: Grids, wanted: Factor) -> str:
    """The name that means only this one: that of a state or cloud region with its prefix, or the country's code."""
    return next(names[0] for names, each in installed if each is wanted)
