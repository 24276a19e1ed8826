"""What an energy counter is made of: its step, and its mean power between two of its own increments. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.stats import FloatArray

COUNTER_UNIT_J = 0.001  # NVML counts in whole millijoules
FEWEST_INCREMENTS = 10
SAME_TIME_S = 0.005  # a look so close to a publication may have seen it or not
# Of the increments' variance that their lengths do not explain, by the readings: nothing else enters their sum.
EXPLAINED = 0.999


@dataclass(frozen=True)
class CounterRate:
    """Mean power by a counter from one of its increments to another.

    `u_w`: standard uncertainty from when the two increments were seen and from the counter's step.
    """

    start_s: float
    end_s: float
    power_w: float
    u_w: float


def counter_step_j(values_j: FloatArray) -> float | None:
    """Step of an energy counter: the largest number of whole millijoules that divides every increment seen.

    Ten increments of more than one size share a larger divisor by chance less than once in a thousand.

    Args:
        values_j: Counter values in the order they were seen, joules; NaN where nothing was read, shape (n,).

    Returns:
        Joules; None where fewer than ten increments, or increments of one size only, were seen.
    """
    known = values_j[~np.isnan(values_j)]
    increments = np.diff(np.round(known / COUNTER_UNIT_J).astype(np.int64))
    increments = increments[increments > 0]
    if len(increments) < FEWEST_INCREMENTS or len(np.unique(increments)) < 2:
        return None
    return float(np.gcd.reduce(increments)) * COUNTER_UNIT_J


def adds_up_readings(
    published_s: FloatArray, readings_w: FloatArray, looks_s: FloatArray, energy_j: FloatArray
) -> bool:
    """Whether a counter moves, from look to look, by the sum of the readings published meanwhile.

    Up to a factor (the period, a gain) and a constant per reading (an offset), that is.

    A counter of true energy moves by what the readings miss as well, and one that moves at times of its own by other
    readings: then the answer is no, which is also the answer where too little was seen.

    Args:
        published_s: When readings were published, seconds, rising, shape (n,).
        readings_w: What they were, watts, shape (n,).
        looks_s: When the counter was looked at, seconds, rising, shape (m,).
        energy_j: What it showed; NaN where nothing was read, joules, shape (m,).
    """
    if len(published_s) == 0:
        return False
    after = np.searchsorted(published_s, looks_s, side="right")
    apart_s = np.abs(looks_s - published_s[np.clip([after - 1, after], 0, len(published_s) - 1)]).min(axis=0)
    known = ~np.isnan(energy_j) & (apart_s > SAME_TIME_S)
    counts = after[known]
    sums_w = np.diff(np.concatenate([[0.0], np.cumsum(readings_w)])[counts])
    increments_j = np.diff(energy_j[known])
    if len(increments_j) < FEWEST_INCREMENTS:
        return False
    by_count = np.column_stack([np.ones(len(sums_w)), np.diff(counts)])
    spread = _left_over(by_count, increments_j)
    return (
        spread > COUNTER_UNIT_J**2
        and _left_over(np.column_stack([by_count, sums_w]), increments_j) <= (1 - EXPLAINED) * spread
    )


def _left_over(design: FloatArray, values: FloatArray) -> float:
    """Mean square that a linear fit leaves."""
    fit, *_ = np.linalg.lstsq(design, values, rcond=None)
    return float(np.mean((values - design @ fit) ** 2))


def counter_rate(
    t_s: FloatArray, energy_j: FloatArray, start_s: float, end_s: float, step_j: float
) -> CounterRate | None:
    """Mean power by the counter, from its first to its last increment inside a stretch of time.

    Args:
        t_s: Times of the looks, seconds, rising, shape (n,).
        energy_j: What the counter showed; NaN where nothing was read, shape (n,).
        start_s: Begin of the stretch.
        end_s: End of it.
        step_j: The counter's step.

    Returns:
        None where fewer than three increments were seen there, or the counter went backwards.
    """
    use = ~np.isnan(energy_j) & (t_s >= start_s) & (t_s <= end_s)
    t_s, energy_j = t_s[use], energy_j[use]
    moved = np.flatnonzero(np.diff(energy_j) != 0) + 1
    if len(moved) < 3 or np.any(np.diff(energy_j) < 0):
        return None
    first, last = moved[0], moved[-1]
    first_s, last_s = (t_s[first - 1] + t_s[first]) / 2, (t_s[last - 1] + t_s[last]) / 2
    power_w = float((energy_j[last] - energy_j[first]) / (last_s - first_s))
    looks_s = math.hypot(t_s[first] - t_s[first - 1], t_s[last] - t_s[last - 1])
    u_j = math.hypot(power_w * looks_s / math.sqrt(12), math.sqrt(2 / 12) * step_j)
    return CounterRate(float(first_s), float(last_s), power_w, u_j / float(last_s - first_s))
