"""A process that has imported the worker once and forks one for every run.

Half a second of every worker's life was spent importing what all of them need. The server imports it, does nothing
else, and holds no thread, no NVML and no GPU, so that a fork of it is as clean as a new interpreter. Engines (torch)
are imported by the worker that needs them, or here (`preload`) where many short runs would each pay seconds for it: a
library that opens a GPU while it is imported would spoil every fork, so the server then starts over without that one.

`python -m harness.run.fork_server FD [MODULE ...]` talks over a Unix socket. It first tells which modules it could not
import beforehand, as JSON. Then it gets the path of a task with two descriptors (what the worker prints, and its pipe
for progress), answers the worker's process id, then its exit code as in subprocess (negative: the signal). It ends when
the socket does, and its workers with it.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.errors import HarnessError
from harness.own_process import own_command, own_environment

LONGEST_PATH = 4096
NUMBER = struct.Struct("!q")
LONGEST_END_S = 5.0  # for the server to end after its socket did
GPU_FILES = "/dev/nvidia"  # CUDA and NVML open them when they start
OPENS = "!"  # marks, for the next start of the server, a module that opens a GPU
OPENED_GPU = "it opens a GPU when it is imported, so every worker imports it anew"


class ForkServer:
    """The parent's end. One worker at a time; used as a context manager, or closed."""

    def __init__(self, preload: Sequence[str] = ()) -> None:
        self._preload = tuple(preload)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._not_preloaded: dict[str, str] = {}

    def ready(self) -> dict[str, str]:
        """Start the server, if there is none, and wait until it has imported everything.

        Returns:
            Modules that it could not import, with the reason: each worker imports those itself.

        Raises:
            HarnessError: No process can be started.
        """
        try:
            self._ensure_server()
        except OSError as error:
            self.close()
            raise HarnessError(f"Cannot start a worker: {error}.", "Is the machine out of memory?") from error
        return self._not_preloaded

    def start(self, task: str, output_fd: int, progress_fd: int) -> int:
        """Start a worker; the server too, when there is none.

        Args:
            task: Path of the task file.
            output_fd: Where the worker's stdout and stderr go.
            progress_fd: Where it tells its progress.

        Returns:
            Its process id; it leads a process group of its own.

        Raises:
            HarnessError: No process can be started.
        """
        self.ready()
        assert self._socket is not None
        try:
            socket.send_fds(self._socket, [task.encode()], [output_fd, progress_fd])
            pid = _received(self._socket)
        except OSError as error:
            self.close()
            raise HarnessError(f"Cannot start a worker: {error}.", "Is the machine out of memory?") from error
        if pid is None:
            self.close()
            raise HarnessError("Cannot start a worker: its fork server ended.", "Is the machine out of memory?")
        return pid

    def wait(self, timeout_s: float | None = None) -> int | None:
        """The worker's exit code, as in subprocess; None where the server is gone, and its workers with it.

        Raises:
            TimeoutError: No answer within that time.
        """
        if self._socket is None:
            return None
        self._socket.settimeout(timeout_s)
        try:
            code = _received(self._socket)
        finally:
            self._socket.settimeout(None)
        if code is None:
            self.close()
        return code

    def close(self) -> None:
        """End the server; again is harmless."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            try:
                self._process.wait(LONGEST_END_S)
            except subprocess.TimeoutExpired:  # stopped or stuck
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        """End the server at once, from another thread than the one that waits for its answer."""
        if self._process is not None:
            self._process.kill()

    def _ensure_server(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._process = subprocess.Popen(
                own_command("harness.run.fork_server", str(theirs.fileno()), *self._preload),
                env=own_environment(),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._socket = ours
        length = _received(ours)
        if length is None:
            self.close()
            raise HarnessError("Cannot start a worker: its fork server ended.", "Is the machine out of memory?")
        self._not_preloaded = json.loads(ours.recv(length, socket.MSG_WAITALL) or b"{}")


def _received(from_socket: socket.socket) -> int | None:
    """A whole number; None where the other end is gone."""
    try:
        content = from_socket.recv(NUMBER.size, socket.MSG_WAITALL)
    except ConnectionError:
        return None
    return int(NUMBER.unpack(content)[0]) if len(content) == NUMBER.size else None


# --- the server's end ----------------------------------------------------------------------------------


def _fork(task: str, output_fd: int, progress_fd: int, served: socket.socket) -> int:
    """A worker of its own session, its process id known only once it leads it."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            os.close(read_fd)
            os.close(write_fd)
            served.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(output_fd, 1)
            os.dup2(output_fd, 2)
            os.close(output_fd)
            from harness.run.worker import run_task

            code = run_task(task, progress_fd)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)  # everything is on disk; taking torch apart in order would cost a second per run
    os.close(write_fd)
    os.read(read_fd, 1)  # ends when the worker has closed its end: it leads its group
    os.close(read_fd)
    return pid


def _wait_for(pid: int, served: socket.socket, woken_fd: int) -> int | None:
    """The worker's exit code; None when the parent went away first."""
    with selectors.DefaultSelector() as selector:
        selector.register(served, selectors.EVENT_READ)
        selector.register(woken_fd, selectors.EVENT_READ)
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            ready = {key.fileobj for key, _ in selector.select()}
            if woken_fd in ready:
                os.read(woken_fd, 1024)
            if served in ready and not _is_there(served):
                return None


def _is_there(served: socket.socket) -> bool:
    try:
        return bool(served.recv(1, socket.MSG_PEEK))
    except ConnectionError:
        return False


def _preload(modules: Sequence[str]) -> tuple[dict[str, str], str | None]:
    """Import what workers would import each for itself, up to the first module that opens a GPU.

    Returns:
        Those that failed, with the reason; and the one that opened a GPU, None if none did.
    """
    failed = {}
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a library raises: the worker that needs it says why
            failed[name] = f"{type(error).__name__}: {error}"
        if _holds_gpu():
            return failed, name
    return failed, None


def _holds_gpu() -> bool:
    """Whether this process has opened a GPU's device file."""
    links = Path("/proc/self/fd")
    for link in links.iterdir() if links.is_dir() else ():
        with suppress(OSError):
            if os.readlink(link).startswith(GPU_FILES):
                return True
    return False


def main(argv: Sequence[str]) -> int:
    """Serve until the socket ends."""
    import harness.run.worker  # noqa: F401  what every worker needs

    opening = [name.removeprefix(OPENS) for name in argv[1:] if name.startswith(OPENS)]
    asked = [name for name in argv[1:] if not name.startswith(OPENS)]
    failed, opened = _preload(asked)
    if opened is not None:  # no fork of this process could use the GPU: once more, without that module
        again = [*(OPENS + name for name in (*opening, opened)), *(name for name in asked if name != opened)]
        command = own_command("harness.run.fork_server", argv[0], *again)
        os.execv(command[0], command)
    told = json.dumps(failed | dict.fromkeys(opening, OPENED_GPU)).encode()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when a run ends
    woken_fd, wake_fd = os.pipe()
    for fd in (woken_fd, wake_fd):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake_fd, warn_on_full_buffer=False)
    with socket.socket(fileno=int(argv[0])) as served:
        with suppress(ConnectionError):
            served.sendall(NUMBER.pack(len(told)) + told)
        while True:
            task, fds, _, _ = socket.recv_fds(served, LONGEST_PATH, 2)
            if not task:
                return 0
            pid = _fork(task.decode(), fds[0], fds[1], served)
            for fd in fds:
                os.close(fd)
            with suppress(ConnectionError):
                served.sendall(NUMBER.pack(pid))
            code = _wait_for(pid, served, woken_fd)
            if code is None:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGTERM)
                return 1
            with suppress(ConnectionError):
                served.sendall(NUMBER.pack(code))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
