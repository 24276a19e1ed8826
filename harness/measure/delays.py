"""When each batch starts against the sensor's period, so that no load can stay in step with the sensor.

A sensor that sees only part of each period reads a load of nearly that period 30-40 % wrong, with steady-looking
readings. Random delays U(0, P) between batches cure the bias; the error then falls with the square root of the number
of batches. Here the delays are chosen so that the *phases* of the batches' starts step round the period by an
irrational fraction from a random first phase: still unbiased, because each phase alone is uniform, but evenly spread at
every length, so that the error falls nearly with the number of batches itself.

The fraction is a noble number, whose continued fraction ends in ones like the golden ratio's: such steps have the least
discrepancy (Kuipers and Niederreiter, Uniform Distribution of Sequences, 1974, chapter 2.3). Of several, the one is
taken that lies a little above the fraction of a period by which a batch overshoots, so that the waits stay short. The
random start is the rotation of Cranley and Patterson (1976).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

GOLDEN_FRACTION = (math.sqrt(5) - 1) / 2
JITTER_FRACTION = 0.03  # of the period: batches vary, and one that overshoots its wait costs a whole period


def _noble(*quotients: int) -> float:
    """The continued fraction [0; quotients, 1, 1, 1, ...]."""
    value = GOLDEN_FRACTION
    for quotient in reversed(quotients):
        value = 1 / (quotient + value)
    return value


STEPS = sorted(
    [
        *(_noble(1, leading) for leading in (1, 2, 3, 4)),
        *(_noble(leading) for leading in (1, 2, 3, 4)),
        _noble(2, 2),
        _noble(1, 1, 2),
    ]
)


def phase_step(batch_s: float, period_s: float) -> float:
    """The noble fraction of a period that costs the shortest wait after a batch of this length."""
    overshoot = math.fmod(batch_s, period_s) / period_s + JITTER_FRACTION
    return next((step for step in STEPS if step >= overshoot), STEPS[0])


class PhaseSpread:
    """The waits before the batches of one window.

    Args:
        period_s: The sensor's period P.
        first_fraction: Phase of the first start, in [0, 1), drawn at random for every window.
        step: Irrational fraction of a period from one start's phase to the next.
        group_s: A wait is due once this much work has run since the last one; infinite asks for the first only.
    """

    def __init__(self, period_s: float, first_fraction: float, step: float, group_s: float) -> None:
        self._period_s = period_s
        self._target = first_fraction
        self._step = step
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
        self._target = (self._target + self._step) % 1.0
        return wait_fraction * self._period_s


@dataclass(frozen=True)
class SpreadPlan:
    """How the batches of a run's windows are spread: `group_s` of work between waits, phases `step` apart."""

    period_s: float
    group_s: float
    step: float

    @property
    def spreads(self) -> bool:
        """More than the first start waits."""
        return math.isfinite(self.group_s)

    def starts(self, first_fraction: float) -> PhaseSpread:
        """The waits of one window."""
        return PhaseSpread(self.period_s, first_fraction, self.step, self.group_s)


def spread_plan(
    wanted: Literal["auto", "always", "never"], batch_s: float, period_s: float, window_s: float, kappa: float
) -> SpreadPlan:
    """The plan for batches of one length under one sensor.

    Args:
        wanted: "auto", or what the user insists on.
        batch_s: Duration of one batch.
        period_s: The sensor's period P.
        window_s: How much of the past one reading sees, W_eff.
        kappa: How much of the time readings miss (power/profiles).
    """
    group_s = group_length_s(wanted, batch_s, period_s, window_s, kappa)
    batches = max(1, math.ceil(group_s / max(batch_s, 1e-6))) if math.isfinite(group_s) else 1
    return SpreadPlan(period_s, group_s, phase_step(batches * batch_s, period_s))


def group_length_s(
    wanted: Literal["auto", "always", "never"], batch_s: float, period_s: float, window_s: float, kappa: float
) -> float:
    """How much work may run between two waits, seconds; infinite where no wait is needed.

    A sensor that sees everything (kappa 0) cannot beat. Batches shorter than the sensor's window are averaged
    by it; those up to half a period are grouped to one period of work, which keeps the waiting short beside it. Long
    batches wait too: it costs less than a period each, and what swings inside one may keep step with the sensor.
    """
    if wanted == "never":
        return math.inf
    if wanted == "always":
        return 0.0
    if kappa == 0 or batch_s < window_s:
        return math.inf
    return period_s / 2 if batch_s >= period_s / 2 else period_s
