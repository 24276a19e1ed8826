"""When each batch starts against the sensor's period, so that no load can stay in step with the sensor.

A sensor that sees only part of each period reads a load of nearly that period 30-40 % wrong, with steady-looking
readings. Random delays U(0, P) between batches cure the bias; the error then falls with the square root of the number
of batches. Here the delays are chosen so that the *phases* of the batches' starts follow a golden-ratio sequence with a
random first phase: still unbiased, because each phase alone is uniform, but spread as evenly as can be at every length,
so that the error falls nearly with the number of batches itself.

Source: Kronecker sequences have the least discrepancy for the golden ratio (Kuipers and Niederreiter, Uniform
Distribution of Sequences, 1974, chapter 2.3); the random start is the rotation of Cranley and Patterson (1976).
"""

from __future__ import annotations

import math
from typing import Literal

GOLDEN_FRACTION = (math.sqrt(5) - 1) / 2
LONGEST_PERIODS = 20.0  # a batch this long is off by at most 1/40 of its variation when in step: not worth a delay


class PhaseSpread:
    """The waits before the batches of one window.

    Args:
        period_s: The sensor's period P.
        first_fraction: Phase of the first start, in [0, 1), drawn at random for every window.
        group_s: A wait is due once this much work has run since the last one; infinite asks for the first only.
    """

    def __init__(self, period_s: float, first_fraction: float, group_s: float) -> None:
        self._period_s = period_s
        self._target = first_fraction
        self._group_s = group_s
        self._worked_s = group_s

    def worked(self, duration_s: float) -> None:
        """Work of this length was done since the last wait."""
        self._worked_s += duration_s

    def wait_s(self, now_s: float) -> float:
        """How long to wait before the next batch, seconds, in [0, P)."""
        if self._worked_s < self._group_s:
            return 0.0
        self._worked_s = 0.0
        now_fraction = math.fmod(now_s, self._period_s) / self._period_s
        wait_fraction = (self._target - now_fraction) % 1.0
        self._target = (self._target + GOLDEN_FRACTION) % 1.0
        return wait_fraction * self._period_s


def group_length_s(
    wanted: Literal["auto", "always", "never"], batch_s: float, period_s: float, window_s: float
) -> float:
    """How much work may run between two waits; infinite where no wait is needed.

    A sensor that sees everything (window >= period) cannot beat. Batches shorter than the sensor's window are averaged
    by it; those up to a period are grouped to one period of work, which keeps the waiting below a third of the time.

    Args:
        wanted: "auto", or what the user insists on.
        batch_s: Duration of one batch.
        period_s: The sensor's period P.
        window_s: How much of the past one reading sees, W_eff.
    """
    if wanted == "never":
        return math.inf
    if wanted == "always":
        return 0.0
    if window_s >= period_s or batch_s < window_s or batch_s > LONGEST_PERIODS * period_s:
        return math.inf
    return period_s / 2 if batch_s >= period_s / 2 else period_s
