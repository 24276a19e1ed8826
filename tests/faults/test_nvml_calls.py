"""NVML answers an error at any call of any function, once or from then on: the number is right or there is none."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest
from campaigns import spec_of
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.run import sources
from harness.run.worker import execute
from harness.simulation.gpu import SimulatedNode
from harness.simulation.nvml import SimulatedNvml, installed

FUNCTIONS = (
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetCount_v2",
    "nvmlInit_v2",
)
CODES = (
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_TIMEOUT,
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_UNKNOWN,
)


@contextlib.contextmanager
def spoiled_library(node: SimulatedNode, name: str, code: int, first: int, times: int) -> Iterator[SimulatedNvml]:
    """The simulated NVML, one of whose functions fails from a call on, so many times."""
    with installed(node) as library:
        function, calls = getattr(library, name), itertools.count()

        def answer(*arguments: object) -> int:
            return code if first <= next(calls) < first + times else function(*arguments)

        setattr(library, name, answer)
        yield library


@settings(max_examples=6)
@given(st.sampled_from(FUNCTIONS), st.sampled_from(CODES), st.integers(0, 400), st.sampled_from([1, 2, 9, 1_000_000]))
def test_an_nvml_error_at_any_call_never_makes_a_wrong_number(
    tmp_path_factory: pytest.TempPathFactory, name: str, code: int, first: int, times: int
) -> None:
    folder: Path = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        spoiled = functools.partial(spoiled_library, name=name, code=code, first=first, times=times)
        patch.setattr(sources, "installed", spoiled)
        record = execute(spec_of(), "c", folder, lambda progress: None)
    if record.status == "failed":
        assert record.failure is not None
        assert record.failure.kind in ("source_unavailable", "measurement_invalid"), record.failure
        assert record.failure.message
        return
    assert record.summary is not None
    assert record.summary.true_gpu_energy_j is not None
    stated = record.summary.gpu_energy_j
    assert abs(stated.value - record.summary.true_gpu_energy_j) <= 1.5 * stated.half_width
