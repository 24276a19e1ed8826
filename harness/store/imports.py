"""Imported runs on disk: results/<campaign>/imported-<hash>.jsonl, a line per run, a file per import."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from itertools import groupby
from pathlib import Path

from harness.errors import StoreError
from harness.imported import ImportedPhase, ImportedRecord
from harness.reading import MOST_RECORD_BYTES, read_limited
from harness.store.documents import parse_stored, read_text
from harness.store.files import campaign_lock, files_under, scratch_folder, sync

IMPORTED = "imported-*.jsonl"
is_import = partial(fnmatchcase, pat=IMPORTED)
REMEDY = "Move this file away and import again."
PARTS_DOUBTED = {"parts-differ"}  # the importer saw it in the tool's own file
PARTS_TOLERANCE = 2e-6  # relative; twice what the importer allows, since kWh become J in between


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
        StoreError: The folder cannot be written, and nothing is; what is stored there already cannot be read; or
            another process holds the campaign.
    """
    folder = results / campaign
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with campaign_lock(folder):  # two imports at once would each find that the other's runs are not there yet
            return _keep(folder, records)
    except OSError as error:
        raise StoreError(
            f"Cannot write imported runs under {folder}: {error.strerror or error}.",
            "Free some space or make the folder writable, or choose another with --results.",
        ) from error


def _keep(folder: Path, records: Sequence[ImportedRecord]) -> Kept:
    stored = {record.run_id: record for record in find_imports([folder])}
    measured = {entry.name for entry in os.scandir(folder)}
    kept, new = Kept(), []
    for (source, _), group in groupby(records, key=lambda record: (record.source_file, record.source_sha256)):
        runs = list(group)
        known = [run for run in runs if run.run_id in stored]
        if any(run.run_id in measured for run in runs) or not all(_same(run, stored[run.run_id]) for run in known):
            kept.conflicting.append(source)
            continue
        new += [run for run in runs if run.run_id not in stored]
        kept.already += len(known)
    if new:
        _write(folder, new)
    kept.written = len(new)
    return kept


def changed_imports(folder: Path) -> list[tuple[Path, str]]:
    """Files of imported runs of a campaign that are not as they were written, and why; those unreadable left out.

    A file is named by its content. Parts make their total, unless the importer itself had to say that they do not.
    """
    found = []
    for path in sorted(folder.glob(IMPORTED)):
        try:
            content = read_limited(path, MOST_RECORD_BYTES)
            records = list(_read(path, None))
        except (OSError, StoreError):
            continue
        if path.name != _name(content):
            found.append((path, "The content is not the one that was imported: it was changed, cut off or renamed."))
        for record in records:
            if not {caveat.code for caveat in record.caveats} & PARTS_DOUBTED and (phase := _not_its_parts(record)):
                told = f"{record.run_id}, line {phase.line} of its source: the parts do not make the total of "
                found.append((path, f"{told}{phase.node_energy_j:.6g} J."))
    return found


def _not_its_parts(record: ImportedRecord) -> ImportedPhase | None:
    """The first phase of which a total is not that of its parts."""
    for phase in record.phases:
        parts_j = math.fsum(part for part in (phase.gpu_energy_j, phase.cpu_energy_j, phase.dram_energy_j) if part)
        if not math.isclose(parts_j, phase.node_energy_j, rel_tol=PARTS_TOLERANCE, abs_tol=1e-9):
            return phase
    return None


def _name(content: bytes) -> str:
    return IMPORTED.replace("*", hashlib.sha256(content).hexdigest()[:12])


def _write(folder: Path, records: Sequence[ImportedRecord]) -> None:
    """All of them in one file, which is there whole or not at all."""
    content = "".join(f"{record.model_dump_json()}\n" for record in records).encode()
    name = _name(content)
    with scratch_folder(folder, "import") as scratch:
        with (scratch / name).open("wb") as file:  # a full disk is met here
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        (scratch / name).rename(folder / name)
        sync(folder)


def _same(record: ImportedRecord, stored: ImportedRecord) -> bool:
    """Whether a stored run is this one, from a file of the same content: its name does not matter."""
    return stored.model_copy(update={"source_file": record.source_file}) == record


def find_imports(paths: Sequence[Path], unreadable: list[StoreError] | None = None) -> list[ImportedRecord]:
    """Every imported run under these folders, in a stable order.

    Args:
        paths: Folders of results or campaigns, or files of imported runs.
        unreadable: Where given, errors of runs that cannot be read are put here, and the others returned.

    Raises:
        StoreError: A path does not exist; or a run cannot be read and `unreadable` is not given.
    """
    found: dict[Path, list[ImportedRecord]] = {}
    for path in paths:
        if not path.exists():
            raise StoreError(
                f"There is no results folder {path}.", "Run or import something first, or give its folder."
            )
        files = [str(path)] if path.match(IMPORTED) else files_under(str(path), is_import)
        for file in map(Path, files):
            if file not in found:
                found[file] = list(_read(file, unreadable))
    return [record for records in found.values() for record in records]


def _read(path: Path, unreadable: list[StoreError] | None) -> Iterator[ImportedRecord]:
    try:
        lines = read_text(path).removesuffix("\n").split("\n")  # not splitlines: texts may hold U+2028
    except StoreError as error:
        if unreadable is None:
            raise
        error.path = path
        unreadable.append(error)
        return
    for number, line in enumerate(lines, 1):
        try:
            yield parse_stored(line, ImportedRecord, f"{path}, line {number},", REMEDY, path.parent)
        except StoreError as error:
            if unreadable is None:
                raise
            error.path = path
            unreadable.append(error)
