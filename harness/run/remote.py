"""What a cluster starts on a node: makes one run there, and sends what the run tells and leaves. Knows no library."""

from __future__ import annotations

import json
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from harness.errors import StoreError
from harness.run.executors import SubprocessExecutor
from harness.run.worker import WorkerTask
from harness.store.files import JOURNAL

FOLDER_PREFIX = "harness-run-"

# Of a worker's process, which makes one run after the other: the executor for the GPUs that it was given last.
# Its fork server has them in its environment, and half a second of imports behind it.
_kept: dict[str, SubprocessExecutor] = {}


def made_here(task: str) -> Iterator[tuple[str, Any]]:
    """Make one run here, in a subprocess.

    Yields:
        ("news", a Progress as JSON) and ("windows", a piece of the journal) as they come, so that finished windows
        outlast this node; at last ("files", what the run has left, by name).
    """
    work = WorkerTask.model_validate_json(task)
    told: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{FOLDER_PREFIX}{os.getpid()}-") as folder:
        scratch = Path(folder)

        def make() -> None:
            try:
                executor = _executor_here()
                executor.run(
                    work.spec, work.campaign, scratch, lambda news: told.put(("news", json.dumps(asdict(news))))
                )
                told.put(("files", _files(scratch)))
            except BaseException as error:
                told.put(("error", error))

        threading.Thread(target=make, daemon=True).start()
        sent_bytes = 0
        while True:
            kind, content = told.get()
            if kind == "error":
                raise content
            if windows := _from(scratch / JOURNAL, sent_bytes):
                sent_bytes += len(windows)
                yield "windows", windows
            yield kind, content
            if kind == "files":
                return


def _sweep() -> None:
    """Remove folders whose process is gone: a run that was ended from outside could not."""
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*-*"):
        owner = left.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _executor_here() -> SubprocessExecutor:
    _forget_ray_threads()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if visible not in _kept:
        for other in _kept.values():
            other.close()
        _kept.clear()
        _kept[visible] = SubprocessExecutor()
    return _kept[visible]


def _forget_ray_threads() -> None:
    """Where the node has no OMP_NUM_THREADS, Ray sets it to 1. A run is to find its node as it is."""
    try:
        nodes_own = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:
        return
    if b"\0OMP_NUM_THREADS=" not in b"\0" + nodes_own:
        os.environ.pop("OMP_NUM_THREADS", None)


def _from(path: Path, start: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read()
    except FileNotFoundError:
        return b""


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unpack(files: dict[str, bytes], scratch: Path) -> None:
    """Write what a node has sent, inside the scratch folder."""
    for name, content in files.items():
        path = scratch / name
        if not path.resolve().is_relative_to(scratch.resolve()):
            raise StoreError(f"A node sent a file that leaves its folder: {name}.", "Is the cluster yours?")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise StoreError(
                f"Cannot write {path}: {error.strerror or error}.", "Is the disk full or the folder read-only?"
            ) from error


def version_teller() -> Callable[[], tuple[str | None, str | None]]:
    """A function that travels whole: on its node there may be no harness, or one without what this one has."""

    def told() -> tuple[str | None, str | None]:
        try:
            import harness

            number = getattr(harness, "__version__", "without a version")
        except ImportError:
            return None, None
        try:
            from harness.run.environment import git_commit

            return number, git_commit()
        except ImportError:
            return number, "unknown commit"

    return told
