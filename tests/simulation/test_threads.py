"""One simulated node, used by several threads at once: CodeCarbon's, a sampler's, and the one that sets the load."""

import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pynvml
import pytest

from harness.clock import RealClock
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.simulation.nvml import installed

READERS = 3
LOADS = [(step % 5) / 4 for step in range(200)]

each_counter = pytest.mark.parametrize("counter", ["sensor", "truth"])


class HurriedClock(RealClock):
    """Runs 1000 times as fast, so that sensors publish all the time, and lets others run before a time is used."""

    def now_s(self) -> float:
        t_s = super().now_s() * 1000
        self.sleep_s(0.0001)
        return t_s


@pytest.fixture(autouse=True)
def threads_switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(params=["in memory", "in a file"])
def load_path(request, tmp_path):
    return None if request.param == "in memory" else tmp_path / "load"


def node_of(load_path, counter="sensor"):
    clock = HurriedClock()
    return SimulatedNode(NodeState("A100-SXM4-80GB", 2, 7, counter, clock.now_s(), load_path), clock)


def read_while_loads_change(node, read):
    """What each of several threads read meanwhile; what went wrong in one of them is raised."""
    done = threading.Event()

    def keep_reading():
        readings = []
        while not done.is_set():
            readings.append(read())
        return readings

    with ThreadPoolExecutor(READERS) as pool:
        jobs = [pool.submit(keep_reading) for _ in range(READERS)]
        try:
            for step, load in enumerate(LOADS):
                node.set_load(step % 2, load)
                node.clock.sleep_s(0.001)
        finally:
            done.set()
        return [job.result() for job in jobs]


@each_counter
def test_a_counter_read_through_pynvml_never_decreases_in_any_thread(load_path, counter):
    node = node_of(load_path, counter)
    with installed(node):
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(2)]
        found = read_while_loads_change(
            node, lambda: [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles]
        )
    for readings in found:
        assert len(readings) > 20
        for earlier, later in itertools.pairwise(readings):
            assert all(before <= after for before, after in zip(earlier, later, strict=True))


def test_the_board_itself_may_be_read_too(load_path):
    node = node_of(load_path)
    gpu = node.gpus[0]

    def read():
        t_s = node.clock.now_s()
        return gpu.counter_j(t_s), gpu.power_w(t_s), gpu.average_power_w(t_s), gpu.true_power_w(t_s)

    for readings in read_while_loads_change(node, read):
        assert all(earlier[0] <= later[0] for earlier, later in itertools.pairwise(readings))
        assert all(0 < power_w < 450 for _, *powers_w in readings for power_w in powers_w)  # 400 W, 5 %, ripple, drift


@each_counter
def test_threads_leave_the_energy_that_the_same_loads_give_without_them(tmp_path, counter):
    node = node_of(tmp_path / "load", counter)
    with installed(node):
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        read_while_loads_change(
            node, lambda: pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])
        )
    end_s = node.clock.now_s()
    alone = SimulatedNode(node.state, node.clock)
    alone.refresh()
    for gpu, same in zip(node.gpus, alone.gpus, strict=True):
        assert gpu.true_energy_j(node.state.start_s, end_s) == pytest.approx(
            same.true_energy_j(node.state.start_s, end_s), abs=1e-6
        )
        # Sums of the same readings in other portions: a rounding apart, which may be one step of the counter (1 mJ).
        assert gpu.counter_j(end_s) == pytest.approx(same.counter_j(end_s), abs=0.0011)
