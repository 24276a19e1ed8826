"""What a cluster starts on a node: makes one run there, and sends what the run tells and leaves. Knows no library."""

from __future__ import annotations

import fcntl
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.run.executors import SubprocessExecutor
from harness.run.worker import WorkerTask
from harness.store.files import JOURNAL, RECORD

# In a run's folder on its node: held by the process that has it made, whose run it is, and which others were there.
LOCK, NAME, BESIDE, SCRATCH = "lock", "name.json", "beside.jsonl", "run"
# Outlasts the process that has the run made, however that ends, and removes the folder then.
CLEAN_UP = 'exec 3<&0; (cat <&3 >/dev/null; until rm -rf -- "$0"; do sleep 1; done) &'

# Of a worker's process, which makes one run after the other: the executor for the GPUs that it was given last.
# Its fork server has them in its environment, and half a second of imports behind it.
_kept: dict[str, SubprocessExecutor] = {}


def made_here(task: str) -> Iterator[tuple[str, Any]]:
    """Make one run here, in a subprocess.

    Yields:
        ("news", a Progress as JSON), ("windows", a piece of the journal) and ("beside", campaign and run_id of every
        run that was made on this machine meanwhile, of any campaign) as they come, so that finished windows outlast
        this node; at last ("files", what the run has left, by name).
    """
    work = WorkerTask.model_validate_json(task)
    told: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    with _own_folder(work.campaign, work.spec.run_id) as folder:
        scratch = folder / SCRATCH

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
        sent_bytes, met = 0, b""
        while True:
            kind, content = told.get()
            if kind == "error":
                raise content
            if windows := _from(scratch / JOURNAL, sent_bytes):
                sent_bytes += len(windows)
                yield "windows", windows
            if (others := _from(folder / BESIDE, 0)) != met:
                met = others
                yield "beside", [json.loads(line) for line in others.splitlines()]
            yield kind, content
            if kind == "files":
                return


@contextmanager
def _own_folder(campaign: str, run_id: str) -> Iterator[Path]:
    """A folder for a run, which goes when this process does. Those whose process is gone are removed, others told."""
    name = json.dumps([campaign, run_id])
    with _all_folders() as parent:
        folder = Path(tempfile.mkdtemp(dir=parent))
        lock = (folder / LOCK).open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / NAME).write_text(name, encoding="utf-8")
        (folder / SCRATCH).mkdir()
        for other in parent.iterdir():
            if other == folder or not other.is_dir():
                continue
            if not _is_held(other):
                shutil.rmtree(other, ignore_errors=True)
                continue
            with suppress(FileNotFoundError):  # it ends just now
                theirs = (other / NAME).read_text(encoding="utf-8")
                for place, line in ((other, name), (folder, theirs)):
                    with (place / BESIDE).open("a", encoding="utf-8") as file:
                        file.write(f"{line}\n")
    with (
        lock,
        subprocess.Popen(["/bin/sh", "-c", CLEAN_UP, folder], stdin=subprocess.PIPE, start_new_session=True) as cleaner,
    ):
        cleaner.wait()  # it has left the work to a child of its own, which nobody ends with this process
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _all_folders() -> Iterator[Path]:
    """Where this user's runs have their folders on this machine; one process at a time looks at them.

    Raises:
        StoreError: Somebody else has made it.
    """
    parent = Path(tempfile.gettempdir()) / f"harness-runs-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    if parent.is_symlink() or parent.stat().st_uid != os.getuid():
        raise StoreError(f"{parent} belongs to somebody else.", "Remove it on that node.")
    with (parent / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield parent


def _is_held(folder: Path) -> bool:
    """Whether the process that has the run made is there."""
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


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


def version_of(files: dict[str, bytes]) -> str | None:
    """Which harness wrote a run's record; None where the record does not tell, as one that failed early does not."""
    environment = json.loads(files.get(RECORD, b"{}")).get("environment") or {}
    number: str | None = environment.get("harness_version")
    return number


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
