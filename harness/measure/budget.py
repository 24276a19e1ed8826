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
from harness.power.profiles import undersampled_fraction
from harness.power.trace import PowerTrace
from harness.records import SourceEnergy, SourceInfo, UncertaintyTerm
from harness.stats import FloatArray, block_mean_u, effective_sample_size

Method = Literal["counter", "sampled"]
TrueEnergy = Callable[[str, float, float], float]


@dataclass(frozen=True)
class IdlePowerReading:
    """Mean power of a source in a null window, watts, and its uncertainty without gain and offset."""

    power_w: float
    u_w: float


@dataclass(frozen=True)
class GapEnergy:
    """Energy drawn in a window while no work ran, joules, and its uncertainty without gain and offset."""

    energy_j: float
    u_j: float


def source_method(info: SourceInfo, readings: WindowReadings, wanted: Literal["auto", "counter", "sampled"]) -> Method:
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


def null_power(info: SourceInfo, null: WindowReadings, trace: PowerTrace, method: Method) -> IdlePowerReading:
    """Power of a source in a window without work.

    Its uncertainty is the scatter of the readings (the board settles after a load) and what the edges leave open.
    """
    power_w = window_energy_j(info, null, trace, method) / null.duration_s
    _, readings_w = trace.between(null.start_s, null.end_s).power(info.id)
    scatter_w = float(np.std(readings_w)) if len(readings_w) > 1 else 0.0
    edges_w = _edges_u_j(info, null, method, power_w) / null.duration_s
    return IdlePowerReading(power_w, math.hypot(scatter_w, edges_w))


def gap_energy(
    info: SourceInfo, readings: WindowReadings, null: WindowReadings, trace: PowerTrace, idle: IdlePowerReading
) -> GapEnergy:
    """What the window's edges and delays drew.

    Before the first batch the board idles as in the null window. Gaps that follow a batch are dearer: a board draws
    up to tens of watts more for about two seconds after a load. A line through the first readings after the window's
    last batch, seen from the middle of a mean gap, estimates that; a board without readings there counts as idle.
    """
    spans = readings.busy_spans_s
    if not spans:
        return GapEnergy(idle.power_w * readings.duration_s, idle.u_w * readings.duration_s)
    first_s = spans[0][0] - readings.start_s
    later_s = readings.duration_s - readings.busy_s - first_s
    seen_from_s = info.sensor_period_s + info.sensor_window_s  # what is published before still shows the load
    t_s, power_w = trace.between(spans[-1][1] + seen_from_s, min(spans[-1][1] + 7 * seen_from_s, null.end_s)).power(
        info.id
    )
    after_w, after_u_w = idle.power_w, idle.u_w
    if len(t_s) >= 3 and np.ptp(t_s) > info.sensor_period_s:
        since_s = t_s - spans[-1][1]
        slope, level = np.polyfit(since_s, power_w, 1)
        rest_w = float(np.std(power_w - (level + slope * since_s)))
        after_w = float(level + slope * later_s / len(spans) / 2)
        after_u_w = math.hypot(rest_w, (after_w - float(np.mean(power_w))) / math.sqrt(3))
    return GapEnergy(
        idle.power_w * first_s + after_w * later_s, math.hypot(gap_u_j(first_s, idle.u_w), gap_u_j(later_s, after_u_w))
    )


def source_energy(
    info: SourceInfo,
    readings: WindowReadings,
    null: WindowReadings,
    trace: PowerTrace,
    idle: IdlePowerReading,
    method: Method,
    truth: TrueEnergy | None = None,
) -> SourceEnergy:
    """Energy, budget and cross-check of one source over one window.

    Args:
        info: The source.
        readings: The window's edges and busy spans.
        null: The null window right after.
        trace: Samples of the run; only those in the two windows are used.
        idle: The source's power in the null window.
        method: Counter or sampled, as `source_method` chose.
        truth: What only a simulation knows.

    Raises:
        MeasurementInvalid: The counter went backwards, or the trace does not cover a window that needs it.
    """
    energy_j = window_energy_j(info, readings, trace, method)
    inside = trace.between(readings.start_s, readings.end_s)
    duration_s, mean_w = readings.duration_s, energy_j / readings.duration_s
    kappa = undersampled_fraction(info.sensor_period_s, info.sensor_window_s)
    scatter_j, effective_samples = _scatter(info, readings, inside, kappa, mean_w)
    edges_j = _edges_u_j(info, readings, method, idle.power_w)
    gap = gap_energy(info, readings, null, trace, idle)
    busy_w = (energy_j - gap.energy_j) / readings.busy_s if readings.busy_s else 0.0
    steps_j = kappa * info.sensor_period_s * abs(busy_w - idle.power_w) * math.sqrt(2 / 12)
    budget = (
        _term("sensor gain", gain_u_j(energy_j, info.gain_relative_u), True, "calibrate against a meter"),
        _term("sensor offset", offset_u_j(duration_s, info.offset_u_w), True, "calibrate against a meter"),
        _term("window edges", edges_j, False, "a longer window"),
        _term("undersampling", scatter_j, False, "a longer window, or random delays between batches"),
        _term("load steps", steps_j, False, "a longer window"),
        _term("gaps", gap.u_j, False, "fewer delays, a longer window"),
    )
    sampled_j, sampled_u_j = _sampled_check(info, readings, trace, method, energy_j, idle, edges_j, scatter_j)
    return SourceEnergy(
        source_id=info.id,
        energy_j=energy_j,
        uncertainty_j=combined_u_j(budget),
        budget=budget,
        method=method,
        sample_count=len(inside.power(info.id)[0]),
        idle_power_w=idle.power_w,
        idle_power_u_w=idle.u_w,
        gap_energy_j=gap.energy_j,
        effective_samples=effective_samples,
        sampled_energy_j=sampled_j,
        sampled_uncertainty_j=sampled_u_j,
        true_energy_j=truth(info.id, readings.start_s, readings.end_s) if truth else None,
        true_busy_energy_j=math.fsum(truth(info.id, *span) for span in readings.busy_spans_s) if truth else None,
    )


def _term(name: str, standard_uncertainty_j: float, common: bool, reduced_by: str) -> UncertaintyTerm:
    return UncertaintyTerm(
        name=name, standard_uncertainty_j=standard_uncertainty_j, common=common, reduced_by=reduced_by
    )


def _edges_u_j(info: SourceInfo, readings: WindowReadings, method: Method, edge_w: float) -> float:
    if method == "counter":
        step_u_j = resolution_u_j(info.counter_step_j or 0.0)
        if readings.aligned_source == info.id and readings.stamp_interval_s is not None:
            return math.hypot(step_u_j, aligned_edges_u_j(readings.stamp_interval_s, edge_w))
        return math.hypot(step_u_j, unaligned_edges_u_j(info.sensor_period_s, edge_w, edge_w))
    return unaligned_edges_u_j(info.sensor_period_s, edge_w, edge_w)


def _scatter(
    info: SourceInfo, readings: WindowReadings, inside: PowerTrace, kappa: float, mean_w: float
) -> tuple[float, float | None]:
    """What the unseen share of the time leaves open, joules, and how many independent readings say so."""
    if kappa == 0 or not readings.busy_spans_s:
        return 0.0, None
    t_s, power_w = inside.power(info.id)
    settled_s = readings.busy_spans_s[0][0] + info.sensor_period_s + info.sensor_window_s
    busy = (t_s >= settled_s) & (t_s <= readings.busy_spans_s[-1][1])
    values: FloatArray = published_readings(t_s[busy], power_w[busy], info.sensor_period_s)
    if len(values) < 3:
        # Too few readings to know the scatter: anything between nothing and twice the mean, one sample.
        return undersampling_u_j(kappa, mean_w / math.sqrt(3), readings.duration_s, 1.0), 1.0
    sd_w, effective = float(np.std(values, ddof=1)), effective_sample_size(values)
    if readings.phases_spread and (blocks_u_w := block_mean_u(values)) is not None and blocks_u_w > 0:
        effective = max(effective, (sd_w / blocks_u_w) ** 2)
    return undersampling_u_j(kappa, sd_w, readings.duration_s, effective), effective


def _sampled_check(
    info: SourceInfo,
    readings: WindowReadings,
    trace: PowerTrace,
    method: Method,
    energy_j: float,
    idle: IdlePowerReading,
    edges_j: float,
    scatter_j: float,
) -> tuple[float | None, float | None]:
    """Integral of sampled power beside the counter, and the doubt of their difference.

    Whether the counter shares the power reading's gain and offset is not known for a board, so both count once.
    Sampled power lags the counter by up to one period, which shifts at most one period's worth of the step between
    work and idle across an edge.
    """
    if method == "sampled":
        return None, None
    try:
        sampled_j = integrate_power(*trace.power(info.id), readings.start_s, readings.end_s)
    except MeasurementInvalid:
        return None, None
    lag_j = info.sensor_period_s * abs(energy_j / readings.duration_s - idle.power_w) / math.sqrt(3)
    parts_j = (
        edges_j,
        unaligned_edges_u_j(info.sensor_period_s, idle.power_w, idle.power_w),
        lag_j,
        scatter_j,
        gain_u_j(energy_j, info.gain_relative_u),
        offset_u_j(readings.duration_s, info.offset_u_w),
    )
    return sampled_j, math.sqrt(math.fsum(part**2 for part in parts_j))
