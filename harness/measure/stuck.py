"""Does the power reading answer to the work at all? A sensor that is stuck looks like a very steady load. Pure.

A constant load on a coarse sensor also gives the same reading for long, but its reading changes where the work begins
and ends; one that is stuck does not. So readings are compared across the edges of the work, bit for bit: noise of a
milliwatt anywhere among them acquits the sensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.measure.guards import GUARD_COVERAGE, GUARD_TOLERANCE_W
from harness.power.trace import PowerTrace
from harness.records import Caveat, SourceInfo
from harness.stats import FloatArray

HELD_PERIODS = 2.0  # of the sensor, beyond the time in which a sound reading must have changed
COARSE_STEPS = (
    30.0  # of a reading: boards draw up to 28 W more right after a load, which 1 W steps may show as constant
)
COUNTER_TOLERANCE = 0.05  # NVML's own ±5 %: a counter that far from a constant reading did not add it up
FEWEST_READINGS = 3
STEPS_W, FINEST_STEP_W = (1.0, 0.1, 0.01), 0.001  # NVML tells mW; boards round to more than that


@dataclass(frozen=True)
class Stretch:
    """A time in which the work began or ended, and in which every look showed the same power."""

    start_s: float
    end_s: float
    power_w: float
    whole: bool  # all of the window's work lies in it


def stuck_stretch(
    info: SourceInfo, trace: PowerTrace, worked_s: tuple[float, float], rested_since_s: float, until_s: float
) -> Stretch | None:
    """Where the reading did not follow the work of a window.

    Either it is the same from the rest before the work until the end of the work; or it goes on unchanged from the
    work into a rest (or comes so from the rest before), and is nearer to the power at work than to the other rest's.
    Less than that, a reading held while the work goes on, only shows in the window's energy beside its siblings'.

    Args:
        info: A source that runs the model.
        trace: Samples from the rest before the work to the rest after it.
        worked_s: Begin of the first and end of the last work.
        rested_since_s: When the work before that ended.
        until_s: End of the rest after the work.

    Returns:
        None as well where there are too few samples to tell.
    """
    began_s, ended_s = worked_s
    answer_s = info.sensor_period_s + min(info.sensor_window_s, info.sensor_period_s)  # by then any kernel shows a step
    held_s = answer_s + HELD_PERIODS * info.sensor_period_s
    before = _shown(info, trace, rested_since_s + info.shows_past_s, began_s - trace.period_s)
    work = _shown(info, trace, began_s, ended_s)
    after = _shown(info, trace, ended_s + answer_s, until_s)
    if len(work[1]) < FEWEST_READINGS:
        return None
    if len(before[1]) and _same(work[1], before[1][-1]):
        return Stretch(float(before[0][-1]), float(work[0][-1]), float(work[1][0]), whole=True)
    tolerance_w = max(GUARD_TOLERANCE_W, COARSE_STEPS * _step_w(info, trace))
    edges = (
        (ended_s - info.sensor_period_s, ended_s + held_s, ended_s + held_s <= until_s, before[1]),
        (began_s - held_s, began_s + info.sensor_period_s, began_s - held_s >= rested_since_s + answer_s, after[1]),
    )
    for start_s, end_s, at_rest, other_rest_w in edges:
        t_s, across_w = _shown(info, trace, start_s, end_s)
        if not at_rest or len(across_w) < FEWEST_READINGS or not _same(across_w, across_w[0]) or not len(other_rest_w):
            continue
        held_w, rest_w = float(across_w[0]), float(np.median(other_rest_w))
        step_w = held_w - rest_w
        if (
            step_w > tolerance_w + GUARD_COVERAGE * float(np.std(other_rest_w))
            and step_w > float(work[1].max()) - held_w
        ):
            return Stretch(float(t_s[0]), float(t_s[-1]), held_w, whole=False)
    return None


def counter_saw_more(info: SourceInfo, trace: PowerTrace, stretch: Stretch) -> bool:
    """Whether the energy counter went on by itself meanwhile, instead of adding up the stuck reading."""
    inside = trace.between(stretch.start_s, stretch.end_s)
    t_s, energy_j = inside.column("t_s", info.id), inside.column("energy_j", info.id)
    known = ~np.isnan(energy_j)
    if np.count_nonzero(known) < 2:
        return False
    duration_s = float(t_s[known][-1] - t_s[known][0])
    counted_w = float(energy_j[known][-1] - energy_j[known][0]) / duration_s
    late_w = stretch.power_w * info.sensor_period_s / duration_s  # both looks may come up to a period after a step
    return abs(counted_w - stretch.power_w) > GUARD_TOLERANCE_W + COUNTER_TOLERANCE * stretch.power_w + late_w


def sensor_stuck(info: SourceInfo, stretch: Stretch, by_counter: bool) -> Caveat:
    """The caveat on it."""
    when = "from the rest before the work to its end" if stretch.whole else "at work and at rest alike"
    so = (
        "the energy is the counter's, which went on by itself"
        if by_counter
        else "it is stuck, or the work draws less than it can show, and no energy follows from it"
    )
    return Caveat(
        code="sensor-stuck",
        message=f"{info.device_name} showed {stretch.power_w:.3f} W {when}, for "
        f"{stretch.end_s - stretch.start_s:.2g} s without any change: {so}.",
    )


def _shown(info: SourceInfo, trace: PowerTrace, start_s: float, end_s: float) -> tuple[FloatArray, FloatArray]:
    return trace.between(start_s, end_s).power(info.id)


def _same(power_w: FloatArray, as_w: float) -> bool:
    return bool(np.all(power_w == as_w))


def _step_w(info: SourceInfo, trace: PowerTrace) -> float:
    """In what steps the reading comes: the widest that all readings of the run so far are multiples of."""
    power_w = trace.power(info.id)[1]
    return next((step_w for step_w in STEPS_W if _multiples(power_w, step_w)), FINEST_STEP_W)


def _multiples(power_w: FloatArray, step_w: float) -> bool:
    return bool(np.all(np.abs(power_w - step_w * np.round(power_w / step_w)) < FINEST_STEP_W / 10))
