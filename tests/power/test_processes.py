import os
import signal
import subprocess

import psutil
import pytest

from harness.power.processes import foreign_pids, of_own_tree


@pytest.mark.parametrize(
    ("listed", "holds_context", "expected"),
    [
        ([], False, ()),
        ([], True, None),  # we are there and NVML does not list us: ids are hidden
        ([10], True, ()),
        ([10, 99], True, (99,)),
        ([10, 99, 98], False, (98, 99)),
        ([99], False, (99,)),
        ([99], True, None),  # an id of another namespace: perhaps us
        ([20], True, (20,)),  # exists here and is not ours
        ([98, 99], True, (98, 99)),  # at least one of them is foreign
    ],
)
def test_foreign_processes_are_told_from_ours_where_they_can(listed, holds_context, expected):
    own, alive = {10, 11}, {10, 11, 20}
    assert foreign_pids(listed, own, alive.__contains__, lambda: holds_context) == expected


def test_of_our_tree_are_we_our_parents_and_children_of_children_and_nobody_else():
    shell = "sleep 60 & echo $!; wait"
    with subprocess.Popen(["sh", "-c", shell], stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        grandchild = int(child.stdout.readline())
        try:
            siblings = {each.pid for each in psutil.Process(os.getppid()).children()} - {os.getpid()}
            ours = {os.getpid(), os.getppid(), child.pid, grandchild}
            assert of_own_tree([*ours, *siblings, 2**30]) == ours
        finally:
            os.killpg(child.pid, signal.SIGKILL)
