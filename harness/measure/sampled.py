"""Energy over a window from a sensor's published readings, with everything that is in doubt about it. Pure.

Each reading speaks of the time one lag before its publication and is held for its period around that instant. For a
boxcar as wide as the period this sum is exact between the edges; for any other kernel it is the midpoint rule. What the
sensor does not see is left to harness.measure.undersampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import MeasurementInvalid
from harness.measure.sampled_caveats import about_edges, about_readings, about_sampling, too_short
from harness.measure.sensor_evidence import Published, published
from harness.measure.uncertainty import combined_u_j, gain_u_j, gap_u_j, offset_u_j
from harness.measure.undersampled import NORMAL_95, Doubt, Levels, levels, window_doubt
from harness.power.profiles import SensorProfile, undersampled_fraction
from harness.records import Caveat, UncertaintyTerm
from harness.stats import FloatArray

MIN_PERIODS = 3.0  # protocol.md: below, no joules but an upper bound
SLOWEST_PERIOD_S = 5.0  # boards on record renew readings every 15 ms to 0.3 s
UNEVEN = 0.25  # kappa below which readings together show nearly everything
HOLE_PERIODS = 1.5  # polls further apart than this may have missed a reading
LONGEST_HOLE_S, LARGEST_MISSING_FRACTION = 0.5, 0.1  # what a window may lack before it gets no energy
# Readings came 0 to 5 ms later than the kernel alone explains on recorded boards (fit_delay_pmd_ms in sensors.csv of
# JimZeyuYang/GPU_Power_Benchmark): the half-width of a rectangle.
PUBLICATION_DELAY_S = 0.005
# A load as fast as the sensor is averaged out of its readings but not out of the piece of a cell at an edge: triangular
# error of at most an eighth of (swing x period) for a half-on square wave, standard deviation 1 / (8 sqrt 3).
CUT_CELL = 1 / (8 * math.sqrt(3))


@dataclass(frozen=True)
class Lag:
    """Readings published at t speak of t - value_s on average; standard uncertainty u_s."""

    value_s: float
    u_s: float


@dataclass(frozen=True)
class SampledEnergy:
    """Energy of a window, joules, or an upper bound where the sensor cannot resolve it.

    `interval_j`: 95 %. `if_locked_j`: what the energy could be if the load kept step with an undersampling sensor and
    its unseen time was spent at the lowest or highest power shown; None where the sensor sees everything.
    `n_effective`: independent readings that the window is worth. `reading_count`: readings that speak of the window.
    """

    energy_j: float | None
    uncertainty_j: float | None
    interval_j: tuple[float, float] | None
    upper_bound_j: float | None
    if_locked_j: tuple[float, float] | None
    budget: tuple[UncertaintyTerm, ...]
    caveats: tuple[Caveat, ...]
    n_effective: float | None
    reading_count: int
    kappa: float
    period_s: float
    period_found: bool
    lag_s: float


def kernel_lag(sensor: SensorProfile, step_s: float = 0.0) -> Lag:
    """Mean age of what a reading tells: the middle of a boxcar, tau of a first-order answer, and what is averaged.

    Args:
        sensor: Its kernel; `delay_s` is added.
        step_s: How late a publication may have been noticed, at most; its middle is already accounted for.
    """
    age_s = sensor.window_s / 2  # tau is half the window of the same noise
    value_s = age_s + (sensor.mean_of - 1) * sensor.period_s / 2 + sensor.delay_s
    return Lag(value_s, math.hypot(PUBLICATION_DELAY_S / math.sqrt(3), step_s / math.sqrt(12)))


def assumed_lag(sensor: SensorProfile, step_s: float = 0.0) -> Lag:
    """The lag when the kernel is a guess: anywhere between the guess and a boxcar over the whole period."""
    narrow = kernel_lag(sensor, step_s)
    wide_s = sensor.period_s / 2 - sensor.window_s / 2
    return Lag(narrow.value_s + wide_s / 2, math.hypot(narrow.u_s, wide_s / math.sqrt(12)))


def integrate_readings(
    t_s: FloatArray,
    power_w: FloatArray,
    start_s: float,
    end_s: float,
    sensor: SensorProfile,
    lag: Lag | None = None,
    power_limit_w: float | None = None,
    phases_spread: bool = False,
) -> SampledEnergy:
    """Energy between two instants from a polled power reading.

    Args:
        t_s: Poll times, seconds, strictly rising, shape (n,), n >= 2. Polls before and after the window help.
        power_w: What the polls showed, watts, shape (n,).
        start_s: Begin of the window, same clock.
        end_s: End of the window.
        sensor: Kernel, period, gain and offset with their uncertainties. The period is refined from the readings.
        lag: Instead of the kernel's own.
        power_limit_w: The board's, where it is known: no window draws more.
        phases_spread: Random delays kept the load from running in step with the sensor.

    Raises:
        MeasurementInvalid: start >= end, the readings do not cover the window or miss too much of it, or the
            correction leaves no positive power.
    """
    if not start_s < end_s:
        raise MeasurementInvalid(
            f"The window ends at {end_s:g} s, not after its begin at {start_s:g} s.", "Give the begin before the end."
        )
    duration_s = end_s - start_s
    seen = published(t_s, (power_w - sensor.offset_w) / sensor.gain, sensor.period_s)
    if seen.period_found and seen.period_s > SLOWEST_PERIOD_S:
        raise MeasurementInvalid(
            f"Readings are renewed every {seen.period_s:.4g} s: no board's are so slow.",
            "Is time_s in milliseconds? Divide it by 1000; nothing is converted silently.",
        )
    lag = kernel_lag(sensor, seen.late_s) if lag is None else lag
    kappa = undersampled_fraction(seen.period_s, sensor.window_s, sensor.kernel)
    centre_s = seen.t_s - lag.value_s
    _check_cover(centre_s, seen.period_s, start_s, end_s)
    missing_s = _missing_s(t_s, seen, lag.value_s, start_s, end_s)
    left_s, right_s = _cells(centre_s, seen.period_s)
    overlap_s = np.minimum(right_s, end_s) - np.maximum(left_s, start_s)
    first, last = int(np.argmax(overlap_s > 0)), len(overlap_s) - int(np.argmax(overlap_s[::-1] > 0))
    weights_s, inner_w = overlap_s[first:last], seen.readings_w[first:last]
    notes = about_readings(seen, sensor, missing_s, duration_s)
    shortest_s = max(MIN_PERIODS * seen.period_s, sensor.memory_s)
    if duration_s < shortest_s:
        bound_j = _upper_bound_j(seen, (first, last), (start_s, end_s), sensor, kappa, power_limit_w)
        return SampledEnergy(
            energy_j=None,
            uncertainty_j=None,
            interval_j=None,
            upper_bound_j=bound_j,
            if_locked_j=None,
            budget=(),
            caveats=(too_short(duration_s, shortest_s, seen.period_s, bound_j), *notes),
            n_effective=None,
            reading_count=last - first,
            kappa=kappa,
            period_s=seen.period_s,
            period_found=seen.period_found,
            lag_s=lag.value_s,
        )
    energy_j = float(weights_s @ inner_w)
    if energy_j <= 0:
        raise MeasurementInvalid(
            f"The mean power of the window is {energy_j / duration_s:.4g} W after the correction; no board draws that.",
            "Gain and offset state true = (reading - offset) / gain; check both.",
        )
    flattened = kappa > 0 and sensor.window_s >= seen.period_s
    around = levels(seen.readings_w, inner_w, power_limit_w, flattened)
    doubt = window_doubt(
        seen.readings_w, weights_s, (first, last), seen.period_s, kappa, around, sensor.mean_of, flattened
    )
    edges_j = _edges_u_j(seen, centre_s, (start_s, end_s), sensor, kappa, around)
    start_w, end_w = (float(np.interp(edge_s, centre_s, seen.readings_w)) for edge_s in (start_s, end_s))
    budget = (
        _term("sensor gain", gain_u_j(energy_j, sensor.gain_relative_u), True, "calibrate against a meter"),
        _term(
            "sensor offset", offset_u_j(duration_s, sensor.offset_u_w / sensor.gain), True, "calibrate against a meter"
        ),
        _term("window edges", edges_j, False, "a longer window, or one that begins and ends at steady power"),
        _term("time of the readings", lag.u_s * abs(end_w - start_w), False, "a known sensor, or faster polls"),
        _term("undersampling", doubt.scatter_u_w * duration_s, False, "a longer window, or random delays"),
        _term("unseen states", doubt.unseen_u_w * duration_s, False, "a longer window, or random delays"),
        _term("load steps", doubt.steps_u_w * duration_s, False, "a longer window"),
        _term(
            "missing readings",
            gap_u_j(missing_s, (around.high_w - around.low_w) / math.sqrt(12)),
            False,
            "steady polls",
        ),
    )
    interval_j = _interval_j(energy_j, duration_s, budget, doubt, power_limit_w)
    locked_j = (doubt.low_w * duration_s, doubt.high_w * duration_s) if kappa > 0 and not phases_spread else None
    notes += about_edges(sensor, edges_j / energy_j)
    if locked_j is not None:
        notes += about_sampling(doubt, seen.period_s, kappa, energy_j, locked_j)
    return SampledEnergy(
        energy_j=energy_j,
        uncertainty_j=combined_u_j(budget),
        interval_j=interval_j,
        upper_bound_j=None,
        if_locked_j=locked_j,
        budget=budget,
        caveats=notes,
        n_effective=doubt.n_effective,
        reading_count=last - first,
        kappa=kappa,
        period_s=seen.period_s,
        period_found=seen.period_found,
        lag_s=lag.value_s,
    )


# --- the window ----------------------------------------------------------------------------------------


def _check_cover(centre_s: FloatArray, period_s: float, start_s: float, end_s: float) -> None:
    from_s, to_s = float(centre_s[0] - period_s / 2), float(centre_s[-1] + period_s / 2)
    if start_s < from_s or end_s > to_s:
        raise MeasurementInvalid(
            f"The readings speak of {from_s:.3f} to {to_s:.3f} s, not of the whole window from {start_s:.3f} to "
            f"{end_s:.3f} s.",
            "Choose a window inside; readings lag behind what they tell of, so record a little longer.",
        )


def _cells(centre_s: FloatArray, period_s: float) -> tuple[FloatArray, FloatArray]:
    """What each reading is held for: to the middle between neighbours, one period at the ends."""
    middle_s = (centre_s[1:] + centre_s[:-1]) / 2
    return (
        np.concatenate([[centre_s[0] - period_s / 2], middle_s]),
        np.concatenate([middle_s, [centre_s[-1] + period_s / 2]]),
    )


def _missing_s(t_s: FloatArray, seen: Published, lag_s: float, start_s: float, end_s: float) -> float:
    """Time of the window whose readings may have been missed between two polls."""
    from_s, to_s = t_s[:-1] - lag_s, t_s[1:] - lag_s
    hole = to_s - from_s > max(HOLE_PERIODS * seen.period_s, HOLE_PERIODS * seen.step_s)
    inside_s = np.where(hole, np.minimum(to_s, end_s) - np.maximum(from_s, start_s), 0.0)
    missed_s = np.where(inside_s > 0, np.minimum(inside_s, to_s - from_s - seen.period_s), 0.0)
    longest = int(np.argmax(missed_s))
    total_s = float(missed_s.sum())
    if missed_s[longest] > LONGEST_HOLE_S or total_s > LARGEST_MISSING_FRACTION * (end_s - start_s):
        raise MeasurementInvalid(
            f"The window lacks readings: none was polled from {t_s[longest]:.3f} to {t_s[longest + 1]:.3f} s.",
            "Choose a window without the gap, or record again.",
        )
    return total_s


def _upper_bound_j(
    seen: Published,
    inside: tuple[int, int],
    edges_s: tuple[float, float],
    sensor: SensorProfile,
    kappa: float,
    power_limit_w: float | None,
) -> float:
    """What the window can have drawn at most, at 95 %.

    - Readings that remember much longer than they last (a mean of a second, a slow filter) flatten what is shorter: no
      reading shows the highest power, but each bounds the energy that went into it (`_remembered_j`).
    - A sensor that sees everything bounds it by all the energy in the readings that touch the window.
    - One that does not, only by the highest power it showed anywhere.
    """
    duration_s = edges_s[1] - edges_s[0]
    highest_j = float(seen.readings_w.max()) * duration_s
    if sensor.long_memory:
        highest_j = _remembered_j(seen, edges_s, sensor)
    elif kappa < UNEVEN:
        inner_w = seen.readings_w[max(0, inside[0] - 1) : inside[1] + 1]
        highest_j = float(np.maximum(inner_w, 0.0).sum()) * max(seen.period_s, sensor.memory_s)
    u_j = math.hypot(gain_u_j(highest_j, sensor.gain_relative_u), duration_s * sensor.offset_u_w / sensor.gain)
    bound_j = highest_j + NORMAL_95 * u_j
    return bound_j if power_limit_w is None else min(bound_j, power_limit_w * duration_s)


def _remembered_j(seen: Published, edges_s: tuple[float, float], sensor: SensorProfile) -> float:
    """The least upper bound that readings with a long memory put on the energy between two instants.

    A mean over M that spans the window holds its energy over M: E <= r M. A first-order reading at t holds
    E exp(-(t - start) / tau) / tau of it or more: E <= r tau exp((t - start) / tau). Nobody draws less than nothing.
    """
    start_s, end_s = edges_s
    told_s = seen.t_s - sensor.delay_s  # a reading speaks of what was until then
    readings_w = np.maximum(seen.readings_w, 0.0)
    if sensor.kernel == "first_order" and sensor.mean_of == 1:
        after = told_s >= end_s
        bounds_j = readings_w[after] * sensor.tau_s * np.exp(np.minimum((told_s[after] - start_s) / sensor.tau_s, 50.0))
    else:
        spans = (told_s >= end_s) & (told_s - sensor.memory_s <= start_s)
        bounds_j = readings_w[spans] * sensor.memory_s
    if len(bounds_j) == 0:  # longer than the memory, or at the recording's end: every part of it is in some reading
        return float(readings_w.max()) * (end_s - start_s + sensor.memory_s)
    return float(bounds_j.min())


# --- doubt ---------------------------------------------------------------------------------------------


def _term(name: str, standard_uncertainty_j: float, common: bool, reduced_by: str) -> UncertaintyTerm:
    return UncertaintyTerm(
        name=name, standard_uncertainty_j=standard_uncertainty_j, common=common, reduced_by=reduced_by
    )


def _edges_u_j(
    seen: Published,
    centre_s: FloatArray,
    edges_s: Sequence[float],
    sensor: SensorProfile,
    kappa: float,
    around: Levels,
) -> float:
    """A step next to an edge lies anywhere within one cell of it: (step x span)^2 / 12 per edge.

    The span is what one reading reaches over. Where the sensor sees everything, a load faster than its period adds what
    the cut cell leaves open; otherwise undersampling covers that already.
    """
    span_s = max(seen.period_s, sensor.memory_s)
    cut_j = CUT_CELL * seen.period_s * (around.high_w - around.low_w) * (1 - kappa) if kappa < 0.5 else 0.0
    total = 0.0
    for edge_s in edges_s:
        near = np.abs(centre_s - edge_s) <= span_s / 2 + seen.period_s
        step_w = float(np.ptp(seen.readings_w[near])) if near.any() else around.high_w - around.low_w
        total += (step_w * span_s) ** 2 / 12 + cut_j**2
    return math.sqrt(total)


def _interval_j(
    energy_j: float,
    duration_s: float,
    budget: Sequence[UncertaintyTerm],
    doubt: Doubt,
    power_limit_w: float | None,
) -> tuple[float, float]:
    """95 % interval: each part expanded by its own factor, then added in quadrature.

    What undersampling leaves open may differ upwards and downwards, and ends where all unseen time was spent at the
    lowest or highest power known.
    """
    rest_j = NORMAL_95 * combined_u_j(t for t in budget if t.name not in ("undersampling", "unseen states"))
    mean_w = energy_j / duration_s
    down_w = min(math.hypot(doubt.scatter_half_w, doubt.unseen_down_w), mean_w - doubt.low_w)
    up_w = min(math.hypot(doubt.scatter_half_w, doubt.unseen_up_w), doubt.high_w - mean_w)
    low_j = energy_j - math.hypot(rest_j, down_w * duration_s)
    high_j = energy_j + math.hypot(rest_j, up_w * duration_s)
    if power_limit_w is not None:
        high_j = max(energy_j, min(high_j, power_limit_w * duration_s))
    return max(0.0, low_j), high_j
