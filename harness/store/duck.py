"""The only file that knows DuckDB: Parquet columns, tables in memory that Parquet keeps, typed CSV lines.

One process holds a DuckDB database file, so nothing is kept in one: files are written, and queried where they lie.
A connection that reads files reaches those and nothing else, loads no extension, and has limits: 12 kB of Parquet can
stand for 20 GB.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np

from harness.errors import StoreError
from harness.reading import MOST_TRACE_BYTES, size_of_file
from harness.stats import FloatArray

MOST_ROWS = 50_000_000  # of a Parquet file: a day of eight boards, sampled every 20 ms, has 35 million
MOST_TEXT_CHARACTERS = 1 << 29  # of one column of prompts
MOST_MEMORY = "4GB"  # for a query over a file that others made
Taken = TypeVar("Taken")
# Left alone, DuckDB takes a folder named power_w=100 for a column of that name, and the file's own for overruled.
_READ = "read_parquet($file, hive_partitioning = false)"
_NO_EXTENSIONS = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}


def write_parquet(path: Path, columns: Mapping[str, FloatArray], casts: Mapping[str, str]) -> None:
    """Write columns of equal length; NaN becomes NULL.

    Args:
        path: The file to write.
        columns: Name to float64 values, shape (n,).
        casts: SQL type per column where it is not DOUBLE.
    """
    samples = dict(columns)  # noqa: F841  DuckDB finds it by its name
    fields = ", ".join(
        f'CAST(CASE WHEN isnan("{name}") THEN NULL ELSE "{name}" END AS {casts.get(name, "DOUBLE")}) AS "{name}"'
        for name in columns
    )
    try:
        with duckdb.connect(":memory:") as connection:
            connection.execute(
                f"COPY (SELECT {fields} FROM samples) TO {_quoted(path)} (FORMAT parquet, COMPRESSION zstd)"
            )
    except duckdb.Error as error:
        raise StoreError(
            f"Cannot write {path}: {_reason(error)}.", "Free some space, or make the folder writable."
        ) from error


def read_parquet(path: Path) -> dict[str, FloatArray]:
    """All columns as float64, NULL as NaN.

    Raises:
        StoreError: The file cannot be read as Parquet, or holds more than is read.
    """
    columns = _run(path, lambda found: found.fetchnumpy(), f"SELECT * FROM {_READ}")
    try:
        return {
            name: np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan).astype(np.float64)
            for name, values in columns.items()
        }
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path} holds other things than numbers.", "It was not written by this harness.") from error


def read_column_names(path: Path) -> list[str]:
    """Names of a Parquet file's columns.

    Raises:
        StoreError: The file cannot be read as Parquet.
    """
    rows = _run(path, lambda found: found.fetchall(), f"DESCRIBE SELECT * FROM {_READ}")
    return [str(row[0]) for row in rows]


def read_column(path: Path, column: str) -> list[str]:
    """One column of a Parquet file as text; a row without a value is an empty text, so that columns stay side by side.

    Raises:
        StoreError: The file cannot be read as Parquet, has no such column, or holds more than is read.
    """

    def texts(found: Any) -> list[str]:
        kept: list[str] = []
        left = MOST_TEXT_CHARACTERS
        while rows := found.fetchmany(2048):
            kept += (str(row[0]) for row in rows)
            left -= sum(len(text) for text in kept[-len(rows) :])
            if left < 0:
                raise StoreError(f"{path} holds more text than is read.", "Give fewer or shorter prompts.")
        return kept

    name = '"' + column.replace('"', '""') + '"'
    return _run(path, texts, f"SELECT coalesce(CAST({name} AS VARCHAR), '') FROM {_READ}")


_STRETCHES = """
    WITH samples AS (
        SELECT filename, source_index, power_w, t_s - min(t_s) OVER run AS since_s,
            max(t_s) OVER run - min(t_s) OVER run AS length_s
        FROM read_parquet($files, filename = true, hive_partitioning = false) WINDOW run AS (PARTITION BY filename)
    )
    SELECT filename, source_index, CAST(least($count - 1, floor(since_s / length_s * $count)) AS INTEGER), avg(power_w)
    FROM samples WHERE power_w IS NOT NULL AND length_s > 0 GROUP BY ALL
"""


def read_stretches(files: Sequence[Path], count: int) -> list[tuple[Path, int, int, float]]:
    """Mean power of each source in equal stretches of time of each of many trace files.

    Returns:
        (file, source, stretch from 0, mean power in W), in no order; stretches without a sample are missing.

    Raises:
        StoreError: One of the files cannot be read as a trace.
    """
    if not files:
        return []
    try:
        for file in files:
            size_of_file(file)
        with _reaching(files) as connection:
            named = [_pattern(file) for file in files]
            rows = connection.execute(_STRETCHES, {"files": named, "count": count}).fetchall()
    except OSError as error:
        raise StoreError(f"Cannot read {error.filename}: {error.strerror}.", "Is it a trace of the harness?") from error
    except duckdb.Error as error:
        raise StoreError(f"Cannot read {files[0]}: {_first_line(error)}", "Is it a trace of the harness?") from error
    return [(Path(file), source, stretch, power_w) for file, source, stretch, power_w in rows]


class Table:
    """A table in memory: filled with rows or from Parquet, asked in SQL under the name `runs`, kept as Parquet."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        """An empty table.

        Args:
            columns: Names and SQL types: VARCHAR, DOUBLE or BIGINT.
        """
        self._columns = dict(columns)
        self._names = ", ".join(f'"{name}"' for name in columns)
        self._connection = duckdb.connect(":memory:", config=_NO_EXTENSIONS)
        self._connection.execute("SET pandas_analyze_sample = 0")  # columns of text are text, whatever they look like
        declared = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        self._connection.execute(f"CREATE TABLE runs ({declared})")

    def load(self, path: Path, instead: Mapping[str, object]) -> None:
        """Add the rows of a Parquet file that has these columns.

        Args:
            path: The file.
            instead: Values to be taken in all rows instead of the file's, by column.

        Raises:
            StoreError: It cannot be read as Parquet, or lacks a column.
        """
        try:
            size_of_file(path)
            replaced = ", ".join(f'${name} AS "{name}"' for name in instead)
            self._connection.execute(
                f"INSERT INTO runs SELECT {self._names} FROM (SELECT * REPLACE ({replaced}) "
                "FROM read_parquet($this_file, hive_partitioning = false))",
                {**instead, "this_file": _pattern(path)},
            )
        except OSError as error:
            raise StoreError(f"Cannot read {path}: {error.strerror}.", "Is it a Parquet file?") from error
        except duckdb.Error as error:
            raise StoreError(f"Cannot read {path}: {_first_line(error)}", "Is it a Parquet file?") from error

    def fill(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Hold these rows instead: each with a value for every column, in one of type BIGINT never None."""
        kinds = {"VARCHAR": object, "DOUBLE": np.float64, "BIGINT": np.int64}
        added = {  # noqa: F841  DuckDB finds it by its name
            name: np.array([row[name] for row in rows], dtype=kinds[kind]) for name, kind in self._columns.items()
        }
        fields = ", ".join(
            f'CASE WHEN isnan("{name}") THEN NULL ELSE "{name}" END' if kind == "DOUBLE" else f'"{name}"'
            for name, kind in self._columns.items()
        )
        self._connection.execute("DELETE FROM runs")
        self._connection.execute(f"INSERT INTO runs SELECT {fields} FROM added")

    def save(self, path: Path, where: str, parameters: Sequence[object] = ()) -> None:
        """Write the rows that meet a condition as Parquet.

        Raises:
            StoreError: The file cannot be written.
        """
        query = f"COPY (SELECT * FROM runs WHERE {where}) TO {_quoted(path)} (FORMAT parquet, COMPRESSION zstd)"
        try:
            self._connection.execute(query, list(parameters))
        except duckdb.Error as error:
            raise StoreError(f"Cannot write {path}: {_reason(error)}.", "Make the folder writable.") from error

    def ask(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows that a query returns."""
        rows: list[tuple[Any, ...]] = self._connection.execute(query, list(parameters)).fetchall()
        return rows


_CELL = rb'(?:[^",]*|"(?:[^"]|"")*")'
_QUOTED_LINE = re.compile(_CELL + rb"(?:," + _CELL + rb")*")  # RFC 4180


@dataclass(frozen=True)
class RejectedLine:
    """A line that does not fit the declared columns: its number (from 1) in the text that was given, and why."""

    number: int
    column: str | None
    reason: str


def read_csv_lines(
    lines: Sequence[bytes], types: Mapping[str, str]
) -> tuple[dict[str, np.ndarray[Any, Any]], list[RejectedLine]]:
    """Read CSV lines without a header by a declared schema. Nothing is guessed.

    DuckDB opens one file instead of thousands: on many small files its cost per file (over 1 ms) is most of the time.

    Args:
        lines: UTF-8, one row each, not empty, without line ends.
        types: Every column's name and SQL type, in their order in the lines: VARCHAR, DOUBLE or BIGINT.

    Returns:
        Per column an array of shape (rows,): str or None (an empty field) for VARCHAR, otherwise float64 with NaN
        for an empty field; and the lines that do not fit, which are in no array.

    Raises:
        StoreError: DuckDB cannot read the text, loses a line, or there is no room for a temporary file.
    """
    # DuckDB goes astray at a stray quote or line end and swallows what follows, so such lines never reach it.
    stray = [RejectedLine(n, None, "stray character") for n, line in enumerate(lines, 1) if not _well_formed(line)]
    lost = {line.number for line in stray}
    numbers = [n for n in range(1, len(lines) + 1) if n not in lost]
    lines = [lines[n - 1] for n in numbers]
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        path = Path(folder) / "lines.csv"
        longest = max(map(len, lines), default=0)
        try:
            path.write_bytes(b"\n".join(lines) + b"\n")
            with duckdb.connect(":memory:", config={**_NO_EXTENSIONS, "threads": 1}) as connection:
                connection.execute(
                    f"CREATE TABLE read AS SELECT * FROM read_csv({_literal(_pattern(path))}, columns=$types, "
                    "header=false, auto_detect=false, hive_partitioning=false, delim=',', quote='\"', escape='\"', "
                    "new_line='\\n', "
                    "store_rejects=true, rejects_limit=0, null_padding=false, strict_mode=true, parallel=false, "
                    f"max_line_size={max(2 * longest, 2_097_152)})",
                    {"types": dict(types)},
                )
                columns = connection.execute("SELECT * FROM read").fetchnumpy()
                rejects = connection.execute(
                    "SELECT line, column_name, error_type::VARCHAR FROM reject_errors ORDER BY line"
                ).fetchall()
        except duckdb.Error as error:
            raise StoreError(f"Cannot read the CSV: {_first_line(error)}", "Is it a CSV file of this kind?") from error
        except OSError as error:
            raise StoreError(
                f"Cannot write a temporary file: {os.strerror(error.errno or 0)}.", "Free some space, or set TMPDIR."
            ) from error
    arrays = {name: _plain(columns[name], types[name]) for name in types}
    rejected = [RejectedLine(numbers[line - 1], column, str(kind).lower()) for line, column, kind in rejects]
    if len(next(iter(arrays.values()))) + len({line.number for line in rejected}) != len(lines):
        raise StoreError(f"Of {len(lines)} CSV lines some were neither read nor rejected.", "Please report this.")
    return arrays, sorted([*rejected, *stray], key=lambda line: line.number)


def _well_formed(line: bytes) -> bool:
    if b"\r" in line or b"\0" in line:
        return False
    return b'"' not in line or _QUOTED_LINE.fullmatch(line) is not None


def _plain(values: Any, sql_type: str) -> np.ndarray[Any, Any]:
    """DuckDB's masked column as a plain array; missing is None for text and NaN for numbers, never zero."""
    masked = np.ma.asarray(values)
    if sql_type == "VARCHAR":
        text = np.array(masked.data, dtype=object)
        text[np.ma.getmaskarray(masked)] = None
        return text
    return np.array(np.ma.filled(masked.astype(np.float64), np.nan))


def _run(path: Path, take: Callable[[Any], Taken], query: str) -> Taken:
    """What `take` makes of a query over one file, $file."""
    try:
        if size_of_file(path) > MOST_TRACE_BYTES:
            raise StoreError(f"{path} is larger than {MOST_TRACE_BYTES >> 20:,} MiB, the most that is read.", "Cut it.")
        with _reaching([path]) as connection:
            file = {"file": _pattern(path)}
            counted = connection.execute("SELECT num_rows FROM parquet_file_metadata($file)", file).fetchall()
            if counted[0][0] > MOST_ROWS:
                told = f"{path} holds {counted[0][0]:,} rows, and no more than {MOST_ROWS:,} are read."
                raise StoreError(told, "Cut it.")
            return take(connection.execute(query, file))
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror or error}.", "Is it a Parquet file?") from error
    except duckdb.Error as error:
        raise StoreError(f"Cannot read {path}: {_first_line(error)}", "Is it a Parquet file?") from error


def _reaching(files: Sequence[Path]) -> Any:
    """DuckDB with access to these files alone, which no statement can widen again."""
    connection = duckdb.connect(":memory:", config={**_NO_EXTENSIONS, "memory_limit": MOST_MEMORY})
    named = (_literal(name) for file in files for name in dict.fromkeys((str(file), _pattern(file))))
    connection.execute(f"SET allowed_paths=[{', '.join(named)}]")
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")
    return connection


def _pattern(path: Path) -> str:
    """A path as read_parquet takes it: a pattern, in which `a[1].parquet` would mean `a1.parquet`."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(path: Path) -> str:
    return _literal(str(path))


def _reason(error: Exception) -> str:
    """The system's own words where DuckDB tells its error number, otherwise DuckDB's first line."""
    number = re.search(r'"errno":"(\d+)"', str(error))
    return os.strerror(int(number.group(1))) if number else _first_line(error).rstrip(".")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
