"""A process that has imported the worker once and forks one for every run.

Half a second of every worker's life was spent importing what all of them need. The server imports it, does nothing
else, and holds no thread, no NVML and no GPU, so that a fork of it is as clean as a new interpreter. Engines (torch)
are imported by the worker that needs them, or here (`preload`) where many short runs would each pay seconds for it: a
library that opens a GPU while it is imported would spoil every fork, so the server then starts over without.

`python -m harness.run.fork_server FD [MODULE ...]` talks over a Unix socket. It gets the path of a task with two
descriptors (what the worker prints, and its pipe for progress), answers the worker's process id, then its exit code as
in subprocess (negative: the signal). It ends when the socket does, and its workers with it.
"""

from __future__ import annotations

import importlib
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


class ForkServer:
    """The parent's end. One worker at a time; used as a context manager, or closed."""

    def __init__(self, preload: Sequence[str] = ()) -> None:
        self._preload = tuple(preload)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

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
        try:
            self._ensure_server()
            assert self._socket is not None
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


def _preload(modules: Sequence[str]) -> None:
    """Import what workers would import each for itself; one that fails is left to the worker, which says why."""
    for name in modules:
        with suppress(Exception):
            importlib.import_module(name)


def _holds_gpu() -> bool:
    """Whether this process has opened a GPU's device file, as CUDA and NVML do when they start."""
    links = Path("/proc/self/fd")
    for link in links.iterdir() if links.is_dir() else ():
        with suppress(OSError):
            if os.readlink(link).startswith("/dev/nvidia"):
                return True
    return False


def main(argv: Sequence[str]) -> int:
    """Serve until the socket ends."""
    import harness.run.worker  # noqa: F401  what every worker needs

    _preload(argv[1:])
    if argv[1:] and _holds_gpu():
        command = own_command("harness.run.fork_server", argv[0])
        os.execv(command[0], command)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when a run ends
    woken_fd, wake_fd = os.pipe()
    for fd in (woken_fd, wake_fd):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake_fd, warn_on_full_buffer=False)
    with socket.socket(fileno=int(argv[0])) as served:
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
