"""Looks at what is stored: schema, hashes, invariants. Names what was changed, cut off, lost or left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import OtherSchemaVersion, StoreError
from harness.records import RunRecord
from harness.store.documents import told_together
from harness.store.files import RECORD, SCRATCH_PREFIX, TRACE, read_record, read_trace, scratch_folders
from harness.store.imports import changed_imports, find_imports
from harness.store.invariants import broken
from harness.store.manifest import MANIFEST, Manifest, file_hashes, is_backup, read_manifest

NO_TRACE = {"trace-lost"}  # the record itself says why there is none


@dataclass(frozen=True)
class Finding:
    """One thing that was found. A note weakens nothing that is stored; a problem does."""

    severity: Literal["problem", "note"]
    place: str
    code: str
    message: str


@dataclass(frozen=True)
class CampaignCheck:
    """What was looked at in one campaign's folder, and what was found."""

    folder: Path
    runs: int
    imported_runs: int
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> int:
        """How many."""
        return sum(finding.severity == "problem" for finding in self.findings)


def check_campaign(folder: Path) -> CampaignCheck:
    """Check every run of a campaign, and its manifest.

    Raises:
        StoreError: The folder cannot be read.
    """
    findings: list[Finding] = []
    runs = sorted(path.parent for path in folder.glob(f"*/{RECORD}") if not path.parent.name.startswith("."))
    manifest = read_manifest(folder)
    other: list[StoreError] = []
    for run_folder in runs:
        findings += _check_run(run_folder, manifest, other)
    unreadable: list[StoreError] = []
    imported = find_imports([folder], unreadable)
    other += [error for error in unreadable if isinstance(error, OtherSchemaVersion)]
    findings += [
        Finding("problem", str(folder), "schema-version", f"{error.message} {error.hint}")
        for error in told_together(other)
    ]
    findings += [
        Finding("problem", str(folder), "unreadable", error.message) for error in unreadable if error not in other
    ]
    findings += [Finding("problem", str(path), "changed", message) for path, message in changed_imports(folder)]
    findings += _check_manifest(folder, manifest, {run.name for run in runs})
    for scratch in scratch_folders(folder):
        told = "A run in progress, or left by a runner that was killed: the next harness run keeps what is in it."
        findings.append(Finding("note", str(scratch), "unfinished", told))
    return CampaignCheck(folder, len(runs), len(imported), tuple(findings))


def _check_manifest(folder: Path, manifest: Manifest | None, present: set[str]) -> Iterator[Finding]:
    path = str(folder / MANIFEST)
    if manifest is None:
        if present:
            told = "There is no manifest, so no hashes: the runs are of an older harness, or it was removed."
            yield Finding("note", str(folder), "no-manifest", told)
        return
    for number in manifest.damaged:
        told = (
            f"Line {number} was changed, or one before it removed. The next harness run of the campaign looks at the "
        )
        told += "runs, adopts those that are sound, and goes on from there."
        yield Finding("problem", path, "manifest-damaged", told)
    for number in manifest.mended:
        told = f"Line {number} was changed, or one before it removed, and a later start went on from there."
        yield Finding("note", path, "manifest-mended", told)
    for number in manifest.unknown:
        told = f"Line {number} says what this harness does not know: a newer one wrote it."
        yield Finding("problem", path, "manifest-newer", told)
    if adopted := sorted(entry.run_id for entry in manifest.kept.values() if entry.adopted):
        told = f"Not in the manifest when they were found here, so that nobody knows their past: {', '.join(adopted)}."
        yield Finding("note", path, "adopted", told)
    on_the_way = {run_id for run_id in manifest.kept if any(folder.glob(f"{SCRATCH_PREFIX}{run_id}-*/{RECORD}"))}
    for run_id in manifest.kept.keys() - present - on_the_way:
        told = "The manifest says that this run was kept, and it is not there."
        yield Finding("problem", str(folder / run_id), "run-missing", told)


def _check_run(run_folder: Path, manifest: Manifest | None, other: list[StoreError]) -> Iterator[Finding]:
    """What is wrong with a run; that it is of another schema version is put aside, to be told once for all."""
    place = str(run_folder)
    try:
        yield from _check_hashes(run_folder, manifest)
        record = read_record(run_folder / RECORD)
        vouched = manifest is not None and run_folder.name in manifest.kept
        yield from check_record(run_folder, record, vouched)
    except OtherSchemaVersion as error:
        other.append(error)
    except StoreError as error:
        yield Finding("problem", place, "unreadable", error.message)


def check_record(run_folder: Path, record: RunRecord, vouched: bool = False) -> Iterator[Finding]:
    """What a record itself shows to be wrong: it is of another place, or contradicts itself or its trace.

    Args:
        run_folder: Where it lies.
        record: What it says.
        vouched: The campaign's manifest knows it: then a campaign of another name was renamed, and it is no stranger.

    Raises:
        StoreError: The trace cannot be read.
    """
    place = str(run_folder)
    if record.run_id != run_folder.name:
        yield Finding("problem", place, "run-id", f"The record is that of {record.run_id}.")
    if record.campaign != run_folder.resolve().parent.name:
        told = f"The record is of the campaign {record.campaign}."
        yield Finding("note" if vouched else "problem", place, "campaign", told)
    trace = read_trace(run_folder, record)
    if trace is None and _should_have_trace(record):
        yield Finding("problem", place, "trace-missing", f"A complete run has a {TRACE}, and there is none.")
    for code, message in broken(record, trace):
        yield Finding("problem", place, code, message)


def stranger(run_folder: Path, record: RunRecord, manifest: Manifest | None) -> str | None:
    """Why a run that the manifest does not vouch for is not taken in; None for one that is as a runner leaves it.

    Raises:
        StoreError: A file cannot be read.
    """
    found = [*check_record(run_folder, record)]
    if manifest is not None and record.run_id in manifest.doubtful:
        found += _check_hashes(run_folder, manifest)  # a line that only follows one that was removed is right in this
    return next((finding.message for finding in found if finding.severity == "problem"), None)


def _should_have_trace(record: RunRecord) -> bool:
    codes = {caveat.code for caveat in record.caveats}
    return record.status == "complete" and record.origin in ("measured", "simulated") and not codes & NO_TRACE


def _check_hashes(run_folder: Path, manifest: Manifest | None) -> Iterator[Finding]:
    if manifest is None:
        return
    entry = manifest.kept.get(run_folder.name)
    if entry is None:
        told = "The run is in place and not in the manifest: it was put there, or the manifest lost its line. The next "
        yield Finding(
            "problem", str(run_folder), "unlisted", told + "harness run of the campaign adopts it if it is sound."
        )
        return
    found = file_hashes(run_folder)
    for name in sorted(entry.files.keys() | found.keys()):
        place = str(run_folder / name)
        if name not in found:
            yield Finding("problem", place, "file-missing", "The manifest lists this file, and it is not there.")
        elif name not in entry.files and found[name] == entry.files.get(RECORD) and is_backup(name):
            continue  # a migration was ended before its manifest's line
        elif name not in entry.files:
            yield Finding("problem", place, "file-unlisted", "This file came after the run was kept.")
        elif found[name] != entry.files[name]:
            if name == RECORD and found[name] in [entry.files[each] for each in entry.files if is_backup(each)]:
                continue  # and here before its last step: the record is the old one, told as of another version
            told = f"The content is not the one that was kept at {entry.at_utc}: it was changed or cut off."
            yield Finding("problem", place, "changed", told)
