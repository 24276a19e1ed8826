"""Runs one spec somewhere. The subprocess executor gives each run a process group, a timeout and a kept stderr."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from harness.engines.openai import SAVED_MODEL
from harness.engines.server import LOG
from harness.errors import HarnessError, StoreError
from harness.measure.base import Progress
from harness.records import Failure, RunRecord
from harness.redaction import give_up, redact_file, redacted
from harness.run.fork_server import ForkServer
from harness.run.journal import SAMPLES_FILE, unfinished, whole_record, write_what_fits
from harness.run.lanes import HELD
from harness.run.worker import WorkerTask, execute, failed_record
from harness.specs import RunSpec
from harness.store.files import JOURNAL, rewrite_record

STDERR_TAIL_BYTES = 4000
GRACE_S = 5.0
ENDING_S = 60.0  # at most, from the end of a worker's progress to its own: a GPU's memory is freed meanwhile
TASK = "task.json"
OOM_HINT = "The system may have run out of memory: choose a smaller model or batch_size."

Report = Callable[[Progress], None]


class Executor(Protocol):
    """Runs a spec and leaves its record, complete or failed, in the scratch folder. Closed when it is done with.

    The runner calls `run` from as many threads as its lanes say, and `close` from its own thread to stop them all.
    """

    def run(self, spec: RunSpec, campaign: str, scratch: Path, report: Report) -> RunRecord:
        """Run to the end, whatever happens."""
        ...

    def close(self) -> None:
        """End what is in progress and give back what it holds; again is harmless."""
        ...


class InProcessExecutor:
    """Runs in this process: for tests and for the virtual clock. A crash takes the caller with it."""

    def run(self, spec: RunSpec, campaign: str, scratch: Path, report: Report) -> RunRecord:
        """Run here."""
        record = execute(spec, campaign, scratch, report)
        clear_scratch(scratch)
        return record

    def close(self) -> None:
        """Nothing is held."""


class SubprocessExecutor:
    """One child process per run, in its own process group; the parent blocks on its progress pipe.

    Several threads may run at once: each run has a fork server to itself, which is used again.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        """`preload`: modules that are imported once, before any worker is forked (run/fork_server)."""
        self._preload = tuple(preload)
        self._idle: list[ForkServer] = []
        self._working: dict[ForkServer, int] = {}  # and the worker's process id
        self._change = threading.Condition()
        self._closed = False

    def prepare(self) -> dict[str, str]:
        """Import beforehand what the first run would wait for.

        Returns:
            Modules of `preload` that could not be, with the reason: every run imports those anew.

        Raises:
            HarnessError: No process can be started.
        """
        with self._change:
            if not self._idle:
                self._idle.append(ForkServer(self._preload))
            return self._idle[-1].ready()

    def run(self, spec: RunSpec, campaign: str, scratch: Path, report: Report) -> RunRecord:
        """Run in a child.

        Raises:
            KeyboardInterrupt: Passed on, after the child and all it started have ended; its scratch is as it was.
            StoreError: The scratch folder cannot be written.
        """
        with self._change:
            server = self._idle.pop() if self._idle else ForkServer(self._preload)
        try:
            return self._run(server, spec, campaign, scratch, report)
        finally:
            with self._change:
                self._working.pop(server, None)
                self._idle.append(server)
                self._change.notify_all()
            if self._closed:
                server.close()

    def _run(self, server: ForkServer, spec: RunSpec, campaign: str, scratch: Path, report: Report) -> RunRecord:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        read_fd, write_fd = os.pipe()
        task_path, stderr_path = scratch / TASK, scratch / "stderr.log"
        try:
            task = WorkerTask(spec=spec, campaign=campaign, scratch=str(scratch))
            task_path.write_text(task.model_dump_json(), encoding="utf-8")
            with stderr_path.open("wb") as stderr, self._change:
                if self._closed:
                    raise HarnessError("The campaign was stopped before this run began.")
                pid = server.start(str(task_path), stderr.fileno(), write_fd)
                self._working[server] = pid
        except OSError as error:
            os.close(read_fd)
            raise StoreError(
                f"Cannot write {scratch}: {error.strerror or error}.", "Is the disk full or the folder read-only?"
            ) from error
        except HarnessError:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        phase, timed_out, code = _follow(server, pid, read_fd, spec.timeout_s, report)
        record = whole_record(scratch)
        if record is None or timed_out:
            failure = _died(code, timed_out, phase, spec.timeout_s, _tail(stderr_path, keys_of(spec)))
            found = unfinished(scratch, failure) or (failed_record(spec, campaign, started, failure), None)
            record = write_what_fits(scratch, *found)
        elif record.failure is not None and not record.failure.stderr_tail:
            failure = record.failure.model_copy(update={"stderr_tail": _tail(stderr_path, keys_of(spec))})
            record = record.model_copy(update={"failure": failure})
            rewrite_record(scratch, record)
        clear_scratch(scratch)
        return record

    def close(self) -> None:
        """End the runs in progress, with all they started, and the processes that workers are forked from."""
        with self._change:
            self._closed = True
            for pid in self._working.values():
                _kill_group(pid, signal.SIGTERM)
            if not self._change.wait_for(lambda: not self._working, GRACE_S):
                for server, pid in self._working.items():
                    _kill_group(pid, signal.SIGKILL)
                    server.kill()
            idle = tuple(self._idle)
        for server in idle:
            server.close()


class _Deadline:
    """Ends a worker's process group when its time is up. Time in which it has to wait for others is not counted."""

    def __init__(self, pid: int, timeout_s: float) -> None:
        self._pid, self._left_s = pid, timeout_s
        self.passed = threading.Event()
        self._timer: threading.Timer | None = None
        self.run()

    def run(self) -> None:
        """Count; again is harmless."""
        if self._timer is None:
            self._since_s = time.monotonic()
            self._timer = threading.Timer(min(self._left_s, threading.TIMEOUT_MAX), self._end_it)
            self._timer.daemon = True
            self._timer.start()

    def hold(self) -> None:
        """Count no more until run() is called; again is harmless."""
        if self._timer is not None:
            left_s = self.left_s()
            self._timer.cancel()
            self._timer = None
            self._left_s = left_s

    def left_s(self) -> float:
        """Until its time is up."""
        since_s = time.monotonic() - self._since_s if self._timer is not None else 0.0
        return max(0.0, self._left_s - since_s)

    def _end_it(self) -> None:
        self.passed.set()
        _kill_group(self._pid, signal.SIGKILL)


def _follow(
    server: ForkServer, pid: int, read_fd: int, timeout_s: float, report: Report
) -> tuple[str, bool, int | None]:
    """Block on the child's progress until it ends. Returns its last phase, whether time ran out, its exit code."""
    phase, code, answered = "start", None, False
    deadline = _Deadline(pid, timeout_s)
    try:
        with os.fdopen(read_fd, encoding="utf-8") as lines:
            for line in lines:
                progress = Progress(**json.loads(line))
                phase = progress.phase
                (deadline.hold if phase == HELD else deadline.run)()
                report(progress)
        try:
            code = server.wait(min(deadline.left_s(), ENDING_S) + GRACE_S)
        except TimeoutError:  # stopped or stuck; the worker has closed its end
            server.close()
        answered = True
    except BaseException:
        _kill_group(pid, signal.SIGTERM)
        with suppress(TimeoutError):
            code, answered = server.wait(GRACE_S), True
        raise
    finally:
        deadline.hold()
        _kill_group(pid, signal.SIGKILL)
        if not answered:
            try:
                code = server.wait(GRACE_S)
            except TimeoutError:  # stopped or stuck; the next run gets another
                server.close()
    return phase, deadline.passed.is_set(), code


def _kill_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def _died(returncode: int | None, timed_out: bool, phase: str, timeout_s: float, tail: str) -> Failure:
    if timed_out:
        message, kind = f"The run was stopped after timeout_s = {timeout_s:g} s.", "timeout"
        hint = "Raise timeout_s, or lower max_duration_s."
    elif returncode is None:
        message, kind = "The process that workers are forked from ended, and the worker with it.", "killed"
        hint = OOM_HINT
    elif returncode < 0:
        name = signal.Signals(-returncode).name
        message, kind = f"The worker was killed by {name}.", "killed"
        hint = OOM_HINT if -returncode == signal.SIGKILL else "See the end of its stderr in the record."
    else:
        message, kind = f"The worker ended with exit code {returncode} and left no record.", "crashed"
        hint = "See the end of its stderr in the record."
    return Failure(kind=kind, message=message, hint=hint, phase=phase, stderr_tail=tail)


def keys_of(spec: RunSpec) -> tuple[str, ...]:
    """The key that a run sends to its server, whatever its variable is called; none where it is not set here."""
    variable = spec.server.api_key_env if spec.server is not None else None
    return (key,) if variable is not None and (key := os.environ.get(variable)) else ()


def _tail(path: Path, keys: Sequence[str]) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4 * STDERR_TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
            return redacted(text, also=keys)[-STDERR_TAIL_BYTES:]
    except OSError:
        return ""


def clear_scratch(scratch: Path) -> None:
    """Leave only what is kept; a server's output without secrets, which a worker that was killed could not take out."""
    if (scratch / LOG).exists():
        _clean_log(scratch)
    for name in (TASK, "stderr.log", "load.bin", SAMPLES_FILE, JOURNAL):
        (scratch / name).unlink(missing_ok=True)
    shutil.rmtree(scratch / SAVED_MODEL, ignore_errors=True)


def _clean_log(scratch: Path) -> None:
    task = scratch / TASK
    if not task.exists():  # made in this process, or on a node that sent it: it was cleaned there
        redact_file(scratch / LOG)
        return
    try:
        spec = WorkerTask.model_validate_json(task.read_text(encoding="utf-8")).spec
    except (OSError, ValueError):
        give_up(scratch / LOG, "it was not told which key it may hold")
        return
    keys = keys_of(spec)
    if spec.server is not None and spec.server.api_key_env is not None and not keys:
        give_up(scratch / LOG, f"it may hold the key of {spec.server.api_key_env}, which is not set any more")
    else:
        redact_file(scratch / LOG, also=keys)
