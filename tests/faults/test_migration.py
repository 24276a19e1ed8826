"""A migration that is killed at any write, meets a full disk, or may not write: nothing is lost, the next ends it."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from campaigns import in_child
from full_disk import FullDisk

from harness.errors import OtherSchemaVersion, StoreError
from harness.records import RunRecord
from harness.run.journal import UNTOLD, recovered
from harness.store.files import JOURNAL, RECORD, SUPERSEDED, find_runs, read_record
from harness.store.imports import find_imports
from harness.store.migrate import migrate
from harness.store.validate import check_campaign

OLD = Path(__file__).parents[1] / "store" / "version_1" / "late"
RUN = "pretend-b4-78755189c62e"
SCRATCH = ".scratch-x-999999999-1"  # of a process that is not there
OLD_FILES = {
    f"{RUN}/record.json": f"{RUN}/record.v1.json",
    f"{SUPERSEDED}/{RUN}-1/record.json": f"{SUPERSEDED}/{RUN}-1/record.v1.json",
    f"{SCRATCH}/{JOURNAL}": f"{SCRATCH}/windows.v1.jsonl",
    "imported-ed616c1ad24a.jsonl": "imported-ed616c1ad24a.jsonl.v1",
}


def old_campaign(folder: Path) -> Path:
    """A campaign with everything that can be of an older version: run, earlier attempt, journal, import."""
    shutil.copytree(OLD, folder)
    shutil.copytree(OLD / RUN, folder / SUPERSEDED / f"{RUN}-1")
    record = json.loads((OLD / RUN / RECORD).read_text())
    windows = [json.dumps(window) for window in record["measurements"]]
    so_far = record | {"measurements": [], "summary": None, "status": "failed", "failure": UNTOLD.model_dump()}
    (folder / SCRATCH).mkdir()
    (folder / SCRATCH / JOURNAL).write_text("\n".join(["", json.dumps(so_far), *windows, windows[0][:40]]))
    return folder


def new_files(folder: Path) -> dict[str, bytes]:
    """Everything but the manifest, whose lines bear dates."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if name not in (".lock", "manifest.jsonl")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a migration leaves that nothing disturbed."""
    folder = old_campaign(tmp_path_factory.mktemp("whole") / "late")
    (found,) = migrate(folder, True)
    assert (found.migrated, found.already, found.refused) == (4, 0, [])
    return new_files(folder)


def dies_at(step: int) -> None:
    """This process is killed at its so-many-th step that changes a file; half of what it writes is written."""
    left = [step]

    def spent() -> bool:
        left[0] -= 1
        return left[0] < 0

    def dying(holder: Any, name: str) -> None:
        done = getattr(holder, name)

        def spoiled(*arguments: Any, **named: Any) -> Any:
            if spent():
                os.kill(os.getpid(), signal.SIGKILL)
            return done(*arguments, **named)

        setattr(holder, name, spoiled)

    for holder, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync")):
        dying(holder, name)
    opened = Path.open

    def half(path: Path, *arguments: Any, **named: Any) -> Any:
        file = opened(path, *arguments, **named)
        mode = arguments[0] if arguments else ""
        if mode in ("wb", "ab+") and spent():
            file.write(b'{"check":"0123' if mode == "ab+" else b'{"schema_version":2,"run_i')
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return file

    Path.open = half  # type: ignore[method-assign]


def test_a_migration_killed_at_any_step_loses_nothing_and_is_ended_by_the_next(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    originals = new_files(old_campaign(tmp_path / "old"))
    for step in itertools.count():
        folder = old_campaign(tmp_path / str(step))

        def killed(step: int = step, folder: Path = folder) -> None:
            dies_at(step)
            migrate(folder, True)

        end = in_child(killed)
        for name, backup in OLD_FILES.items():
            places = [folder / name, folder / backup]
            assert originals[name] in [path.read_bytes() for path in places if path.exists()], (step, name)
        for path in (folder / RUN / RECORD, folder / SUPERSEDED / f"{RUN}-1" / RECORD):
            with suppress(OtherSchemaVersion):  # half of one would be another error
                assert read_record(path).run_id == RUN
        if step % 3 == 0:  # each takes its time
            codes = {each.code for each in check_campaign(folder).findings if each.severity == "problem"}
            assert codes <= {"schema-version", "file-unlisted"}, (step, codes)
        (found,) = migrate(folder, True)
        assert (found.migrated + found.already >= 4, found.refused) == (True, [])
        assert new_files(folder) == whole, step
        assert [each for each in check_campaign(folder).findings if each.severity == "problem"] == []
        shutil.rmtree(folder)
        if end == 0:
            break
        assert end == -signal.SIGKILL
    # Four files and their copies, each opened, flushed, renamed, its folder flushed; a line; an import's end.
    assert step == 4 * 2 * 4 + 2 + 1


def test_a_disk_that_is_full_at_any_write_leaves_old_or_new_and_is_told(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    for writes in itertools.count():
        folder = old_campaign(tmp_path / str(writes))
        with pytest.MonkeyPatch.context() as patch:
            FullDisk(writes, patch)
            try:
                migrate(folder, True)
                told = ""
            except StoreError as error:
                told = error.message
        assert not told or ("annot write" in told and "No space left on device" in told)
        assert not list(folder.rglob(".record.part")), writes
        codes = {each.code for each in check_campaign(folder).findings if each.severity == "problem"}
        assert codes <= {"schema-version"}, (writes, codes)
        migrate(folder, True)  # there is room again
        assert new_files(folder) == whole
        if not told and writes:
            break
    assert writes > 8  # the lock's, two for each of four files, the manifest's


def test_a_folder_that_may_only_be_read_is_told_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = old_campaign(tmp_path / "late")
    before = new_files(folder)
    opened = Path.open

    def read_only(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if mode[0] in "wa":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, mode, *arguments, **named)

    monkeypatch.setattr(Path, "open", read_only)
    with pytest.raises(StoreError, match=f"Cannot write results under {folder}: Read-only file system"):
        migrate(folder, True)
    assert migrate(folder, False)[0].migrated == 4
    assert new_files(folder) == before


def test_windows_that_an_older_runner_left_are_kept_by_a_start_after_the_migration_not_before(tmp_path: Path) -> None:
    folder = old_campaign(tmp_path / "late")
    with pytest.raises(OtherSchemaVersion) as error:
        recovered(folder / SCRATCH)
    assert error.value.hint.endswith(f"harness migrate {folder}")
    assert (folder / SCRATCH / JOURNAL).exists()
    migrate(folder, True)
    record = recovered(folder / SCRATCH)
    whole = read_record(folder / RUN / RECORD)
    assert record is not None
    assert isinstance(record, RunRecord)
    assert record.measurements == whole.measurements
    assert record.failure == UNTOLD
    assert len(find_runs([folder])) == 1
    assert len(find_imports([folder])) == 2
