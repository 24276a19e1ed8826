import os

import psutil
import pytest

from harness.power.processes import foreign_pids, own_process_tree


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
    assert foreign_pids(listed, own, alive.__contains__, holds_context) == expected


def test_own_process_tree_holds_us_and_our_parents():
    tree = own_process_tree()
    assert {os.getpid(), os.getppid()} <= tree
    assert all(isinstance(pid, int) for pid in tree)
    siblings = {child.pid for child in psutil.Process(os.getppid()).children()} - {os.getpid()}
    assert not siblings & tree
