"""What is wrong across rows and files of CodeCarbon: runs twice, mixed times, factors that do not fit the region."""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

import numpy as np

from harness.footprint.factors import factor
from harness.importers.codecarbon_table import Problem, Table, without_refused
from harness.units import G_PER_KG

FACTOR_TOLERANCE = 0.005  # relative; a region's rows of one version agree to rounding
SUM_TOLERANCE = 1e-6

# Regions whose factor CodeCarbon takes from a table that is in harness/data/factors.csv: (country, region) -> edition.
KNOWN_REGIONS = {("USA", "oregon"): "oregon-2016"}

_TIME = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})([T ])(\d{1,2}):(\d\d):(\d\d)")


def checked(table: Table) -> Table:
    """The table after all checks across rows; rows of files that they refuse are gone."""
    table = without_refused(table, _time_problems(table))
    table = without_refused(table, _duplicate_problems(table))
    table = _latest_of_cumulative(table)
    told = [*_version_problems(table), *_factor_problems(table), *_sum_problems(table), *_pue_problems(table)]
    return without_refused(table, told)


def _version_problems(table: Table) -> list[Problem]:
    """Versions whose columns are these but whose accounting is not known here, each once."""
    found = {}
    for row, version in enumerate(table.text["codecarbon_version"]):
        if version in found or _is_known(str(version)):
            continue
        message = f"CodeCarbon {version} is none of 2.3 to 3.x: how it models memory and CPU is not known here"
        found[version] = Problem("version-unknown", *table.where(row), message, False)
    return list(found.values())


def _is_known(version: str) -> bool:
    numbers = re.match(r"([0-9]{1,9})\.([0-9]{1,9})", version)
    return numbers is not None and (2, 3) <= (int(numbers[1]), int(numbers[2])) < (4, 0)


def _pue_problems(table: Table) -> list[Problem]:
    """A PUE other than 1, which CodeCarbon 3 puts into its energies: once per value."""
    if "pue" not in table.number:
        return []
    found: dict[float, Problem] = {}
    for row in np.flatnonzero(~np.isnan(table.number["pue"]) & (table.number["pue"] != 1)):
        value = float(table.number["pue"][row])
        count = int(np.sum(table.number["pue"] == value))
        message = (
            f"{count} row{'s' if count > 1 else ''} with a PUE of {value:g}, which CodeCarbon 3 puts into its energies"
        )
        found.setdefault(value, Problem("pue", *table.where(int(row)), message, False))
    return list(found.values())


@functools.lru_cache(maxsize=1 << 15)  # every row's is asked for twice, by the checks and for its record
def parse_time(text: str) -> tuple[datetime, str] | None:
    """A CodeCarbon timestamp, local time of the machine without a zone, and what stands between date and time.

    None where it cannot be read surely: with slashes, day and month cannot be told apart.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, mark, hour, minute, second = found.groups()
    try:
        return datetime(int(year), int(month), int(day), int(hour), int(minute), int(second)), mark
    except ValueError:
        return None


def _time_problems(table: Table) -> list[Problem]:
    """Times that cannot be read refuse their file; a second format among the files is told once, with counts."""
    formats: Counter[str] = Counter()
    first: dict[str, int] = {}
    found = []
    for row, text in enumerate(table.text["timestamp"]):
        parsed = parse_time(text)
        if parsed is None:
            ambiguous = " (written with slashes, day and month cannot always be told apart)" if "/" in text else ""
            found.append(Problem("malformed", *table.where(row), f"timestamp {text!r} cannot be read{ambiguous}", True))
            continue
        formats[parsed[1]] += 1
        first.setdefault(parsed[1], row)
    if len(formats) > 1:
        (usual, most), (other, fewer) = formats.most_common()
        as_usual, as_other = (table.text["timestamp"][first[mark]] for mark in (usual, other))
        message = f"times are written in two formats: {most} like {as_usual}, {fewer} like {as_other}"
        found.append(Problem("mixed-timestamps", *table.where(first[other]), message, False))
    return found


def _duplicate_problems(table: Table) -> list[Problem]:
    """A run in two files, or twice in one without being cumulative, refuses the later file."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, run_id in enumerate(table.text["run_id"]):
        rows_of[run_id].append(row)
    found = []
    again: dict[int, list[tuple[int, int]]] = {}
    for run_id, rows in rows_of.items():
        home = table.file[rows[0]]
        elsewhere = [row for row in rows if table.file[row] != home]
        for row in elsewhere:
            again.setdefault(int(table.file[row]), []).append((row, rows[0]))
        here = [row for row in rows if table.file[row] == home]
        names = [table.text["task_name"][row] for row in here]
        if len(set(names)) == len(names):
            continue
        file, line = table.where(here[1])
        cumulative = table.files[int(home)].form == "runs" and _rises(table, here)
        if cumulative:
            message = f"run_id {run_id} has {len(here)} rows, each holding the ones before; the last is taken"
        else:
            message = f"run_id {run_id} has several rows{'' if names[0] is None else ' of one task'} that do not add up"
        found.append(Problem("duplicate-run", file, line, message, not cumulative))
    for pairs in again.values():
        row, first = pairs[0]
        more = f" and {len(pairs) - 1} more rows are" if len(pairs) > 1 else " is"
        message = f"run_id {table.text['run_id'][row]}{more} already in other files, e.g. {table.where(first)[0]}"
        found.append(Problem("duplicate-run", *table.where(row), f"{message}; taking both would count twice", True))
    return found


def _rises(table: Table, rows: list[int]) -> bool:
    return all(bool(np.all(np.diff(table.number[name][rows]) >= 0)) for name in ("duration", "energy_consumed"))


def _latest_of_cumulative(table: Table) -> Table:
    """Of several rows of one run in the form without tasks, the last: CodeCarbon's flush() writes running totals."""
    last: dict[tuple[int, str, str | None], int] = {}
    for row, (file, run_id, name) in enumerate(
        zip(table.file.tolist(), table.text["run_id"], table.text["task_name"], strict=True)
    ):
        last[(file, run_id, name)] = row
    keep = np.zeros(len(table.file), dtype=bool)
    keep[sorted(last.values())] = True
    return table if keep.all() else table.only(keep)


def intensities(table: Table) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Recorded emissions over recorded energy of each row, g CO2e/kWh; NaN where no energy was recorded."""
    energy = table.number["energy_consumed"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # 1e-320 kWh: infinite, and no region's
        return np.where(energy > 0, table.number["emissions"] * G_PER_KG / energy, np.nan)


def _factor_problems(table: Table) -> list[Problem]:
    """Rows whose emissions do not fit their region, and rows that place one machine in another region than most."""
    found = []
    ratio = intensities(table)
    places = [
        (country, region, cloud, version)
        for country, region, cloud, version in zip(
            *(table.text[name] for name in ("country_iso_code", "region", "cloud_region", "codecarbon_version")),
            strict=True,
        )
    ]
    rows_of: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row, place in enumerate(places):
        rows_of[place].append(row)
    for place, rows in rows_of.items():
        edition = KNOWN_REGIONS.get((str(place[0]), str(place[1])))
        known = factor("grid", edition).value if edition and not place[2] else None
        expected = known if known is not None else _agreed(ratio[rows])
        where = place[1] or place[0]
        if known is not None:
            said = f"{where} has {known:.2f}, CodeCarbon's factor ({edition})"
        elif expected is not None:
            said = f"most rows of {where} have {expected:.2f}"
        else:
            said = f"rows of {where} agree on none: {np.nanmin(ratio[rows]):.2f} to {np.nanmax(ratio[rows]):.2f}"
        for row in rows:
            alone = expected is None and not np.isnan(ratio[row]) and len(rows) > 1
            if alone or (expected is not None and abs(ratio[row] - expected) > FACTOR_TOLERANCE * expected):
                message = f"emissions are {ratio[row]:.2f} g/kWh; {said}"
                found.append(Problem("factor-disagrees", *table.where(row), message, False))
    found += _moved(table)
    return found


def _agreed(ratios: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
    """What more than half of the rows have; None where there is no such factor."""
    known = ratios[~np.isnan(ratios)]
    if len(known) == 0:
        return None
    middle = float(np.median(known))
    close = np.abs(known - middle) <= FACTOR_TOLERANCE * middle
    return middle if 2 * close.sum() > len(known) else None


def _moved(table: Table) -> list[Problem]:
    """One kind of machine (CPU, GPUs, memory, system) in several regions: places are guessed from the network."""
    regions: dict[tuple[object, ...], Counter[tuple[str | None, str | None]]] = defaultdict(Counter)
    machines = [
        (*key, memory)
        for *key, memory in zip(
            table.text["cpu_model"],
            table.text["gpu_model"],
            table.text["os"],
            table.number["ram_total_size"],
            strict=True,
        )
    ]
    places = list(zip(table.text["country_iso_code"], table.text["region"], strict=True))
    for machine, place in zip(machines, places, strict=True):
        regions[machine][place] += 1
    found = []
    for row, (machine, place) in enumerate(zip(machines, places, strict=True)):
        seen = regions[machine]
        usual, count = seen.most_common(1)[0]
        if place != usual:
            file, line = table.where(row)
            message = (
                f"is placed in {place[1] or place[0]}, but {count} rows of such a machine in {usual[1] or usual[0]}; "
                "its emissions rest on another grid, its energy does not"
            )
            found.append(Problem("region-differs", file, line, message, False))
    return found


def _sum_problems(table: Table) -> list[Problem]:
    """Rows whose total is not the sum of CPU, GPU and memory."""
    parts = table.number["cpu_energy"] + table.number["gpu_energy"] + table.number["ram_energy"]
    total = table.number["energy_consumed"]
    found = []
    for row in np.flatnonzero(np.abs(parts - total) > SUM_TOLERANCE * np.maximum(total, parts)):
        file, line = table.where(int(row))
        message = f"energy_consumed is {total[row]:.9g} kWh, but its parts sum to {parts[row]:.9g}"
        found.append(Problem("parts-differ", file, line, message, False))
    return found
