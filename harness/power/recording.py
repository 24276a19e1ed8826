"""Recordings in CSV files: read with every doubt said aloud, and thinned to the moments when a reading changed.

Nothing is converted, sorted or filled in silently: a file that is not what it claims is refused with what to do.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.errors import UserInputError
from harness.reading import MOST_TABLE_BYTES, read_limited_text
from harness.stats import FloatArray

TIME_COLUMN = "time_s"
TRUTH_COLUMN = "watts"

# A step between two rows is a gap when it is longer than this many median steps and longer than what the recording
# may lose: half a second of readings (five of the commonest sensor's periods), 20 ms of truth (one of the fastest's).
GAP_STEPS = 3.0
REPORTED_GAP_S = 0.5
TRUTH_GAP_S = 0.02
COARSEST_TRUTH_S = 0.05

# No GPU board draws 5 kW (a B300 module: 1.4 kW); none is polled only every 5 s; seconds since 1970 are about 2e9.
MOST_WATTS, LEAST_WATTS, SLOWEST_STEP_S, LATEST_S = 5000.0, 1.5, 5.0, 1e11

_UNITS = {
    "mw": ("milliwatts", "watts", "divide by 1000"),
    "milliwatts": ("milliwatts", "watts", "divide by 1000"),
    "uw": ("microwatts", "watts", "divide by 1,000,000"),
    "kw": ("kilowatts", "watts", "multiply by 1000"),
    "kilowatts": ("kilowatts", "watts", "multiply by 1000"),
    "ms": ("milliseconds", "seconds", "divide by 1000"),
    "us": ("microseconds", "seconds", "divide by 1,000,000"),
    "ns": ("nanoseconds", "seconds", "divide by 1,000,000,000"),
    "min": ("minutes", "seconds", "multiply by 60"),
}


def read_recording(path: Path, column: str, min_gap_s: float | None = REPORTED_GAP_S) -> tuple[FloatArray, FloatArray]:
    """Times and one column of watts from a CSV file with a header and a column `time_s`.

    Args:
        column: Its name in the header.
        min_gap_s: A step between rows longer than this, and than GAP_STEPS median steps, is refused; None: none is.

    Returns:
        Times in seconds, strictly rising, and watts; both of shape (n,), n >= 2.

    Raises:
        UserInputError: The file or a column is missing, it has fewer than two rows, a cell is not a finite number,
            times fall or repeat, the unit is not watts or seconds, or samples are missing.
    """
    if column == TIME_COLUMN:
        raise UserInputError(f"'{TIME_COLUMN}' is the time, not power.", "Name the column that holds the watts.")
    header, rows = _table(path)
    # Units first: a file with `time_ms` has no `time_s`, and the better sentence names the unit.
    time_index, column_index = _index(path, header, TIME_COLUMN), _index(path, header, column)
    if len(rows) < 2:
        had = "only one row" if rows else "no rows below its header"
        raise UserInputError(f"{path} holds {had}.", "A recording needs at least two rows.")
    t_s = np.array([_number(path, line, cells, time_index, TIME_COLUMN) for line, cells in rows])
    watts = np.array([_number(path, line, cells, column_index, column) for line, cells in rows])
    _check_order(path, t_s, [line for line, _ in rows])
    _check_magnitudes(path, t_s, watts, column)
    if min_gap_s is not None:
        for start_s, length_s in gaps(t_s, min_gap_s)[:1]:
            raise UserInputError(
                f"{path} has no samples from {start_s:.3f} to {start_s + length_s:.3f} s, a gap of {length_s:.3f} s "
                f"(the median step is {np.median(np.diff(t_s)):.4g} s).",
                "Cut the file at the gap and use one part, or record again.",
            )
    return t_s, watts


def read_truth(path: Path) -> tuple[FloatArray, FloatArray]:
    """Times and true power from a meter's file: columns `time_s` and `watts`. As read_recording, gaps from 20 ms.

    Raises:
        UserInputError: Also for a meter that is too slow for a power sensor, or whose times are not seconds.
    """
    t_s, watts = read_recording(path, TRUTH_COLUMN, TRUTH_GAP_S)
    step_s = float(np.median(np.diff(t_s)))
    if step_s > COARSEST_TRUTH_S:
        raise UserInputError(
            f"{path}: the truth has a sample every {step_s:.3g} s, too seldom to show what a power sensor does; "
            f"or '{TIME_COLUMN}' is not in seconds.",
            f"Record the meter every {COARSEST_TRUTH_S:g} s or faster (milliseconds: divide by 1000).",
        )
    return t_s, watts


def read_times(path: Path) -> FloatArray:
    """The column `time_s` of a CSV file, seconds, shape (n,), strictly rising.

    Raises:
        UserInputError: As read_recording.
    """
    header, rows = _table(path)
    index = _index(path, header, TIME_COLUMN)
    if not rows:
        raise UserInputError(f"{path} holds no rows below its header.", "Give at least one time.")
    t_s = np.array([_number(path, line, cells, index, TIME_COLUMN) for line, cells in rows])
    _check_order(path, t_s, [line for line, _ in rows])
    return t_s


def gaps(t_s: FloatArray, min_gap_s: float) -> list[tuple[float, float]]:
    """(start, length) in seconds of every step longer than GAP_STEPS median steps and than `min_gap_s`."""
    steps_s = np.diff(t_s)
    if len(steps_s) == 0:
        return []
    long = steps_s > max(GAP_STEPS * float(np.median(steps_s)), min_gap_s)
    return [(float(start_s), float(length_s)) for start_s, length_s in zip(t_s[:-1][long], steps_s[long], strict=True)]


def changes(t_s: FloatArray, values: FloatArray, period_s: float | None = None) -> tuple[FloatArray, FloatArray]:
    """When a polled column changed: repeats of one reading count once.

    Args:
        t_s: Poll times, seconds, rising, shape (n,).
        values: What was read, shape (n,).
        period_s: The sensor's update period. Two equal successive readings look like one that lasted twice as long;
            with the period given, a stretch that lasted about k periods counts as k equal readings.

    Returns:
        The first poll that showed each reading, and the reading; shape (m,), m <= n without a period. The first entry
        is the first poll: when that reading was published is not known. Publication precedes the poll that shows it
        by up to one polling step.
    """
    if len(t_s) == 0:
        return t_s, values
    first = np.append(True, values[1:] != values[:-1])
    t_change_s, readings = t_s[first], values[first]
    if period_s is None:
        return t_change_s, readings
    lasted_s = np.diff(np.append(t_change_s, t_s[-1]))
    counts = np.maximum(1, np.round(lasted_s / period_s)).astype(np.int64)
    counts[-1] = max(1, math.floor(lasted_s[-1] / period_s) + 1)  # the last stretch was cut off, not ended
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    step_s = lasted_s / counts
    step_s[-1] = period_s
    return np.repeat(t_change_s, counts) + place * np.repeat(step_s, counts), np.repeat(readings, counts)


# --- reading --------------------------------------------------------------------------------------------


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and every row that is not blank with its line number."""
    try:
        reader = csv.reader(io.StringIO(read_limited_text(path, MOST_TABLE_BYTES, "utf-8-sig", pipes=True), newline=""))
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [each.name for each in path.parent.glob("*.csv")], n=1)
        hint = f"Did you mean {path.parent / near[0]}?" if near else "Give the path of a CSV file."
        raise UserInputError(f"There is no file {path}.", hint) from None
    except OSError as error:
        raise UserInputError(f"Cannot read {path}: {error.strerror or error}.", "Give a CSV file.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserInputError(
            f"{path} is not a CSV text file: {error}.", "Save it as UTF-8 text with commas."
        ) from error
    filled = [(number, cells) for number, cells in lines if any(cells)]
    if not filled:
        raise UserInputError(f"{path} is empty.", "A recording has a header and at least two rows.")
    (_, header), rows = filled[0], filled[1:]
    if len(header) == 1 and re.search(r"[;\t|]", header[0]):
        raise UserInputError(f"{path} does not separate its columns by commas.", "Save it with commas.")
    if all(_is_number(cell) for cell in header):
        raise UserInputError(
            f"{path} has no header: its first line holds numbers.", f"Name the columns: {TIME_COLUMN}, ..."
        )
    return header, rows


def _index(path: Path, header: Sequence[str], column: str) -> int:
    """Where a column stands; its unit must be the one that the harness uses."""
    if column in header:
        if list(header).count(column) > 1:
            raise UserInputError(f"{path} has {header.count(column)} columns named '{column}'.", "Rename all but one.")
        _refuse_unit(path, column)
        return list(header).index(column)
    stem = column.rsplit("_", 1)[0] if column != TRUTH_COLUMN else "watts"
    for other in header:  # the same quantity in another unit?
        if (other.rsplit("_", 1)[0] == stem or other.lower() in ("milliwatts", "kilowatts")) and _unit(
            other
        ) is not None:
            _refuse_unit(path, other, instead_of=column)
    named = [each for each in header if each]
    near = difflib.get_close_matches(column, named, n=len(named) or 1, cutoff=0.0)
    raise UserInputError(f"{path} has no column '{column}'.", f"It has: {', '.join(near)}.")


def _unit(column: str) -> tuple[str, str, str] | None:
    last = re.split(r"[_\s\[(/]+", column.strip("])} ").lower())[-1]
    return _UNITS.get(last)


def _refuse_unit(path: Path, column: str, instead_of: str | None = None) -> None:
    unit = _unit(column)
    if unit is not None:
        given, wanted, how = unit
        missing = f" and no column '{instead_of}'" if instead_of else ""
        raise UserInputError(
            f"{path} has a column '{column}', in {given}{missing}.",
            f"Convert it to {wanted} ({how}) and name it {instead_of or 'so'}; nothing is converted silently.",
        )


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _number(path: Path, line: int, cells: Sequence[str], index: int, column: str) -> float:
    if index >= len(cells):
        raise UserInputError(f"{path}:{line}: the row ends before the column '{column}'.", "Complete or remove it.")
    cell = cells[index]
    if not _is_number(cell) or "_" in cell:
        told = f"'{cell}'" if cell else "empty"
        raise UserInputError(
            f"{path}:{line}: '{column}' is {told}, not a number.", "Remove such rows; a missing value is not zero."
        )
    return float(cell)


def _check_order(path: Path, t_s: FloatArray, lines: Sequence[int]) -> None:
    wrong = np.flatnonzero(np.diff(t_s) <= 0)
    if len(wrong) == 0:
        return
    first = int(wrong[0])
    line, before_s, at_s = lines[first + 1], t_s[first], t_s[first + 1]
    if at_s == before_s:
        raise UserInputError(
            f"{path}:{line}: the time {at_s:.6f} s is given twice.", "Keep one row per time; each needs its own."
        )
    raise UserInputError(
        f"{path}:{line}: the time falls from {before_s:.6f} to {at_s:.6f} s.", f"Sort the file by {TIME_COLUMN}."
    )


def _check_magnitudes(path: Path, t_s: FloatArray, watts: FloatArray, column: str) -> None:
    middle, step_s = float(np.median(watts)), float(np.median(np.diff(t_s)))
    if middle > MOST_WATTS:
        raise UserInputError(
            f"{path}: '{column}' has a median of {middle:.6g}, which is milliwatts, not watts.",
            "Divide the column by 1000; nothing is converted silently.",
        )
    if float(np.max(np.abs(watts))) < LEAST_WATTS:
        raise UserInputError(
            f"{path}: '{column}' never exceeds {LEAST_WATTS:g}: kilowatts, or no GPU's power in watts.",
            "Give watts; nothing is converted silently.",
        )
    if abs(float(t_s[0])) > LATEST_S or step_s > SLOWEST_STEP_S:
        told = f"starts at {t_s[0]:.6g}" if abs(float(t_s[0])) > LATEST_S else f"has a median step of {step_s:.6g}"
        raise UserInputError(
            f"{path}: '{TIME_COLUMN}' {told}, which is not seconds.",
            "Give seconds (milliseconds divided by 1000); nothing is converted silently.",
        )
