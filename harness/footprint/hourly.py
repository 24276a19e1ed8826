"""A grid's intensity over time from a user's CSV (timestamp, g/kWh), and its mean over the time of a run.

A row holds from its timestamp for as long as most rows are apart, an hour as a rule; where the next one is later, there
is a hole. The step that was found is told with the mean.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from harness.errors import UserInputError
from harness.footprint.factors import Factor, check_intensity
from harness.reading import MOST_HOURLY_BYTES, read_limited_text

_YEARS = (1900, 9000)  # others are no times of a run, and break arithmetic on dates
_HINT = "Two columns with a header: timestamp (ISO 8601, UTC unless it says otherwise), g/kWh; one row an hour or so."
_LEAST_STEP = timedelta(minutes=1)  # grids tell their intensity every five minutes at most
# A header names grams per kWh, or an intensity without any unit.
_G_PER_KWH = re.compile(
    r"(?<![^\W_])g(?:rams?)?[^a-z0-9/]*(?:of[^a-z0-9/]*)?(?:co2[^a-z0-9/]*(?:eq?)?)?[^a-z0-9]*(?:per[^a-z0-9]*)?kwh(?![a-z])"
)
_UNITLESS = frozenset(
    "average carbon ci co2 co2e co2eq direct factor grid hourly intensity lifecycle mean value".split(" ")
)


@dataclass(frozen=True)
class Hourly:
    """Rows in order of time; each holds for `step` from its start. Starts are in UTC, intensities in g CO2e/kWh."""

    path: Path
    starts: tuple[datetime, ...]
    intensities: tuple[float, ...]
    step: timedelta
    without_offset: frozenset[datetime] = frozenset()  # starts that were taken as UTC, as nothing said otherwise

    def during(self, start: datetime, end: datetime) -> Factor:
        """The mean over a time, each row by how much of the time it holds; the range is that of the rows it meets.

        Raises:
            UserInputError: The rows do not cover the time.
        """
        end = max(end, start + timedelta(microseconds=1))
        met = [
            (row, value, (min(end, row + self.step) - max(start, row)).total_seconds())
            for row, value in zip(self.starts, self.intensities, strict=True)
            if row < end and row + self.step > start
        ]
        covered_s, whole_s = math.fsum(part for _, _, part in met), (end - start).total_seconds()
        if covered_s < whole_s * (1 - 1e-9):
            raise UserInputError(
                f"{self.path} has no intensity for all of the run's time, {_text(start)} to {_text(end)}.",
                f"Its rows reach from {_text(self.starts[0])} to {_text(self.starts[-1] + self.step)}"
                + f", each holds {_step_text(self.step)} as most are apart"
                + (f", with gaps after {self._gaps()}." if self._gaps() else "."),
            )
        values = [value for _, value, _ in met]
        assumed = sum(row in self.without_offset for row, _, _ in met)
        note = "Mean over the run's time from its start to its end; the range is that of the rows, none of one."
        why = "as most rows are apart" if len(self.starts) > 1 else "one being alone"
        note += f" A row holds {_step_text(self.step)}, {why}."
        if self._gaps():
            note += f" After {self._gaps()} of them the file has a hole, which the run does not meet."
        if assumed:
            note += f" Timestamps without an offset are taken as UTC: {assumed} of {len(met)}."
        return Factor(
            id="given-grid-hourly",
            kind="grid",
            edition="hourly",
            value=min(max(values), max(min(values), math.fsum(v * part for _, v, part in met) / covered_s)),
            low=min(values) if len(values) > 1 else None,
            high=max(values) if len(values) > 1 else None,
            unit="g CO2e/kWh",
            year=f"{_text(start)} to {_text(end)}",
            scope="as the user's file states it, while the run ran",
            source=f"{self.path}, {len(met)} row{'s' if len(met) > 1 else ''} from {_text(met[0][0])}",
            verified="given",
            note=note,
        )

    def _gaps(self) -> int:
        """How many rows do not hold until the next."""
        return sum(later - earlier > self.step for earlier, later in itertools.pairwise(self.starts))


def is_hourly(text: str) -> bool:
    """Whether a user's grid is a file of intensities, not a name."""
    return text.lower().endswith(".csv")


def read_hourly(path: Path) -> Hourly:
    """Read the file.

    Raises:
        UserInputError: It cannot be read, has other than two columns or an intensity in another unit, a row is no
            time and intensity, or two rows' hours overlap.
    """
    try:
        text = read_limited_text(path, MOST_HOURLY_BYTES, "utf-8-sig", pipes=True)
        return parse_hourly(path, list(csv.reader(io.StringIO(text, newline=""))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserInputError(f"Cannot read the grid's intensities from {path}: {reason}.", _HINT) from error


def parse_hourly(path: Path, rows: list[list[str]]) -> Hourly:
    """The rows of the file, its header first.

    Raises:
        UserInputError: As `read_hourly`.
    """
    filled = [(number, row) for number, row in enumerate(rows, 1) if any(cell.strip() for cell in row)]
    if len(filled) < 2:
        raise UserInputError(f"{path} has no rows with an intensity.", _HINT)
    if any(_time(cell) is not None for cell in filled[0][1]):
        raise UserInputError(f"{path} has no header: its first line is already a row.", _HINT)
    _check_header(path, filled[0][1])
    unsorted = [_row(path, number, row) for number, row in filled[1:]]
    naive = frozenset(each[0] for each, (_, row) in zip(unsorted, filled[1:], strict=True) if _lacks_offset(row[0]))
    read = sorted(unsorted, key=lambda each: each[0])
    starts = tuple(start for start, _, _ in read)
    steps = Counter(later - earlier for earlier, later in itertools.pairwise(starts))
    hour = timedelta(hours=1)
    step = max(steps, key=lambda each: (steps[each], each == hour, -each.total_seconds())) if steps else hour
    for (start, _, line), (later, _, line_later) in itertools.pairwise(read):
        if later - start < step or later == start:
            raise UserInputError(
                f"{path} has overlapping hours: the row of line {line_later} starts at {_text(later)}, when that of "
                f"line {line} ({_text(start)}) still holds.",
                f"A row is taken to hold {_step_text(step)}, as most are apart. Give each time once, in UTC: local "
                "time has one hour twice when clocks go back.",
            )
    if step < _LEAST_STEP:
        raise UserInputError(
            f"{path} has its rows {step.total_seconds():g} s apart, and no grid tells its intensity so often.", _HINT
        )
    return Hourly(path, starts, tuple(value for _, value, _ in read), step, naive)


def _check_header(path: Path, header: list[str]) -> None:
    """Refuse a header of other than two columns, or whose second names another unit than grams per kWh."""
    if len(header) != 2:
        columns = "1 column" if len(header) == 1 else f"{len(header)} columns"
        raise UserInputError(f"{path} has {columns}, and only two can be told apart.", _HINT)
    name = header[1].strip().lower().replace("₂", "2")
    words = [word for word in re.split(r"[^a-z0-9]+", name) if word]
    if _G_PER_KWH.search(name) is None and not (words and name.isascii() and _UNITLESS.issuperset(words)):
        raise UserInputError(
            f"{path} has its intensities under {header[1].strip()[:40]!r}, which is not grams per kWh.",
            "Turn them into g/kWh, and name the second column so: timestamp,g/kWh",
        )


def _row(path: Path, line: int, row: list[str]) -> tuple[datetime, float, int]:
    start, shown = _time(row[0]), ",".join(row)[:40]
    if len(row) > 2:
        raise UserInputError(f"{path}:{line}: {shown!r} has {len(row)} columns, when there are two.", _HINT)
    if _is_date(row[0]):
        raise UserInputError(f"{path}:{line}: {row[0].strip()!r} is a date without a time of day.", _HINT)
    if start is None or len(row) < 2:
        raise UserInputError(f"{path}:{line}: {shown!r} is not a timestamp and an intensity.", _HINT)
    try:
        value = float(row[1])
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise UserInputError(
            f"{path}:{line}: an intensity is a finite number of g/kWh, not below 0; here it is {row[1].strip()!r}.",
            _HINT,
        )
    try:
        check_intensity(value)
    except UserInputError as error:
        raise UserInputError(f"{path}:{line}: {error.message}", error.hint) from error
    return start, value, line


def _time(cell: str) -> datetime | None:
    """A moment in UTC; one without an offset is taken as UTC. None where the cell is no date with a time."""
    try:
        found = datetime.fromisoformat(cell.strip())
    except ValueError:
        return None
    if _is_date(cell) or not _YEARS[0] < found.year < _YEARS[1]:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _is_date(cell: str) -> bool:
    try:
        date.fromisoformat(cell.strip())
    except ValueError:
        return False
    return True


def _lacks_offset(cell: str) -> bool:
    return datetime.fromisoformat(cell.strip()).tzinfo is None


def _step_text(step: timedelta) -> str:
    """60 min is an hour: "1 h", "30 min", "90 min"."""
    minutes = step.total_seconds() / 60
    return f"{minutes / 60:g} h" if minutes % 60 == 0 else f"{minutes:g} min"


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
