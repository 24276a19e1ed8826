"""An index beside the records: what lists and rankings need of each, so that thousands are not read again and again.

It is a Parquet file, `<folder>/.index-<hash>.parquet`, named by its own content and never changed: a damaged one is
seen and made anew, and two processes cannot tear it. A row counts only while its record file has the same times, inode
and size, and only for the code that made it. All that it holds is in the records as well: delete it at will.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.errors import StoreError
from harness.records import RunRecord
from harness.store.duck import Table
from harness.store.files import read_record, record_files, scratch_folder

NAME = ".index-{}.parquet"
INODE_BITS = 2**63 - 1  # some file systems use the 64th bit, which BIGINT has not
STATE = ("path", "mtime_ns", "ctime_ns", "inode", "size")
COLUMNS = {
    "path": "VARCHAR",
    "mtime_ns": "BIGINT",
    "ctime_ns": "BIGINT",
    "inode": "BIGINT",
    "size": "BIGINT",
    "folder": "VARCHAR",
    "code": "VARCHAR",
    "position": "BIGINT",
    "campaign": "VARCHAR",
    "run_id": "VARCHAR",
    "status": "VARCHAR",
    "origin": "VARCHAR",
    "task": "VARCHAR",
    "model": "VARCHAR",
    "started_at_utc": "VARCHAR",
    "failure": "VARCHAR",
    "energy_j": "DOUBLE",
    "peers": "VARCHAR",
    "content": "VARCHAR",
}

Row = dict[str, object]
State = tuple[object, ...]


class Kept(NamedTuple):
    """What a caller keeps of a record. `peers`: the same for all that it is ranked among; None: it has no place."""

    peers: str | None
    content: str


@dataclass(frozen=True)
class Keeping:
    """When an index is kept on disk.

    from_records: Fewer are read as fast.
    settled_ns: Of a record younger than this nothing is kept: within one tick a file may change and keep its times.
    """

    from_records: int = 100
    settled_ns: int = 2_000_000_000


Keep = Callable[[RunRecord], Kept]
DEFAULT = Keeping()


def indexed(
    folders: Sequence[Path], keep: Keep, unreadable: dict[Path, StoreError], keeping: Keeping = DEFAULT
) -> Table:
    """A table with a row for each record under these folders that can be read, all of them current.

    Args:
        folders: Of results, of campaigns or of runs; or record files.
        keep: Says what is kept of a record. It may depend on nothing but the record and the harness's code.
        unreadable: Errors of records that cannot be read are put here, by the run's folder.
        keeping: When the index is kept.

    Raises:
        StoreError: A folder does not exist or cannot be listed.
    """
    tables = [_indexed(folder, keep, unreadable, keeping) for folder in dict.fromkeys(folders)]
    if len(tables) < 2:
        return tables[0] if tables else Table(COLUMNS)
    rows = {os.path.realpath(f"{row['folder']}/{row['path']}"): row for table in tables for row in _rows_of(table)}
    tables[0].fill([row | {"position": number} for number, row in enumerate(rows.values())])
    return tables[0]


def _indexed(folder: Path, keep: Keep, unreadable: dict[Path, StoreError], keeping: Keeping) -> Table:
    code = code_hash()
    states = {str(state[0]): state for state in _states(folder)}
    worth_keeping = len(states) >= keeping.from_records
    files = sorted(folder.glob(NAME.format("*"))) if worth_keeping else []
    table = _load(files, folder)
    kept = table.ask(f"SELECT {', '.join(STATE)} FROM runs WHERE code = ?", [code])
    current = {state[0] for state in kept if states.get(state[0]) == state}
    read_ns = time.time_ns()
    read = (_row(folder, state, keep, unreadable) for path, state in states.items() if path not in current)
    new = [row for row in read if row is not None]
    if not new and len(current) == table.ask("SELECT count(*) FROM runs")[0][0]:
        return table
    position = {path: number for number, path in enumerate(states)}
    rows = [*(row for row in _rows_of(table) if row["path"] in current), *new]
    table.fill([row | {"code": code, "position": position[str(row["path"])]} for row in rows])
    if worth_keeping:
        with suppress(StoreError, OSError):  # a folder that is full or may only be read does without
            _save(table, folder, files, read_ns - keeping.settled_ns)
    return table


def _states(folder: Path) -> Iterator[State]:
    """Path below the folder, and all that changes when a file's content does."""
    for path in record_files(folder):
        below = path.removeprefix(str(folder)).lstrip(os.sep)
        try:
            status = os.stat(path)
            yield (below, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & INODE_BITS, status.st_size)
        except OSError:  # reading it will say why
            yield (below, -1, -1, 0, -1)


def _load(files: Sequence[Path], folder: Path) -> Table:
    """The first index that is whole; an empty table where none is."""
    table = Table(COLUMNS)
    for file in files:
        with suppress(OSError, StoreError):
            if file.name == NAME.format(_content_hash(file)):
                table.load(file, {"folder": str(folder)})
                break
    return table


def _row(folder: Path, state: State, keep: Keep, unreadable: dict[Path, StoreError]) -> Row | None:
    """What is kept of one record, without its place; None if it cannot be read."""
    path = folder / str(state[0])
    try:
        record = read_record(path)
    except StoreError as error:
        unreadable[path.parent] = error
        return None
    kept = keep(record)
    return dict(zip(STATE, state, strict=True)) | {
        "folder": str(folder),
        "campaign": record.campaign,
        "run_id": record.run_id,
        "status": record.status,
        "origin": "replay, simulated" if record.replayed else record.origin,
        "task": record.spec.task,
        "model": record.spec.model.id,
        "started_at_utc": record.started_at_utc,
        "failure": record.failure.kind if record.failure else None,
        "energy_j": record.summary.gpu_energy_j.value if record.summary else None,
        "peers": kept.peers,
        "content": kept.content,
    }


def _rows_of(table: Table) -> list[Row]:
    rows = table.ask(f"SELECT {', '.join(COLUMNS)} FROM runs ORDER BY position")
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def _save(table: Table, folder: Path, older: Sequence[Path], settled_ns: int) -> None:
    """Write it under the name of its content, then remove those that it replaces."""
    with scratch_folder(folder, "index") as scratch:
        written = scratch / "index.parquet"
        table.save(written, "greatest(mtime_ns, ctime_ns) < ?", [settled_ns])
        target = folder / NAME.format(_content_hash(written))
        written.rename(target)
    for file in older:
        if file != target:
            file.unlink(missing_ok=True)


def _content_hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


@functools.cache
def code_hash() -> str:
    """Changes with any file of the package, so that no row outlives the code that made it."""
    package = Path(__file__).parent.parent
    files = sorted(file for pattern in ("*.py", "data/*") for file in package.rglob(pattern))
    states = [(str(file.relative_to(package)), *file.stat()[6:9:2]) for file in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]
