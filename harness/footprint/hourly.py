"""A grid's intensity over time from a user's CSV (timestamp, g/kWh), and its mean over the time of a run.

A row holds from its timestamp for as long as most rows are apart, an hour as a rule.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.errors import UserInputError
from harness.footprint.factors import Factor

_YEARS = (1900, 9000)  # others are no times of a run, and break arithmetic on dates
_HINT = "Two columns with a header: timestamp (ISO 8601, UTC unless it says otherwise), g/kWh; a row per hour."


@dataclass(frozen=True)
class Hourly:
    """Rows in order of time; each holds for `step` from its start. Starts are in UTC, intensities in g CO2e/kWh."""

    path: Path
    starts: tuple[datetime, ...]
    intensities: tuple[float, ...]
    step: timedelta

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
                + (", with gaps." if self._gaps() else "."),
            )
        values = [value for _, value, _ in met]
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
            note="Mean over the run's time from its start to its end; the range is that of the rows, none of one.",
        )

    def _gaps(self) -> bool:
        return any(later - earlier > self.step for earlier, later in itertools.pairwise(self.starts))


def is_hourly(text: str) -> bool:
    """Whether a user's grid is a file of intensities, not a name."""
    return text.lower().endswith(".csv")


def read_hourly(path: Path) -> Hourly:
    """Read the file.

    Raises:
        UserInputError: It cannot be read, a row is no time and intensity, or two rows' hours overlap.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return parse_hourly(path, list(csv.reader(file)))
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
    read = sorted((_row(path, number, row) for number, row in filled[1:]), key=lambda each: each[0])
    starts = tuple(start for start, _, _ in read)
    steps = Counter(later - earlier for earlier, later in itertools.pairwise(starts))
    hour = timedelta(hours=1)
    step = max(steps, key=lambda each: (steps[each], each == hour, -each.total_seconds())) if steps else hour
    for (start, _, line), (later, _, line_later) in itertools.pairwise(read):
        if later - start < step or later == start:
            raise UserInputError(
                f"{path} has overlapping hours: the row of line {line_later} starts at {_text(later)}, when that of "
                f"line {line} ({_text(start)}) still holds.",
                "Give every hour once, in UTC: local time has one hour twice when clocks go back.",
            )
    return Hourly(path, starts, tuple(value for _, value, _ in read), step)


def _row(path: Path, line: int, row: list[str]) -> tuple[datetime, float, int]:
    start = _time(row[0]) if row else None
    if start is None or len(row) < 2:
        shown = ",".join(row)[:40]
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
    return start, value, line


def _time(cell: str) -> datetime | None:
    """A moment in UTC; one without an offset is taken as UTC. None where the cell is no date with a time."""
    try:
        found = datetime.fromisoformat(cell.strip())
    except ValueError:
        return None
    if not _YEARS[0] < found.year < _YEARS[1]:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
