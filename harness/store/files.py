"""Records on disk: results/<campaign>/<run_id>/record.json + trace.parquet, written once, by rename.

Schema versions (records.SCHEMA_VERSION):
    1  first. Fields were added without a new number, so a record may lack any that came later.
    2  Every field is there. What was not counted is null instead of 0: input tokens that a server did not tell, inputs
       cut, input pixels, usage that cannot be, waits to try again. `later_fields`: what is no part of an early run_id.

A record of any other version is refused. A change of any stored field makes a new version: a step in store/upgrade from
the document of the last one, and a line here. `harness migrate` (store/migrate) applies it and keeps the old files.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from harness.errors import StoreError
from harness.power.trace import COLUMNS, PowerTrace
from harness.records import RunRecord
from harness.store.documents import parse_stored, read_text
from harness.store.duck import read_parquet, write_parquet

RECORD = "record.json"
PART = ".record.part"
TRACE = "trace.parquet"
JOURNAL = "windows.jsonl"  # of a run in progress: run/journal
SUPERSEDED = ".superseded"
SCRATCH_PREFIX = ".scratch-"
LOCK = ".lock"
REMEDY = "Move the folder away and run again."


@dataclass(frozen=True)
class StoredRun:
    """A run's folder and what its record says."""

    folder: Path
    record: RunRecord


def write_run(folder: Path, record: RunRecord, trace: PowerTrace | None) -> None:
    """Write a run's files into a folder that nobody reads yet: all of them, or none.

    Raises:
        StoreError: The disk is full or the folder cannot be written.
    """
    try:
        _write_files(folder, record, trace)
    except OSError as error:
        _remove_files(folder)
        raise cannot_write(folder, error) from error
    except StoreError:
        _remove_files(folder)
        raise


def _write_files(folder: Path, record: RunRecord, trace: PowerTrace | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if trace is not None and len(trace.rows):
        columns = {name: trace.rows[:, index] for index, name in enumerate(COLUMNS)}
        write_parquet(folder / TRACE, columns, {"source_index": "TINYINT", "throttle": "BIGINT"})
    _write_whole(folder / RECORD, record)


def _write_whole(path: Path, record: RunRecord) -> None:
    """Under another name first: a worker that is killed leaves a whole record, or none."""
    part = path.with_name(PART)
    with part.open("w", encoding="utf-8") as file:
        file.write(record.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def rewrite_record(folder: Path, record: RunRecord) -> None:
    """Put another record in the place of a run's own, before the run is kept. One that cannot be written stays away.

    Raises:
        StoreError: The disk is full or the folder cannot be written; the earlier record is still there.
    """
    try:
        _write_whole(folder / RECORD, record)
    except OSError as error:
        with suppress(OSError):
            (folder / PART).unlink(missing_ok=True)
        raise cannot_write(folder, error) from error


def _remove_files(folder: Path) -> None:
    for name in (RECORD, PART, TRACE):
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)


def keep_run(scratch: Path, campaign_folder: Path, run_id: str) -> Path:
    """Move a finished run that is `settled` into place. An earlier attempt is set aside, never overwritten.

    Raises:
        StoreError: The folder cannot be written.
    """
    target = campaign_folder / run_id
    try:
        if target.exists():
            _set_aside(target, campaign_folder, run_id)
        scratch.rename(target)
        for folder in (campaign_folder, campaign_folder.parent):
            sync(folder)
    except OSError as error:
        raise cannot_write(campaign_folder, error) from error
    return target


def keep_attempt(scratch: Path, campaign_folder: Path, run_id: str) -> None:
    """Move an attempt that has been overtaken beside the earlier ones.

    Raises:
        StoreError: The folder cannot be written.
    """
    try:
        _set_aside(scratch, campaign_folder, run_id)
    except OSError as error:
        raise cannot_write(campaign_folder, error) from error


def _set_aside(folder: Path, campaign_folder: Path, run_id: str) -> None:
    aside = campaign_folder / SUPERSEDED
    aside.mkdir(exist_ok=True)
    number = 1
    while (aside / f"{run_id}-{number}").exists():
        number += 1
    folder.rename(aside / f"{run_id}-{number}")
    sync(aside)


def sync(path: Path) -> None:
    """Have what is in a file, or the names in a folder, on the disk before anything that relies on it.

    Raises:
        OSError: The disk says that it is not. A file system that cannot be asked about a folder (EINVAL) is believed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def settle(scratch: Path) -> None:
    """Have all of a finished run on the disk: its files, their names, its folder's. It has no folders below it.

    Raises:
        StoreError: The disk says that it is not.
    """
    try:
        for path in (*scratch.iterdir(), scratch, scratch.parent):
            sync(path)
    except OSError as error:
        raise cannot_write(scratch.parent, error) from error


def scratch_folders(campaign_folder: Path) -> list[Path]:
    """Scratch folders, in use or left behind."""
    return sorted(folder for folder in campaign_folder.glob(f"{SCRATCH_PREFIX}*") if folder.is_dir())


def run_of(scratch: Path) -> str:
    """The run_id of the run that a scratch folder was made for."""
    return scratch.name.removeprefix(SCRATCH_PREFIX).rsplit("-", 2)[0]


def abandoned_scratch(campaign_folder: Path) -> list[Path]:
    """Those that a kill or a power cut has left behind. To be asked before this process makes one."""
    return [folder for folder in scratch_folders(campaign_folder) if not _in_use(folder)]


def _in_use(scratch: Path) -> bool:
    """Whether the process that made it still runs, and is not another one under its number."""
    owner, born_ns = scratch.name.rsplit("-", 2)[-2:]
    if not (owner.isdigit() and born_ns.isdigit()) or int(owner) == os.getpid():
        return False
    try:
        process = psutil.Process(int(owner))
        if process.status() == psutil.STATUS_ZOMBIE:  # it has ended, and nobody has asked how
            return False
        return process.create_time() * 1e9 <= int(born_ns)
    except psutil.Error:
        return False


@contextmanager
def campaign_lock(campaign_folder: Path) -> Iterator[None]:
    """Hold a campaign for one runner: two would measure each other. The lock goes with the process, however it ends.

    Raises:
        StoreError: Another process holds it, or it cannot be written.
    """
    try:
        file = (campaign_folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise cannot_write(campaign_folder, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StoreError(
                f"Another harness (process {file.read().strip() or 'unknown'}) is running {campaign_folder}.",
                "Wait for its end.",
            ) from None
        with suppress(OSError):  # a full disk: the lock holds without its owner's number
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield


def new_scratch(campaign_folder: Path, run_id: str) -> Path:
    """A folder on the same disk that nobody reads.

    Raises:
        StoreError: It cannot be made.
    """
    folder = campaign_folder / f"{SCRATCH_PREFIX}{run_id}-{os.getpid()}-{time.time_ns()}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise cannot_write(campaign_folder, error) from error
    return folder


def remove_scratch(folder: Path) -> None:
    """Remove what is left of it; a folder that was moved into place is not there any more."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_folder(campaign_folder: Path, run_id: str) -> Iterator[Path]:
    """A scratch folder; what is left in it at the end is removed.

    Raises:
        StoreError: It cannot be made.
    """
    folder = new_scratch(campaign_folder, run_id)
    try:
        yield folder
    finally:
        remove_scratch(folder)


def read_record(path: Path) -> RunRecord:
    """Read one record.json.

    Raises:
        StoreError: It cannot be read, is not a record, or is of another schema version.
    """
    try:
        return parse_stored(read_text(path), RunRecord, str(path), REMEDY, campaign_of(path))
    except StoreError as error:
        error.path = path
        raise


def campaign_of(record: Path) -> Path:
    """The folder of the campaign that a record file belongs to, earlier attempts and scratch folders too."""
    above = record.parent.parent
    return above.parent if above.name == SUPERSEDED else above


def read_trace(folder: Path, record: RunRecord) -> PowerTrace | None:
    """The power trace of a run; None if it has none.

    Raises:
        StoreError: The file is not Parquet or lacks a column.
    """
    path = folder / TRACE
    if not path.exists():
        return None
    columns = read_parquet(path)
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise StoreError(f"{path} lacks the column {missing[0]}.", "It was not written by this harness.")
    rows = np.stack([columns[name] for name in COLUMNS], axis=1)
    period_s = record.spec.measure.sample_period_s
    return PowerTrace(tuple(source.id for source in record.sources), period_s, rows, record.missed_deadlines)


def find_runs(paths: list[Path], unreadable: list[StoreError] | None = None) -> list[StoredRun]:
    """Every record under these folders (results, campaign or run), in a stable order.

    Args:
        paths: Folders, or record files.
        unreadable: Where given, errors of records that cannot be read are put here, and the others returned.

    Raises:
        StoreError: A path does not exist; or a record cannot be read and `unreadable` is not given.
    """
    found: dict[Path, StoredRun] = {}
    for record_path in (Path(name) for path in paths for name in record_files(path)):
        if record_path.parent in found:
            continue
        try:
            found[record_path.parent] = StoredRun(record_path.parent, read_record(record_path))
        except StoreError as error:
            if unreadable is None:
                raise
            unreadable.append(error)
    return list(found.values())


def record_files(path: Path) -> Iterator[str]:
    """Every record file under a folder, or the one that is given, in the order of their paths.

    Raises:
        StoreError: The path does not exist, or a folder cannot be listed.
    """
    if not path.exists():
        raise StoreError(f"There is no results folder {path}.", "Run a campaign first, or give its folder.")
    return iter([str(path)]) if path.name == RECORD else files_under(str(path), RECORD.__eq__)


def without_record(path: Path) -> list[Path]:
    """Folders under this one that hold a power trace but no record: it was lost, the run cannot be read.

    Raises:
        StoreError: A folder cannot be listed.
    """
    traced = [Path(name).parent for name in files_under(str(path), TRACE.__eq__)]
    return [folder for folder in traced if not (folder / RECORD).exists()]


def files_under(folder: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Files of wanted names under a folder in the order of their paths; what is hidden, and links to folders, left out.

    Raises:
        StoreError: A folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):  # a file, or a run that was moved meanwhile
        return
    except OSError as error:
        raise StoreError(f"Cannot list {folder}: {error.strerror}.", "Make the folder readable.") from error
    for entry in ordered:
        if wanted(entry.name):
            yield entry.path
        elif not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            yield from files_under(entry.path, wanted)


def cannot_write(folder: Path, error: OSError) -> StoreError:
    """What to say of a folder that is full or may not be written."""
    return StoreError(
        f"Cannot write results under {folder}: {error.strerror or error}.",
        "Free some space or make the folder writable; what is measured or imported can go elsewhere with --results.",
    )
