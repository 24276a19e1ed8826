"""Prompts in local files: txt, jsonl, csv and parquet."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import StoreError, UserInputError
from harness.reading import MOST_TABLE_BYTES, MOST_TRACE_BYTES, read_limited
from harness.specs import PromptSpec
from harness.tasks.columns import Column, choose_column

_LINE_END = re.compile("\r\n|\r|\n")  # not str.splitlines, which also splits at characters a prompt may contain


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        UserInputError: The file cannot be read.
    """
    return hashlib.sha256(_read_bytes(path)).hexdigest()


def file_texts(spec: PromptSpec, wanted: Column) -> Iterable[str]:
    """One column of a file of prompts, top to bottom, empty ones too: rows of two columns stay side by side.

    Raises:
        UserInputError: The ending is not known; the file is missing, unreadable, or changed since it was hashed.
    """
    path = Path(spec.path or "").expanduser()
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise UserInputError(
            f"Cannot read prompts from {path}: the ending {suffix or '(none)'} is not known.",
            f"Known are {', '.join(READABLE)}.",
        )
    refuse_changed(path, spec.sha256, file_sha256)
    return _READERS[suffix](path, wanted)


def refuse_changed(path: Path, sha256: str | None, digest: Callable[[Path], str]) -> None:
    """Stop where prompts are not those that the run was planned with.

    Raises:
        UserInputError: They are not.
    """
    if sha256 is not None and (found := digest(path)) != sha256:
        raise UserInputError(
            f"The prompt file {path} has changed: SHA-256 {found[:12]}... instead of {sha256[:12]}....",
            "Start the run again from its config, which makes another run of it, or bring the old file back.",
        )


def _read_bytes(path: Path) -> bytes:
    try:
        return read_limited(path, MOST_TRACE_BYTES if path.suffix.lower() == ".parquet" else MOST_TABLE_BYTES)
    except FileNotFoundError as error:
        raise UserInputError(f"There is no prompt file {path}.", f"Relative paths start at {Path.cwd()}.") from error
    except OSError as error:
        raise UserInputError(
            f"Cannot read the prompt file {path}: {error.strerror}.", "Give a readable file."
        ) from error


def _read_text(path: Path) -> str:
    data = _read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserInputError(f"Line {line} of {path} is not UTF-8 text.", "Save the file as UTF-8.") from error


def _txt_texts(path: Path, wanted: Column) -> Iterable[str]:
    if wanted.chosen is not None:
        raise UserInputError(f"{path} is plain text and has no column '{wanted.chosen}'.", f"Leave '{wanted.key}' out.")
    if not wanted.alone:
        raise UserInputError(
            f"{path} is plain text: it cannot hold two columns.", "Give a .jsonl, .csv or .parquet file."
        )
    return _LINE_END.split(_read_text(path))


def _jsonl_texts(path: Path, wanted: Column) -> Iterator[str]:
    column: str | None = None
    for number, line in enumerate(_LINE_END.split(_read_text(path)), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:  # also numbers and nesting beyond what Python reads
            told = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
            raise UserInputError(
                f"Line {number} of {path} is not JSON: {told}.",
                "Each line has to be one JSON object, or one JSON string.",
            ) from error
        if isinstance(value, dict):
            column = choose_column(tuple(value), wanted, f"{path}, line {number},")
            wanted = replace(wanted, chosen=column)  # the first line decides
            value = value[column]
        elif not wanted.alone:
            value = None
        if not isinstance(value, str):
            raise UserInputError(
                f"Line {number} of {path} does not hold a text{'' if column is None else ' under ' + repr(column)}.",
                'Write each line as {"prompt": "..."}, or as one JSON string.',
            )
        yield _encodable(value, path, number)


def _encodable(text: str, path: Path, line: int) -> str:
    """JSON can spell half a character (a lone surrogate), which no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserInputError(
            f"Line {line} of {path} contains half a Unicode character: \\u{ord(text[error.start]):04x}.",
            "Write the character itself, or both halves.",
        ) from error
    return text


def _csv_texts(path: Path, wanted: Column) -> Iterator[str]:
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    try:
        names = next(reader, [])
        _refuse_other_delimiters(names, path)
        place = names.index(choose_column(names, wanted, path))
        for row in reader:
            if row and len(row) != len(names):
                raise UserInputError(
                    f"Line {reader.line_num} of {path} has {len(row)} fields, the header has {len(names)}.",
                    'Put prompts that contain a comma in double quotes ("...").',
                )
            yield row[place] if row else ""
    except csv.Error as error:
        raise UserInputError(
            f"Line {reader.line_num} of {path} is not CSV: {error}.", 'Quotes inside a quoted field are doubled ("").'
        ) from error


def _refuse_other_delimiters(names: Sequence[str], path: Path) -> None:
    """One column whose name holds another delimiter is a table that was cut nowhere: every prompt would be a whole row.

    Raises:
        UserInputError: It is, or there is no header at all.
    """
    if not names:
        raise UserInputError(f"There is no prompt in {path}: it is empty.", "Give a header and at least one row.")
    other = next((mark for mark in (";", "\t", "|") if mark in names[0]), None)
    if len(names) == 1 and other is not None:
        shown = "tabs" if other == "\t" else f"'{other}'"
        raise UserInputError(
            f"{path} has one column named {names[0]!r}: its columns seem to be separated by {shown}.",
            "Separate them by commas, or give a .jsonl or .parquet file.",
        )


def _parquet_texts(path: Path, wanted: Column) -> Iterable[str]:
    _read_bytes(path)  # a missing file is the user's mistake, not the store's
    # Function-local: DuckDB takes a while to load, and few prompt sets need it.
    from harness.store.duck import read_column, read_column_names

    try:
        return read_column(path, choose_column(read_column_names(path), wanted, path))
    except StoreError as error:
        raise UserInputError(error.message, error.hint) from error


_READERS: dict[str, Callable[[Path, Column], Iterable[str]]] = {
    ".txt": _txt_texts,
    ".jsonl": _jsonl_texts,
    ".csv": _csv_texts,
    ".parquet": _parquet_texts,
}
READABLE: tuple[str, ...] = tuple(_READERS)
