"""The simulated node behind NVML's own C functions, so that any NVML client in the process sees it.

nvidia-ml-py keeps the C library in `pynvml.nvmlLib` and fetches every function from it by name. An object with Python
callables in its place, honouring C signatures, structures and return codes, lets any client run its unmodified code:
our own source, CodeCarbon 3.3.2 (tests), Zeus 0.16.0 and nvitop 1.7.2 (tried by hand). What a function
answers follows NVML's reference (https://docs.nvidia.com/deploy/nvml-api/); no real board was at hand to compare with.

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
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pynvml

from harness.clock import Clock, RealClock
from harness.power.base import PowerSource
from harness.power.nvml import open_gpus
from harness.simulation.gpu import NodeState, SimulatedGpu, SimulatedNode

DRIVER_VERSION = "580.65.06"
NVML_VERSION = "13.580.65.06"
CUDA_VERSION = 13000

GA100 = (8, 0)  # the one Ampere chip whose plain power field is not a 1 s mean
MIG_CAPABLE = ((8, 0), (9, 0))  # of the simulated boards' compute capabilities
MIG_INSTANCES = 7
DRIVER_MEMORY_BYTES = 512 * 1024**2  # taken before any process; assumed
LOWEST_LIMIT_FRACTION = 0.25  # of the power limit; assumed
ALL_EVENT_REASONS = 0x1FF
SCOPE_GPU = 0  # NVML_POWER_SCOPE_GPU; the module and memory scopes exist on other boards
NO_INSTANCE = 0xFFFFFFFF

Answer = Callable[..., int]
Scalar = Callable[[SimulatedGpu, float], int | None]


def _milli(value: float) -> int:
    return round(value * 1000)


def _mhz(value_hz: float) -> int:
    return round(value_hz / 1e6)


def _is_geforce(gpu: SimulatedGpu) -> bool:
    return gpu.profile.nvml_name.startswith("NVIDIA GeForce")


def _can_mig(gpu: SimulatedGpu) -> bool:
    return gpu.profile.compute_capability in MIG_CAPABLE


def _plain_power_mw(gpu: SimulatedGpu, t_s: float) -> int:
    # nvmlDeviceGetPowerUsage: "On Ampere (except GA100) or newer GPUs, the API returns power averaged over 1 sec".
    averaged = gpu.profile.architecture >= pynvml.NVML_DEVICE_ARCH_AMPERE and (gpu.profile.compute_capability != GA100)
    return _milli(gpu.average_power_w(t_s) if averaged else gpu.power_w(t_s))


def _counter_mj(gpu: SimulatedGpu, t_s: float) -> int | None:
    return _milli(gpu.counter_j(t_s)) if gpu.has_counter else None


def _limit_mw(gpu: SimulatedGpu, _: float) -> int:
    return _milli(gpu.profile.power_limit_w)


def _lowest_limit_mw(gpu: SimulatedGpu, _: float) -> int:
    return _milli(gpu.profile.power_limit_w * LOWEST_LIMIT_FRACTION)


def _performance_state(gpu: SimulatedGpu, t_s: float) -> int:
    return 8 if _is_geforce(gpu) and gpu.utilisation(t_s) == 0 else 0


def _throttle(gpu: SimulatedGpu, t_s: float) -> int:
    return gpu.throttle_reasons(t_s)


# f(handle, &value): what one output argument receives; None answers NVML_ERROR_NOT_SUPPORTED.
_SCALARS: dict[str, Scalar] = {
    "nvmlDeviceGetIndex": lambda gpu, _: gpu.index,
    "nvmlDeviceGetMinorNumber": lambda gpu, _: gpu.index,
    "nvmlDeviceGetBoardId": lambda gpu, _: (gpu.index + 1) << 8,
    "nvmlDeviceGetMultiGpuBoard": lambda gpu, _: 0,
    "nvmlDeviceGetArchitecture": lambda gpu, _: gpu.profile.architecture,
    "nvmlDeviceGetBrand": lambda gpu, _: pynvml.NVML_BRAND_GEFORCE if _is_geforce(gpu) else pynvml.NVML_BRAND_NVIDIA,
    "nvmlDeviceGetTotalEnergyConsumption": _counter_mj,
    "nvmlDeviceGetPowerUsage": _plain_power_mw,
    "nvmlDeviceGetEnforcedPowerLimit": _limit_mw,
    "nvmlDeviceGetPowerManagementLimit": _limit_mw,
    "nvmlDeviceGetPowerManagementDefaultLimit": _limit_mw,
    "nvmlDeviceGetPowerManagementMode": lambda gpu, _: pynvml.NVML_FEATURE_ENABLED,
    "nvmlDeviceGetCurrentClocksEventReasons": _throttle,
    "nvmlDeviceGetCurrentClocksThrottleReasons": _throttle,
    "nvmlDeviceGetSupportedClocksEventReasons": lambda gpu, _: ALL_EVENT_REASONS,
    "nvmlDeviceGetSupportedClocksThrottleReasons": lambda gpu, _: ALL_EVENT_REASONS,
    "nvmlDeviceGetMaxMigDeviceCount": lambda gpu, _: MIG_INSTANCES if gpu.mig_enabled and _can_mig(gpu) else 0,
    "nvmlDeviceIsMigDeviceHandle": lambda gpu, _: 0,
    "nvmlDeviceGetComputeMode": lambda gpu, _: pynvml.NVML_COMPUTEMODE_DEFAULT,
    "nvmlDeviceGetPersistenceMode": lambda gpu, _: pynvml.NVML_FEATURE_ENABLED,
    "nvmlDeviceGetPerformanceState": _performance_state,
    "nvmlDeviceGetPowerState": _performance_state,
}

# f(handle, &first, &second)
_PAIRS: dict[str, tuple[Scalar, Scalar]] = {
    "nvmlDeviceGetCudaComputeCapability": (
        lambda gpu, _: gpu.profile.compute_capability[0],
        lambda gpu, _: gpu.profile.compute_capability[1],
    ),
    "nvmlDeviceGetPowerManagementLimitConstraints": (_lowest_limit_mw, _limit_mw),
    "nvmlDeviceGetMigMode": (
        lambda gpu, _: int(gpu.mig_enabled) if _can_mig(gpu) else None,
        lambda gpu, _: int(gpu.mig_enabled) if _can_mig(gpu) else None,
    ),
    "nvmlDeviceGetEccMode": (
        lambda gpu, _: None if _is_geforce(gpu) else 1,
        lambda gpu, _: None if _is_geforce(gpu) else 1,
    ),
}

# f(handle, buffer, length)
_TEXTS: dict[str, Callable[[SimulatedGpu], str | None]] = {
    "nvmlDeviceGetName": lambda gpu: gpu.profile.nvml_name,
    "nvmlDeviceGetUUID": lambda gpu: gpu.uuid,
    "nvmlDeviceGetSerial": lambda gpu: None if _is_geforce(gpu) else f"SIMULATED-{gpu.index:03d}",
}

_UINT, _ULL = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT, pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
_FIELDS: dict[int, tuple[int, Scalar]] = {
    pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION: (_ULL, _counter_mj),
    pynvml.NVML_FI_DEV_POWER_AVERAGE: (_UINT, lambda gpu, t_s: _milli(gpu.average_power_w(t_s))),
    pynvml.NVML_FI_DEV_POWER_INSTANT: (_UINT, lambda gpu, t_s: _milli(gpu.power_w(t_s))),
    pynvml.NVML_FI_DEV_POWER_MIN_LIMIT: (_UINT, _lowest_limit_mw),
    pynvml.NVML_FI_DEV_POWER_MAX_LIMIT: (_UINT, _limit_mw),
    pynvml.NVML_FI_DEV_POWER_DEFAULT_LIMIT: (_UINT, _limit_mw),
    pynvml.NVML_FI_DEV_POWER_CURRENT_LIMIT: (_UINT, _limit_mw),
    pynvml.NVML_FI_DEV_POWER_REQUESTED_LIMIT: (_UINT, _limit_mw),
}


# --- C arguments -----------------------------------------------------------------------------------


def _value(argument: Any) -> Any:
    """An argument passed by value: a ctypes scalar or a plain number."""
    return getattr(argument, "value", argument)


def _target(argument: Any) -> Any:
    """What an output argument points at: byref(x), pointer(x), or an array, which C passes as a pointer."""
    if hasattr(argument, "_obj"):
        return argument._obj
    return argument.contents if hasattr(argument, "contents") else argument


def _write_text(buffer: Any, length: Any, text: str) -> int:
    content = text.encode()
    if len(content) + 1 > _value(length):
        return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    _target(buffer).value = content
    return int(pynvml.NVML_SUCCESS)


def _write_list(count: Any, array: Any, values: Sequence[Any], write: Callable[[Any, int, Any], None]) -> int:
    """NVML's buffer protocol: too small a buffer answers the size that is needed."""
    room = _target(count)
    offered, room.value = room.value, len(values)
    if not values:
        return int(pynvml.NVML_SUCCESS)
    if array is None or offered < len(values):
        return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    target = _target(array)
    for index, value in enumerate(values):
        write(target, index, value)
    return int(pynvml.NVML_SUCCESS)


def _put_clock(array: Any, index: int, clock_mhz: int) -> None:
    array[index] = clock_mhz


def _put_process(array: Any, index: int, process: tuple[int, int]) -> None:
    entry = array[index]
    entry.pid, entry.usedGpuMemory = process
    entry.gpuInstanceId = entry.computeInstanceId = NO_INSTANCE


@cache
def _names_pynvml_knows() -> frozenset[str]:
    return frozenset(re.findall(r"_nvmlGetFunctionPointer\(['\"](\w+)['\"]\)", inspect.getsource(pynvml)))


# --- device functions with arguments of their own -----------------------------------------------------


def _pci_info(gpu: SimulatedGpu, _: float, info: Any) -> int:
    target = _target(info)
    target.domain, target.bus, target.device = 0, gpu.index + 1, 0
    target.pciDeviceId = 0x10DE  # NVIDIA's vendor number; the device number is not simulated
    target.busIdLegacy = f"0000:{gpu.index + 1:02X}:00.0"
    target.busId = f"00000000:{gpu.index + 1:02X}:00.0"
    return int(pynvml.NVML_SUCCESS)


def _field_values(gpu: SimulatedGpu, t_s: float, count: Any, values: Any, *, epoch_s: float) -> int:
    array = _target(values)
    for index in range(_value(count)):
        entry = array[index]
        value_type, read = _FIELDS.get(entry.fieldId, (_UINT, None))
        value = read(gpu, t_s) if read is not None and entry.scopeId == SCOPE_GPU else None
        entry.timestamp = int((epoch_s + t_s) * 1e6)
        if value is None:
            entry.nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
            continue
        entry.nvmlReturn, entry.valueType = pynvml.NVML_SUCCESS, value_type
        if value_type == _ULL:
            entry.value.ullVal = value
        else:
            entry.value.uiVal = value
    return int(pynvml.NVML_SUCCESS)


def _temperature(gpu: SimulatedGpu, t_s: float, sensor: Any, out: Any) -> int:
    if _value(sensor) != pynvml.NVML_TEMPERATURE_GPU:
        return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    _target(out).value = round(gpu.temperature_c(t_s))
    return int(pynvml.NVML_SUCCESS)


def _temperature_v(gpu: SimulatedGpu, t_s: float, out: Any) -> int:
    target = _target(out)
    if target.sensorType != pynvml.NVML_TEMPERATURE_GPU:
        return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    target.temperature = round(gpu.temperature_c(t_s))
    return int(pynvml.NVML_SUCCESS)


def _clock(gpu: SimulatedGpu, t_s: float, kind: Any, out: Any, *, maximum: bool = False) -> int:
    if _value(kind) in (pynvml.NVML_CLOCK_GRAPHICS, pynvml.NVML_CLOCK_SM):
        clock_hz = gpu.profile.boost_clock_hz if maximum else gpu.clock_hz(t_s)
    elif _value(kind) == pynvml.NVML_CLOCK_MEM:
        clock_hz = gpu.profile.memory_clock_hz
    elif _value(kind) == pynvml.NVML_CLOCK_VIDEO:
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
    else:
        return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    _target(out).value = _mhz(clock_hz)
    return int(pynvml.NVML_SUCCESS)


def _clock_by_id(gpu: SimulatedGpu, t_s: float, kind: Any, clock_id: Any, out: Any) -> int:
    if _value(clock_id) == pynvml.NVML_CLOCK_ID_CURRENT:
        return _clock(gpu, t_s, kind, out)
    if _value(clock_id) == pynvml.NVML_CLOCK_ID_CUSTOMER_BOOST_MAX:
        return _clock(gpu, t_s, kind, out, maximum=True)
    return int(pynvml.NVML_ERROR_NOT_SUPPORTED)


def _memory_clocks(gpu: SimulatedGpu, _: float, count: Any, clocks: Any) -> int:
    return _write_list(count, clocks, [_mhz(gpu.profile.memory_clock_hz)], _put_clock)


def _graphics_clocks(gpu: SimulatedGpu, _: float, memory_mhz: Any, count: Any, clocks: Any) -> int:
    if _value(memory_mhz) != _mhz(gpu.profile.memory_clock_hz):
        return int(pynvml.NVML_ERROR_NOT_FOUND)
    profile = gpu.profile
    return _write_list(count, clocks, [_mhz(profile.boost_clock_hz), _mhz(profile.idle_clock_hz)], _put_clock)


def _utilisation(gpu: SimulatedGpu, t_s: float, out: Any) -> int:
    if gpu.mig_enabled:  # "On MIG-enabled GPUs, querying device utilization rates is not currently supported."
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
    target = _target(out)
    target.gpu = target.memory = round(gpu.utilisation(t_s) * 100)
    return int(pynvml.NVML_SUCCESS)


def _memory(gpu: SimulatedGpu, _: float, out: Any, *, version: int | None = None) -> int:
    target = _target(out)
    if version is not None and target.version != version:
        return int(pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
    used = sum(size for _, size in gpu.compute_processes())
    total = gpu.profile.memory_bytes
    if version is None:
        used += DRIVER_MEMORY_BYTES  # version 1 counts the driver's share as used
        target.total, target.used, target.free = total, used, total - used
    else:
        target.total, target.used, target.reserved = total, used, DRIVER_MEMORY_BYTES
        target.free = total - used - DRIVER_MEMORY_BYTES
    return int(pynvml.NVML_SUCCESS)


def _compute_processes(gpu: SimulatedGpu, _: float, count: Any, processes: Any) -> int:
    return _write_list(count, processes, gpu.compute_processes(), _put_process)


def _no_processes(gpu: SimulatedGpu, _: float, count: Any, processes: Any) -> int:
    return _write_list(count, processes, (), _put_process)


class SimulatedNvml:
    """Stands where `pynvml` keeps the C library. Every function returns an NVML return code; thread-safe."""

    def __init__(self, node: SimulatedNode) -> None:
        # A node shared through a file is read through a view of our own: a client's thread (CodeCarbon has one) and
        # the thread that sets the load then never touch the same arrays.
        self._node = SimulatedNode(node.state, node.clock) if node.state.load_path else node
        self._lock = threading.Lock()
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
        clock = self._node.clock
        field_values = partial(_field_values, epoch_s=time.time() - clock.now_s())
        device: dict[str, Answer] = {
            **{name: partial(self._scalar, read) for name, read in _SCALARS.items()},
            **{name: partial(self._pair, *reads) for name, reads in _PAIRS.items()},
            **{name: partial(self._text, read) for name, read in _TEXTS.items()},
            "nvmlDeviceGetPciInfo_v3": _pci_info,
            "nvmlDeviceGetFieldValues": field_values,
            "nvmlDeviceGetTemperature": _temperature,
            "nvmlDeviceGetTemperatureV": _temperature_v,
            "nvmlDeviceGetClockInfo": _clock,
            "nvmlDeviceGetMaxClockInfo": partial(_clock, maximum=True),
            "nvmlDeviceGetClock": _clock_by_id,
            "nvmlDeviceGetSupportedMemoryClocks": _memory_clocks,
            "nvmlDeviceGetSupportedGraphicsClocks": _graphics_clocks,
            "nvmlDeviceGetUtilizationRates": _utilisation,
            "nvmlDeviceGetMemoryInfo": _memory,
            "nvmlDeviceGetMemoryInfo_v2": partial(_memory, version=pynvml.nvmlMemory_v2),
            "nvmlDeviceGetComputeRunningProcesses_v2": _compute_processes,
            "nvmlDeviceGetComputeRunningProcesses_v3": _compute_processes,
            "nvmlDeviceGetGraphicsRunningProcesses_v2": _no_processes,
            "nvmlDeviceGetGraphicsRunningProcesses_v3": _no_processes,
            "nvmlDeviceGetMPSComputeRunningProcesses_v3": _no_processes,
        }
        system: dict[str, Answer] = {
            "nvmlShutdown": self._shutdown,
            "nvmlSystemGetDriverVersion": lambda out, size: _write_text(out, size, DRIVER_VERSION),
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
            return str(pynvml.NVMLError._errcode_to_string.get(_value(code), "Unknown Error")).encode()

        return {
            **{name: self._guard(partial(self._on_device, answer)) for name, answer in device.items()},
            **{name: self._guard(answer) for name, answer in system.items()},
            "nvmlInit_v2": self._init,
            "nvmlInitWithFlags": self._init,
            "nvmlErrorString": error_string,  # type: ignore[dict-item]  # the one that returns char *
            "nvmlSystemGetNVMLVersion": lambda out, size: _write_text(out, size, NVML_VERSION),
            "nvmlSystemGetCudaDriverVersion": _cuda_version,
            "nvmlSystemGetCudaDriverVersion_v2": _cuda_version,
        }

    # --- calling rules ---

    def _guard(self, answer: Answer) -> Answer:
        def call(*arguments: Any) -> int:
            with self._lock:
                if self._init_count == 0:
                    return int(pynvml.NVML_ERROR_UNINITIALIZED)
                return answer(*arguments)

        return call

    def _on_device(self, answer: Answer, handle: Any, *arguments: Any) -> int:
        try:
            gpu = self._by_address[ctypes.addressof(handle.contents)]
        except (KeyError, ValueError, AttributeError):  # not ours, NULL, not a pointer
            return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        self._node.refresh()
        return answer(gpu, self._node.clock.now_s(), *arguments)

    @staticmethod
    def _scalar(read: Scalar, gpu: SimulatedGpu, t_s: float, out: Any) -> int:
        value = read(gpu, t_s)
        if value is None:
            return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        _target(out).value = value
        return int(pynvml.NVML_SUCCESS)

    @staticmethod
    def _pair(first: Scalar, second: Scalar, gpu: SimulatedGpu, t_s: float, one: Any, other: Any) -> int:
        return SimulatedNvml._scalar(first, gpu, t_s, one) or SimulatedNvml._scalar(second, gpu, t_s, other)

    @staticmethod
    def _text(read: Callable[[SimulatedGpu], str | None], gpu: SimulatedGpu, _: float, out: Any, size: Any) -> int:
        text = read(gpu)
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED) if text is None else _write_text(out, size, text)

    # --- library and handles ---

    def _init(self, *_: Any) -> int:
        with self._lock:
            self._init_count += 1
        return int(pynvml.NVML_SUCCESS)

    def _shutdown(self) -> int:
        self._init_count -= 1
        return int(pynvml.NVML_SUCCESS)

    def _count(self, out: Any) -> int:
        _target(out).value = len(self._node.gpus)
        return int(pynvml.NVML_SUCCESS)

    def _give(self, index: int, out: Any) -> int:
        block = self._memory[index]
        _target(out).contents = pynvml.struct_c_nvmlDevice_t.from_address(ctypes.addressof(block))
        return int(pynvml.NVML_SUCCESS)

    def _by_index(self, index: Any, out: Any) -> int:
        if not 0 <= _value(index) < len(self._memory):
            return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self._give(_value(index), out)

    def _by_uuid(self, gpu_uuid: Any, out: Any) -> int:
        wanted = _value(gpu_uuid)
        if not wanted:
            return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        try:
            return self._give(self._node.gpu_by_uuid(wanted.decode(errors="replace")).index, out)
        except KeyError:
            return int(pynvml.NVML_ERROR_NOT_FOUND)

    def _by_pci(self, bus_id: Any, out: Any) -> int:
        wanted = re.fullmatch(rb"(?:0{4,8}:)?([0-9A-Fa-f]{2}):00(?:\.0)?", _value(bus_id) or b"")
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
    _target(out).value = CUDA_VERSION
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
