"""CodeCarbon's CSV files -> one table of rows with file and line, and everything that is wrong with them.

Versions 2.3 to 3.x write a row per run (31 to 38 columns); their task form has a row per phase and starts with
`task_name`. All rows of a file are taken, or none. Energies stay in kWh here, as they are written.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import UserInputError
from harness.reading import MOST_TABLE_BYTES, read_limited
from harness.stats import FloatArray
from harness.store.duck import RejectedLine, read_csv_lines

Form = Literal["runs", "tasks"]
ObjectArray = np.ndarray[Any, Any]

TEXTS = (
    *(
        "task_name",
        "timestamp",
        "project_name",
        "run_id",
        "experiment_id",
        "country_name",
        "country_iso_code",
        "region",
    ),
    *("cloud_provider", "cloud_region", "os", "python_version", "codecarbon_version", "cpu_model", "gpu_model"),
    *("tracking_mode", "on_cloud"),
)
ENERGIES = ("cpu_energy", "gpu_energy", "ram_energy", "energy_consumed")
NUMBERS = (
    *("duration", "emissions", "emissions_rate", "cpu_power", "gpu_power", "ram_power", *ENERGIES, "water_consumed"),
    *("cpu_count", "gpu_count", "longitude", "latitude", "ram_total_size", "cpu_utilization_percent"),
    *("gpu_utilization_percent", "ram_utilization_percent", "ram_used_gb", "pue", "wue"),
)
NEEDED_NUMBERS = ("duration", "emissions", *ENERGIES)
NEEDED_TEXTS = ("timestamp", "project_name", "run_id", "codecarbon_version", "tracking_mode")
NEEDED = (*NEEDED_TEXTS, *NEEDED_NUMBERS, "gpu_count", "gpu_model", "ram_total_size")
CHOICES = {"tracking_mode": {"machine", "process"}, "on_cloud": {"Y", "N"}}
MOST = 1e15  # of any column in its own unit: kWh, s, W, kg
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Problem:
    """Something wrong in one file. `refused`: none of its rows are taken; otherwise it weakens what is taken."""

    code: str
    file: str
    line: int | None
    message: str
    refused: bool


@dataclass(frozen=True)
class SourceFile:
    """A file that was read, and what its header says. `whole`: its last line has an end."""

    path: Path
    sha256: str
    form: Form
    columns: tuple[str, ...]
    whole: bool


@dataclass(frozen=True)
class Table:
    """Rows of all accepted files, in the order of files and lines.

    `text` and `number` hold one array of shape (rows,) per known column: str or None, float64 or NaN where the cell or
    the whole column is missing. `file` indexes `files`; `line` counts from 1 with the header.
    """

    files: tuple[SourceFile, ...]
    file: np.ndarray[Any, np.dtype[np.int64]]
    line: np.ndarray[Any, np.dtype[np.int64]]
    text: dict[str, ObjectArray]
    number: dict[str, FloatArray]
    problems: tuple[Problem, ...]

    def where(self, row: int) -> tuple[str, int]:
        """File and line of a row."""
        return str(self.files[int(self.file[row])].path), int(self.line[row])

    def only(self, rows: np.ndarray[Any, np.dtype[np.bool_]], problems: Iterable[Problem] = ()) -> Table:
        """The rows where `rows` is true, with further problems."""
        return Table(
            self.files,
            self.file[rows],
            self.line[rows],
            {name: values[rows] for name, values in self.text.items()},
            {name: values[rows] for name, values in self.number.items()},
            (*self.problems, *problems),
        )


def find_files(paths: Sequence[str | Path]) -> list[Path]:
    """CSV files named directly, in folders (at any depth) or by globs; each once, sorted within what named it.

    Raises:
        UserInputError: A path does not exist, a folder has no CSV file, or a glob matches nothing.
    """
    found: dict[Path, None] = {}
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = sorted((each for each in path.rglob("*.csv") if each.is_file()), key=str)
            _refuse_outside(path, inside)
            if not inside:
                raise UserInputError(f"The folder {path} holds no CSV file.", "CodeCarbon writes emissions.csv.")
            found.update(dict.fromkeys(inside))
        elif path.is_file():
            found[path] = None
        else:
            matches = sorted(glob.glob(str(given), recursive=True)) if glob.has_magic(str(given)) else []
            if not matches:
                raise UserInputError(
                    f"There is no file or folder {given}.", "Give CSV files, folders or a 'glob*.csv'."
                )
            found.update(dict.fromkeys(find_files(matches)))
    return list(found)


def _refuse_outside(folder: Path, files: Sequence[Path]) -> None:
    """A folder of files from elsewhere, an archive's, must not have us read what lies outside it.

    Raises:
        UserInputError: It has a link that leads out of it.
    """
    home = folder.resolve()
    for file in files:
        if file.is_symlink() and not file.resolve().is_relative_to(home):
            raise UserInputError(f"{file} is a link that leads out of {folder}.", "Name the file that it leads to.")


def read_table(paths: Sequence[Path]) -> Table:
    """Read and check files: headers, types, values. What concerns several files: codecarbon_checks.

    Raises:
        StoreError: A file cannot be opened, or DuckDB fails.
    """
    problems: list[Problem] = []
    files: list[SourceFile] = []
    bodies: list[list[tuple[int, bytes]]] = []
    for path in paths:
        opened = _open(path)
        if isinstance(opened, Problem):
            problems.append(opened)
            continue
        files.append(opened[0])
        bodies.append(opened[1])
        if not opened[0].whole:
            last = opened[1][-1][0]
            problems.append(Problem("no-line-end", str(path), last, "ends without a line end; it may be cut", False))
    by_header: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, source in enumerate(files):
        by_header[source.columns].append(index)
    parts = [_read_group(columns, group, files, bodies, problems) for columns, group in by_header.items()]
    table = _joined(files, parts, problems)
    return without_refused(table, _value_problems(table))


def _open(path: Path) -> tuple[SourceFile, list[tuple[int, bytes]]] | Problem:
    """Header and numbered lines of a file; a problem where its header is not CodeCarbon's."""

    def refused(code: str, message: str) -> Problem:
        return Problem(code, str(path), None, message, True)

    try:
        content = read_limited(path, MOST_TABLE_BYTES)
        content.decode("utf-8")
    except OSError as error:
        return refused("unreadable", f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        return refused("unreadable", f"is not a text in UTF-8 (byte {error.start})")
    if not content.strip():
        return refused("empty", "is empty")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    columns, wrong = _header(lines[0])
    if wrong is not None:
        return refused(*wrong)
    body = [(number, line) for number, line in ((n, x.rstrip(b"\r")) for n, x in enumerate(lines[1:], 2)) if line]
    if not body:
        return refused("empty", "has a header and no rows")
    form: Form = "tasks" if "task_name" in columns else "runs"
    whole = content.endswith(b"\n")
    return SourceFile(path, hashlib.sha256(content).hexdigest(), form, columns, whole), body


@functools.lru_cache(maxsize=64)
def _header(line: bytes) -> tuple[tuple[str, ...], tuple[str, str] | None]:
    """Columns of a header, and the code and message of what is wrong with them."""
    columns = tuple(name.strip().strip('"') for name in line.decode().split(","))
    missing = [name for name in NEEDED if name not in columns]
    unknown = [name for name in columns if name not in TEXTS and name not in NUMBERS]
    if len(missing) > len(NEEDED) // 2:
        return columns, ("not-codecarbon", f"is not a CodeCarbon file: it has no column {missing[0]!r}")
    if missing or unknown or len(set(columns)) < len(columns):
        what = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown) or 'a column twice'}"
        return columns, ("other-columns", f"has columns of no version known here (2.3 to 3.x): it {what}")
    return columns, None


Part = tuple[list[int], list[int], dict[str, ObjectArray], dict[str, FloatArray]]


def _read_group(
    columns: tuple[str, ...],
    group: list[int],
    files: list[SourceFile],
    bodies: list[list[tuple[int, bytes]]],
    problems: list[Problem],
) -> Part:
    """All files of one header at once, by a declared schema."""
    types = {name: "DOUBLE" if name in NUMBERS else "VARCHAR" for name in columns}
    file = [index for index in group for _ in bodies[index]]
    line = [number for index in group for number, _ in bodies[index]]
    read, rejects = read_csv_lines([text for index in group for _, text in bodies[index]], types)
    for reject in rejects:
        at = reject.number - 1
        problems.append(Problem("malformed", str(files[file[at]].path), line[at], _reason(reject), True))
    lost = {reject.number - 1 for reject in rejects}
    kept = [at for at in range(len(file)) if at not in lost]
    rows = len(kept)
    text = {name: read.get(name, np.full(rows, None, dtype=object)) for name in TEXTS}
    number = {name: read.get(name, np.full(rows, np.nan)) for name in NUMBERS}
    return [file[at] for at in kept], [line[at] for at in kept], text, number


def _reason(reject: RejectedLine) -> str:
    if reject.reason == "cast":
        return f"{reject.column} is not a number"
    if reject.reason == "missing columns":
        return f"has too few fields: it ends before {reject.column}"
    return {
        "too many columns": "has too many fields",
        "stray character": "has a quote that is not closed or not at a cell's edge, or a control character",
    }.get(reject.reason, f"cannot be read ({reject.reason})")


def _joined(files: list[SourceFile], parts: list[Part], problems: list[Problem]) -> Table:
    """Groups as one table, in the order of files and lines."""
    file = np.array([index for part in parts for index in part[0]], dtype=np.int64)
    line = np.array([number for part in parts for number in part[1]], dtype=np.int64)
    order = np.lexsort((line, file))
    empty_text, empty_number = np.empty(0, dtype=object), np.empty(0)
    text = {name: np.concatenate([empty_text, *(part[2][name] for part in parts)])[order] for name in TEXTS}
    number = {name: np.concatenate([empty_number, *(part[3][name] for part in parts)])[order] for name in NUMBERS}
    return Table(tuple(files), file[order], line[order], text, number, tuple(problems))


def without_refused(table: Table, further: Sequence[Problem]) -> Table:
    """The table with further problems, and without any row of the files that a problem refuses."""
    refused = {problem.file for problem in (*table.problems, *further) if problem.refused}
    keep = np.array([str(source.path) not in refused for source in table.files], dtype=bool)
    rows = keep[table.file] if len(keep) else np.zeros(0, dtype=bool)
    return table.only(rows, further)


def _value_problems(table: Table) -> list[Problem]:
    """What is wrong within single rows; each refuses its file."""
    found: list[Problem] = []

    def tell(rows: np.ndarray[Any, np.dtype[np.bool_]], code: str, message: str) -> None:
        for row in np.flatnonzero(rows):
            file, line = table.where(int(row))
            found.append(Problem(code, file, line, message, True))

    for name in NEEDED_TEXTS:
        tell(np.array([value is None for value in table.text[name]], dtype=bool), "malformed", f"{name} is empty")
    for name in NEEDED_NUMBERS:
        values = table.number[name]
        tell(~np.isfinite(values), "malformed", f"{name} is missing or not a finite number")
        tell(values < 0, "negative-energy" if name in ENERGIES else "malformed", f"{name} is negative")
    for name in NUMBERS:
        tell(np.abs(table.number[name]) > MOST, "malformed", f"{name} is larger than anything that is measured")
    for name, allowed in CHOICES.items():
        there = np.array([name in table.files[index].columns for index in table.file], dtype=bool)
        wrong = np.array([value not in allowed for value in table.text[name]], dtype=bool)
        tell(there & wrong, "malformed", f"{name} is none of {', '.join(sorted(allowed))}")
    ids = table.text["run_id"]
    tell(
        np.array([i is not None and not RUN_ID.fullmatch(i) for i in ids], dtype=bool), "malformed", "run_id is no name"
    )
    return found


def counted(problems: Iterable[Problem]) -> dict[str, int]:
    """How often each kind of problem occurs."""
    return dict(Counter(problem.code for problem in problems))
