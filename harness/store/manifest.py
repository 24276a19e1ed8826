"""results/<campaign>/manifest.jsonl: what was started, and the hash of every file that was kept. A line each, appended.

One line is written at a time and is on the disk before the next run begins, so that a campaign of any length costs the
same per run. A line without its end was being written when the power went; it is dropped. A run is entered before it is
moved into place: of one that is entered and not there, a scratch folder has the files, and the next start moves it. One
that is there and not entered was put there by something else, or the manifest lost its line.

Each line is {"check":"...","entry":{...}}; the check is the beginning of SHA-256 over the line before's check and this
entry, so that a line that was changed, removed or put in does not fit. It is no signature: a manifest can be written
anew.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

import harness
from harness.campaign import CampaignOptions
from harness.errors import StoreError
from harness.frozen import FolderName, Frozen
from harness.reading import MOST_RECORD_BYTES, read_limited
from harness.records import RunRecord
from harness.store.files import RECORD, keep_attempt, keep_run, settle

MANIFEST = "manifest.jsonl"
_BACKUP = re.compile(rf"{Path(RECORD).stem}\.v\d+{re.escape(Path(RECORD).suffix)}")
BLOCK_BYTES = 1 << 20
CHECK_DIGITS = 16
BEFORE_CHECK, BEFORE_ENTRY = b'{"check":"', b'","entry":'
FIRST_CHECK = b"0" * CHECK_DIGITS


class Started(Frozen):
    """A start of the campaign, with the order of its runs."""

    entry: Literal["started"] = "started"
    at_utc: str
    harness_version: str
    options: CampaignOptions
    at_once: int
    planned: tuple[str, ...] = Field(description="run_ids in the order in which they are made, those already done too")


class Kept(Frozen):
    """A run that is in place."""

    entry: Literal["kept"] = "kept"
    at_utc: str
    run_id: FolderName
    status: Literal["complete", "failed"]
    files: dict[str, str] = Field(description="path inside the run's folder -> SHA-256 of the content, hexadecimal")
    adopted: bool = Field(False, description="it was in place and not entered: nobody knows what became of it before")
    migrated_from: int | None = Field(None, description="schema version from which its record was brought to this one")


class Aside(Frozen):
    """A run that makes way for a further attempt."""

    entry: Literal["aside"] = "aside"
    at_utc: str
    run_id: FolderName


class Mended(Frozen):
    """From here on the manifest is relied on again; of damaged lines before, the runs were looked at and adopted."""

    entry: Literal["mended"] = "mended"
    at_utc: str
    lines: dict[int, str] = Field(description="number of each damaged line -> beginning of its SHA-256")


Entry = Started | Kept | Aside | Mended
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="entry")])


@dataclass(frozen=True)
class Manifest:
    """What the lines say: every start, and the runs that should be in place.

    `damaged`: lines that cannot be read or do not follow from the one before, by number, each with its hash. Where one
    was removed, the next does not follow, though it may be whole: what it says of a run still counts, but is
    `doubtful`. `mended`: damaged lines that a later start has dealt with. `unknown`: whole lines that say what is not
    known here.
    """

    starts: tuple[Started, ...]
    kept: dict[str, Kept]
    damaged: dict[int, str]
    unknown: tuple[int, ...] = ()
    doubtful: frozenset[str] = frozenset()
    mended: dict[int, str] = field(default_factory=dict)


def mend(campaign_folder: Path, manifest: Manifest) -> None:
    """Enter that the damaged lines have been dealt with: their runs are adopted, or measured again.

    Raises:
        StoreError: The manifest cannot be written.
    """
    append(campaign_folder, Mended(at_utc=utc_now(), lines=manifest.damaged))


def utc_now() -> str:
    """For an entry."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def started(options: CampaignOptions, at_once: int, planned: Sequence[str]) -> Started:
    """The entry of a start."""
    return Started(
        at_utc=utc_now(),
        harness_version=harness.__version__,
        options=options,
        at_once=at_once,
        planned=tuple(planned),
    )


def keep(scratch: Path, campaign_folder: Path, record: RunRecord) -> Path:
    """Enter a finished run, then move it into place: a kill or a power cut in between loses neither.

    Raises:
        StoreError: The disk is full, or the folder cannot be written; the run is where it was.
    """
    settle(scratch)
    earlier = campaign_folder / record.run_id
    if earlier.exists():
        keep_attempt(earlier, campaign_folder, record.run_id)
        append(campaign_folder, Aside(at_utc=utc_now(), run_id=record.run_id))
    append(campaign_folder, kept(scratch, record.run_id, record.status))
    return keep_run(scratch, campaign_folder, record.run_id)


def adopt(run_folder: Path, record: RunRecord) -> None:
    """Enter a run that is in place, as one that was found there.

    Raises:
        StoreError: A file cannot be read, or the manifest not be written.
    """
    append(run_folder.parent, kept(run_folder, record.run_id, record.status, adopted=True))


def kept(folder: Path, run_id: str, status: Literal["complete", "failed"], adopted: bool = False) -> Kept:
    """The entry of a run whose files are in a folder, in place or not yet.

    Raises:
        StoreError: A file cannot be read.
    """
    return Kept(at_utc=utc_now(), run_id=run_id, status=status, files=file_hashes(folder), adopted=adopted)


def backup_name(version: int) -> str:
    """Under which name a record of an older schema version is kept beside the one that it was brought to."""
    return f"{Path(RECORD).stem}.v{version}{Path(RECORD).suffix}"


def is_backup(name: str) -> bool:
    """Whether a file of a run is a record of an older schema version."""
    return _BACKUP.fullmatch(name) is not None


def file_hashes(run_folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a run, by its path inside the folder.

    Raises:
        StoreError: A file cannot be read.
    """
    files = sorted(path for path in run_folder.rglob("*") if path.is_file())
    try:
        return {path.relative_to(run_folder).as_posix(): _sha256(path) for path in files}
    except OSError as error:
        raise StoreError(f"Cannot read {error.filename}: {error.strerror}.", "Is the disk in order?") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def append(campaign_folder: Path, entry: Entry) -> None:
    """Enter one, to be called by whoever holds the campaign's lock.

    Raises:
        StoreError: The disk is full or the folder cannot be written; the manifest is as it was.
    """
    path = campaign_folder / MANIFEST
    try:
        with path.open("ab+") as file:
            last = _last_line(file.fileno())
            end = os.fstat(file.fileno()).st_size
            try:
                file.write(_line(_check_of(last) or FIRST_CHECK, entry.model_dump_json().encode()) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), end)
                raise
    except OSError as error:
        raise StoreError(
            f"Cannot write {path}: {error.strerror or error}.", "Free some space or make the folder writable."
        ) from error


def _line(check_before: bytes, entry: bytes) -> bytes:
    check = hashlib.sha256(check_before + entry).hexdigest()[:CHECK_DIGITS].encode()
    return BEFORE_CHECK + check + BEFORE_ENTRY + entry + b"}"


def _check_of(line: bytes) -> bytes | None:
    """The check that a line bears, right or wrong."""
    start = len(BEFORE_CHECK)
    check = line[start : start + CHECK_DIGITS]
    return check if line.startswith(BEFORE_CHECK) and len(check) == CHECK_DIGITS else None


def _last_line(fd: int) -> bytes:
    """The last whole line; what follows it is cut off. Read from the end: a manifest may be long."""
    size = start = os.fstat(fd).st_size
    tail = b""
    while start and tail.count(b"\n") < 2:
        start = max(0, start - BLOCK_BYTES)
        tail = os.pread(fd, size - start, start)
    whole = tail[: tail.rfind(b"\n") + 1]
    if len(whole) < len(tail):
        os.ftruncate(fd, size - len(tail) + len(whole))
    return whole.rstrip(b"\n").rsplit(b"\n", 1)[-1]


def read_manifest(campaign_folder: Path) -> Manifest | None:
    """The campaign's manifest; None where it has none.

    Raises:
        StoreError: It cannot be read.
    """
    path = campaign_folder / MANIFEST
    if not path.exists():
        return None
    try:
        lines = read_limited(path, MOST_RECORD_BYTES).split(b"\n")
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}.", "Is the file readable?") from error
    starts: list[Started] = []
    runs: dict[str, Kept] = {}
    damaged: dict[int, str] = {}
    mended: dict[int, str] = {}
    unknown: list[int] = []
    doubtful: set[str] = set()
    checks = [FIRST_CHECK]
    for number, line in enumerate(lines[:-1], start=1):  # after the last line end: nothing, or a torn line
        text = line[len(BEFORE_CHECK) + CHECK_DIGITS + len(BEFORE_ENTRY) : -1]
        fits = any(line == _line(check, text) for check in checks)
        own_check = _check_of(line)
        checks = [own_check] if own_check is not None else [*checks, FIRST_CHECK]  # what `append` goes on from
        if not fits:
            damaged[number] = hashlib.sha256(line).hexdigest()[:CHECK_DIGITS]
        try:
            entry = _ENTRY.validate_json(text)
        except ValidationError:
            unknown += [number] if fits else []
            continue
        if isinstance(entry, Kept):
            runs[entry.run_id] = entry
            (doubtful.discard if fits else doubtful.add)(entry.run_id)
        elif isinstance(entry, Aside):
            runs.pop(entry.run_id, None)
        elif isinstance(entry, Started) and fits:
            starts.append(entry)
        elif isinstance(entry, Mended) and fits:
            mended |= {
                line_number: told for line_number, told in entry.lines.items() if damaged.get(line_number) == told
            }
    left = {line_number: told for line_number, told in damaged.items() if line_number not in mended}
    return Manifest(tuple(starts), runs, left, tuple(unknown), frozenset(doubtful), mended)


def unentered(campaign_folder: Path, manifest: Manifest | None) -> list[Path]:
    """Folders of runs that are in place and not in the manifest, or only in a damaged line of it."""
    known = manifest.kept.keys() - manifest.doubtful if manifest is not None else set()
    return sorted(
        path.parent
        for path in campaign_folder.glob(f"*/{RECORD}")
        if not path.parent.name.startswith(".") and path.parent.name not in known
    )
