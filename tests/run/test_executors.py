"""What a run's own process group protects against: hanging, dying, leaving children behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from campaigns import SHORT, spec_of

from harness.measure.base import Progress
from harness.records import RunRecord
from harness.run import fork_server
from harness.run.executors import SubprocessExecutor
from harness.simulated_node import SimulatedNodeSpec
from harness.specs import MeasureSpec, ModelSpec, PromptSpec, RunSpec, SourcesSpec, TextOptions
from harness.store.files import RECORD, read_record

ROOT = Path(__file__).resolve().parents[2]
# The config reader would never let it through: there is no such user, and the worker does not expect it.
IMPOSSIBLE = PromptSpec(kind="file", path="~no-such-user/b.txt")


def endless(timeout_s: float = 60.0) -> RunSpec:
    """A run on the real clock that would idle for ten minutes."""
    return RunSpec(
        task="text-generation",
        model=ModelSpec(id="m"),
        engine="simulated",
        text=TextOptions(),
        device="cpu",
        sources=SourcesSpec(kind="simulated", node=SimulatedNodeSpec()),
        measure=MeasureSpec(idle_s=600),
        timeout_s=timeout_s,
    )


BEFORE: set[int] = set()


@pytest.fixture(autouse=True)
def children_of_other_tests() -> None:
    """Other tests of this process may have left one that stays, like multiprocessing's resource tracker."""
    BEFORE.clear()
    BEFORE.update(child.pid for child in psutil.Process().children(recursive=True))


def own_children() -> list[psutil.Process]:
    """Those that this test has started."""
    return [child for child in psutil.Process().children(recursive=True) if child.pid not in BEFORE]


def run(spec: RunSpec, scratch: Path, at_idle: object = None) -> tuple[RunRecord, list[psutil.Process]]:
    seen: list[psutil.Process] = []

    def report(progress: Progress) -> None:
        if progress.phase == "idle":
            seen.extend(own_children())
            if callable(at_idle):
                at_idle(seen)

    with closing(SubprocessExecutor()) as executor:
        return executor.run(spec, "c", scratch, report), seen


def test_a_run_that_hangs_is_stopped_with_all_it_started_and_recorded_as_timeout(tmp_path: Path) -> None:
    record, children = run(endless(timeout_s=6), tmp_path)
    assert record.failure is not None
    assert (record.failure.kind, record.failure.phase) == ("timeout", "idle")
    assert record.failure.message == "The run was stopped after timeout_s = 6 s."
    assert len(children) >= 3  # fork server, worker and sampler
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_worker_that_is_killed_is_recorded_with_the_signal_and_the_likely_reason(tmp_path: Path) -> None:
    def kill_worker(children: list[psutil.Process]) -> None:
        forked = {child.pid: child for child in children if "harness.run.fork_server" in child.cmdline()}
        (worker,) = [child for child in forked.values() if child.ppid() in forked]
        os.kill(worker.pid, signal.SIGKILL)

    record, children = run(endless(), tmp_path, kill_worker)
    assert record.failure is not None
    assert (record.failure.kind, record.failure.phase) == ("killed", "idle")
    assert record.failure.message == "The worker was killed by SIGKILL."
    assert "memory" in record.failure.hint
    assert not psutil.wait_procs(children, timeout=10)[1]  # the sampler too


def test_a_worker_that_is_killed_between_two_windows_leaves_those_it_had_in_a_failed_record(tmp_path: Path) -> None:
    long = spec_of(measure=SHORT | {"min_repeats": 60, "max_repeats": 60})  # on the virtual clock: some seconds
    told = []

    def report(progress: Progress) -> None:
        if progress.repeat is not None:
            told.append(progress.repeat)
            if progress.repeat == 2:
                (pid,) = executor._working.values()
                os.kill(pid, signal.SIGKILL)

    with closing(SubprocessExecutor()) as executor:
        record = executor.run(long, "c", tmp_path, report)
    assert (record.status, record.summary) == ("failed", None)
    assert record.failure is not None
    assert (record.failure.kind, record.failure.phase) == ("killed", "measure")
    assert len(told) <= len(record.measurements) < 60
    assert read_record(tmp_path / RECORD) == record
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_an_exception_in_a_worker_is_recorded_with_its_traceback(tmp_path: Path) -> None:
    record, _ = run(endless().model_copy(update={"prompts": IMPOSSIBLE}), tmp_path)
    assert record.failure is not None
    assert record.failure.kind == "exception"
    assert record.failure.phase == "read prompts"
    assert "in file_texts" in record.failure.stderr_tail


def test_one_server_serves_run_after_run_and_ends_when_closed(tmp_path: Path) -> None:
    quick = endless().model_copy(update={"prompts": IMPOSSIBLE})
    servers = []
    with closing(SubprocessExecutor(preload=("safetensors", "no_such_module"))) as executor:
        for number in range(3):
            scratch = tmp_path / str(number)
            scratch.mkdir()
            record = executor.run(quick, "c", scratch, lambda progress: None)
            assert record.failure is not None
            assert record.failure.kind == "exception"
            servers.append([c for c in own_children() if "harness.run.fork_server" in c.cmdline()])
        assert "/safetensors/" in Path(f"/proc/{servers[0][0].pid}/maps").read_text(encoding="utf-8")
    assert servers[0] == servers[1] == servers[2]
    assert len(servers[0]) == 1
    assert not servers[0][0].is_running()


def test_a_server_that_is_killed_costs_one_run_and_is_replaced(tmp_path: Path) -> None:
    def kill_server(children: list[psutil.Process]) -> None:
        forked = {child.pid: child for child in children if "harness.run.fork_server" in child.cmdline()}
        (server,) = [child for child in forked.values() if child.ppid() not in forked]
        server.kill()

    seen: list[psutil.Process] = []

    def report(progress: Progress) -> None:
        if progress.phase == "idle" and not seen:
            seen.extend(own_children())
            kill_server(seen)

    with closing(SubprocessExecutor()) as executor:
        first, second = tmp_path / "first", tmp_path / "second"
        first.mkdir()
        second.mkdir()
        record = executor.run(endless(), "c", first, report)
        assert record.failure is not None
        assert record.failure.kind == "killed"
        assert record.failure.message == "The process that workers are forked from ended, and the worker with it."
        assert not psutil.wait_procs(seen, timeout=10)[1]  # its worker and the sampler too
        record = executor.run(endless(timeout_s=3), "c", second, lambda progress: None)
        assert record.failure is not None
        assert record.failure.kind == "timeout"


def test_a_server_that_is_stopped_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    seen: list[psutil.Process] = []

    def report(progress: Progress) -> None:
        if progress.phase == "idle":
            seen.extend(own_children())
            forked = {child.pid: child for child in seen if "harness.run.fork_server" in child.cmdline()}
            (server,) = [child for child in forked.values() if child.ppid() not in forked]
            server.suspend()
            raise KeyboardInterrupt

    with closing(SubprocessExecutor()) as executor, pytest.raises(KeyboardInterrupt):
        executor.run(endless(), "c", tmp_path, report)
    assert len(seen) >= 3
    assert not psutil.wait_procs(seen, timeout=10)[1]


def test_a_server_that_is_stopped_holds_up_a_run_no_longer_than_its_time(tmp_path: Path) -> None:
    stopped: list[psutil.Process] = []

    def report(progress: Progress) -> None:
        if progress.phase == "idle" and not stopped:
            servers = [child for child in own_children() if "harness.run.fork_server" in child.cmdline()]
            stopped.extend(child for child in servers if child.ppid() == os.getpid())
            stopped[0].suspend()

    with closing(SubprocessExecutor()) as executor:
        record = executor.run(endless(timeout_s=2), "c", tmp_path, report)
    assert record.failure is not None
    assert record.failure.kind == "timeout"
    assert not psutil.wait_procs(stopped, timeout=10)[1]


def test_a_folder_that_holds_another_harness_does_not_run_in_our_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("raise SystemExit('another harness')")
    (tmp_path / "statistics.py").write_text("raise SystemExit('another module')")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.chdir(tmp_path)
    record, _ = run(endless(timeout_s=3), scratch)
    assert record.failure is not None
    assert (record.failure.kind, record.failure.phase) == ("timeout", "idle")


def test_a_module_that_opens_a_gpu_is_left_to_the_workers_and_the_others_stay_imported(tmp_path: Path) -> None:
    (tmp_path / "opens_one.py").write_text(f"file = open({str(tmp_path / 'nvidia-fake')!r}, 'w')", encoding="utf-8")
    (tmp_path / "fails.py").write_text("raise ValueError('no')", encoding="utf-8")
    ours, theirs = socket.socketpair()
    # The first start takes this file for a GPU's; the one after it, without the module, opens none.
    start = f"import sys; from harness.run import fork_server as f; f.GPU_FILES = {str(tmp_path / 'nvidia')!r}; "
    command = [sys.executable, "-c", start + "f.main(sys.argv[1:])", str(theirs.fileno())]
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])
    with theirs:
        server = subprocess.Popen(
            [*command, "fails", "opens_one", "safetensors"],
            pass_fds=(theirs.fileno(),),
            env=os.environ | {"PYTHONPATH": paths},
        )
    with ours:
        length = fork_server.NUMBER.unpack(ours.recv(fork_server.NUMBER.size, socket.MSG_WAITALL))[0]
        told = json.loads(ours.recv(length, socket.MSG_WAITALL))
        maps = Path(f"/proc/{server.pid}/maps").read_text(encoding="utf-8")
    assert server.wait(20) == 0
    assert told == {"fails": "ValueError: no", "opens_one": fork_server.OPENED_GPU}
    assert "/safetensors/" in maps


def test_what_could_not_be_imported_beforehand_is_told_before_the_first_run() -> None:
    with closing(SubprocessExecutor(preload=("safetensors", "no_such_module"))) as executor:
        assert executor.prepare() == {"no_such_module": "ModuleNotFoundError: No module named 'no_such_module'"}
