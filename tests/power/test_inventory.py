import os

import pynvml

from harness.clock import VirtualClock
from harness.power.inventory import nvml_summary
from harness.simulation.gpu import FOREIGN_PID, NodeState, SimulatedNode
from harness.simulation.nvml import installed
from harness.simulation.profiles import GIB


def test_summary_describes_every_gpu_and_leaves_nothing_open():
    conditions = ("foreign-process", "no-counter")
    state = NodeState("RTX-3090", 2, 7, counter="sensor", start_s=100.0, load_path=None, conditions=conditions)
    with installed(node := SimulatedNode(state, VirtualClock(100.0))):
        first, second = nvml_summary(node.clock, "simulated")
        assert (first.index, second.index) == (0, 1)
        assert first.uuid == node.gpus[0].uuid
        assert first.name == "NVIDIA GeForce RTX 3090"
        assert (first.memory_bytes, first.power_limit_w) == (24 * GIB, 350.0)
        assert (first.has_counter, first.instant_power, first.mig_enabled) == (False, True, False)
        assert first.compute_processes == (os.getpid(), FOREIGN_PID)
        assert first.sensor_profile == "GeForce-Ampere"
        assert pynvml._nvmlLib_refcount == 0
