"""From one window's readings and its power trace to the energy of each source with its uncertainty budget. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.errors import MeasurementInvalid
from harness.measure.energy import counter_energy, integrate_power, published_readings
from harness.measure.uncertainty import (
    aligned_edges_u_j,
    combined_u_j,
    gain_u_j,
    gap_u_j,
    offset_u_j,
    resolution_u_j,
    unaligned_edges_u_j,
    undersampling_u_j,
)
from harness.measure.window import WindowReadings
from harness.power.sensor import undersampled_fraction
from harness.power.trace import PowerTrace
from harness.records import SourceEnergy, SourceInfo, UncertaintyTerm
from harness.stats import FloatArray, effective_sample_size

Method = Literal["counter", "sampled"]
TrueEnergy = Callable[[str, float, float], float]


@dataclass(frozen=True)
class GapPower:
    """Power of a source without work, from a null window: watts, and its uncertainty without gain and offset."""

    power_w: float
    u_w: float


def source_method(
    info: SourceInfo, readings: WindowReadings, wanted: Literal["auto", "counter", "sampled"]
) -> Method:
    """How this source's energy is to be had.

    Raises:
        MeasurementInvalid: The counter was asked for by name and this source has none.
    """
    has_counter = None not in readings.edges_j.get(info.id, (None, None))
    if wanted == "counter" and not has_counter:
        raise MeasurementInvalid(
            f"{info.device_name} has no energy counter.",
            "Use energy_method: sampled, which needs only its power.",
        )
    return "counter" if has_counter and (wanted != "sampled" or info.kind != "gpu") else "sampled"


def window_energy_j(info: SourceInfo, readings: WindowReadings, trace: PowerTrace, method: Method) -> float:
    """Energy of one source from edge to edge."""
    start_j, end_j = readings.edges_j.get(info.id, (None, None))
    if method == "counter" and start_j is not None and end_j is not None:
        return counter_energy(start_j, end_j)
    return integrate_power(*trace.power(info.id), readings.start_s, readings.end_s)


def gap_power(info: SourceInfo, null: WindowReadings, trace: PowerTrace, method: Method) -> GapPower:
    """Power of a source in a window without work.

    Its uncertainty is the scatter of the readings (the board settles after a load) and what the edges leave open.
    """
    power_w = window_energy_j(info, null, trace, method) / null.duration_s
    _, readings_w = trace.between(null.start_s, null.end_s).power(info.id)
    scatter_w = float(np.std(readings_w)) if len(readings_w) > 1 else 0.0
    edges_w = _edges_u_j(info, null, method, power_w, power_w) / null.duration_s
    return GapPower(power_w, math.hypot(scatter_w, edges_w))


def source_energy(
    info: SourceInfo,
    readings: WindowReadings,
    trace: PowerTrace,
    gap: GapPower,
    method: Method,
    truth: TrueEnergy | None = None,
) -> SourceEnergy:
    """Energy, budget and cross-check of one source over one window.

    Args:
        info: The source.
        readings: The window's edges and busy spans.
        trace: Samples of the run; only those in the window are used.
        gap: The source's power without work, from the null window.
        method: Counter or sampled, as `source_method` chose.
        truth: What only a simulation knows.

    Raises:
        MeasurementInvalid: The counter went backwards, or the trace does not cover a window that needs it.
    """
    energy_j = window_energy_j(info, readings, trace, method)
    inside = trace.between(readings.start_s, readings.end_s)
    duration_s, mean_w = readings.duration_s, energy_j / readings.duration_s
    kappa = undersampled_fraction(info.sensor_period_s, info.sensor_window_s)
    scatter_j = _scatter_u_j(info, readings, inside, kappa, mean_w)
    edges_j = _edges_u_j(info, readings, method, gap.power_w, gap.power_w)
    budget = (
        _term("sensor gain", gain_u_j(energy_j, info.gain_relative_u), True, "calibrate against a meter"),
        _term("sensor offset", offset_u_j(duration_s, info.offset_u_w), True, "calibrate against a meter"),
        _term("window edges", edges_j, False, "a longer window"),
        _term("undersampling", scatter_j, False, "a longer window, or random delays between batches"),
        _term("gaps", gap_u_j(duration_s - readings.busy_s, gap.u_w), False, "fewer delays, a longer window"),
    )
    sampled_j, sampled_u_j = _sampled_check(info, readings, trace, method, mean_w, gap, edges_j, scatter_j)
    return SourceEnergy(
        source_id=info.id,
        energy_j=energy_j,
        uncertainty_j=combined_u_j(budget),
        budget=budget,
        method=method,
        sample_count=len(inside.power(info.id)[0]),
        gap_power_w=gap.power_w,
        gap_power_u_w=gap.u_w,
        sampled_energy_j=sampled_j,
        sampled_uncertainty_j=sampled_u_j,
        true_energy_j=truth(info.id, readings.start_s, readings.end_s) if truth else None,
        true_busy_energy_j=math.fsum(truth(info.id, *span) for span in readings.busy_spans_s)
        if truth
        else None,
    )


def _term(name: str, standard_uncertainty_j: float, common: bool, reduced_by: str) -> UncertaintyTerm:
    return UncertaintyTerm(
        name=name, standard_uncertainty_j=standard_uncertainty_j, common=common, reduced_by=reduced_by
    )


def _edges_u_j(
    info: SourceInfo, readings: WindowReadings, method: Method, before_w: float, after_w: float
) -> float:
    if method == "counter":
        step_u_j = resolution_u_j(info.counter_step_j or 0.0)
        if readings.aligned_source == info.id and readings.stamp_interval_s is not None:
            return math.hypot(step_u_j, aligned_edges_u_j(readings.stamp_interval_s, max(before_w, after_w)))
        return math.hypot(step_u_j, unaligned_edges_u_j(info.sensor_period_s, before_w, after_w))
    return unaligned_edges_u_j(info.sensor_period_s, before_w, after_w)


def _scatter_u_j(
    info: SourceInfo, readings: WindowReadings, inside: PowerTrace, kappa: float, mean_w: float
) -> float:
    if kappa == 0 or not readings.busy_spans_s:
        return 0.0
    t_s, power_w = inside.power(info.id)
    settled_s = readings.busy_spans_s[0][0] + info.sensor_period_s + info.sensor_window_s
    busy = (t_s >= settled_s) & (t_s <= readings.busy_spans_s[-1][1])
    values: FloatArray = published_readings(t_s[busy], power_w[busy], info.sensor_period_s)
    if len(values) < 3:
        # Too few readings to know the scatter: anything between nothing and twice the mean, one sample.
        return undersampling_u_j(kappa, mean_w / math.sqrt(3), readings.duration_s, 1.0)
    return undersampling_u_j(
        kappa, float(np.std(values, ddof=1)), readings.duration_s, effective_sample_size(values)
    )


def _sampled_check(
    info: SourceInfo,
    readings: WindowReadings,
    trace: PowerTrace,
    method: Method,
    mean_w: float,
    gap: GapPower,
    edges_j: float,
    scatter_j: float,
) -> tuple[float | None, float | None]:
    """Integral of sampled power beside the counter, and the doubt of their difference.

    Gain and offset are common to both and drop out. Sampled power lags the counter by up to one period, which shifts
    at most one period's worth of the step between work and idle across an edge.
    """
    if method == "sampled":
        return None, None
    try:
        sampled_j = integrate_power(*trace.power(info.id), readings.start_s, readings.end_s)
    except MeasurementInvalid:
        return None, None
    lag_j = info.sensor_period_s * abs(mean_w - gap.power_w) / math.sqrt(3)
    own_edges_j = unaligned_edges_u_j(info.sensor_period_s, gap.power_w, gap.power_w)
    return sampled_j, math.sqrt(edges_j**2 + own_edges_j**2 + lag_j**2 + scatter_j**2)
