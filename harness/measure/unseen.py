"""What a sensor that sees only part of the time leaves open about one window, from what it showed there. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.measure.energy import published_readings
from harness.measure.uncertainty import undersampling_u_j
from harness.measure.window import WindowReadings
from harness.power.trace import PowerTrace
from harness.records import SourceInfo
from harness.stats import FloatArray, effective_sample_size, phased_mean_u


@dataclass(frozen=True)
class Unseen:
    """Standard uncertainty, joules, and how many independent readings say so; None where nothing goes unseen."""

    u_j: float
    effective_samples: float | None


NOTHING_UNSEEN = Unseen(0.0, None)


def unseen_energy(
    info: SourceInfo, readings: WindowReadings, inside: PowerTrace, kappa: float, mean_w: float
) -> Unseen:
    """What the unseen share of a window's time leaves open.

    Args:
        info: The source.
        readings: The window.
        inside: Samples between its edges.
        kappa: Share of the time that the sensor does not see.
        mean_w: Mean power of the window.
    """
    if kappa == 0 or not readings.busy_spans_s:
        return NOTHING_UNSEEN
    t_s, power_w = inside.power(info.id)
    settled_s = readings.busy_spans_s[0][0] + info.shows_past_s
    busy = (t_s >= settled_s) & (t_s <= readings.busy_spans_s[-1][1])
    values: FloatArray = published_readings(t_s[busy], power_w[busy], info.sensor_period_s)
    if len(values) < 3:
        # Too few readings to know the scatter: anything between nothing and twice the mean, one sample.
        return Unseen(undersampling_u_j(kappa, mean_w / math.sqrt(3), readings.duration_s, 1.0), 1.0)
    sd_w, effective = float(np.std(values, ddof=1)), effective_sample_size(values)
    if readings.phases_spread:
        at_s = published_readings(t_s[busy], t_s[busy], info.sensor_period_s)
        mean_u_w = _batches_u_w(info, readings, at_s, values)
        if mean_u_w is not None and mean_u_w > 0:
            effective = (sd_w / mean_u_w) ** 2
    return Unseen(undersampling_u_j(kappa, sd_w, readings.duration_s, effective), effective)


def _batches_u_w(info: SourceInfo, readings: WindowReadings, at_s: FloatArray, values_w: FloatArray) -> float | None:
    """Standard uncertainty of the readings' mean where batches start at phases that are spread evenly."""
    starts_s = np.array([start for start, _ in readings.busy_spans_s])
    batch = np.searchsorted(starts_s, at_s, side="right") - 1
    numbers, counts = np.unique(batch, return_counts=True)
    means_w = np.array([values_w[batch == number].mean() for number in numbers])
    return phased_mean_u(starts_s[numbers] % info.sensor_period_s, means_w, counts / counts.sum())
