"""Imported runs on disk: results/<campaign>/<run_id>/imported.json, one folder each, as the harness's own runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from harness.errors import StoreError
from harness.imported import ImportedRecord
from harness.store.files import read_stored, scratch_folder

IMPORTED = "imported.json"


@dataclass
class Kept:
    """What became of runs that were to be stored; `conflicting`: files whose runs are there with other content."""

    written: int = 0
    already: int = 0
    conflicting: list[str] = field(default_factory=list)


def keep_imports(results: Path, campaign: str, records: Sequence[ImportedRecord]) -> Kept:
    """Store imported runs, all or none of each source file; what is there with the same content is left alone.

    Args:
        results: Folder of all campaigns.
        campaign: Name of the folder below it.
        records: Runs of one source file stand together.

    Raises:
        StoreError: The folder cannot be written; runs of files before that stay.
    """
    folder = results / campaign
    kept = Kept()
    try:
        with scratch_folder(folder, "import") as scratch:
            for (source, _), group in groupby(records, key=lambda record: (record.source_file, record.source_sha256)):
                _keep_file(folder, scratch, source, list(group), kept)
    except OSError as error:
        raise StoreError(
            f"Cannot write imported runs under {folder}: {error.strerror or error}.",
            "Free some space or make the folder writable, or choose another with --results.",
        ) from error
    return kept


def _keep_file(folder: Path, scratch: Path, source: str, records: list[ImportedRecord], kept: Kept) -> None:
    new = []
    for record in records:
        there = folder / record.run_id
        text = record.model_dump_json(indent=1)
        if not there.exists():
            new.append((record.run_id, text))
        elif (there / IMPORTED).is_file() and _same(record, there / IMPORTED):
            kept.already += 1
        else:
            kept.conflicting.append(source)
            return
    for run_id, text in new:  # a full disk is met here, before anything is in its place
        (scratch / run_id).mkdir()
        (scratch / run_id / IMPORTED).write_text(text, encoding="utf-8")
    for run_id, _ in new:
        (scratch / run_id).rename(folder / run_id)
    kept.written += len(new)


def _same(record: ImportedRecord, path: Path) -> bool:
    """Whether a stored run is this one, from a file of the same content: its name does not matter."""
    stored = read_import(path)
    return stored.model_copy(update={"source_file": record.source_file}) == record


def find_imports(paths: Sequence[Path], unreadable: list[StoreError] | None = None) -> list[ImportedRecord]:
    """Every imported run under these folders, in a stable order.

    Args:
        paths: Folders of results, campaigns or runs.
        unreadable: Where given, errors of records that cannot be read are put here, and the others returned.

    Raises:
        StoreError: A path does not exist; or a record cannot be read and `unreadable` is not given.
    """
    found: dict[Path, ImportedRecord] = {}
    for path in paths:
        if not path.exists():
            raise StoreError(
                f"There is no results folder {path}.", "Run or import something first, or give its folder."
            )
        for file in sorted(path.rglob(IMPORTED)):
            if file in found or any(part.startswith(".") for part in file.relative_to(path).parts):
                continue
            try:
                found[file] = read_import(file)
            except StoreError as error:
                if unreadable is None:
                    raise
                unreadable.append(error)
    return list(found.values())


def read_import(path: Path) -> ImportedRecord:
    """Read one imported.json.

    Raises:
        StoreError: It cannot be read, is no such record, or was written by a newer harness.
    """
    return read_stored(path, ImportedRecord, "Move its folder away and import again.")
