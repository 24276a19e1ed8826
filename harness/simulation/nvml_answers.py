"""What a simulated GPU answers to NVML's device functions: values and structures, as the C library would fill them.

Answers follow NVML's reference (https://docs.nvidia.com/deploy/nvml-api/); no real board was at hand to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pynvml

from harness.simulation.gpu import SimulatedGpu

GA100 = (8, 0)  # the one Ampere chip whose plain power field is not a 1 s mean
MIG_CAPABLE = ((8, 0), (9, 0))  # of the simulated boards' compute capabilities
MIG_INSTANCES = 7
DRIVER_MEMORY_BYTES = 512 * 1024**2  # taken before any process; assumed
LOWEST_LIMIT_FRACTION = 0.25  # of the power limit; assumed
ALL_EVENT_REASONS = 0x1FF
SCOPE_GPU = 0  # NVML_POWER_SCOPE_GPU; the module and memory scopes exist on other boards
NO_INSTANCE = 0xFFFFFFFF

DeviceAnswer = Callable[..., int]
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

# What a sensor fault silences; identity, limits and processes still answer.
SENSOR_FUNCTIONS = frozenset(
    {
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetTemperatureV",
    }
)

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


def value_of(argument: Any) -> Any:
    """An argument passed by value: a ctypes scalar or a plain number."""
    return getattr(argument, "value", argument)


def target_of(argument: Any) -> Any:
    """What an output argument points at: byref(x), pointer(x), or an array, which C passes as a pointer."""
    if hasattr(argument, "_obj"):
        return argument._obj
    return argument.contents if hasattr(argument, "contents") else argument


def write_text(buffer: Any, length: Any, text: str) -> int:
    """Fill a text buffer of that length; the NVML return code says whether it had room."""
    content = text.encode()
    if len(content) + 1 > value_of(length):
        return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    target_of(buffer).value = content
    return int(pynvml.NVML_SUCCESS)


def _write_list(count: Any, array: Any, values: Sequence[Any], write: Callable[[Any, int, Any], None]) -> int:
    """NVML's buffer protocol: too small a buffer answers the size that is needed."""
    room = target_of(count)
    offered, room.value = room.value, len(values)
    if not values:
        return int(pynvml.NVML_SUCCESS)
    if array is None or offered < len(values):
        return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    target = target_of(array)
    for index, value in enumerate(values):
        write(target, index, value)
    return int(pynvml.NVML_SUCCESS)


def _put_clock(array: Any, index: int, clock_mhz: int) -> None:
    array[index] = clock_mhz


def _put_process(array: Any, index: int, process: tuple[int, int]) -> None:
    entry = array[index]
    entry.pid, entry.usedGpuMemory = process
    entry.gpuInstanceId = entry.computeInstanceId = NO_INSTANCE


# --- device functions -----------------------------------------------------------------------------


def _scalar(read: Scalar, gpu: SimulatedGpu, t_s: float, out: Any) -> int:
    value = read(gpu, t_s)
    if value is None:
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
    target_of(out).value = value
    return int(pynvml.NVML_SUCCESS)


def _pair(first: Scalar, second: Scalar, gpu: SimulatedGpu, t_s: float, one: Any, other: Any) -> int:
    return _scalar(first, gpu, t_s, one) or _scalar(second, gpu, t_s, other)


def _text(read: Callable[[SimulatedGpu], str | None], gpu: SimulatedGpu, _: float, out: Any, size: Any) -> int:
    text = read(gpu)
    return int(pynvml.NVML_ERROR_NOT_SUPPORTED) if text is None else write_text(out, size, text)


def _pci_info(gpu: SimulatedGpu, _: float, info: Any) -> int:
    target = target_of(info)
    target.domain, target.bus, target.device = 0, gpu.index + 1, 0
    target.pciDeviceId = 0x10DE  # NVIDIA's vendor number; the device number is not simulated
    target.busIdLegacy = f"0000:{gpu.index + 1:02X}:00.0"
    target.busId = f"00000000:{gpu.index + 1:02X}:00.0"
    return int(pynvml.NVML_SUCCESS)


def _field_values(gpu: SimulatedGpu, t_s: float, count: Any, values: Any, *, utc_s: Callable[[float], float]) -> int:
    array, timestamp = target_of(values), int(utc_s(t_s) * 1e6)
    for index in range(value_of(count)):
        entry = array[index]
        value_type, read = _FIELDS.get(entry.fieldId, (_UINT, None))
        value = read(gpu, t_s) if read is not None and entry.scopeId == SCOPE_GPU else None
        entry.timestamp = timestamp
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
    if value_of(sensor) != pynvml.NVML_TEMPERATURE_GPU:
        return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    target_of(out).value = round(gpu.temperature_c(t_s))
    return int(pynvml.NVML_SUCCESS)


def _temperature_v(gpu: SimulatedGpu, t_s: float, out: Any) -> int:
    target = target_of(out)
    if target.sensorType != pynvml.NVML_TEMPERATURE_GPU:
        return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    target.temperature = round(gpu.temperature_c(t_s))
    return int(pynvml.NVML_SUCCESS)


def _clock(gpu: SimulatedGpu, t_s: float, kind: Any, out: Any, *, maximum: bool = False) -> int:
    if value_of(kind) in (pynvml.NVML_CLOCK_GRAPHICS, pynvml.NVML_CLOCK_SM):
        clock_hz = gpu.profile.boost_clock_hz if maximum else gpu.clock_hz(t_s)
    elif value_of(kind) == pynvml.NVML_CLOCK_MEM:
        clock_hz = gpu.profile.memory_clock_hz
    elif value_of(kind) == pynvml.NVML_CLOCK_VIDEO:
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
    else:
        return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    target_of(out).value = _mhz(clock_hz)
    return int(pynvml.NVML_SUCCESS)


def _clock_by_id(gpu: SimulatedGpu, t_s: float, kind: Any, clock_id: Any, out: Any) -> int:
    if value_of(clock_id) == pynvml.NVML_CLOCK_ID_CURRENT:
        return _clock(gpu, t_s, kind, out)
    if value_of(clock_id) == pynvml.NVML_CLOCK_ID_CUSTOMER_BOOST_MAX:
        return _clock(gpu, t_s, kind, out, maximum=True)
    return int(pynvml.NVML_ERROR_NOT_SUPPORTED)


def _memory_clocks(gpu: SimulatedGpu, _: float, count: Any, clocks: Any) -> int:
    return _write_list(count, clocks, [_mhz(gpu.profile.memory_clock_hz)], _put_clock)


def _graphics_clocks(gpu: SimulatedGpu, _: float, memory_mhz: Any, count: Any, clocks: Any) -> int:
    if value_of(memory_mhz) != _mhz(gpu.profile.memory_clock_hz):
        return int(pynvml.NVML_ERROR_NOT_FOUND)
    profile = gpu.profile
    return _write_list(count, clocks, [_mhz(profile.boost_clock_hz), _mhz(profile.idle_clock_hz)], _put_clock)


def _utilisation(gpu: SimulatedGpu, t_s: float, out: Any) -> int:
    if gpu.mig_enabled:  # "On MIG-enabled GPUs, querying device utilization rates is not currently supported."
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
    target = target_of(out)
    target.gpu = target.memory = round(gpu.utilisation(t_s) * 100)
    return int(pynvml.NVML_SUCCESS)


def _memory(gpu: SimulatedGpu, t_s: float, out: Any, *, version: int | None = None) -> int:
    target = target_of(out)
    if version is not None and target.version != version:
        return int(pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
    used = sum(size for _, size in gpu.compute_processes(t_s))
    total = gpu.profile.memory_bytes
    if version is None:
        used += DRIVER_MEMORY_BYTES  # version 1 counts the driver's share as used
        target.total, target.used, target.free = total, used, total - used
    else:
        target.total, target.used, target.reserved = total, used, DRIVER_MEMORY_BYTES
        target.free = total - used - DRIVER_MEMORY_BYTES
    return int(pynvml.NVML_SUCCESS)


def _compute_processes(gpu: SimulatedGpu, t_s: float, count: Any, processes: Any) -> int:
    return _write_list(count, processes, gpu.compute_processes(t_s), _put_process)


def _no_processes(gpu: SimulatedGpu, _: float, count: Any, processes: Any) -> int:
    return _write_list(count, processes, (), _put_process)


def device_answers(utc_s: Callable[[float], float]) -> dict[str, DeviceAnswer]:
    """What every function of a device answers: f(gpu, t_s, arguments after the handle) -> NVML return code.

    Args:
        utc_s: Wall clock, seconds since 1970, at a time of the clock that `t_s` is on.
    """
    return {
        **{name: partial(_scalar, read) for name, read in _SCALARS.items()},
        **{name: partial(_pair, *reads) for name, reads in _PAIRS.items()},
        **{name: partial(_text, read) for name, read in _TEXTS.items()},
        "nvmlDeviceGetPciInfo_v3": _pci_info,
        "nvmlDeviceGetFieldValues": partial(_field_values, utc_s=utc_s),
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
