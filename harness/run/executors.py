"""Runs one spec somewhere. The subprocess executor gives each run a process group, a timeout and a kept stderr."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from harness.engines.openai import SAVED_MODEL
from harness.errors import HarnessError, StoreError
from harness.measure.base import Progress
from harness.records import Failure, RunRecord
from harness.run.fork_server import ForkServer
from harness.run.worker import SAMPLES_FILE, WorkerTask, execute, failed_record
from harness.specs import RunSpec
from harness.store.files import RECORD, read_record, write_run

STDERR_TAIL_BYTES = 4000
GRACE_S = 5.0
OOM_HINT = "The system may have run out of memory: choose a smaller model or batch_size."

Report = Callable[[Progress], None]


class Executor(Protocol):
    """Runs a spec and leaves its record, complete or failed, in the scratch folder. Closed when it is done with."""

    def run(self, spec: RunSpec, campaign: str, scratch: Path, report: Report) -> RunRecord:
        """Run to the end, whatever happens."""
        ...

    def close(self) -> None:
        """Give back what it holds; again is harmless."""
        ...


class InProcessExecutor:
    """Runs in this process: for tests and for the virtual clock. A crash takes the caller with it."""

    def run(self, spec: RunSpec, campaign: str, scratch: Path, report: Report) -> RunRecord:
        """Run here."""
        record = execute(spec, campaign, scratch, report)
        _clear(scratch)
        return record

    def close(self) -> None:
        """Nothing is held."""


class SubprocessExecutor:
    """One child process per run, in its own process group; the parent blocks on its progress pipe."""

    def __init__(self) -> None:
        self._server = ForkServer()

    def run(self, spec: RunSpec, campaign: str, scratch: Path, report: Report) -> RunRecord:
        """Run in a child.

        Raises:
            KeyboardInterrupt: Passed on, after the child and all it started have ended.
            StoreError: The scratch folder cannot be written.
        """
        started = datetime.now(UTC).isoformat(timespec="seconds")
        read_fd, write_fd = os.pipe()
        task_path, stderr_path = scratch / "task.json", scratch / "stderr.log"
        try:
            task = WorkerTask(spec=spec, campaign=campaign, scratch=str(scratch))
            task_path.write_text(task.model_dump_json(), encoding="utf-8")
            with stderr_path.open("wb") as stderr:
                pid = self._server.start(str(task_path), stderr.fileno(), write_fd)
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
        phase, timed_out, code = self._follow(pid, read_fd, spec.timeout_s, report)
        if (scratch / RECORD).exists() and not timed_out:
            record = read_record(scratch / RECORD)
            if record.failure is not None and not record.failure.stderr_tail:
                failure = record.failure.model_copy(update={"stderr_tail": _tail(stderr_path)})
                record = record.model_copy(update={"failure": failure})
                write_run(scratch, record, None)
        else:
            failure = _died(code, timed_out, phase, spec.timeout_s, _tail(stderr_path))
            record = failed_record(spec, campaign, started, failure)
            write_run(scratch, record, None)
        _clear(scratch)
        return record

    def close(self) -> None:
        """End the process that workers are forked from."""
        self._server.close()

    def _follow(self, pid: int, read_fd: int, timeout_s: float, report: Report) -> tuple[str, bool, int | None]:
        """Block on the child's progress until it ends. Returns its last phase, whether time ran out, its exit code."""
        phase, timed_out, code, answered = "start", threading.Event(), None, False

        def end_it() -> None:
            timed_out.set()
            _kill_group(pid, signal.SIGKILL)

        timer = threading.Timer(min(timeout_s, threading.TIMEOUT_MAX), end_it)
        timer.daemon = True
        timer.start()
        try:
            with os.fdopen(read_fd, encoding="utf-8") as lines:
                for line in lines:
                    progress = Progress(**json.loads(line))
                    phase = progress.phase
                    report(progress)
            code, answered = self._server.wait(), True
        except BaseException:
            _kill_group(pid, signal.SIGTERM)
            with suppress(TimeoutError):
                code, answered = self._server.wait(GRACE_S), True
            raise
        finally:
            timer.cancel()
            _kill_group(pid, signal.SIGKILL)
            if not answered:
                try:
                    code = self._server.wait(GRACE_S)
                except TimeoutError:  # stopped or stuck; the next run gets another
                    self._server.close()
        return phase, timed_out.is_set(), code


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


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - STDERR_TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def _clear(scratch: Path) -> None:
    """Leave only what is kept."""
    for name in ("task.json", "stderr.log", "load.bin", SAMPLES_FILE):
        (scratch / name).unlink(missing_ok=True)
    shutil.rmtree(scratch / SAVED_MODEL, ignore_errors=True)
