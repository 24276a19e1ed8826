"""Stored runs asked by name: the index saves reading, and never tells a number that the records do not."""

from __future__ import annotations

import hashlib
import json
import os
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from fakes import run_spec

from harness.records import Failure, RunRecord
from harness.specs import ModelSpec
from harness.stats import Estimate
from harness.store.files import RECORD, write_run
from harness.store.index import Keeping, Kept
from harness.store.queries import StoredRuns

AT_ONCE = Keeping(from_records=1, settled_ns=0)
RUNS = {"a": 30.0, "b": 10.0, "c": 20.0}  # model: joules per generation


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value, confidence=0.95, n=5, method="t", standard_uncertainty=0.0)


def store(folder: Path, model: str, energy_j: float | None, task: str = "text-generation") -> Path:
    """A complete run, or without energy a failed one; its caveats, windows and sources do not matter here."""
    spec = run_spec(model=ModelSpec(id=model), task=task)
    content = {
        "run_id": spec.run_id,
        "campaign": folder.name,
        "origin": "simulated",
        "spec": spec,
        "environment": None,
        "started_at_utc": "2025-01-01T00:00:00+00:00",
        "finished_at_utc": "2025-01-01T00:01:00+00:00",
    }
    if energy_j is None:
        content |= {"status": "failed", "failure": Failure(kind="timeout", message="Too long.", phase="measure")}
    else:
        each = estimate(energy_j)
        summary = dict.fromkeys(("gpu_energy_j", "gpu_repeatability_j", "gpu_idle_j", "gpu_above_idle_j"), each)
        counts = {"generations": 10, "windows": 5, "rejected_windows": 0, "duration_s": 1.0, "power_w": energy_j}
        rest = {"node_gpus_energy_j": each, "node_energy_j": None, "target_reached": True}
        content |= {"status": "complete", "summary": summary | counts | rest}
    run = folder / spec.run_id
    write_run(run, RunRecord.model_validate(content), None)
    return run


class Keeper:
    """Keeps the model's name of each record, and counts how many it was given."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, record: RunRecord) -> Kept:
        self.asked += 1
        return Kept(record.spec.task if record.summary else None, record.spec.model.id)


@pytest.fixture
def results(tmp_path) -> Path:
    for model, energy_j in RUNS.items():
        store(tmp_path / "one", model, energy_j)
    return tmp_path


def open_runs(folder: Path, asked: int, keeping: Keeping = AT_ONCE) -> StoredRuns:
    """The runs, of which so many had to be read."""
    keep = Keeper()
    runs = StoredRuns([folder], keep, keeping)
    assert keep.asked == asked
    return runs


def index_of(folder: Path) -> Path:
    (index,) = folder.glob(".index-*.parquet")
    return index


def models(runs: StoredRuns) -> list[str]:
    return [run.content for run in runs.ranking()]


def test_questions_are_answered_from_the_records(results):
    summary = store(results / "two", "d", 5.0, task="summarization")
    failed = store(results / "two", "e", None)
    runs = open_runs(results, asked=5)
    assert [(run.content, run.place, run.placed) for run in runs.ranking()] == [
        ("d", 1, 1),
        ("b", 1, 3),
        ("c", 2, 3),
        ("a", 3, 3),
    ]
    assert [run.content for run in runs.ranking(["one"], best=1, worst=1)] == ["b", "a"]
    assert [run.content for run in runs.ranking(["b-b1", "two"])] == ["d", "b"]
    assert [run.folder for run in runs.unplaced()] == [failed]
    assert runs.unplaced(["one"]) == []
    assert runs.least_energy_j() == {"text-generation": {"a": 30.0, "b": 10.0, "c": 20.0}, "summarization": {"d": 5.0}}
    assert runs.named("two") == sorted([summary, failed])
    assert runs.named(f"two/{summary.name}") == runs.named("two/d") == [summary]
    assert runs.named("one/d") == runs.named("tw") == []
    assert [run.content for run in runs.ranking(["one/b", "two/d"])] == ["d", "b"]
    assert runs.of_model("d") == [summary]
    assert {"one", "two", summary.name} < set(runs.names())
    listed = runs.listing()
    assert [row["campaign"] for row in listed] == ["one"] * 3 + ["two"] * 2
    assert {row["failure"] for row in listed} == {None, "timeout"}


def test_only_what_changed_is_read_again(results):
    assert models(open_runs(results, asked=3)) == ["b", "c", "a"]
    assert models(open_runs(results, asked=0)) == ["b", "c", "a"]
    new = store(results / "two", "d", 25.0)
    assert models(open_runs(results, asked=1)) == ["b", "c", "d", "a"]
    for path in (new / RECORD, new):
        path.unlink() if path.is_file() else path.rmdir()
    assert models(open_runs(results, asked=0)) == ["b", "c", "a"]
    (results / "one").rename(results / "moved")  # the campaign's name is the record's, its folder the one it lies in
    assert open_runs(results, asked=3).named("one")[0].parent.name == "moved"


def test_a_record_changed_behind_its_back_is_read_again(results):
    open_runs(results, asked=3)
    path = next(results.glob(f"one/b-*/{RECORD}"))
    before = path.stat()
    path.write_text(path.read_text().replace("10.0", "99.0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    runs = open_runs(results, asked=1)
    assert models(runs) == ["c", "a", "b"]
    assert runs.least_energy_j()["text-generation"]["b"] == 99.0


def test_a_broken_record_is_told_every_time_and_hides_no_other(results):
    open_runs(results, asked=3)
    path = next(results.glob(f"one/b-*/{RECORD}"))
    path.write_text(json.dumps({"schema_version": 99}))
    for _ in range(2):
        runs = open_runs(results, asked=0)
        assert models(runs) == ["c", "a"]
        assert [error.message for error in runs.unreadable(["one"])] == [
            f"{path} has schema version 99: a newer harness wrote it, and this one reads version 2."
        ]
        assert len(runs.unreadable()) == len(runs.unreadable(["b-b1"])) == 1
        assert runs.unreadable(["two", "a-b1"]) == []


def test_a_broken_index_is_made_anew(results):
    open_runs(results, asked=3)
    whole = index_of(results).read_bytes()
    flipped = whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]
    for damaged in (flipped, whole[:-9], b""):
        index_of(results).write_bytes(damaged)
        assert models(open_runs(results, asked=3)) == ["b", "c", "a"]
    assert models(open_runs(results, asked=0)) == ["b", "c", "a"]
    foreign = b"not Parquet, under the name of its content"
    index_of(results).rename(results / f".index-{hashlib.sha256(foreign).hexdigest()[:16]}.parquet").write_bytes(
        foreign
    )
    assert models(open_runs(results, asked=3)) == ["b", "c", "a"]


def test_few_records_fresh_ones_and_a_folder_without_room_do_without(results):
    open_runs(results, asked=3, keeping=Keeping())
    fresh = Keeping(from_records=1, settled_ns=10**12)
    open_runs(results, asked=3, keeping=fresh)
    assert models(open_runs(results, asked=3, keeping=fresh)) == ["b", "c", "a"]
    index_of(results).unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # a full disk
    try:
        assert models(open_runs(results, asked=3)) == ["b", "c", "a"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(results.glob(".*"))


def test_folders_that_overlap_name_each_run_once(results):
    keep = Keeper()
    runs = StoredRuns([next(results.glob("one/a-*")), results, results / "one"], keep, AT_ONCE)
    assert sorted(models(runs)) == ["a", "b", "c"]
    assert all((run.folder / RECORD).exists() for run in runs.ranking())


def _ranking(folder: Path) -> list[str]:
    return models(StoredRuns([folder], Keeper(), AT_ONCE))


def test_processes_at_once_agree_and_leave_a_whole_index(results):
    with ProcessPoolExecutor(3) as pool:
        assert list(pool.map(_ranking, [results] * 6)) == [["b", "c", "a"]] * 6
    open_runs(results, asked=0)
    assert not list(results.glob(".scratch-*"))
