"""Stands between the harness and a server that it starts: `python -m harness.engines.guard '["command", ...]'`.

The server gets a session, and so a process group, of its own. When this process's standard input closes, because the
harness asks for it or was killed, the group is asked to end, and made to after a while, and so are daemons that left
it; nothing that a server started outlives the run. Ends with the server's exit code. Killed itself, it takes the
server with it; the harness then ends what the server had started.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil

GRACE_S = 10.0
LOOK_S = 0.1
LOOKS = 50
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def end_all(leader: subprocess.Popen[bytes], grace_s: float = GRACE_S) -> None:
    """End a session's leader, its group, and what left the group: all are asked first, and made to after a while.

    Orphans are this process's children (`main`), so that daemons are found as well.
    """
    seen = _others(leader)
    _signal_group(leader.pid, signal.SIGTERM)
    for process in seen:
        with suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) != leader.pid:  # twice is not once to all servers
                process.terminate()
    deadline_s = time.monotonic() + grace_s
    while time.monotonic() < deadline_s and (leader.poll() is None or _others(leader)):
        time.sleep(LOOK_S)
    for _ in range(LOOKS):  # one that is killed may have started another meanwhile
        seen |= _others(leader)
        _signal_group(leader.pid, signal.SIGKILL)
        for process in seen:
            with suppress(psutil.Error):
                process.kill()
        if leader.poll() is not None and not _others(leader):
            break
        time.sleep(LOOK_S)


def _others(leader: subprocess.Popen[bytes]) -> set[psutil.Process]:
    """What lives of this process's descendants beside the leader. Orphans that have ended are buried."""
    living = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error, ChildProcessError):
            if process.pid == leader.pid:
                continue
            if process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)
            else:
                living.add(process)
    return living


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def main() -> int:
    """Start the server and stay until it ends, or must."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of standard input is the one sign
    command = json.loads(sys.argv[1])
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # found before the fork, in which little may be done

    if prctl is not None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # what forks twice and leaves its session stays below this process

    def restore() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if prctl is not None:  # Linux
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=restore)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror or error}", file=sys.stderr, flush=True)
        return 127
    try:
        ended = os.pidfd_open(server.pid)  # Linux: readable once the server has ended, so that nothing need be polled
        asked = sys.stdin.fileno()
        while True:
            ready, _, _ = select.select([asked, ended], [], [])
            if ended in ready or not os.read(asked, 1):
                break
    finally:
        end_all(server)
    return server.returncode if server.returncode is not None and server.returncode >= 0 else 1


if __name__ == "__main__":
    sys.exit(main())
