"""A disk that is full at any write, and files that are cut off or changed at any byte."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from campaigns import Scripted, Silent, plan_of, run_here, spec_of
from full_disk import FullDisk, Limited
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import StoreError
from harness.run.journal import SAMPLES_FILE, recovered
from harness.run.runner import pending, run_campaign
from harness.run.worker import execute
from harness.store import files
from harness.store.files import RECORD, TRACE, read_record
from harness.store.manifest import MANIFEST
from harness.store.validate import check_campaign

PLAN = plan_of(spec_of("a"), spec_of("b"))


def test_a_disk_that_is_full_at_any_write_costs_no_finished_run_and_leaves_no_half_one(tmp_path: Path) -> None:
    for writes in itertools.count():
        results, executor = tmp_path / str(writes), Scripted()
        with pytest.MonkeyPatch.context() as patch:
            disk = FullDisk(writes, patch)
            told = ""
            try:
                run_campaign(PLAN, results, executor, Silent())
            except StoreError as error:
                told = error.message
        assert not told or ("annot write" in told and "No space left on device" in told)
        folder = results / "c"
        codes = {finding.code for finding in check_campaign(folder).findings}
        assert codes <= {"unfinished", "no-manifest"}, (writes, codes)
        again = Scripted()
        run_campaign(PLAN, results, again, Silent())  # there is room again
        assert pending(PLAN, results) == []
        assert writes % 3 or check_campaign(folder).findings == ()
        assert len(executor.calls) + len(again.calls) <= 3, writes  # what was whole in its scratch folder is not redone
        if disk.left > 0:
            break
    assert writes >= 8  # lock, starts, two traces, records, both entries


class SmallDisk:
    """One folder may hold so many bytes. A write beyond them leaves what fits and fails."""

    def __init__(self, folder: Path, size_bytes: int, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._size_bytes = folder, size_bytes
        self._open, self._parquet = Path.open, files.write_parquet
        patch.setattr(Path, "open", lambda path, *a, **k: self._opened(path, *a, **k))
        patch.setattr(files, "write_parquet", self._write_parquet)

    def _room_bytes(self) -> int:
        return self._size_bytes - sum(file.stat().st_size for file in self._folder.iterdir())

    def _opened(self, path: Path, *rest: Any, **named: Any) -> Any:
        file = self._open(path, *rest, **named)
        if not file.writable():
            return file
        whole = file.write

        def limited(content: Any) -> int:
            room_bytes = self._room_bytes()
            if len(content) > room_bytes:
                whole(content[:room_bytes])
                file.flush()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return whole(content)

        return Limited(file, limited)

    def _write_parquet(self, path: Path, *rest: Any) -> None:
        self._parquet(path, *rest)
        if self._room_bytes() < 0:
            path.unlink()
            raise StoreError(f"Cannot write {path}: {os.strerror(errno.ENOSPC)}.", "Free some space.")


@pytest.mark.parametrize(("room_bytes", "whole"), [(60_000, True), (41_000, True), (24_000, False)])
def test_samples_make_room_for_the_record_and_else_for_every_window(
    tmp_path: Path, room_bytes: int, whole: bool
) -> None:
    """The samples take 12,000 bytes, a trace 3,000, the record 22,000, the journal 15,000."""
    (tmp_path / SAMPLES_FILE).write_bytes(bytes(12_000))
    with pytest.MonkeyPatch.context() as patch:
        SmallDisk(tmp_path, room_bytes, patch)
        fails = pytest.raises(StoreError, match=r"No space left on device\.")
        with contextlib.nullcontext() if whole else fails:
            execute(spec_of(), "c", tmp_path, lambda progress: None)
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert (RECORD in sizes) == whole
    record = recovered(tmp_path)
    assert record is not None
    assert len(record.measurements) == 3
    if whole:
        assert [caveat.code for caveat in record.caveats].count("trace-lost") == (room_bytes < 60_000)
    else:
        assert record.failure is not None
        assert record.failure.message.endswith("it was stopped or killed, or the disk was full.")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("kept")
    run_campaign(PLAN, results, Scripted(), Silent())
    return results / "c"


@settings(max_examples=15)
@given(st.sampled_from([RECORD, TRACE, MANIFEST]), st.floats(0, 1, exclude_max=True), st.integers(-1, 255))
def test_a_file_that_is_cut_off_or_changed_at_any_byte_is_named(
    kept: Path, tmp_path_factory: pytest.TempPathFactory, name: str, share: float, byte: int
) -> None:
    folder = tmp_path_factory.mktemp("spoiled") / "c"
    shutil.copytree(kept, folder)
    run_id = PLAN.specs[0].run_id
    path = folder / name if name == MANIFEST else folder / run_id / name
    content = path.read_bytes()
    place = int(share * len(content))
    spoiled = content[:place] if byte < 0 else content[:place] + bytes([byte]) + content[place + 1 :]
    path.write_bytes(spoiled)
    check = check_campaign(folder)
    if spoiled == content:
        assert check.findings == ()
    else:
        assert check.problems > 0
        assert any(str(path.parent) in finding.place for finding in check.findings)
    if name == RECORD and spoiled != content:
        assert any(finding.code == "changed" for finding in check.findings)
        try:
            assert read_record(path).run_id == run_id or check.problems > 1
        except StoreError:
            assert any(finding.code == "unreadable" for finding in check.findings)


def test_a_number_changed_by_hand_breaks_an_invariant_even_without_a_manifest(kept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(kept, folder)
    (folder / MANIFEST).unlink()
    assert {finding.code for finding in check_campaign(folder).findings} == {"no-manifest"}
    path = folder / PLAN.specs[0].run_id / RECORD
    record = read_record(path)
    window, *others = record.measurements
    assert record.summary is not None
    (first, second) = window.sources
    tampered = {
        "energy": {"measurements": (window.model_copy(update={"sources": (_times(first, 2.0), second)}), *others)},
        "power": {"measurements": (window.model_copy(update={"sources": (_times(first, 0.01), second)}), *others)},
        "summary": {"measurements": (window.model_copy(update={"rejected": True}), *others)},
        "tokens": {"measurements": (_with_work(window, output_tokens=window.work.output_tokens - 1), *others)},
        "requests": {"measurements": (_with_work(window, requests=int(window.work.requests) + 1), *others)},
        "time": {"measurements": (window.model_copy(update={"busy_s": window.busy_s / 2}), *others)},
        "windows": {"measurements": (others[0], window, *others[1:])},
        "run-id": {"spec": record.spec.model_copy(update={"batch_size": 2})},
        "uncertainty": {
            "measurements": (
                window.model_copy(update={"sources": (first.model_copy(update={"uncertainty_j": 1e-3}), second)}),
                *others,
            )
        },
    }
    for code, update in tampered.items():
        path.write_text(record.model_copy(update=update).model_dump_json())
        assert code in {finding.code for finding in check_campaign(folder).findings}, code
    less = record.summary.model_copy(update={"power_w": record.summary.power_w * 0.99})
    path.write_text(record.model_copy(update={"summary": less}).model_dump_json())
    (finding,) = [each for each in check_campaign(folder).findings if each.severity == "problem"]
    assert "Mean power times time is" in finding.message
    path.unlink()
    shutil.copy(kept / MANIFEST, folder / MANIFEST)
    assert "run-missing" in {finding.code for finding in check_campaign(folder).findings}


def test_a_number_of_the_summary_alone_is_no_less_seen(kept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(kept, folder)
    path = folder / PLAN.specs[0].run_id / RECORD
    record = read_record(path)
    summary = record.summary
    assert summary is not None
    assert summary.energy_j_per_output_token is not None
    # 10 tokens to a generation: the shown number of a tenth is what the reviewer wrote; an interval alone is seen too.
    per_token = summary.energy_j_per_output_token
    assert per_token.value * 10 == pytest.approx(summary.gpu_energy_j.value, rel=1e-9)
    tampered = (
        ("per output token", {"energy_j_per_output_token": per_token.scaled(0.1)}),
        ("per output token", {"energy_j_per_output_token": per_token.model_copy(update={"low": per_token.value})}),
        ("every GPU", {"node_gpus_energy_j": summary.node_gpus_energy_j.scaled(0.1)}),
        ("the node", {"node_energy_j": summary.node_gpus_energy_j.scaled(0.1)}),
        ("per image", {"energy_j_per_image": per_token}),
    )
    for words, update in tampered:
        changed = record.model_copy(update={"summary": summary.model_copy(update=update)})
        path.write_text(changed.model_dump_json())
        found = [finding for finding in check_campaign(folder).findings if finding.code != "changed"]
        assert [words in finding.message for finding in found] == [True], update


def test_only_a_sound_run_of_this_campaign_is_adopted_and_stays_marked(kept: Path, tmp_path: Path) -> None:
    results = tmp_path
    folder = results / "c"
    shutil.copytree(kept, folder)
    manifest = folder / MANIFEST
    *lines, last = manifest.read_bytes().splitlines(keepends=True)
    run_id = json.loads(last)["entry"]["run_id"]
    manifest.write_bytes(b"".join(lines))
    path = folder / run_id / RECORD
    content = path.read_text()
    record = read_record(path)
    assert record.summary is not None
    shown = record.summary.energy_j_per_output_token
    assert shown is not None
    tenth = record.summary.model_copy(update={"energy_j_per_output_token": shown.scaled(0.1)})
    strangers = {
        "stated per output token": record.model_copy(update={"summary": tenth}),
        "of the campaign other": record.model_copy(update={"campaign": "other"}),
    }
    for words, stranger in strangers.items():
        path.write_text(stranger.model_dump_json())
        executor = Scripted()
        with pytest.raises(StoreError, match=f"is not in the manifest, or .* is not as a runner.*{words}"):
            run_campaign(PLAN, results, executor, Silent())
        assert (executor.calls, manifest.read_bytes()) == ([], b"".join(lines))
        assert "unlisted" in {finding.code for finding in check_campaign(folder).findings}

    path.write_text(content)
    result = run_campaign(PLAN, results, Scripted(), Silent())
    assert (result.adopted, result.skipped) == ([run_id], 2)
    (note,) = check_campaign(folder).findings
    assert (note.severity, note.code) == ("note", "adopted")
    assert run_id in note.message
    assert run_campaign(PLAN, results, Scripted(), Silent()).adopted == []

    manifest.write_bytes(b"")  # emptied: nobody knows any run's past
    assert sorted(run_campaign(PLAN, results, Scripted(), Silent()).adopted) == sorted(s.run_id for s in PLAN.specs)


def test_a_campaign_under_another_name_is_told_and_no_problem_while_its_manifest_knows_the_runs(
    kept: Path, tmp_path: Path
) -> None:
    shutil.copytree(kept, tmp_path / "renamed")
    assert {(each.severity, each.code) for each in check_campaign(tmp_path / "renamed").findings} == {
        ("note", "campaign")
    }
    shutil.copytree(kept / PLAN.specs[0].run_id, tmp_path / "d" / PLAN.specs[0].run_id)
    assert [each.code for each in check_campaign(tmp_path / "d").findings if each.severity == "problem"] == ["campaign"]


def _times(source: Any, factor: float) -> Any:
    return source.model_copy(update={"energy_j": source.energy_j * factor})


def _with_work(window: Any, **changes: int) -> Any:
    return window.model_copy(update={"work": window.work.model_copy(update=changes)})


def test_what_another_zone_or_clock_says_changes_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")  # +05:45
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    run_here(plan_of(spec_of("a")), tmp_path, tmp_path / "log")
    record = read_record(tmp_path / "c" / spec_of("a").run_id / RECORD)
    assert record.started_at_utc.endswith("+00:00")
    assert check_campaign(tmp_path / "c").findings == ()


def test_a_run_is_on_the_disk_before_the_manifest_says_so_and_that_before_it_is_moved_into_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        done.append(f"rename to {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    run_campaign(plan_of(spec_of("a")), tmp_path / "results", Scripted(), Silent())
    run_id = spec_of("a").run_id
    moved = done.index(f"rename to {run_id}")
    assert done[moved:] == [f"rename to {run_id}", "sync c", "sync results"]
    *files_of_it, folder, campaign, entered = done[moved - 5 : moved]
    assert set(files_of_it) == {f"sync {RECORD}", f"sync {TRACE}"}
    assert folder.startswith(f"sync .scratch-{run_id}-")
    assert (campaign, entered) == ("sync c", f"sync {MANIFEST}")


def test_a_line_that_was_removed_accuses_its_own_run_alone_and_the_next_start_goes_on_from_there(
    kept: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "c"
    shutil.copytree(kept, folder)
    manifest = folder / MANIFEST
    start, first, second = manifest.read_bytes().splitlines(keepends=True)
    removed, neighbour = (json.loads(line)["entry"]["run_id"] for line in (first, second))
    manifest.write_bytes(start + second)
    found = check_campaign(folder).findings
    assert {(each.code, Path(each.place).name) for each in found} == {
        ("unlisted", removed),
        ("manifest-damaged", MANIFEST),
    }

    record = folder / neighbour / RECORD
    content = record.read_bytes()
    record.write_bytes(content + b"\n")  # whole and in order, but not what even the doubtful line says
    assert ("changed", RECORD) in {(each.code, Path(each.place).name) for each in check_campaign(folder).findings}
    with pytest.raises(StoreError, match="or in a damaged line of it"):
        run_campaign(PLAN, tmp_path, Scripted(), Silent())
    record.write_bytes(content)

    assert sorted(run_campaign(PLAN, tmp_path, Scripted(), Silent()).adopted) == sorted([removed, neighbour])
    found = check_campaign(folder).findings
    assert {(each.severity, each.code) for each in found} == {("note", "manifest-mended"), ("note", "adopted")}
    size = manifest.stat().st_size
    assert run_campaign(PLAN, tmp_path, Scripted(), Silent()).adopted == []
    assert manifest.stat().st_size == size

    lines = manifest.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"2026", b"2027", 1)  # the same line once more: what was mended was another
    manifest.write_bytes(b"".join(lines))
    assert "manifest-damaged" in {each.code for each in check_campaign(folder).findings}


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_line_of_anything_accuses_no_other_and_what_is_appended_after_it_follows(
    kept: Path, tmp_path: Path, place: int
) -> None:
    folder = tmp_path / "c"
    shutil.copytree(kept, folder)
    manifest = folder / MANIFEST
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join([*lines[:place], b"anything\n", *lines[place:]]))
    (problem,) = check_campaign(folder).findings
    assert (problem.code, problem.message.split()[1]) == ("manifest-damaged", str(place + 1))
    assert run_campaign(PLAN, tmp_path, Scripted(), Silent()).adopted == []
    assert [each.code for each in check_campaign(folder).findings] == ["manifest-mended"]
