"""The rest of the machine: CPU packages and memory through RAPL, and CodeCarbon as a reference meter.

codecarbon is an optional extra, imported only here and only when a meter is made: it calls nvmlInit on import and
never looks for a GPU again if that fails, so a simulated NVML must be installed first (simulation/nvml.py).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import math
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.clock import Clock, RealClock
from harness.errors import HarnessError, MeasurementInvalid, SourceUnavailable
from harness.frozen import Provenance
from harness.power.base import PowerSource, Reading, ReferenceReading
from harness.records import Caveat, SourceInfo
from harness.units import j_from_kwh

POWERCAP = Path("/sys/class/powercap")

# Intel's default energy unit is 2^-14 J, renewed about every millisecond (Intel SDM vol. 3B, "RAPL Interfaces").
RAPL_STEP_J = 2**-14
RAPL_PERIOD_S = 0.001
# RAPL states no tolerance, so these are assumed, as rectangular half-widths: 5 % and 1 W for a package, 20 % and 2 W
# for DRAM. Desrochers, Paradis and Weaver ("A Validation of DRAM RAPL Power Measurements", MEMSYS 2016,
# doi:10.1145/2989081.2989088) found DRAM readings to follow the truth with a mostly constant offset, worst at idle.
# On AMD Zen 2 the package value looks modelled, not measured (Schoene et al., "Energy Efficiency Aspects of the AMD
# Zen 2 Architecture", 2021); sysfs does not tell the two apart.
GAIN_U: dict[Literal["cpu", "dram"], float] = {"cpu": 0.05 / math.sqrt(3), "dram": 0.20 / math.sqrt(3)}
OFFSET_U_W: dict[Literal["cpu", "dram"], float] = {"cpu": 1.0 / math.sqrt(3), "dram": 2.0 / math.sqrt(3)}
MIRROR_UJ = 1_000_000  # two dies this close (1 J) after days of counting show one counter


# --- RAPL ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Domain:
    folder: Path
    kind: Literal["cpu", "dram"]
    package: str  # "package-0", also for the memory behind it


def _read_number(path: Path) -> int | None:
    """A whole number from sysfs; None where there is none. PermissionError passes."""
    try:
        return int(path.read_text(encoding="ascii"))
    except PermissionError:
        raise
    except (OSError, ValueError):
        return None


def _read_name(folder: Path) -> str:
    try:
        return (folder / "name").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _msr_first(folder: Path) -> tuple[bool, str]:
    return "mmio" in folder.name, folder.name


def _domains(root: Path) -> list[_Domain]:
    """Packages and their memory; each once, through the MSR interface where MMIO shows the same counter.

    Left out: core and uncore (parts of the package), psys (the package and more).
    """
    pattern = re.compile(r"intel-rapl(-mmio)?(:\d+){1,2}")
    folders = sorted((f for f in root.iterdir() if pattern.fullmatch(f.name)), key=_msr_first)
    found: dict[tuple[str, str], _Domain] = {}
    for folder in folders:
        name = _read_name(folder)
        if name.startswith("package"):
            domain = _Domain(folder, "cpu", name)
        elif name == "dram" and folder.name.count(":") == 2:
            domain = _Domain(folder, "dram", _read_name(root / folder.name.rpartition(":")[0]))
        else:
            continue
        found.setdefault((domain.package, domain.kind), domain)
    return list(found.values())


def _without_mirrors(domains: Sequence[_Domain]) -> list[_Domain]:
    """Some AMD processors show one socket-wide counter once per die (mlco2/codecarbon issue 1274): keep the first."""
    kept: list[_Domain] = []
    counted: dict[str, list[int]] = {}
    for domain in domains:
        socket = re.fullmatch(r"(package-\d+)-die-\d+", domain.package)
        if socket is not None and domain.kind == "cpu":
            energy_uj = _read_number(domain.folder / "energy_uj") or 0
            seen = counted.setdefault(socket[1], [])
            if energy_uj > 0 and any(abs(energy_uj - other) < MIRROR_UJ for other in seen):
                continue
            seen.append(energy_uj)
        kept.append(domain)
    return kept


class RaplSource:
    """One RAPL domain: a counter in µJ that wraps at `max_energy_range_uj`, made monotonic here.

    A wrap is seen only if the source is read at least once per range: about 20 minutes at 200 W.
    """

    def __init__(self, folder: Path, kind: Literal["cpu", "dram"], package: str, clock: Clock) -> None:
        """Open one domain's folder.

        Raises:
            PermissionError: The counter may not be read.
            SourceUnavailable: It is not a number.
        """
        self._path, self._clock = folder / "energy_uj", clock
        self._range_uj = _read_number(folder / "max_energy_range_uj")
        self._wraps_uj = 0
        self._last_uj = 0
        self.info = SourceInfo(
            id=f"rapl:{package}" + (":dram" if kind == "dram" else ""),
            kind=kind,
            scope="node",
            device_name=f"{package} memory" if kind == "dram" else package,
            driver="intel-rapl",
            sensor_profile=f"RAPL {kind}",
            sensor_period_s=RAPL_PERIOD_S,
            sensor_window_s=RAPL_PERIOD_S,  # the counter integrates continuously
            gain_relative_u=GAIN_U[kind],
            offset_u_w=OFFSET_U_W[kind],
            counter_step_j=RAPL_STEP_J,
            provenance="measured",
            runs_model=False,
        )
        self._last_uj = self._raw_uj()

    def _raw_uj(self) -> int:
        energy_uj = _read_number(self._path)
        if energy_uj is None:
            raise SourceUnavailable(
                f"Cannot read energy from {self.info.id}: {self._path} holds no number.",
                "The RAPL driver may have been unloaded; run again, or measure without CPU energy.",
            )
        return energy_uj

    def read(self, slow: bool = True) -> Reading:
        """The counter; RAPL has no power reading of its own.

        Raises:
            SourceUnavailable: The counter cannot be read, or fell back without a known range.
        """
        start_s = self._clock.now_s()
        energy_j = self.read_energy_j()
        return Reading(t_s=(start_s + self._clock.now_s()) / 2, energy_j=energy_j)

    def read_energy_j(self) -> float:
        """Energy in joules, rising across wraps; the origin is arbitrary.

        Raises:
            SourceUnavailable: As `read`.
        """
        try:
            energy_uj = self._raw_uj()
        except PermissionError as error:
            raise SourceUnavailable(
                f"Cannot read energy from {self.info.id}: permission denied.", _PERMISSION_HINT
            ) from error
        if energy_uj < self._last_uj:
            if not self._range_uj:
                raise SourceUnavailable(
                    f"The counter of {self.info.id} fell from {self._last_uj} to {energy_uj} µJ and its range is "
                    "not known.",
                    "The energy of this window is lost; run again.",
                )
            self._wraps_uj += self._range_uj
        self._last_uj = energy_uj
        return (self._wraps_uj + energy_uj) / 1e6

    def foreign_processes(self) -> tuple[int, ...] | None:
        """A package serves every process of the machine: it cannot be told."""
        return None

    def close(self) -> None:
        """Nothing is held open."""


_PERMISSION_HINT = "Ask for read access: sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"


def open_rapl(root: Path = POWERCAP, clock: Clock | None = None) -> tuple[list[PowerSource], str | None]:
    """Open every CPU package and its memory.

    Returns:
        Sources (kind "cpu" and "dram", scope "node") and, where anything is missing, one sentence that says what
        and why. CPU energy is all packages or none: with one package unreadable the list is empty.
    """
    clock = clock if clock is not None else RealClock()
    try:
        domains = _domains(root)
        if not any(domain.kind == "cpu" for domain in domains):
            return [], f"CPU and memory not measured: no RAPL package under {root}."
        sources: list[PowerSource] = [
            RaplSource(domain.folder, domain.kind, domain.package, clock) for domain in _without_mirrors(domains)
        ]
    except FileNotFoundError:
        return [], f"CPU and memory not measured: {root} does not exist (containers and virtual machines hide RAPL)."
    except PermissionError as error:
        return [], f"CPU and memory not measured: only root may read {error.filename}."
    except SourceUnavailable as error:
        return [], f"CPU and memory not measured: {error.message}"
    if not any(source.info.kind == "dram" for source in sources):
        return sources, "Memory not measured: this processor shows no DRAM counter."
    return sources, None


# --- CodeCarbon as a reference -----------------------------------------------------------------------


class CodeCarbonMeter:
    """CodeCarbon's offline tracker, window by window, beside ours.

    What its source (3.3.2) does: `start_task` and `stop_task` both read the GPUs' energy counters (and RAPL where it
    may), so a window is a counter difference; a thread wakes once a second in between and reads load figures, and
    power on boards without a counter. A GPU that fails is logged and counted as 0 J: here that is None and a Caveat.
    Memory is always a model (watts per DIMM slot); the CPU is one too (load times rated power) unless it reads RAPL.

    Only the offline tracker: the online one asks the network where it is, and without an answer takes the grid of
    Quebec. Nothing is sent or saved: no output method, no endpoint, no token, whatever a user's
    .codecarbon.config or CODECARBON_* say; 3.3.2 has a telemetry client, but no tracker calls it.
    """

    name = "codecarbon"
    dram_provenance: Provenance = "modelled"

    def __init__(self, gpu_count: int, country_iso_code: str = "USA") -> None:
        """Detect the hardware and run one empty window, so that no later one pays for it (seconds).

        Args:
            gpu_count: How many GPUs the machine has: all are metered.
            country_iso_code: Three letters. CodeCarbon wants one for its carbon figures, which are not used here.

        Raises:
            SourceUnavailable: codecarbon is not installed, or does not start.
        """
        try:
            codecarbon: Any = importlib.import_module("codecarbon")
            cpu: Any = importlib.import_module("codecarbon.core.cpu")
            self.version = importlib.metadata.version("codecarbon")
        except ImportError as error:
            raise SourceUnavailable(
                "The cross-check needs CodeCarbon, which is not installed.",
                "pip install 'energy-harness[codecarbon]', or take `cross_check` out of the config.",
            ) from error
        with suppress(ImportError):  # forget what an earlier tracker of this process found; 3.3 and later
            importlib.import_module("codecarbon.core.hardware_cache").clear_cache()
        logging.getLogger("codecarbon").setLevel(logging.ERROR)
        self._gpu_count, self._sees_gpus = gpu_count, True
        self._tracker = codecarbon.OfflineEmissionsTracker(
            country_iso_code=country_iso_code,
            # CodeCarbon would take CUDA_VISIBLE_DEVICES for NVML's numbers: name every GPU.
            gpu_ids=list(range(gpu_count)),
            measure_power_secs=1,
            tracking_mode="machine",
            allow_multiple_runs=True,
            log_level="error",
            output_methods=[],
            output_handlers=[],
            output_dir=tempfile.gettempdir(),
            api_call_interval=-1,
            emissions_endpoint=None,
            electricitymaps_api_token="",  # empty, not None: None lets an old config key bring one back
            region=None,
            cloud_provider=None,
            cloud_region=None,
            country_2letter_iso_code=None,
            pue=1.0,
            wue=0.0,
            force_cpu_power=None,
            force_ram_power=None,
            force_mode_cpu_load=False,
            rapl_include_dram=False,
            rapl_prefer_psys=False,
        )
        try:
            hardware = self._tracker.get_detected_hardware()
            self.start()
            self.stop()
        except (AttributeError, HarnessError) as error:  # its constructor logs its failure and carries on
            raise SourceUnavailable(
                f"CodeCarbon {self.version} does not start.", "Take `cross_check` out of the config."
            ) from error
        self._sees_gpus = bool(hardware["gpu_model"]) and hardware["gpu_count"] == gpu_count
        self.cpu_provenance: Provenance = "measured" if cpu.is_rapl_available() else "modelled"

    @property
    def note(self) -> str:
        """What the reader of its figures must know."""
        cpu = "RAPL packages" if self.cpu_provenance == "measured" else "a model of load and rated power"
        return f"GPU: difference of NVML's energy counters; CPU: {cpu}; memory: a model (watts per slot)."

    def start(self) -> None:
        """Open a window. CodeCarbon reads the counters in here; 0.3-0.5 ms in all on a simulated node."""
        self._tracker.start_task()

    def stop(self) -> ReferenceReading:
        """Close the window. CodeCarbon reads the counters in here; 1.2-1.5 ms in all on a simulated node.

        Raises:
            MeasurementInvalid: There is no open window.
        """
        result = self._tracker.stop_task()
        if result is None:
            raise MeasurementInvalid("CodeCarbon has no open window.", "Call start() before stop().")
        gpu_j = j_from_kwh(result.gpu_energy)
        caveats: tuple[Caveat, ...] = ()
        if self._gpu_count and not (gpu_j > 0 and self._sees_gpus):
            why = "read no energy from the GPUs" if self._sees_gpus else "does not see the GPUs"
            caveats = (Caveat(code="codecarbon-no-gpu", message=f"CodeCarbon {self.version} {why}."),)
        return ReferenceReading(
            gpu_energy_j=None if caveats or not self._gpu_count else gpu_j,
            cpu_energy_j=j_from_kwh(result.cpu_energy),
            dram_energy_j=j_from_kwh(result.ram_energy),
            caveats=caveats,
        )

    def close(self) -> None:
        """Stop CodeCarbon's thread. Its NVML reference stays until the process ends: it never gives it back."""
        self._tracker.stop()
