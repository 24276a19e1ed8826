"""Whose processes are on a GPU: ours, others', or not to be told."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def of_own_tree(pids: Iterable[int]) -> frozenset[int]:
    """Those of them that are this process, a parent of it, or a child.

    Each is asked for its parents: to list all children would read every process of the machine, at every window.
    """
    listed = frozenset(pids)
    if listed <= {os.getpid()}:
        return listed
    me = psutil.Process()
    above = {me.pid, *(parent.pid for parent in me.parents())}
    return frozenset(pid for pid in listed if pid in above or _is_below(pid, me.pid))


def _is_below(pid: int, root: int) -> bool:
    try:
        return any(parent.pid == root for parent in psutil.Process(pid).parents())
    except psutil.Error:  # gone, or nobody of ours
        return False


def family(roots: Iterable[int]) -> frozenset[int]:
    """These processes and all their children; those that are gone are left out."""
    found: set[int] = set()
    for pid in roots:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            found |= {pid, *(child.pid for child in process.children(recursive=True))}
    return frozenset(found)


def cuda_is_loaded() -> bool:
    """This process or a child of it uses CUDA, as far as mapped libraries tell (Linux; False elsewhere)."""
    return any(_maps_cuda(pid) for pid in (os.getpid(), *family([os.getpid()])))


def _maps_cuda(pid: int) -> bool:
    try:
        return "libcuda.so" in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def foreign_pids(
    listed: Collection[int],
    own: Collection[int],
    exists: Callable[[int], bool],
    holds_context: Callable[[], bool],
) -> tuple[int, ...] | None:
    """Which of the processes that NVML lists are not ours; None where it cannot be told.

    Whether we hold a CUDA context is asked only where the answer matters: it reads every process of the machine.

    In a container NVML may list the host's process ids, or none. So:

    - one of ours is listed: ids are ours to read, the others are foreign;
    - nothing is listed: nobody is there, unless we hold a CUDA context and ought to be: then ids are hidden (None);
    - only others are listed, and we hold no context, or every id exists here: all foreign;
    - only ids that do not exist here, and we hold a context: a single one may be us (None); of several at least
      one is foreign, and as it cannot be told which, all are returned.

    Not checkable without a GPU in a container; the table is what NVML's reference and container practice suggest.
    """
    others = tuple(sorted(set(listed) - set(own)))
    if len(others) < len(set(listed)) or not holds_context():
        return others
    if not others:
        return None
    if all(exists(pid) for pid in others):
        return others
    return None if len(others) == 1 else others
