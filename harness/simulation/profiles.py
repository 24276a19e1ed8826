"""Boards that can be simulated. Power figures are assumed, not measured; sensors are those on record.

Power limit and memory size are the vendor's data-sheet values. Idle power, uplift after load, thermal drift and
temperatures are round numbers of the right size (an A100 node of the 88-model study idles at 50-65 W per GPU).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from harness.errors import UserInputError
from harness.power.profiles import SensorProfile, profile_for

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class GpuProfile:
    """One simulated board."""

    name: str
    nvml_name: str
    architecture: int  # NVML_DEVICE_ARCH_*
    compute_capability: tuple[int, int]
    idle_w: float
    power_limit_w: float
    uplift_w: float  # extra draw right after a load, decaying
    drift_fraction: float  # extra draw when fully warm
    memory_bytes: int
    idle_clock_hz: float
    boost_clock_hz: float
    memory_clock_hz: float
    idle_temperature_c: float
    full_temperature_c: float
    thermal_tau_s: float = 25.0
    uplift_tau_s: float = 0.7

    @property
    def sensor(self) -> SensorProfile:
        """The sensor on record for this board."""
        return profile_for(self.nvml_name)


_PROFILES = (
    GpuProfile(
        "A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB", 7, (8, 0),
        idle_w=60.0, power_limit_w=400.0, uplift_w=25.0, drift_fraction=0.02, memory_bytes=80 * GIB,
        idle_clock_hz=210e6, boost_clock_hz=1410e6, memory_clock_hz=1593e6,
        idle_temperature_c=30.0, full_temperature_c=62.0,
    ),
    GpuProfile(
        "H100-SXM", "NVIDIA H100 80GB HBM3", 9, (9, 0),
        idle_w=70.0, power_limit_w=700.0, uplift_w=28.0, drift_fraction=0.02, memory_bytes=80 * GIB,
        idle_clock_hz=345e6, boost_clock_hz=1980e6, memory_clock_hz=2619e6,
        idle_temperature_c=29.0, full_temperature_c=65.0,
    ),
    GpuProfile(
        "H200", "NVIDIA H200", 9, (9, 0),
        idle_w=76.0, power_limit_w=700.0, uplift_w=28.0, drift_fraction=0.02, memory_bytes=141 * GIB,
        idle_clock_hz=345e6, boost_clock_hz=1980e6, memory_clock_hz=3201e6,
        idle_temperature_c=29.0, full_temperature_c=65.0,
    ),
    GpuProfile(
        "RTX-3090", "NVIDIA GeForce RTX 3090", 7, (8, 6),
        idle_w=30.0, power_limit_w=350.0, uplift_w=20.0, drift_fraction=0.04, memory_bytes=24 * GIB,
        idle_clock_hz=210e6, boost_clock_hz=1800e6, memory_clock_hz=9751e6,
        idle_temperature_c=38.0, full_temperature_c=72.0,
    ),
)  # fmt: skip


def steady(profile: GpuProfile) -> GpuProfile:
    """The same board without warming and uplift: one power per load, at once, at one temperature."""
    return replace(profile, uplift_w=0.0, drift_fraction=0.0, full_temperature_c=profile.idle_temperature_c + 1)


def simulated_boards() -> tuple[str, ...]:
    """Names that `sources.node.gpu` accepts."""
    return tuple(profile.name for profile in _PROFILES)


def board(name: str) -> GpuProfile:
    """The board of that name.

    Raises:
        UserInputError: There is none; the nearest names are offered.
    """
    for profile in _PROFILES:
        if profile.name.lower() == name.lower():
            return profile
    starts = [known for known in simulated_boards() if known.lower().startswith(name.lower()[:4])]
    near = difflib.get_close_matches(name, starts or simulated_boards(), n=1, cutoff=0.3)
    guess = f"Did you mean {near[0]}? " if near else ""
    raise UserInputError(f"There is no simulated GPU '{name}'.", f"{guess}Choose from {', '.join(simulated_boards())}.")
