"""Estimates with intervals: Student t, GUM combination, autocorrelation. Pure, numpy and the standard library.

Source of the combination of uncertainties: JCGM 100:2008 (GUM), 5.1.2. Intervals are expanded part by part (see
`combined`), not by the Welch-Satterthwaite formula of its annex G.4, which can make the whole narrower than a part.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

FloatArray = NDArray[np.float64]


class Estimate(BaseModel):
    """A value with its interval. `n` counts the independent repeats behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float
    low: float
    high: float
    confidence: float = 0.95
    n: int
    standard_uncertainty: float
    method: str

    @model_validator(mode="after")
    def _ordered(self) -> Estimate:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"the interval {self.low} to {self.high} does not hold {self.value}")
        return self

    @property
    def half_width(self) -> float:
        """Half of the interval's width, in the unit of the value."""
        return (self.high - self.low) / 2

    def scaled(self, factor: float) -> Estimate:
        """The same estimate in another unit (value, interval and uncertainty times `factor` > 0).

        Raises:
            ValueError: A factor that is not positive would turn the interval around.
        """
        if factor <= 0:
            raise ValueError(f"units differ by a positive factor, not by {factor}")
        return self.model_copy(
            update={
                "value": self.value * factor,
                "low": self.low * factor,
                "high": self.high * factor,
                "standard_uncertainty": self.standard_uncertainty * factor,
            }
        )


def student_t_two_sided(t: float, degrees: int) -> float:
    """P(|T| <= t) for integer degrees of freedom (Abramowitz & Stegun 26.7.3 and 26.7.4, exact)."""
    theta = math.atan(t / math.sqrt(degrees))
    cosine, sine = math.cos(theta), math.sin(theta)
    term, total = (cosine, cosine) if degrees % 2 else (1.0, 1.0)
    for k in range(3 if degrees % 2 else 2, degrees - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if degrees % 2 == 0:
        return sine * total
    return 2 / math.pi * (theta + (sine * total if degrees > 1 else 0.0))


def student_t_quantile(confidence: float, degrees: float) -> float:
    """The factor t with P(|T| <= t) = confidence. Degrees are rounded down, as GUM G.4.1 advises.

    Above 200 degrees the normal quantile is returned (they differ by less than 0.6 %).

    Raises:
        ValueError: fewer than one degree of freedom, or a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if degrees < 1:
        raise ValueError("Student's t needs at least one degree of freedom")
    if degrees > 200:
        return NormalDist().inv_cdf(0.5 + confidence / 2)
    return _student_t_quantile(confidence, int(degrees))


@functools.lru_cache(maxsize=4096)
def _student_t_quantile(confidence: float, whole: int) -> float:
    low, high = 0.0, 1.0
    while student_t_two_sided(high, whole) < confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_t_two_sided(middle, whole) < confidence else (low, middle)
    return (low + high) / 2


def repeatability(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean of independent repeats with its Student-t interval (type A only).

    Raises:
        ValueError: fewer than two values: one repeat says nothing about its scatter.
    """
    n = len(values)
    if n < 2:
        raise ValueError("the scatter of repeats needs at least two of them")
    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    u_mean = sd / math.sqrt(n)
    half = student_t_quantile(confidence, n - 1) * u_mean
    return Estimate(
        value=mean,
        low=mean - half,
        high=mean + half,
        confidence=confidence,
        n=n,
        standard_uncertainty=u_mean,
        method="Student t over repeats",
    )


def combined(values: Sequence[float], window_u: Sequence[float], common_u: float, confidence: float = 0.95) -> Estimate:
    """Mean of repeats with everything that is known about its doubt.

    Args:
        values: One number per repeat.
        window_u: Standard uncertainty of each repeat from sources that differ between repeats (same unit).
        common_u: Standard uncertainty of the mean from what all repeats share, such as the sensor's gain.
            It is added once and never divided by sqrt(repeats).

    The random part is the larger of the observed scatter and the windows' own stated uncertainty, so that
    a lucky row of equal readings cannot shrink it. Each part is expanded by its own factor, Student t for the scatter
    and the normal one for what is stated, and the expanded parts are added in quadrature: never narrower than either.
    """
    n = len(values)
    mean = math.fsum(values) / n
    stated_u = math.sqrt(math.fsum(u * u for u in window_u)) / n
    scatter_u = repeatability(values).standard_uncertainty if n > 1 else 0.0
    normal = NormalDist().inv_cdf(0.5 + confidence / 2)
    scatter_half = student_t_quantile(confidence, n - 1) * scatter_u if n > 1 else 0.0
    half = math.hypot(max(scatter_half, normal * stated_u), normal * common_u)
    return Estimate(
        value=mean,
        low=mean - half,
        high=mean + half,
        confidence=confidence,
        n=n,
        standard_uncertainty=math.hypot(max(scatter_u, stated_u), common_u),
        method="scatter (Student t) and budget (normal), expanded and added in quadrature",
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, step by step down (Holm, Scand. J. Statist. 6, 1979, 65).

    Rejecting those at or below alpha makes one false rejection or more with a probability of at most alpha, whatever
    their dependence.
    """
    count, largest = len(p_values), 0.0
    adjusted = [0.0] * count
    for rank, index in enumerate(sorted(range(count), key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def effective_sample_size(values: FloatArray) -> float:
    """How many independent samples an autocorrelated series is worth: n / (1 + 2 sum rho_k), at least 1.

    The sum runs over lags while rho stays positive (Geyer's initial positive sequence, lag by lag).

    Args:
        values: Shape (n,), evenly spaced.
    """
    n = len(values)
    if n < 3:
        return float(max(n, 1))
    centred = values - values.mean()
    variance = float(centred @ centred) / n
    if variance == 0:
        return float(n)
    total = 0.0
    for lag in range(1, n // 2):
        rho = float(centred[:-lag] @ centred[lag:]) / (n * variance)
        if rho <= 0:
            break
        total += rho
    return max(1.0, n / (1 + 2 * total))


SHORTEST_BLOCK = 8
FEWEST_BLOCKS, MOST_BLOCKS = 5, 12
FEWEST_PHASES = 5


def block_mean_u(values: FloatArray) -> float | None:
    """Standard uncertainty of the mean of a series whose neighbours resemble or cancel each other.

    Batch means: up to twelve blocks of at least eight successive values scatter by what does not average out within a
    block. Errors that cancel are credited for it, which `effective_sample_size` by its positive lags cannot do. Few
    blocks are widened by Student's t, so that a normal coverage factor may follow.

    Args:
        values: Shape (n,), evenly spaced in time.

    Returns:
        In the unit of the values; None for fewer than 40 of them.
    """
    count = min(MOST_BLOCKS, len(values) // SHORTEST_BLOCK)
    if count < FEWEST_BLOCKS:
        return None
    blocks = np.array_split(values, count)
    weights = np.array([len(block) for block in blocks]) / len(values)
    means = np.array([block.mean() for block in blocks])
    mean = float(weights @ means)
    widened = student_t_quantile(0.95, count - 1) / NormalDist().inv_cdf(0.975)
    return widened * math.sqrt(count / (count - 1) * float(np.sum((weights * (means - mean)) ** 2)))


def phased_mean_u(phases: FloatArray, means: FloatArray, weights: FloatArray) -> float | None:
    """Standard uncertainty of the mean of groups whose phases lie evenly round a circle.

    Successive differences in order of phase: what varies smoothly with phase cancels over an even spread and hardly
    differs between neighbours, what is noise differs fully. Where there is no smoothness it is the ordinary scatter; it
    errs to the wide side (collapsed strata, Cochran, Sampling Techniques, 1977, 5A.12). The mean square successive
    difference is worth 2/3 of the degrees of freedom (von Neumann et al., Ann. Math. Statist. 12, 1941); few groups are
    widened by Student's t, so that a normal coverage factor may follow.

    Args:
        phases: Of each group, on any circle, shape (n,).
        means: Of each group, shape (n,).
        weights: Share of each group in the mean, adding up to 1, shape (n,).

    Returns:
        In the unit of the means; None for fewer than five groups.
    """
    count = len(means)
    if count < FEWEST_PHASES:
        return None
    parts = (count * weights * (means - weights @ means))[np.argsort(phases, kind="stable")]
    mean_square = float(np.sum((parts - np.roll(parts, -1)) ** 2)) / (2 * count)
    widened = student_t_quantile(0.95, 2 / 3 * count) / NormalDist().inv_cdf(0.975)
    return widened * math.sqrt(mean_square / count)
