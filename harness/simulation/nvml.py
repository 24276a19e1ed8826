"""The simulated node behind NVML's own C functions, so that any NVML client in the process sees it.

nvidia-ml-py keeps the C library in `pynvml.nvmlLib` and fetches every function from it by name. An object with Python
callables in its place, honouring C signatures, structures and return codes, lets any client run its unmodified code:
our own source, CodeCarbon 3.3.2 (tests), Zeus 0.16.0 and nvitop 1.7.2 (tried by hand). What a device function answers
is in nvml_answers.py.

A function that is not built here answers NVML_ERROR_NOT_SUPPORTED if the installed pynvml knows its name, as an old
board would; any other name raises AttributeError, which pynvml turns into NVML_ERROR_FUNCTION_NOT_FOUND, as an old
driver would.

CodeCarbon calls nvmlInit when it is imported and never again looks for a GPU if that fails: install first, import it
afterwards. It also decides by `nvidia-smi --help` whether there is a GPU: see `nvidia_smi_on_path`.
"""

from __future__ import annotations

import ctypes
import inspect
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pynvml

from harness.clock import Clock, RealClock
from harness.power.base import PowerSource
from harness.power.nvml import open_gpus
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.simulation.nvml_answers import (
    SENSOR_FUNCTIONS,
    DeviceAnswer,
    device_answers,
    target_of,
    value_of,
    write_text,
)

DRIVER_VERSION = "580.65.06"
NVML_VERSION = "13.580.65.06"
CUDA_VERSION = 13000

Answer = Callable[..., int]


@cache
def _names_pynvml_knows() -> frozenset[str]:
    return frozenset(re.findall(r"_nvmlGetFunctionPointer\(['\"](\w+)['\"]\)", inspect.getsource(pynvml)))


class SimulatedNvml:
    """Stands where `pynvml` keeps the C library. Every function returns an NVML return code; thread-safe."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._init_count = 0
        self._memory = [(ctypes.c_ubyte * 64)() for _ in self._node.gpus]  # what the handles point at
        self._by_address = {
            ctypes.addressof(block): gpu for block, gpu in zip(self._memory, self._node.gpus, strict=True)
        }
        self._functions = self._table()
        self._restore: tuple[Any, int] | None = None

    def __getattr__(self, name: str) -> Answer:
        functions: dict[str, Answer] = self.__dict__.get("_functions", {})
        if name in functions:
            return functions[name]
        if name in _names_pynvml_knows():
            return self._guard(lambda *_: int(pynvml.NVML_ERROR_NOT_SUPPORTED))
        raise AttributeError(name)

    def _table(self) -> dict[str, Answer]:
        device = device_answers(self._node.utc_s)
        system: dict[str, Answer] = {
            "nvmlShutdown": self._shutdown,
            "nvmlSystemGetDriverVersion": lambda out, size: write_text(out, size, DRIVER_VERSION),
            "nvmlDeviceGetCount": self._count,
            "nvmlDeviceGetCount_v2": self._count,
            "nvmlDeviceGetHandleByIndex": self._by_index,
            "nvmlDeviceGetHandleByIndex_v2": self._by_index,
            "nvmlDeviceGetHandleByUUID": self._by_uuid,
            "nvmlDeviceGetHandleByPciBusId": self._by_pci,
            "nvmlDeviceGetHandleByPciBusId_v2": self._by_pci,
        }

        # NVML answers these before nvmlInit. pynvml sets attributes on the last one: bound methods would refuse.
        def error_string(code: Any) -> bytes:
            return str(pynvml.NVMLError._errcode_to_string.get(value_of(code), "Unknown Error")).encode()

        return {
            **{
                name: self._guard(partial(self._on_device, answer, name in SENSOR_FUNCTIONS))
                for name, answer in device.items()
            },
            **{name: self._guard(answer) for name, answer in system.items()},
            "nvmlInit_v2": self._init,
            "nvmlInitWithFlags": self._init,
            "nvmlErrorString": error_string,  # type: ignore[dict-item]  # the one that returns char *
            "nvmlSystemGetNVMLVersion": lambda out, size: write_text(out, size, NVML_VERSION),
            "nvmlSystemGetCudaDriverVersion": _cuda_version,
            "nvmlSystemGetCudaDriverVersion_v2": _cuda_version,
        }

    # --- calling rules ---

    def _guard(self, answer: Answer) -> Answer:
        # The node's own lock: a client's thread (CodeCarbon has one) may read while another sets the load.
        def call(*arguments: Any) -> int:
            with self._node.lock:
                if self._init_count == 0:
                    return int(pynvml.NVML_ERROR_UNINITIALIZED)
                return answer(*arguments)

        return call

    def _on_device(self, answer: DeviceAnswer, of_sensor: bool, handle: Any, *arguments: Any) -> int:
        try:
            gpu = self._by_address[ctypes.addressof(handle.contents)]
        except (KeyError, ValueError, AttributeError):  # not ours, NULL, not a pointer
            return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        self._node.refresh()
        t_s = self._node.clock.now_s()
        if gpu.faults.answers_errors and (code := gpu.faults.nvml_error(t_s, of_sensor)):
            return code
        return answer(gpu, t_s, *arguments)

    # --- library and handles ---

    def _init(self, *_: Any) -> int:
        with self._node.lock:
            self._init_count += 1
        return int(pynvml.NVML_SUCCESS)

    def _shutdown(self) -> int:
        self._init_count -= 1
        return int(pynvml.NVML_SUCCESS)

    def _count(self, out: Any) -> int:
        target_of(out).value = len(self._node.gpus)
        return int(pynvml.NVML_SUCCESS)

    def _give(self, index: int, out: Any) -> int:
        block = self._memory[index]
        target_of(out).contents = pynvml.struct_c_nvmlDevice_t.from_address(ctypes.addressof(block))
        return int(pynvml.NVML_SUCCESS)

    def _by_index(self, index: Any, out: Any) -> int:
        if not 0 <= value_of(index) < len(self._memory):
            return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self._give(value_of(index), out)

    def _by_uuid(self, gpu_uuid: Any, out: Any) -> int:
        wanted = value_of(gpu_uuid)
        if not wanted:
            return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        try:
            return self._give(self._node.gpu_by_uuid(wanted.decode(errors="replace")).index, out)
        except KeyError:
            return int(pynvml.NVML_ERROR_NOT_FOUND)

    def _by_pci(self, bus_id: Any, out: Any) -> int:
        wanted = re.fullmatch(rb"(?:0{4,8}:)?([0-9A-Fa-f]{2}):00(?:\.0)?", value_of(bus_id) or b"")
        index = int(wanted[1], 16) - 1 if wanted else -1
        if not 0 <= index < len(self._memory):
            return int(pynvml.NVML_ERROR_NOT_FOUND if wanted else pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self._give(index, out)

    # --- in place of the C library ---

    def install(self) -> None:
        """Stand in for the C library, in this process. What was there, and its reference count, is kept."""
        with pynvml.libLoadLock:
            self._restore = (pynvml.nvmlLib, pynvml._nvmlLib_refcount)
            pynvml.nvmlLib, pynvml._nvmlLib_refcount = self, 0
            pynvml._nvmlGetFunctionPointer_cache.clear()

    def uninstall(self) -> None:
        """Put back what was there. Close every source first: their handles end here.

        Raises:
            RuntimeError: This library is not the installed one.
        """
        with pynvml.libLoadLock:
            if pynvml.nvmlLib is not self or self._restore is None:
                raise RuntimeError("this simulated NVML is not the installed one")
            pynvml.nvmlLib, pynvml._nvmlLib_refcount = self._restore
            pynvml._nvmlGetFunctionPointer_cache.clear()
            self._restore = None


def _cuda_version(out: Any) -> int:
    target_of(out).value = CUDA_VERSION
    return int(pynvml.NVML_SUCCESS)


@contextmanager
def installed(node: SimulatedNode) -> Iterator[SimulatedNvml]:
    """Every NVML client of this process sees this node inside the block."""
    library = SimulatedNvml(node)
    library.install()
    try:
        yield library
    finally:
        library.uninstall()


@contextmanager
def nvidia_smi_on_path() -> Iterator[Path]:
    """An `nvidia-smi` that answers `--help`, first on PATH: CodeCarbon looks for a GPU that way.

    CodeCarbon keeps what it found for the life of the process (`clear_nvidia_system_cache` in its gpu_nvidia
    module forgets it): enter before its first tracker. The program measures nothing and lists nothing.
    """
    before = os.environ.get("PATH")
    with tempfile.TemporaryDirectory(prefix="harness-nvidia-smi-") as folder:
        program = Path(folder) / "nvidia-smi"
        program.write_text('#!/bin/sh\necho "nvidia-smi of a simulated GPU: it only says that it is here."\n')
        program.chmod(0o755)
        os.environ["PATH"] = folder if before is None else f"{folder}{os.pathsep}{before}"
        try:
            yield program
        finally:
            if before is None:
                del os.environ["PATH"]
            else:
                os.environ["PATH"] = before


def open_simulated_sources(
    state: NodeState, active_uuids: tuple[str, ...], clock: Clock | None = None
) -> tuple[PowerSource, ...]:
    """Open a simulated node in a process of its own (the sampler's), through NVML, and stay there.

    Args:
        state: The node; with a `load_path`, so that it is the same one as in the worker.
        active_uuids: GPUs that run the model.
        clock: The real one unless told otherwise.

    Returns:
        One source per GPU in index order, provenance "simulated". The library stays installed until the process ends.

    Raises:
        SourceUnavailable: As `harness.power.nvml.open_gpus`.
    """
    clock = clock if clock is not None else RealClock()
    SimulatedNvml(SimulatedNode(state, clock)).install()
    # A simulated machine has no CUDA: what CUDA_VISIBLE_DEVICES hides on this one does not matter.
    return open_gpus(active_uuids, "simulated", clock, environ={})
