"""What is known about a board's built-in power sensor, by device name.

Profiles live in harness/data/sensor_profiles.csv with their source. A board that is not on record gets the
conservative profile `unknown`, and callers attach a Caveat.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

# Rectangular ±5 %, NVML's own statement for power readings; and ±3 W for the offset (protocol.md).
UNCALIBRATED_GAIN_U = 0.05 / math.sqrt(3)
UNCALIBRATED_OFFSET_U_W = 3.0 / math.sqrt(3)

Kernel = Literal["boxcar", "first_order"]


@dataclass(frozen=True, slots=True)
class SensorProfile:
    """How a sensor turns true power into readings.

    `period_s`: a new reading this often (P). `window_s`: how much of the past it sees (W_eff): the boxcar's
    width, or 2 tau of a first-order kernel.
    """

    name: str
    matches: str
    kernel: Kernel
    period_s: float
    window_s: float
    counter_step_j: float | None
    source: str
    note: str
    gain_relative_u: float = UNCALIBRATED_GAIN_U
    offset_u_w: float = UNCALIBRATED_OFFSET_U_W

    @property
    def tau_s(self) -> float:
        """Time constant of a first-order kernel with the same noise-equivalent window."""
        return self.window_s / 2


@cache
def sensor_profiles() -> tuple[SensorProfile, ...]:
    """Every profile on record, `unknown` last."""
    text = resources.files("harness").joinpath("data/sensor_profiles.csv").read_text(encoding="utf-8")
    return tuple(
        SensorProfile(
            name=row["name"],
            matches=row["matches"],
            kernel="boxcar" if row["kernel"] == "boxcar" else "first_order",
            period_s=float(row["period_s"]),
            window_s=float(row["window_s"]),
            counter_step_j=float(row["counter_step_j"]) if row["counter_step_j"] else None,
            source=row["source"],
            note=row["note"],
        )
        for row in csv.DictReader(text.splitlines())
    )


def profile_for(device_name: str) -> SensorProfile:
    """The profile of a board by its NVML name, or `unknown`."""
    *known, unknown = sensor_profiles()
    for profile in known:
        if re.search(profile.matches, device_name):
            return profile
    return unknown


def undersampled_fraction(period_s: float, window_s: float) -> float:
    """kappa: the share of the time that a sensor does not see."""
    return max(0.0, 1.0 - window_s / period_s)
