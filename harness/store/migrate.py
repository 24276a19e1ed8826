"""Brings stored runs of older schema versions to this one; every old file is kept beside the new one.

Of each run in this order: the old record's copy, the new record under another name, the manifest's line, the rename.
Whatever ends the process in between, the old record is in place or the new one is, the manifest knows either, and the
next start goes on. A record that is not the one that was kept is not touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import StoreError
from harness.reading import MOST_RECORD_BYTES, read_limited
from harness.records import SCHEMA_VERSION
from harness.store.documents import OLDEST_VERSION, other_version, parse_json, version_of
from harness.store.files import (
    JOURNAL,
    PART,
    RECORD,
    SUPERSEDED,
    abandoned_scratch,
    campaign_lock,
    campaign_of,
    cannot_write,
    files_under,
    sync,
)
from harness.store.imports import IMPORTED, is_import
from harness.store.manifest import MANIFEST, Kept, Manifest, append, backup_name, read_manifest, utc_now
from harness.store.upgrade import upgraded_import, upgraded_journal, upgraded_run

REMEDY = "It is left as it is: restore it from a copy, or move it away and run again."
_NAMED_BY_HASH = re.compile(re.escape(IMPORTED).replace(r"\*", "([0-9a-f]{12})"))


@dataclass
class Migration:
    """What became of one campaign's files (records, journals, imports). `already`: of this version."""

    folder: Path
    migrated: int = 0
    already: int = 0
    refused: list[StoreError] = field(default_factory=list)


@dataclass(frozen=True)
class _Change:
    """A file to be rewritten: the old content goes to the backup, the new one to the target."""

    path: Path
    backup: Path
    target: Path
    old: bytes
    new: bytes
    entry: Kept | None = None


def migrate(folder: Path, write: bool, told: Callable[[int, int], None] = lambda done, total: None) -> list[Migration]:
    """Bring everything stored under a folder to this schema version.

    Args:
        folder: Of results, of a campaign or of a run.
        write: False: everything is looked at and nothing written.
        told: Called with the number of files done, and of all.

    Raises:
        StoreError: There is nothing stored there; another process holds a campaign; or the disk is full or the folder
            may not be written: what was migrated before stays, the file at hand is as it was.
    """
    if not folder.name or folder.name == "..":  # its own name may be that of a run
        folder = folder.resolve()
    if not folder.is_dir():
        raise StoreError(f"There is no folder {folder}.", "Give a folder of results, of a campaign or of a run.")
    campaigns = _campaigns(folder)
    total = sum(len(_files(campaign, folder)) for campaign in campaigns)
    if not total:
        raise StoreError(f"Nothing is stored under {folder}.", "Give a folder of results, of a campaign or of a run.")
    done = 0

    def one_done() -> None:
        nonlocal done
        done += 1
        told(done, total)

    return [_campaign(campaign, folder, write, one_done) for campaign in campaigns]


def _campaigns(folder: Path) -> list[Path]:
    """Folders of campaigns under this one, itself included; of a run's folder, its campaign."""
    found = {folder: None} if any(folder.glob(f"{SUPERSEDED}/*/{RECORD}")) or abandoned_scratch(folder) else {}
    for name in files_under(str(folder), lambda name: name in (RECORD, MANIFEST) or is_import(name)):
        path = Path(name)
        found[campaign_of(path) if path.name == RECORD else path.parent] = None
    return list(found)


def _files(campaign: Path, within: Path) -> list[Path]:
    """Records, journals of runs that were killed, and imports of a campaign, as far as they lie in a folder."""
    found = [*sorted(campaign.glob(f"*/{RECORD}")), *sorted(campaign.glob(f"{SUPERSEDED}/*/{RECORD}"))]
    found = [path for path in found if not path.parent.name.startswith(".")]
    for scratch in abandoned_scratch(campaign):
        found += [path for name in (RECORD, JOURNAL) if (path := scratch / name).exists()]
    found += sorted(path for path in campaign.glob(IMPORTED) if path.is_file())
    return [path for path in found if within in path.parents]


def _campaign(campaign: Path, within: Path, write: bool, done: Callable[[], None]) -> Migration:
    if write and any(map(_is_older, _files(campaign, within))):
        with campaign_lock(campaign):
            return _each(campaign, _files(campaign, within), True, done)
    return _each(campaign, _files(campaign, within), False, done)


def _is_older(path: Path) -> bool:
    """Whether there may be something to do; what cannot be read is told later."""
    with suppress(StoreError, OSError, UnicodeDecodeError):
        content = read_limited(path, MOST_RECORD_BYTES)
        for document in content.split(b"\n") if path.suffix == ".jsonl" else [content]:
            version = version_of(parse_json(document.decode(), str(path), ""))
            if version is not None and version < SCHEMA_VERSION:
                return True
    return False


def _each(campaign: Path, files: Iterable[Path], write: bool, done: Callable[[], None]) -> Migration:
    found, manifest = Migration(campaign), read_manifest(campaign)
    for path in files:
        try:
            change = _change(path, campaign, manifest)
        except StoreError as error:
            found.refused.append(error)
        else:
            if change is None:
                found.already += 1
            else:
                if write:
                    _apply(change, campaign)
                found.migrated += 1
        done()
    return found


def _change(path: Path, campaign: Path, manifest: Manifest | None) -> _Change | None:
    """What is to be done with a file; None where it is of this version.

    Raises:
        StoreError: It cannot be migrated, and why.
    """
    try:
        content = read_limited(path, MOST_RECORD_BYTES)
    except OSError as error:
        raise StoreError(
            f"Cannot read {path}: {error.strerror or error}.", "Is the file whole and readable?"
        ) from error
    if path.name == JOURNAL:
        change = _journal_change(path, content)
    elif is_import(path.name):
        change = _import_change(path, content, campaign)
    else:
        entered = manifest is not None and path.parent.parent == campaign
        entry = manifest.kept.get(path.parent.name) if manifest is not None and entered else None
        change = _record_change(path, content, campaign, entry)
    if change is not None and change.backup.exists() and not _holds(change.backup, change.old):
        told = f"{change.backup} is there already, and is not a copy of {path.name}."
        raise StoreError(told, "Nothing was written: move that file away, and run this again.")
    return change


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_limited(path, len(content)) == content
    except OSError:
        return False


def _record_change(path: Path, content: bytes, campaign: Path, entry: Kept | None) -> _Change | None:
    intact = entry is None or _is_kept(content, entry)
    told = f"{path} is not the one that was kept{f' at {entry.at_utc}' if entry else ''}: it was changed or cut off."
    try:
        document = parse_json(_text(content, path), str(path), REMEDY)
    except StoreError as error:
        raise error if intact else StoreError(told, REMEDY) from error
    version = _older_version(document, str(path), campaign)
    if version is None:
        return None
    if not intact:
        raise StoreError(told, REMEDY)
    record = upgraded_run(document, str(path), REMEDY)
    backup = path.with_name(backup_name(version))
    return _Change(path, backup, path, content, record.model_dump_json(indent=1).encode(), entry)


def _is_kept(content: bytes, entry: Kept) -> bool:
    """Whether this is the record that was kept, or one whose migration ended before its last step."""
    names = [RECORD] if entry.migrated_from is None else [RECORD, backup_name(entry.migrated_from)]
    return hashlib.sha256(content).hexdigest() in [entry.files.get(name) for name in names]


def _older_version(document: object, where: str, campaign: Path) -> int | None:
    """The version of an older document; None where it is of this one.

    Raises:
        StoreError: It is of a newer version, or of none.
    """
    version = version_of(document)
    if version is None:
        raise StoreError(f"{where} states no schema version.", REMEDY)
    if not OLDEST_VERSION <= version <= SCHEMA_VERSION:
        raise other_version(version, where, REMEDY, campaign)
    return None if version == SCHEMA_VERSION else version


def _journal_change(path: Path, content: bytes) -> _Change | None:
    lines = [line for line in content.split(b"\n") if line]
    try:
        version = version_of(json.loads(lines[0]))
    except (ValueError, IndexError, RecursionError):  # it ended before the first window
        return None
    if version is None or version == SCHEMA_VERSION:
        return None
    if not OLDEST_VERSION <= version < SCHEMA_VERSION:
        raise other_version(version, str(path), REMEDY, path.parent.parent)
    new = upgraded_journal(lines, str(path), REMEDY)
    backup = path.with_name(f"{path.stem}.v{version}{path.suffix}")
    return _Change(path, backup, path, content, b"".join(line + b"\n" for line in new))


def _import_change(path: Path, content: bytes, campaign: Path) -> _Change | None:
    """All lines of a file, or none."""
    named = _NAMED_BY_HASH.fullmatch(path.name)
    lines = _text(content, path).removesuffix("\n").split("\n")
    new: list[str] = []
    oldest: int = SCHEMA_VERSION
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number},"
        document = parse_json(line, where, REMEDY)
        oldest = min(oldest, _older_version(document, where, campaign) or SCHEMA_VERSION)
        new.append(f"{upgraded_import(document, where, REMEDY).model_dump_json()}\n")
    if oldest == SCHEMA_VERSION:
        return None
    if named is not None and not hashlib.sha256(content).hexdigest().startswith(named[1]):
        raise StoreError(f"{path} is not the file that was written: its name is not the hash of its content.", REMEDY)
    joined = "".join(new).encode()
    target = path.with_name(IMPORTED.replace("*", hashlib.sha256(joined).hexdigest()[:12]))
    return _Change(path, path.with_name(f"{path.name}.v{oldest}"), target, content, joined)


def _text(content: bytes, path: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is not a text in UTF-8 (byte {error.start}).", REMEDY) from error


def _apply(change: _Change, campaign: Path) -> None:
    """Write it. See the top for the order.

    Raises:
        StoreError: The disk is full or the folder may not be written; the old file is in place.
    """
    part = change.path.with_name(PART)
    try:
        if not change.backup.exists():
            _write(part, change.old)
            part.replace(change.backup)
            sync(change.backup.parent)
        _write(part, change.new)
        if change.entry is not None:
            _enter(change, change.entry, campaign)
        part.replace(change.target)
        sync(change.target.parent)
        if change.target != change.path:
            change.path.unlink()
    except (OSError, StoreError) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, StoreError):
            raise
        raise cannot_write(campaign, error) from error


def _write(part: Path, content: bytes) -> None:
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _enter(change: _Change, entry: Kept, campaign: Path) -> None:
    """The hashes of the new record and of its backup; of other files those that are known stay."""
    files = {RECORD: change.new, change.backup.name: change.old}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    version = version_of(json.loads(change.old))
    new = entry.model_copy(update={"files": entry.files | hashes, "migrated_from": version})
    if new != entry:  # a start that was killed has entered it
        append(campaign, new.model_copy(update={"at_utc": utc_now()}))
