"""Small campaigns on the virtual clock, an executor that leaves what it is told, and runners that are killed."""

from __future__ import annotations

import functools
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.measure.base import Progress
from harness.power.trace import PowerTrace
from harness.records import Failure, RunRecord
from harness.run.config import Plan
from harness.run.executors import InProcessExecutor
from harness.run.retries import Attempt
from harness.run.runner import run_campaign
from harness.run.worker import execute
from harness.specs import RunSpec
from harness.store.files import RECORD, SUPERSEDED, read_record, read_trace, write_run
from harness.store.manifest import read_manifest
from harness.store.validate import check_campaign

SHORT = {
    "window_s": 1.0,
    "null_window_s": 0.5,
    "idle_s": 0.5,
    "settle_s": 0.1,
    "warm_up_block_s": 0.5,
    "warm_up_max_s": 0.0,
    "min_repeats": 2,
    "max_repeats": 3,
    "target_relative_halfwidth": 1e-9,
    "sample_period_s": 0.1,
}


def spec_of(model: str = "m", batch_size: int = 1, gpu: int = 0, node: Any = (), **changes: Any) -> RunSpec:
    """A run of some virtual seconds."""
    content = {
        "task": "text-generation",
        "model": {"id": model},
        "engine": "simulated",
        "text": {"new_tokens": 10},
        "batch_size": batch_size,
        "device": "cpu",
        "sources": {
            "kind": "simulated",
            "gpus": [gpu],
            "node": {"clock": "virtual", "gpu_count": 2, "steady": True, "counter_period_s": 0.02} | dict(node),
        },
        "measure": SHORT,
    }
    return RunSpec.model_validate(content | changes)


@functools.cache
def a_complete_run() -> tuple[RunRecord, PowerTrace]:
    """Measured once."""
    with tempfile.TemporaryDirectory() as folder:
        record = execute(spec_of(), "c", Path(folder), lambda progress: None)
        assert record.status == "complete", record.failure
        trace = read_trace(Path(folder), record)
    assert trace is not None
    return record, trace


class Silent:
    """A listener that writes one line for each piece of news into a file, if it has one."""

    def __init__(self, log: Path | None = None) -> None:
        self._log = log
        self.started: list[Attempt] = []

    def _note(self, *words: object) -> None:
        if self._log is not None:
            with self._log.open("a") as file:
                file.write(" ".join(map(str, words)) + "\n")

    def run_started(self, index: int, total: int, attempt: Attempt) -> None:
        self.started.append(attempt)
        self._note("started", attempt.spec.run_id)

    def run_progress(self, spec: RunSpec, progress: Progress) -> None:
        if progress.repeat is not None:
            self._note("window", spec.run_id, progress.repeat)

    def run_finished(self, record: RunRecord, again: bool) -> None:
        self._note("finished", record.run_id)


class Scripted:
    """An executor that measures nothing: each run ends as `outcome` says, None for complete.

    `meet`: called in the middle of every run, from its thread.
    """

    def __init__(
        self,
        outcome: Callable[[RunSpec, int], Failure | None] = lambda spec, attempt: None,
        meet: Callable[[RunSpec, Callable[[Progress], None]], None] = lambda spec, report: None,
    ) -> None:
        self._outcome, self._meet = outcome, meet
        self.calls: list[str] = []
        self.running: set[str] = set()
        self.together: set[frozenset[str]] = set()
        self._lock = threading.Lock()
        a_complete_run()  # not by two threads at once: simulated NVML is one for the process

    def run(self, spec: RunSpec, campaign: str, scratch: Path, report: Callable[[Progress], None]) -> RunRecord:
        with self._lock:
            self.calls.append(spec.run_id)
            self.running.add(spec.run_id)
            self.together.add(frozenset(self.running))
        self._meet(spec, report)
        record, trace = a_complete_run()
        update: dict[str, Any] = {"spec": spec, "run_id": spec.run_id, "campaign": campaign}
        failure = self._outcome(spec, self.calls.count(spec.run_id))
        if failure is not None:
            update |= {"status": "failed", "summary": None, "failure": failure}
        record = record.model_copy(update=update)
        write_run(scratch, record, trace)
        with self._lock:
            self.running.discard(spec.run_id)
        return record

    def close(self) -> None: ...


def failure(kind: str, message: str = "It failed.") -> Failure:
    return Failure(kind=kind, message=message, phase="measure")


# --- runners that are killed ---


def plan_of(*specs: RunSpec) -> Plan:
    return Plan("c", specs or tuple(spec_of(model) for model in ("a", "b")))


def in_child(work: Callable[[], object], killed_after_s: float | None = None) -> int:
    """Do it in a process of its own, which may be killed. Returns its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    if killed_after_s is not None:
        time.sleep(killed_after_s)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_here(plan: Plan, results: Path, log: Path) -> None:
    """What the runner does, measuring in its own process."""
    run_campaign(plan, results, InProcessExecutor(), Silent(log))


def told(log: Path) -> tuple[dict[str, int], set[str]]:
    """What a runner had told before its end: windows of each run it began, and the runs that it finished."""
    windows: dict[str, int] = {}
    finished = set()
    for line in log.read_text().splitlines() if log.exists() else ():
        what, run_id, *count = line.split()
        if what == "finished":
            finished.add(run_id)
        else:
            windows[run_id] = int(count[0]) if count else 0
    return windows, finished


def assert_nothing_is_lost(plan: Plan, results: Path, log: Path) -> int:
    """After a kill: nothing that is there is wrong, the next start finishes, and every window told of is kept.

    Returns the number of windows of unfinished runs that were kept.
    """
    folder = results / plan.campaign
    windows, finished = told(log)
    if folder.exists():
        found = check_campaign(folder).findings
        assert [finding for finding in found if finding.severity == "problem"] == []
    for run_id in finished:
        assert read_record(folder / run_id / RECORD).status == "complete"
    resumed = log.with_name(log.name + "-resumed")
    assert in_child(lambda: run_here(plan, results, resumed)) == 0
    for spec in plan.specs:
        assert read_record(folder / spec.run_id / RECORD).status == "complete"
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        "manifest.jsonl",
        *(spec.run_id for spec in plan.specs),
    }
    check = check_campaign(folder)
    assert check.findings == ()
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.kept.keys() == {spec.run_id for spec in plan.specs}
    again, _ = told(resumed)
    assert not again.keys() & finished
    kept = 0
    for run_id in again.keys() & windows.keys():
        aside = [read_record(path / RECORD) for path in (folder / SUPERSEDED).glob(f"{run_id}-*")]
        most = max((len(record.measurements) for record in aside), default=0)
        assert most >= windows[run_id], (run_id, windows, most)
        assert all(record.status == "failed" and record.failure is not None for record in aside)
        kept += most
    return kept
