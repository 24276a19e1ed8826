"""The only file that knows DuckDB: write columns to Parquet, read a table or a column of one.

One process holds a DuckDB database file, so nothing is kept in one: files are written, and queried where they lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from harness.errors import StoreError
from harness.stats import FloatArray


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
            f"Cannot write {path}: {_first_line(error)}", "Is the disk full, or the folder read-only?"
        ) from error


def read_parquet(path: Path) -> dict[str, FloatArray]:
    """All columns as float64, NULL as NaN.

    Raises:
        StoreError: The file cannot be read as Parquet.
    """
    columns = _run(path, f"SELECT * FROM read_parquet({_quoted(path)})").fetchnumpy()
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
    rows = _run(path, f"DESCRIBE SELECT * FROM read_parquet({_quoted(path)})").fetchall()
    return [str(row[0]) for row in rows]


def read_column(path: Path, column: str) -> list[str]:
    """One column of a Parquet file as text, rows without a value left out.

    Raises:
        StoreError: The file cannot be read as Parquet, or has no such column.
    """
    name = '"' + column.replace('"', '""') + '"'
    query = f"SELECT CAST({name} AS VARCHAR) FROM read_parquet({_quoted(path)}) WHERE {name} IS NOT NULL"
    return [str(row[0]) for row in _run(path, query).fetchall()]


def _run(path: Path, query: str) -> Any:
    try:
        return duckdb.connect(":memory:").execute(query)
    except duckdb.Error as error:
        raise StoreError(f"Cannot read {path}: {_first_line(error)}", "Is it a Parquet file?") from error


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
