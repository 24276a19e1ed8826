"""What every source of joules offers, whatever is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from harness.frozen import Provenance
from harness.records import Caveat, SourceInfo


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a source. What a source lacks is None, never 0."""

    t_s: float  # monotonic clock, the middle of the call
    power_w: float | None = None  # the instant field where there is one
    average_power_w: float | None = None  # the driver's own running mean
    energy_j: float | None = None  # counter since driver load
    clock_hz: float | None = None  # streaming multiprocessors
    temperature_c: float | None = None
    throttle: int | None = None  # NVML clocks-event-reasons bit mask
    utilisation_fraction: float | None = None


class PowerSource(Protocol):
    """A GPU, a CPU package, a wall meter."""

    @property
    def info(self) -> SourceInfo:
        """What this source is."""
        ...

    def read(self, slow: bool = True) -> Reading:
        """Read now; `slow=False` leaves out all but power."""
        ...

    def read_energy_j(self) -> float | None:
        """The energy counter alone, as fast as it goes; None without one."""
        ...

    def foreign_processes(self) -> tuple[int, ...] | None:
        """Process ids of other compute processes on this device; None where it cannot be told."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


class ReferenceMeter(Protocol):
    """Another tool run beside ours, window by window."""

    name: str
    version: str
    cpu_provenance: Provenance
    dram_provenance: Provenance

    @property
    def note(self) -> str:
        """What the reader of its figures must know."""
        ...

    def start(self) -> None:
        """Open a window."""
        ...

    def stop(self) -> ReferenceReading:
        """Close the window."""
        ...

    def close(self) -> None:
        """Release the tool."""
        ...


@dataclass(frozen=True, slots=True)
class ReferenceReading:
    """What the other tool says one window took."""

    gpu_energy_j: float | None
    cpu_energy_j: float | None
    dram_energy_j: float | None
    caveats: tuple[Caveat, ...] = ()
