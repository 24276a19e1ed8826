"""From counter edges and power samples to joules. Pure."""

from __future__ import annotations

import numpy as np

from harness.errors import MeasurementInvalid
from harness.records import Measurement, SourceEnergy
from harness.stats import FloatArray


def integrate_power(t_s: FloatArray, power_w: FloatArray, start_s: float, end_s: float) -> float:
    """Energy drawn between two instants, by the trapezoid rule.

    Args:
        t_s: Sample times on the monotonic clock, seconds, shape (n,), strictly rising.
        power_w: Power at those times, watts, shape (n,).
        start_s: Begin of the window, same clock. Edges are interpolated, so they need not hit a sample.
        end_s: End of the window.

    Returns:
        Energy in joules.

    Raises:
        MeasurementInvalid: The trace does not cover [start_s, end_s].
    """
    if len(t_s) < 2 or start_s < t_s[0] or end_s > t_s[-1]:
        covered = f"{t_s[0]:.3f} to {t_s[-1]:.3f} s" if len(t_s) else "nothing"
        raise MeasurementInvalid(
            f"The power trace covers {covered}, not the window from {start_s:.3f} to {end_s:.3f} s.",
            "The sampler started late or stopped early; see the caveats of the run.",
        )
    inside = (t_s > start_s) & (t_s < end_s)
    at_s = np.concatenate([[start_s], t_s[inside], [end_s]])
    at_w = np.concatenate([[np.interp(start_s, t_s, power_w)], power_w[inside], [np.interp(end_s, t_s, power_w)]])
    return float(np.sum((at_w[1:] + at_w[:-1]) / 2 * np.diff(at_s)))


def counter_energy(start_j: float, end_j: float) -> float:
    """Difference of an energy counter.

    Raises:
        MeasurementInvalid: The counter went backwards (driver reload, GPU reset): the window is void.
    """
    if end_j < start_j:
        raise MeasurementInvalid(
            f"The energy counter went backwards, from {start_j:.3f} J to {end_j:.3f} J.",
            "The driver was reloaded or the GPU reset during the window.",
        )
    return end_j - start_j


def busy_energy_j(source: SourceEnergy) -> float:
    """Gross energy while the engine ran: the window's energy less what its edges, delays and failed requests drew."""
    return source.energy_j - source.gap_energy_j - (source.failed_energy_j or 0.0)


def idle_share_j(window: Measurement, source: SourceEnergy) -> float:
    """What the source would have drawn in the same busy time without work."""
    return source.idle_power_w * window.busy_s


def published_readings(t_s: FloatArray, power_w: FloatArray, period_s: float) -> FloatArray:
    """Thin a polled trace to one value per sensor period, so that repeats of one reading count once.

    Args:
        t_s: Poll times, seconds, rising, shape (n,).
        power_w: Polled power, watts, shape (n,).
        period_s: The sensor's update period.

    Returns:
        Readings in watts, shape (m,), m about (t_s[-1] - t_s[0]) / period_s.
    """
    if len(t_s) == 0:
        return power_w
    bins = np.floor((t_s - t_s[0]) / period_s).astype(np.int64)
    last_in_bin = np.append(bins[1:] != bins[:-1], True)
    readings_w: FloatArray = power_w[last_in_bin]
    return readings_w
