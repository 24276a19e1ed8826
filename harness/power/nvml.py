"""NVIDIA boards through NVML: the only file that meters with pynvml. mW and mJ become W and J here.

NVML's reference: https://docs.nvidia.com/deploy/nvml-api/. Everything here runs against the simulated
library (simulation/nvml.py); against a real driver it is only checked by tests marked `gpu`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import psutil
import pynvml

from harness.clock import Clock
from harness.errors import SourceUnavailable, UserInputError
from harness.frozen import Provenance
from harness.power.base import Reading
from harness.power.cuda_visible import NO_GPU_HINT, mig_refused, parse_visible_devices, resolve_selection
from harness.power.processes import cuda_is_loaded, foreign_pids, of_own_tree
from harness.power.profile_use import Board, profile_in_use
from harness.power.profiles import NvmlField, SensorProfile, profile_for
from harness.records import Caveat, SourceInfo

T = TypeVar("T")

# Errors that a driver under load answers now and then, and the next call does not.
PASSING_ERRORS = (pynvml.NVML_ERROR_UNKNOWN, pynvml.NVML_ERROR_TIMEOUT, pynvml.NVML_ERROR_IN_USE)
ATTEMPTS = 3

_INSTANT, _AVERAGE = pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_POWER_AVERAGE
_ENERGY = pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION

GA100 = (8, 0)  # the one Ampere chip whose plain power field is not a 1 s mean
MEAN_WINDOW_S = 1.0  # "On Ampere (except GA100) or newer GPUs, the API returns power averaged over 1 sec interval"
COUNTER_UNIT_J = 0.001  # NVML's unit; the real step may be coarser
MODULE_BOARDS = re.compile(r"\bG[HB][0-9]{3}\b")  # Grace Hopper, Grace Blackwell: GH200, GB200, GB300

# The board or the driver lacks it: None, not an error. An unknown field id answers INVALID_ARGUMENT on some drivers.
_LACKS = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_DATA,
    pynvml.NVML_ERROR_DEPRECATED,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
)
_HINTS = {
    pynvml.NVML_ERROR_GPU_IS_LOST: "The board fell off the bus: look for Xid in dmesg; the machine needs a restart.",
    pynvml.NVML_ERROR_RESET_REQUIRED: "The board needs a reset before it can be read again.",
    pynvml.NVML_ERROR_NO_PERMISSION: "Ask the administrator of this machine for access to the board.",
    pynvml.NVML_ERROR_UNINITIALIZED: "NVML was shut down while the board was being read.",
}


# --- the library -----------------------------------------------------------------------------------


def _init() -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound as error:
        raise SourceUnavailable(
            "No NVIDIA driver answers on this machine (libnvidia-ml.so.1 not found).", NO_GPU_HINT
        ) from error
    except pynvml.NVMLError as error:
        raise SourceUnavailable(
            f'No NVIDIA driver answers on this machine: NVML answered "{error}".', NO_GPU_HINT
        ) from error


def _shutdown() -> None:
    # The library may have been taken away under us (a simulation that ended); then nothing is left to shut down.
    with suppress(pynvml.NVMLError):
        pynvml.nvmlShutdown()


@contextmanager
def _session() -> Iterator[None]:
    _init()
    try:
        yield
    finally:
        _shutdown()


def _optional(call: Callable[[], T]) -> T | None:
    """What NVML answers, or None where the board or the driver lacks it. Other errors pass."""
    try:
        return call()
    except pynvml.NVMLError as error:
        if error.value in _LACKS:
            return None
        raise


def _first_supported(handle: Any, *calls: tuple[Any, ...]) -> Callable[[], Any] | None:
    """The first of several calls, newest first, that installed pynvml, driver and board all have; or None.

    Args:
        calls: (name of the pynvml function, arguments after the handle).
    """
    for name, *arguments in calls:
        function = getattr(pynvml, name, None)
        if function is not None:
            ask = partial(function, handle, *arguments)
            if _optional(ask) is not None:
                return ask
    return None


def _field_values(handle: Any, fields: Sequence[int]) -> dict[int, int]:
    """Whole-numbered NVML fields by id, in mW or mJ; those that NVML does not fill in are left out."""
    found = {}
    for entry in pynvml.nvmlDeviceGetFieldValues(handle, fields):
        if entry.nvmlReturn == pynvml.NVML_SUCCESS:
            wide = entry.valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
            found[entry.fieldId] = int(entry.value.ullVal if wide else entry.value.uiVal)
    return found


# --- which GPUs ------------------------------------------------------------------------------------


def visible_gpus(environ: Mapping[str, str]) -> list[str]:
    """UUIDs of the GPUs that CUDA programs started with this environment see, in CUDA's order.

    Raises:
        SourceUnavailable: No NVIDIA driver answers.
    """
    with _session():
        uuids = [pynvml.nvmlDeviceGetUUID(handle) for _, handle in _handles()[0]]
    return parse_visible_devices(environ.get("CUDA_VISIBLE_DEVICES"), uuids)


def _handles() -> tuple[list[tuple[int, Any]], list[int]]:
    """(index, handle) of every board that may be read, and the indices of those that may not."""
    readable, hidden = [], []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            readable.append((index, pynvml.nvmlDeviceGetHandleByIndex(index)))
        except pynvml.NVMLError_NoPermission:  # containers: the count includes boards of others
            hidden.append(index)
    return readable, hidden


# --- one board -------------------------------------------------------------------------------------


class NvmlSource:
    """One board behind NVML. Holds one NVML reference until `close`.

    `instant_supported`: `power_w` is NVML's instant field. Without it `power_w` is nvmlDeviceGetPowerUsage, which
    from Ampere on (GA100 apart) is a 1 s mean: `info.sensor_window_s` is then 1 s and a Caveat says so.
    """

    def __init__(
        self,
        index: int,
        provenance: Provenance,
        clock: Clock,
        runs_model: bool,
        holds_context: Callable[[], bool] = cuda_is_loaded,
        sensor_profile: SensorProfile | None = None,
    ) -> None:
        """Open the board of that NVML index and find out what it can tell; `sensor_profile` replaces that on record.

        Raises:
            UserInputError: The sensor profile is that of another board or field.
            SourceUnavailable: No driver, no such board, or it has neither an energy counter nor a power reading.
        """
        _init()
        self.index = index
        self._clock, self._holds_context, self._closed = clock, holds_context, False
        self._name = "not identified"
        self._given_profile = sensor_profile
        try:
            self._open(provenance, runs_model)
        except pynvml.NVMLError as error:
            self.close()
            raise self._failed("open", error) from error
        except (SourceUnavailable, UserInputError):
            self.close()
            raise

    def _open(self, provenance: Provenance, runs_model: bool) -> None:
        handle = self._handle = pynvml.nvmlDeviceGetHandleByIndex(self.index)
        self._name = pynvml.nvmlDeviceGetName(handle)
        try:
            fields = _field_values(handle, (_INSTANT, _AVERAGE, _ENERGY))
        except pynvml.NVMLError as error:
            if error.value not in (*_LACKS, pynvml.NVML_ERROR_INVALID_ARGUMENT):
                raise
            fields = {}
        plain_mw = _optional(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
        counter_mj = _optional(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        self.instant_supported = fields.get(_INSTANT, 0) > 0  # a live board draws something
        self.has_counter = counter_mj is not None
        self._plain_power = not self.instant_supported and plain_mw is not None
        if not (self.instant_supported or self._plain_power or self.has_counter):
            raise SourceUnavailable(
                f"Cannot meter GPU {self.index} ({self._name}): it has neither an energy counter nor a power reading.",
                "Choose another GPU.",
            )
        self._fields = tuple(
            field
            for field, wanted in (
                (_INSTANT, self.instant_supported),
                (_AVERAGE, _AVERAGE in fields),
                # One call instead of two, where the field is the same counter (within what passes in between: 1 kJ).
                (_ENERGY, counter_mj is not None and abs(fields.get(_ENERGY, 0) - counter_mj) < 1e6),
            )
            if wanted
        )
        self._fast_fields = tuple(field for field in self._fields if field == _INSTANT)
        self._temperature = _first_supported(
            handle,
            ("nvmlDeviceGetTemperatureV", pynvml.NVML_TEMPERATURE_GPU),
            ("nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU),
        )
        self._sm_clock = _first_supported(handle, ("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM))
        self._throttle = _first_supported(
            handle, ("nvmlDeviceGetCurrentClocksEventReasons",), ("nvmlDeviceGetCurrentClocksThrottleReasons",)
        )
        self._utilisation = _first_supported(handle, ("nvmlDeviceGetUtilizationRates",))
        memory = _optional(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
        self.memory_bytes: int | None = None if memory is None else memory.total
        self.mig_enabled = (_optional(lambda: pynvml.nvmlDeviceGetMigMode(handle)) or [0])[0] == 1
        self._describe(provenance, runs_model)

    def _describe(self, provenance: Provenance, runs_model: bool) -> None:
        handle, driver = self._handle, pynvml.nvmlSystemGetDriverVersion()
        profile = self._given_profile or profile_for(self._name, driver, self.nvml_field)
        board = Board(self.index, self._name, driver, self.nvml_field, provenance == "simulated", self.has_counter)
        in_use = profile_in_use(profile, board) if self._given_profile else None
        limit_mw = _optional(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        architecture = _optional(lambda: pynvml.nvmlDeviceGetArchitecture(handle)) or 0
        capability = _optional(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle))
        # pynvml's "unknown architecture" is a large number: treated as newer than Ampere, the cautious side.
        averages = architecture >= pynvml.NVML_DEVICE_ARCH_AMPERE and capability != GA100
        is_mean = self._plain_power and (averages if profile.name == "unknown" else profile.mean_of > 1)
        caveats = (
            ("averaged-power", is_mean, f"{board} offers power only as a 1 s mean; short changes are not seen."),
            ("no-counter", not self.has_counter, f"{board} has no energy counter; its power is sampled."),
            (
                "module-power",
                MODULE_BOARDS.search(self._name) is not None,
                f"{board} shares a module with a CPU; NVML's power may include more than the GPU.",
            ),
        )
        self.caveats = tuple(Caveat(code=code, message=message) for code, applies, message in caveats if applies)
        self.caveats += in_use.caveats if in_use else ()
        self.profile = profile
        self.info = SourceInfo(
            id=pynvml.nvmlDeviceGetUUID(handle),
            kind="gpu",
            scope="device",
            device_name=self._name,
            driver=driver,
            power_limit_w=None if limit_mw is None else limit_mw / 1000,
            sensor_profile=f"{profile.name} (1 s mean)" if is_mean else profile.name,
            sensor_period_s=profile.period_s,
            sensor_window_s=MEAN_WINDOW_S if is_mean else profile.window_s,
            sensor_kernel="boxcar" if is_mean else profile.kernel,
            gain=in_use.gain if in_use is not None else 1.0,
            offset_w=in_use.offset_w if in_use is not None else 0.0,
            gain_relative_u=(in_use or profile).gain_relative_u,
            offset_u_w=(in_use or profile).offset_u_w,
            counter_step_j=(profile.counter_step_j or COUNTER_UNIT_J) if self.has_counter else None,
            counter_integrates=profile.counter_integrates if self.has_counter else None,
            provenance=provenance,
            runs_model=runs_model,
        )

    @property
    def nvml_field(self) -> NvmlField:
        """The field that `power_w` is read from, as nvidia-smi calls it."""
        return "power.draw" if self._plain_power else "power.draw.instant"

    def read(self, slow: bool = True) -> Reading:
        """Power; with `slow` also counter and driver's mean (in one NVML call where the board allows) and the rest.

        Raises:
            SourceUnavailable: NVML answers an error other than "not supported".
        """
        return self._patiently("read power of", lambda: self._read_once(slow))

    def _patiently(self, doing: str, call: Callable[[], T]) -> T:
        """Try again what may pass; what does not is SourceUnavailable."""
        for left in reversed(range(ATTEMPTS)):
            try:
                return call()
            except pynvml.NVMLError as error:
                if left == 0 or error.value not in PASSING_ERRORS:
                    raise self._failed(doing, error) from error
        raise AssertionError("unreachable")

    def _read_once(self, slow: bool) -> Reading:
        handle = self._handle
        start_s = self._clock.now_s()
        fields = self._fields if slow else self._fast_fields
        values = _field_values(handle, fields) if fields else {}
        power_mw = values.get(_INSTANT)
        if self._plain_power:
            power_mw = pynvml.nvmlDeviceGetPowerUsage(handle)
        average_mw, energy_mj = values.get(_AVERAGE), values.get(_ENERGY)
        if slow and energy_mj is None and self.has_counter:
            energy_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        t_s = (start_s + self._clock.now_s()) / 2
        clock_mhz = celsius = throttle = rates = None
        if slow:
            clock_mhz, celsius, throttle, rates = (
                None if ask is None else _optional(ask)
                for ask in (self._sm_clock, self._temperature, self._throttle, self._utilisation)
            )
        return Reading(
            t_s=t_s,
            power_w=None if power_mw is None else power_mw / 1000,
            average_power_w=None if average_mw is None else average_mw / 1000,
            energy_j=None if energy_mj is None else energy_mj / 1000,
            clock_hz=None if clock_mhz is None else clock_mhz * 1e6,
            temperature_c=None if celsius is None else float(celsius),
            throttle=throttle,
            utilisation_fraction=None if rates is None else rates.gpu / 100,
        )

    def read_energy_j(self) -> float | None:
        """The energy counter, J since driver load; None on a board without one.

        Raises:
            SourceUnavailable: NVML answers an error.
        """
        if not self.has_counter:
            return None
        energy_mj: int = self._patiently(
            "read energy from", lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        )
        return energy_mj / 1000

    def compute_processes(self) -> tuple[int, ...] | None:
        """Process ids with a compute context, as NVML lists them; None where it does not say.

        Raises:
            SourceUnavailable: NVML answers an error other than "not supported" or "no permission".
        """
        try:
            processes = _optional(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle))
        except pynvml.NVMLError_NoPermission:
            return None
        except pynvml.NVMLError as error:
            raise self._failed("list the processes of", error) from error
        return None if processes is None else tuple(process.pid for process in processes)

    def foreign_processes(self) -> tuple[int, ...] | None:
        """Compute processes outside our own process tree; None where it cannot be told (see `foreign_pids`).

        Raises:
            SourceUnavailable: As `compute_processes`.
        """
        listed = self.compute_processes()
        if listed is None:
            return None
        return foreign_pids(listed, of_own_tree(listed), psutil.pid_exists, self._holds_context)

    def close(self) -> None:
        """Give back this source's NVML reference; again is harmless."""
        if not self._closed:
            self._closed = True
            _shutdown()

    def _failed(self, doing: str, error: Any) -> SourceUnavailable:
        return SourceUnavailable(
            f'Cannot {doing} GPU {self.index} ({self._name}): NVML answered "{error}".',
            _HINTS.get(error.value, "`harness doctor` shows what this board answers."),
        )


def open_gpus(
    selection: Sequence[int | str],
    provenance: Provenance,
    clock: Clock,
    environ: Mapping[str, str] | None = None,
    sensor_profile: SensorProfile | None = None,
) -> tuple[NvmlSource, ...]:
    """Open every GPU of the machine, in index order; those selected are marked as running the model.

    Args:
        selection: Numbers as CUDA counts them, UUIDs or their beginnings.
        provenance: "simulated" when the simulated library is installed.
        clock: Stamps the readings.
        environ: Where CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER are; this process's environment unless given.
        sensor_profile: Replaces that on record for the selected GPUs.

    Raises:
        UserInputError: The sensor profile is that of another board or field.
        SourceUnavailable: No driver; a selected GPU does not exist, is hidden from CUDA or in MIG mode.
    """
    try:
        return _open_gpus(selection, provenance, clock, os.environ if environ is None else environ, sensor_profile)
    except pynvml.NVMLError as error:  # a board that is lost or broken answers errors to the simplest questions
        raise SourceUnavailable(
            f'A GPU of this machine does not answer: NVML says "{error}".',
            "See `nvidia-smi` and the kernel's log; hide a broken board from this process to go on without it.",
        ) from error


def _open_gpus(
    selection: Sequence[int | str],
    provenance: Provenance,
    clock: Clock,
    environ: Mapping[str, str],
    sensor_profile: SensorProfile | None,
) -> tuple[NvmlSource, ...]:
    with _session():
        handles, hidden = _handles()
        uuids = [pynvml.nvmlDeviceGetUUID(handle) for _, handle in handles]
        names = [pynvml.nvmlDeviceGetName(handle) for _, handle in handles]
        if hidden and not handles:
            raise SourceUnavailable(
                f"This process may read none of the {len(hidden)} GPU(s) of this machine.",
                _HINTS[pynvml.NVML_ERROR_NO_PERMISSION],
            )
        chosen = resolve_selection(selection, uuids, names, environ)
        sources: list[NvmlSource] = []
        try:
            for (index, _), uuid in zip(handles, uuids, strict=True):
                given = sensor_profile if uuid in chosen else None
                sources.append(NvmlSource(index, provenance, clock, uuid in chosen, sensor_profile=given))
                if sources[-1].mig_enabled and uuid in chosen:
                    raise mig_refused(f"GPU {index} ({names[uuids.index(uuid)]}) is in MIG mode")
        except BaseException:
            for source in sources:
                source.close()
            raise
    if hidden:
        listed = ", ".join(str(index) for index in hidden)
        missing = Caveat(code="gpus-hidden", message=f"GPU(s) {listed} may not be read: node energy lacks them.")
        for source in sources:
            source.caveats += (missing,)
    return tuple(sources)
