"""What a sensor that sees only part of the time leaves open about one window, from what it showed there. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.measure.energy import published_readings
from harness.measure.equivalent_time import CycleMean, cycle_mean
from harness.measure.uncertainty import undersampling_u_j
from harness.measure.window import WindowReadings
from harness.power.publications import publications
from harness.power.trace import PowerTrace
from harness.records import SourceInfo
from harness.stats import FloatArray, effective_sample_size, phased_mean_u

FEWEST_READINGS = 3
FEWEST_BATCHES = 5  # whose phases are spread: fewer may all miss the same
CLEARLY = 0.7  # times the other's uncertainty: from few batches either is itself known to a third
SAME_PERIOD = 0.05  # relative: a multiple of the period means that readings repeat


@dataclass(frozen=True)
class Unseen:
    """What is unknown, and what can be mended.

    `u_j`: standard uncertainty. `effective_samples`: independent readings that say so; None where nothing goes unseen.
    `correction_j`: to add to an energy that is a plain sum of readings; None where that sum is the best to be had.
    """

    u_j: float
    effective_samples: float | None
    correction_j: float | None = None


NOTHING_UNSEEN = Unseen(0.0, None)


def unseen_energy(
    info: SourceInfo, readings: WindowReadings, inside: PowerTrace, kappa: float, mean_w: float
) -> Unseen:
    """What the unseen share of a window's time leaves open about a plain sum of the readings.

    Args:
        info: The source.
        readings: The window.
        inside: Samples between its edges.
        kappa: Share of the time that the sensor does not see.
        mean_w: Mean power of the window.
    """
    if kappa == 0 or not readings.busy_spans_s:
        return NOTHING_UNSEEN
    at_s, values_w = _settled(info, readings, inside)
    if len(values_w) < FEWEST_READINGS:
        # Too few readings to know the scatter: anything between nothing and twice the mean, one sample.
        return Unseen(undersampling_u_j(kappa, mean_w / math.sqrt(3), readings.duration_s, 1.0), 1.0)
    sd_w, effective = float(np.std(values_w, ddof=1)), effective_sample_size(values_w)
    if readings.phases_spread:
        mean_u_w = _batches_u_w(info, readings, at_s, values_w)
        if mean_u_w is not None and mean_u_w > 0:
            effective = (sd_w / mean_u_w) ** 2
    return Unseen(undersampling_u_j(kappa, sd_w, readings.duration_s, effective), effective)


def mended(plain: Unseen, info: SourceInfo, readings: WindowReadings, inside: PowerTrace, kappa: float) -> Unseen:
    """A batch put together from all readings, where that is clearly surer than their plain sum.

    Args:
        plain: As `unseen_energy` has it.
        info: The source.
        readings: The window.
        inside: Samples between its edges.
        kappa: Share of the time that the sensor does not see.
    """
    if kappa == 0 or not readings.phases_spread or len(readings.busy_spans_s) < FEWEST_BATCHES:
        return plain
    t_s, power_w = inside.power(info.id)
    cycle = _cycle(info, readings, t_s, power_w)
    _, values_w = _settled(info, readings, inside)
    if cycle is None or cycle.u_w == 0 or len(values_w) < FEWEST_READINGS:
        return plain
    sd_w = float(np.std(values_w, ddof=1))
    effective = (sd_w / cycle.u_w) ** 2
    u_j = undersampling_u_j(kappa, sd_w, readings.duration_s, effective)
    if u_j > CLEARLY * plain.u_j:
        return plain
    worked_s = readings.busy_spans_s[-1][1] - readings.busy_spans_s[0][0]
    return Unseen(u_j, effective, (cycle.power_w - cycle.plain_w) * worked_s / info.gain)


def _settled(info: SourceInfo, readings: WindowReadings, inside: PowerTrace) -> tuple[FloatArray, FloatArray]:
    """When readings were polled that show nothing but the work, and what they were; each reading once."""
    t_s, power_w = inside.power(info.id)
    settled_s = readings.busy_spans_s[0][0] + info.shows_past_s
    busy = (t_s >= settled_s) & (t_s <= readings.busy_spans_s[-1][1])
    values_w = published_readings(t_s[busy], power_w[busy], info.sensor_period_s)
    return published_readings(t_s[busy], t_s[busy], info.sensor_period_s), values_w


def _cycle(info: SourceInfo, readings: WindowReadings, t_s: FloatArray, power_w: FloatArray) -> CycleMean | None:
    """A batch and the pause after it, put together from the readings of all; None where their times are not known."""
    seen = publications(t_s, power_w)
    if seen.period_s is None or abs(seen.period_s - info.sensor_period_s) > SAME_PERIOD * info.sensor_period_s:
        return None
    starts_s = np.array([start for start, _ in readings.busy_spans_s])
    return cycle_mean(starts_s, readings.busy_spans_s[-1][1], seen.t_s - info.sensor_window_s / 2, seen.readings)


def _batches_u_w(info: SourceInfo, readings: WindowReadings, at_s: FloatArray, values_w: FloatArray) -> float | None:
    """Standard uncertainty of the readings' mean where batches start at phases that are spread evenly."""
    starts_s = np.array([start for start, _ in readings.busy_spans_s])
    batch = np.searchsorted(starts_s, at_s, side="right") - 1
    numbers, counts = np.unique(batch, return_counts=True)
    means_w = np.array([values_w[batch == number].mean() for number in numbers])
    return phased_mean_u(starts_s[numbers] % info.sensor_period_s, means_w, counts / counts.sum())
