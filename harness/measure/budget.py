"""From one window's readings and its power trace to the energy of each source with its uncertainty budget. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.errors import MeasurementInvalid
from harness.measure.counter import adds_up_readings
from harness.measure.energy import counter_energy, integrate_power
from harness.measure.uncertainty import (
    aligned_edges_u_j,
    combined_u_j,
    gain_u_j,
    gap_u_j,
    lag_u_j,
    offset_u_j,
    resolution_u_j,
    unaligned_edges_u_j,
)
from harness.measure.unseen import NOTHING_UNSEEN, Unseen, mended, unseen_energy
from harness.measure.window import WindowReadings
from harness.power.profiles import unseen_fraction
from harness.power.publications import publications
from harness.power.trace import PowerTrace
from harness.records import SourceEnergy, SourceInfo, UncertaintyTerm
from harness.stats import FloatArray

Method = Literal["counter", "sampled"]
TrueEnergy = Callable[[str, float, float], float]


@dataclass(frozen=True)
class IdlePowerReading:
    """Mean power of a source in a null window, watts, and its uncertainty without gain and offset."""

    power_w: float
    u_w: float


@dataclass(frozen=True)
class GapEnergy:
    """Energy drawn in a window while no work ran, joules, and its uncertainty without gain and offset.

    `before_w`, `after_w`: power at rest just before the window's work and in the gaps that follow it.
    """

    energy_j: float
    u_j: float
    before_w: float
    after_w: float


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
    """Energy of one source from edge to edge, corrected by its calibration where there is one."""
    start_j, end_j = readings.edges_j.get(info.id, (None, None))
    if method == "counter" and start_j is not None and end_j is not None:
        return calibrated_j(info, counter_energy(start_j, end_j), readings.duration_s)
    return sampled_energy_j(info, readings, trace)


def calibrated_j(info: SourceInfo, energy_j: float, duration_s: float) -> float:
    """What a meter would have said: (E - offset T) / gain."""
    return (energy_j - info.offset_w * duration_s) / info.gain


def sampled_energy_j(info: SourceInfo, readings: WindowReadings, trace: PowerTrace) -> float:
    """Integral of the readings, each taken to speak of the middle of the time it stands for.

    Raises:
        MeasurementInvalid: The trace does not cover the window.
    """
    t_s, power_w = trace.power(info.id)
    read_j = integrate_power(t_s - mean_age_s(info), power_w, readings.start_s, readings.end_s)
    return calibrated_j(info, read_j, readings.duration_s)


def mean_age_s(info: SourceInfo) -> float:
    """How old what a poll tells is, on average: half the sensor's window, and half of the time it is shown."""
    return (info.sensor_window_s + info.sensor_period_s) / 2


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

    Before the first batch the board draws what it was seen to draw then. Gaps that follow a batch are dearer: a board
    draws up to tens of watts more for about two seconds after a load. What it draws after the window's last batch tells
    how (`settling`). Where there are no readings, the null window's power stands in. A counter need not share the
    readings' gain and offset: what both say of the null window scales the readings to the counter.
    """
    spans = readings.busy_spans_s
    if not spans:
        energy_j, u_j = idle.power_w * readings.duration_s, idle.u_w * readings.duration_s
        return GapEnergy(energy_j, u_j, idle.power_w, idle.power_w)
    scale = _counter_per_reading(info, null, trace, idle)
    before = _rest_before(info, readings, null, trace) or idle
    first_s = spans[0][0] - readings.start_s
    later_s = readings.duration_s - readings.busy_s - first_s
    last_s = spans[-1][1]
    shown_from_s = last_s + info.shows_past_s  # what is polled before still shows the load
    t_s, power_w = trace.between(shown_from_s, null.end_s).power(info.id)
    starts_s = [*(start for start, _ in spans[1:]), readings.end_s]
    gaps_s = np.array([max(0.0, start - end) for start, (_, end) in zip(starts_s, spans, strict=True)])
    after = settling(t_s - last_s - mean_age_s(info), power_w, gaps_s) if gaps_s.sum() > 0 else None
    before_w = before.power_w * scale if before is not idle else idle.power_w
    after_w, after_u_w = (after.power_w * scale, after.u_w) if after is not None else (idle.power_w, idle.u_w)
    u_j = math.hypot(gap_u_j(first_s, before.u_w), gap_u_j(later_s, after_u_w))
    return GapEnergy(before_w * first_s + after_w * later_s, u_j, before_w, after_w)


LONGEST_LOOK_BACK_S = 0.5
SHORTEST_COMPARISON_S = 1.0  # of counter and readings; over less, the edges of both would make the ratio


def _counter_per_reading(info: SourceInfo, null: WindowReadings, trace: PowerTrace, idle: IdlePowerReading) -> float:
    """Power by the source's method over power by its readings, in the null window."""
    _, readings_w = trace.between(null.start_s, null.end_s).power(info.id)
    if null.duration_s < SHORTEST_COMPARISON_S or len(readings_w) == 0 or float(np.mean(readings_w)) <= 0:
        return 1.0
    return idle.power_w / float(np.mean(readings_w))


def _rest_before(
    info: SourceInfo, readings: WindowReadings, null: WindowReadings, trace: PowerTrace
) -> IdlePowerReading | None:
    """Power just before the window's first batch, from readings that no longer show the work before.

    Every window follows a null window of the same length, which bounds how far one may look back.
    """
    back_s = min(LONGEST_LOOK_BACK_S, max(0.0, null.duration_s - info.shows_past_s))
    first_s = readings.busy_spans_s[0][0] - trace.period_s
    _, power_w = trace.between(readings.start_s - back_s, first_s).power(info.id)
    return IdlePowerReading(float(np.mean(power_w)), float(np.std(power_w))) if len(power_w) >= 3 else None


SETTLING_TAUS_S = np.geomspace(0.1, 4.0, 40)


def settling(since_s: FloatArray, power_w: FloatArray, gaps_s: FloatArray) -> IdlePowerReading | None:
    """Mean power over gaps that follow a load, from readings that begin a little after the last one.

    A level and an exponential decay are fitted (a line over the decay, for each of a row of time constants). Its doubt
    is the scatter about the fit and, as the bound of a rectangle, all that was extrapolated beyond the first reading.

    Args:
        since_s: Time after the end of the load, seconds, rising, shape (n,).
        power_w: Readings at those times, shape (n,).
        gaps_s: Lengths of the gaps, seconds, shape (m,), not all zero.

    Returns:
        None for fewer than four readings.
    """
    if len(since_s) < 4:
        return None
    decay = np.exp(-since_s / SETTLING_TAUS_S[:, np.newaxis])
    about = decay - decay.mean(axis=1, keepdims=True)
    uplift_w = about @ power_w / np.sum(about**2, axis=1)
    level_w = np.mean(power_w) - uplift_w * decay.mean(axis=1)
    misfits_w = np.std(power_w - uplift_w[:, np.newaxis] * decay, axis=1)
    best = int(np.argmin(misfits_w))
    tau_s, misfit_w = SETTLING_TAUS_S[best], float(misfits_w[best])
    mean_w = float(level_w[best] + uplift_w[best] * tau_s * np.sum(-np.expm1(-gaps_s / tau_s)) / np.sum(gaps_s))
    return IdlePowerReading(mean_w, math.hypot(misfit_w, (mean_w - float(power_w[0])) / math.sqrt(3)))


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
    plain_j = window_energy_j(info, readings, trace, method)
    inside = trace.between(readings.start_s, readings.end_s)
    duration_s, kappa = readings.duration_s, unseen_fraction(info)
    plain = unseen_energy(info, readings, inside, kappa, plain_j / duration_s)
    of_readings = unseen = mended(plain, info, readings, inside, kappa)
    if method == "counter" and info.counter_integrates == "power":
        kappa, unseen = 0.0, NOTHING_UNSEEN  # it was seen to miss nothing
    elif unseen is not plain and method == "counter" and not _sums_readings(info, inside):
        unseen = plain
    energy_j = plain_j + (unseen.correction_j or 0.0)
    gap = _ends(info, readings, inside) if readings.under_load else gap_energy(info, readings, null, trace, idle)
    edge_w = idle.power_w if not readings.under_load else plain_j / duration_s
    edges_j = _edges_u_j(info, readings, method, edge_w)
    lag_j = lag_u_j(info.sensor_period_s, gap.before_w, gap.after_w)
    busy_w = (energy_j - gap.energy_j) / readings.busy_s if readings.busy_s else 0.0
    step_w = 0.0 if readings.under_load else abs(busy_w - idle.power_w)
    steps_j = kappa * info.sensor_period_s * step_w * math.sqrt(2 / 12)
    budget = (
        UncertaintyTerm(
            name="sensor gain",
            standard_uncertainty_j=gain_u_j(energy_j, info.gain_relative_u),
            common=True,
            averages=False,
            reduced_by="calibrate against a meter",
        ),
        UncertaintyTerm(
            name="sensor offset",
            standard_uncertainty_j=offset_u_j(duration_s, info.offset_u_w),
            common=True,
            averages=False,
            reduced_by="calibrate against a meter",
        ),
        _term("window edges", edges_j, "a longer window"),
        _term("undersampling", unseen.u_j, "a longer window, or random delays between batches"),
        _term("load steps", steps_j, "a longer window"),
        _term("lag at the edges", lag_j, "a longer window", averages=False),
        _term("gaps", gap.u_j, "fewer delays, a longer window", averages=False),
    )
    at_edges = IdlePowerReading(edge_w, idle.u_w)
    sampled_j, sampled_u_j = _sampled_check(info, readings, trace, method, energy_j, at_edges, edges_j, of_readings)
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
        effective_samples=unseen.effective_samples,
        unseen_correction_j=unseen.correction_j,
        sampled_energy_j=sampled_j,
        sampled_uncertainty_j=sampled_u_j,
        true_energy_j=truth(info.id, readings.start_s, readings.end_s) if truth else None,
        true_busy_energy_j=math.fsum(truth(info.id, *span) for span in readings.busy_spans_s) if truth else None,
    )


def _ends(info: SourceInfo, readings: WindowReadings, inside: PowerTrace) -> GapEnergy:
    """A window whose edges lie inside the work has no gaps; what is told late at its edges is the power near them."""
    fifth_s = readings.duration_s / 5
    ends_w = []
    for start_s, end_s in (
        (readings.start_s, readings.start_s + fifth_s),
        (readings.end_s - fifth_s, readings.end_s),
    ):
        _, power_w = inside.between(start_s, end_s).power(info.id)
        ends_w.append(float(np.mean(power_w)) if len(power_w) else None)
    before_w, after_w = ends_w
    if before_w is None or after_w is None:
        return GapEnergy(0.0, 0.0, 0.0, 0.0)
    return GapEnergy(0.0, 0.0, before_w, after_w)


def _sums_readings(info: SourceInfo, inside: PowerTrace) -> bool:
    """Whether the counter shows nothing that the readings do not, by its profile or in this window."""
    if info.counter_integrates is not None:
        return info.counter_integrates == "readings"
    seen = publications(*inside.power(info.id))
    looks_s, energy_j = inside.column("t_s", info.id), inside.column("energy_j", info.id)
    return adds_up_readings(seen.t_s, seen.readings, looks_s, energy_j)


def _term(name: str, standard_uncertainty_j: float, reduced_by: str, averages: bool = True) -> UncertaintyTerm:
    return UncertaintyTerm(
        name=name, standard_uncertainty_j=standard_uncertainty_j, common=False, averages=averages, reduced_by=reduced_by
    )


def _edges_u_j(info: SourceInfo, readings: WindowReadings, method: Method, edge_w: float) -> float:
    if method == "counter":
        step_u_j = resolution_u_j(info.counter_step_j or 0.0)
        if readings.aligned_source == info.id and readings.stamp_interval_s is not None:
            return math.hypot(step_u_j, aligned_edges_u_j(readings.stamp_interval_s, edge_w))
        return math.hypot(step_u_j, unaligned_edges_u_j(info.sensor_period_s, edge_w, edge_w))
    return unaligned_edges_u_j(info.sensor_period_s, edge_w, edge_w)


def _sampled_check(
    info: SourceInfo,
    readings: WindowReadings,
    trace: PowerTrace,
    method: Method,
    energy_j: float,
    idle: IdlePowerReading,
    edges_j: float,
    unseen: Unseen,
) -> tuple[float | None, float | None]:
    """Integral of sampled power beside the counter, and the doubt of their difference.

    Whether the counter shares the power reading's gain and offset is not known for a board, so both count once.
    Sampled power lags the counter by up to one period, which shifts at most one period's worth of the step between
    work and idle across an edge.
    """
    if method == "sampled":
        return None, None
    try:
        sampled_j = sampled_energy_j(info, readings, trace) + (unseen.correction_j or 0.0)
    except MeasurementInvalid:
        return None, None
    lag_j = lag_u_j(info.sensor_period_s, idle.power_w, energy_j / readings.duration_s)
    parts_j = (
        edges_j,
        unaligned_edges_u_j(info.sensor_period_s, idle.power_w, idle.power_w),
        lag_j,
        unseen.u_j,
        gain_u_j(energy_j, info.gain_relative_u),
        offset_u_j(readings.duration_s, info.offset_u_w),
    )
    return sampled_j, math.sqrt(math.fsum(part**2 for part in parts_j))
