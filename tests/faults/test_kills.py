"""A runner or worker that is killed: nothing half is taken for whole, no completed window is lost, resume finishes.

Here it is killed at instants that are chosen; `scripts/fault_matrix --kills 100` does it at random ones.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from campaigns import Silent, assert_nothing_is_lost, failure, in_child, plan_of, run_here, spec_of, told

from harness.run import journal, runner
from harness.run.executors import InProcessExecutor
from harness.run.journal import recovered, unfinished
from harness.run.order import ordered
from harness.run.runner import run_campaign
from harness.run.worker import execute
from harness.store import files, manifest
from harness.store.files import RECORD, TRACE, new_scratch
from harness.store.manifest import MANIFEST
from harness.store.validate import check_campaign

PLAN = plan_of()


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_before(module: object, name: str, calls: int = 1) -> None:
    """The process is killed at this call of a function."""
    whole, left = getattr(module, name), [calls]

    def spoiled(*arguments: object, **named: object) -> object:
        left[0] -= 1
        return die() if left[0] == 0 else whole(*arguments, **named)

    setattr(module, name, spoiled)


def half_written(path: Path, *_: object) -> None:
    path.write_bytes(b'PAR1 {"schema_version": 1, "run_id": "a-b1')
    die()


def half_an_entry(folder: Path, entry: manifest.Entry) -> None:
    with (folder / MANIFEST).open("ab") as file:
        file.write(entry.model_dump_json().encode()[:40])
    die()


INSTANTS = {
    "in the second window": lambda: dying_before(journal.Journal, "keep", 2),
    "after the third window": lambda: dying_before(files, "write_parquet"),
    "while the record is written": lambda: setattr(files, "_write_whole", lambda path, _: half_written(path)),
    "before the second run is moved into place": lambda: dying_before(manifest, "keep_run", 2),
    "while the first run is entered": lambda: setattr(manifest, "append", half_an_entry),
}


@pytest.mark.parametrize("instant", INSTANTS)
def test_a_runner_killed_at_any_instant_loses_nothing(instant: str, tmp_path: Path) -> None:
    def spoiled() -> None:
        INSTANTS[instant]()
        run_here(PLAN, tmp_path, tmp_path / "log")

    assert in_child(spoiled) == -signal.SIGKILL
    assert_nothing_is_lost(PLAN, tmp_path, tmp_path / "log")


@pytest.mark.parametrize(
    ("dies_before", "status"), [((journal.Journal, "keep", 3), "failed"), ((runner, "rewrite_record", 1), "complete")]
)
def test_what_a_killed_runner_left_says_where_it_stood_and_counts_as_recovered(
    dies_before: tuple[object, str, int], status: str, tmp_path: Path
) -> None:
    def spoiled() -> None:
        dying_before(*dies_before)
        run_here(PLAN, tmp_path, tmp_path / "log")

    assert in_child(spoiled) == -signal.SIGKILL
    result = run_campaign(PLAN, tmp_path, InProcessExecutor(), Silent())
    (left,) = result.recovered
    first = ordered(PLAN.specs, "interleaved", 0)[0].run_id
    assert (left.run_id, left.status) == (first, status)
    assert left.scheduled is not None
    assert (left.scheduled.position, left.scheduled.order, left.scheduled.order_seed) == (1, "interleaved", 0)
    # A run that is complete was not done before this start: it was kept by it.
    assert (len(result.complete), result.skipped) == ((1, 0) if status == "complete" else (2, 0))
    assert not list((tmp_path / "c").glob("*/place.json"))
    assert check_campaign(tmp_path / "c").findings == ()


def test_a_killed_runner_that_nobody_has_buried_leaves_its_scratch_too(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        new_scratch(tmp_path, "run")
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # ended, and still there: a zombie
        assert [path.name.split("-")[1] for path in files.abandoned_scratch(tmp_path)] == ["run"]
    finally:
        os.waitpid(pid, 0)


@pytest.mark.parametrize(("phase", "windows"), [("load model", 0), ("warm-up", 0), ("measure", 2), ("write", 3)])
def test_a_worker_killed_in_any_phase_leaves_its_windows_and_no_record(
    phase: str, windows: int, tmp_path: Path
) -> None:
    spec = spec_of()

    def work() -> None:
        if phase == "write":
            files.write_parquet = half_written
        execute(spec, "c", tmp_path, lambda news: die() if (news.phase, news.repeat or 0) == (phase, windows) else None)

    assert in_child(work) == -signal.SIGKILL
    assert not (tmp_path / RECORD).exists()
    found = unfinished(tmp_path, failure("killed"))
    if windows == 0:
        assert found is None
        return
    assert found is not None
    record, _ = found
    assert (record.status, record.summary, len(record.measurements)) == ("failed", None, windows)
    whole = execute(spec, "c", tmp_path, lambda news: None)  # on the virtual clock it is the same again
    assert record.measurements == whole.measurements[:windows]
    assert recovered(tmp_path) == whole
    assert (tmp_path / TRACE).exists()


def test_random_kills_are_checked_by_what_the_runner_had_told(tmp_path: Path) -> None:
    # The check that the script relies on must fail where a window is lost.
    def spoiled() -> None:
        dying_before(files, "write_parquet")
        run_here(PLAN, tmp_path, tmp_path / "log")

    assert in_child(spoiled) == -signal.SIGKILL
    assert max(told(tmp_path / "log")[0].values()) == 3
    for path in (tmp_path / "c").glob(".scratch-*/windows.jsonl"):
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    with pytest.raises(AssertionError):
        assert_nothing_is_lost(PLAN, tmp_path, tmp_path / "log")
    assert check_campaign(tmp_path / "c").findings == ()
