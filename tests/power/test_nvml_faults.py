"""What NVML answers on a bad day: errors that pass, errors that stay, a board that is gone."""

from __future__ import annotations

import pynvml
import pytest

from harness.clock import VirtualClock
from harness.errors import SourceUnavailable
from harness.power.nvml import ATTEMPTS, open_gpus
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.simulation.nvml import installed


class Answers:
    """Stands before one NVML function: gives the codes first, then what the function itself says."""

    def __init__(self, function, *codes):
        self.function, self.codes, self.calls = function, list(codes), 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.codes.pop(0) if self.codes else self.function(*arguments)


@pytest.fixture
def library():
    clock = VirtualClock(100.0)
    with installed(SimulatedNode(NodeState("A100-SXM4-80GB", 2, 0, "sensor", 100.0, None), clock)) as simulated:
        yield simulated


def spoil(library, name, *codes):
    answers = Answers(getattr(library, name), *codes)
    setattr(library, name, answers)
    pynvml._nvmlGetFunctionPointer_cache.clear()
    return answers


def opened():
    return open_gpus((0,), "simulated", VirtualClock(101.0), environ={})


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_UNKNOWN, pynvml.NVML_ERROR_TIMEOUT, pynvml.NVML_ERROR_IN_USE])
def test_an_error_that_passes_is_asked_again(library, code):
    source = opened()[0]
    before = source.read_energy_j()
    answers = spoil(library, "nvmlDeviceGetTotalEnergyConsumption", code, code)
    assert source.read_energy_j() == before
    assert answers.calls == 3


def test_an_error_that_does_not_pass_is_told_after_the_last_attempt(library):
    source = opened()[0]
    answers = spoil(library, "nvmlDeviceGetTotalEnergyConsumption", *[pynvml.NVML_ERROR_UNKNOWN] * 9)
    with pytest.raises(SourceUnavailable, match="A100-SXM4-80GB"):
        source.read_energy_j()
    assert answers.calls == ATTEMPTS


def test_a_lost_gpu_is_told_at_once_and_never_becomes_zero_watts(library):
    source = opened()[0]
    answers = spoil(library, "nvmlDeviceGetFieldValues", *[pynvml.NVML_ERROR_GPU_IS_LOST] * 9)
    with pytest.raises(SourceUnavailable):
        source.read()
    assert answers.calls == 1


def test_a_machine_with_a_broken_board_gets_a_sentence(library):
    spoil(library, "nvmlDeviceGetUUID", *[pynvml.NVML_ERROR_GPU_IS_LOST] * 9)
    with pytest.raises(SourceUnavailable, match="A GPU of this machine does not answer") as caught:
        opened()
    assert "nvidia-smi" in caught.value.hint
