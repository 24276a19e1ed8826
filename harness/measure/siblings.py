"""Windows against their siblings: one that is warmer, clocked otherwise, or far off in energy is rejected. Pure.

Applied anew whenever a window joins, since what is far off depends on the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, median

from harness.measure.energy import busy_energy_j
from harness.measure.guards import GUARD_TOLERANCE_W
from harness.measure.quality import MAX_CLOCK_CHANGE
from harness.measure.uncertainty import window_u_j
from harness.records import Caveat, Measurement, SourceEnergy

FEWEST_SIBLINGS = 5  # fewer say too little about what is usual
FAR_OFF = 3.5  # robust standard deviations, for many windows
MAD_TO_SD = 1.4826  # of a normal distribution
# Of n draws from a normal distribution the farthest lies within so many robust standard deviations of their median in
# 99 % of cases (drawn, 200,000 times each; tests/measure/test_siblings.py draws again). With 3.5 for all, one in five
# sound runs of five windows would lose a window.
FARTHEST = ((5, 18.7), (6, 9.9), (7, 10.7), (8, 7.9), (9, 8.2), (10, 6.8), (12, 6.3), (15, 6.0), (20, 5.2), (30, 4.8))


def with_strays_rejected(
    measurements: Sequence[Measurement], source_ids: set[str], max_temperature_change_c: float
) -> tuple[Measurement, ...]:
    """The same windows, those that do not fit among the accepted ones marked rejected, with the reason.

    Args:
        measurements: All windows so far, as they were measured.
        source_ids: The sources that ran the model.
        max_temperature_change_c: How far a window's mean temperature may lie from its siblings' median.
    """
    accepted = [window for window in measurements if not window.rejected]
    if len(accepted) < FEWEST_SIBLINGS:
        return tuple(measurements)
    found = {id(window): _strange(window, accepted, source_ids, max_temperature_change_c) for window in accepted}
    return tuple(
        window.model_copy(update={"rejected": True, "caveats": (*window.caveats, *caveats)})
        if (caveats := found.get(id(window), ()))
        else window
        for window in measurements
    )


def unexplained_scatter(measurements: Sequence[Measurement], source_ids: set[str]) -> Caveat | None:
    """The accepted windows differ by more than their budgets explain.

    The sum of squared deviations over the stated variance is chi-squared with n - 1 degrees of freedom if the budgets
    are right; its 99 % quantile is asked for (Wilson and Hilferty's approximation). This is what a load that beats with
    the sensor inside its batches looks like, which no single window shows.
    """
    accepted = [window for window in measurements if not window.rejected]
    if len(accepted) < FEWEST_SIBLINGS:
        return None
    values = [_per_generation(window, source_ids) for window in accepted]
    mean, degrees = math.fsum(values) / len(values), len(values) - 1
    squares = math.fsum((value - mean) ** 2 for value in values)
    stated = math.fsum(_stated_u_j(window, source_ids) ** 2 for window in accepted) / len(accepted)
    third = 2 / (9 * degrees)
    quantile = degrees * (1 - third + NormalDist().inv_cdf(0.99) * math.sqrt(third)) ** 3
    if squares <= quantile * stated:
        return None
    scatter, explained = math.sqrt(squares / degrees) / mean, math.sqrt(stated) / mean
    return Caveat(
        code="unexplained-scatter",
        message=f"The windows scatter by {scatter:.1%}, and {explained:.1%} would be explained: the work differs from "
        "window to window, or its power beats with the sensor inside a batch. The interval covers it by the scatter.",
    )


def _stated_u_j(window: Measurement, source_ids: set[str]) -> float:
    return math.hypot(*(window_u_j(source.budget) for source in _of(window, source_ids))) / window.work.requests


def _strange(
    window: Measurement, accepted: Sequence[Measurement], source_ids: set[str], max_temperature_change_c: float
) -> tuple[Caveat, ...]:
    found: list[Caveat | None] = [_far_off(window, accepted, source_ids)]
    for source in _of(window, source_ids):
        siblings = [other for sibling in accepted for other in _of(sibling, {source.source_id})]
        found.append(_warmer(source, siblings, max_temperature_change_c))
        found.append(_clocked_otherwise(source, siblings))
        found.append(_rested_otherwise(source, siblings))
    return tuple(caveat for caveat in found if caveat is not None)


def _of(window: Measurement, source_ids: set[str]) -> list[SourceEnergy]:
    return [source for source in window.sources if source.source_id in source_ids]


def _far_off(window: Measurement, accepted: Sequence[Measurement], source_ids: set[str]) -> Caveat | None:
    """Farther from the median than windows that differ by chance: by their robust scatter, and by what they state.

    The scatter of few windows may be small by chance, so that their number counts (`far_off_sd`); 3.5 stated standard
    uncertainties are allowed as well.
    """
    values = [_per_generation(sibling, source_ids) for sibling in accepted]
    middle = median(values)
    robust_sd = MAD_TO_SD * median(abs(value - middle) for value in values)
    stated_u = median(_stated_u_j(sibling, source_ids) for sibling in accepted)
    value = _per_generation(window, source_ids)
    allowed_sd = far_off_sd(len(values))
    if abs(value - middle) <= max(allowed_sd * robust_sd, FAR_OFF * stated_u):
        return None
    return Caveat(
        code="outlier",
        message=f"{value:.4g} J per generation, {value / middle - 1:+.1%} from the median of {len(values)} windows: "
        f"more than {allowed_sd:g} robust standard deviations.",
    )


def far_off_sd(count: int) -> float:
    """How many robust standard deviations from the median are too far for one of so many windows."""
    return next((allowed for upto, allowed in FARTHEST if count <= upto), FAR_OFF)


def _per_generation(window: Measurement, source_ids: set[str]) -> float:
    return math.fsum(busy_energy_j(source) for source in _of(window, source_ids)) / window.work.requests


def _warmer(source: SourceEnergy, siblings: Sequence[SourceEnergy], allowed_c: float) -> Caveat | None:
    known = [other.busy_temperature_c for other in siblings if other.busy_temperature_c is not None]
    if source.busy_temperature_c is None or not known:
        return None
    change_c = source.busy_temperature_c - median(known)
    if abs(change_c) <= allowed_c:
        return None
    how = "warmer" if change_c > 0 else "colder"
    return Caveat(
        code="temperature-change",
        message=f"The GPU was {abs(change_c):.1f} °C {how} than in the other windows; {allowed_c:g} °C is allowed.",
    )


def _rested_otherwise(source: SourceEnergy, siblings: Sequence[SourceEnergy]) -> Caveat | None:
    """The null window drew other power than its siblings': 2 W and their robust scatter are allowed."""
    alike_w = [other.idle_power_w for other in siblings if other.method == source.method]
    if len(alike_w) < FEWEST_SIBLINGS:
        return None  # a window whose counter stuck rests later, and is read otherwise
    usual_w = median(alike_w)
    robust_sd_w = MAD_TO_SD * median(abs(power_w - usual_w) for power_w in alike_w)
    if abs(source.idle_power_w - usual_w) <= GUARD_TOLERANCE_W + far_off_sd(len(alike_w)) * robust_sd_w:
        return None
    return Caveat(
        code="idle-change",
        message=f"The null window drew {source.idle_power_w:.1f} W, those of the other windows {usual_w:.1f} W.",
    )


def _clocked_otherwise(source: SourceEnergy, siblings: Sequence[SourceEnergy]) -> Caveat | None:
    known = [other.busy_clock_hz for other in siblings if other.busy_clock_hz is not None]
    if source.busy_clock_hz is None or not known:
        return None
    usual_hz = median(known)
    if abs(source.busy_clock_hz - usual_hz) <= MAX_CLOCK_CHANGE * usual_hz:
        return None
    return Caveat(
        code="clock-step",
        message=f"The GPU ran at {source.busy_clock_hz / 1e6:.0f} MHz, in the other windows at {usual_hz / 1e6:.0f}.",
    )
