"""What a polled column tells about its sensor: when readings were published, and whether they are means of a second.

Pure. The grid of publications is found by harness.power.publications; this adds the ends of the recording and the
cases in which there is no grid to find.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.power.profiles import SensorProfile, sensor_profiles
from harness.power.publications import publications
from harness.records import Caveat
from harness.stats import FloatArray

ROWS_ARE_READINGS = 0.8  # rows further apart than this part of the period are taken as the publications themselves
MEAN_SPAN_S = (0.7, 1.4)  # NVML's `average` is a mean of about one second (nvml.h, NVML_FI_DEV_POWER_AVERAGE)
FEWEST_IN_RAMP = 5  # increments that must be alike
ALIKE = 0.15  # relative
# Standard uncertainty of a gain that was calibrated against a meter: the middle of the measurement protocol's 0.005 to
# 0.01. Of an offset: scatter of one board's calibrations under several drivers (28 degrees of freedom; that of gains:
# 0.0032), from sensors.csv (JimZeyuYang/GPU_Power_Benchmark), rows not flagged as unreliable.
CALIBRATED_GAIN_U, CALIBRATED_OFFSET_U_W = 0.0075, 0.82
SLOW_PERIODS = 2.0  # a filter longer than this answers a step by something like a ramp itself
CALM = 0.1  # a ramp starts and ends where readings change by less than this part of its increments
NOTABLE_STEP = 0.02  # of the highest reading


@dataclass(frozen=True)
class Published:
    """Readings at their publication: seconds, rising, and watts, shape (n,).

    `period_found`: the period comes from the data. `step_s`: median distance of the polls. `late_s`: how far before its
    time here a reading may have been published, at most.
    """

    t_s: FloatArray
    readings_w: FloatArray
    period_s: float
    period_found: bool
    step_s: float
    late_s: float


def published(t_s: FloatArray, power_w: FloatArray, assumed_period_s: float) -> Published:
    """Every reading of a polled column once, from the one in force at the first poll to the last.

    Args:
        t_s: Poll times, seconds, strictly rising, shape (n,), n >= 2.
        power_w: What the polls showed, watts, shape (n,).
        assumed_period_s: Holds where the readings do not show a period.
    """
    step_s = float(np.median(np.diff(t_s)))
    found = publications(t_s, power_w)
    if found.period_s is None:
        if step_s >= ROWS_ARE_READINGS * assumed_period_s:
            return Published(t_s, power_w, step_s, False, step_s, step_s)
        at_s, readings_w, period_s, late_s = _on_a_clock(t_s, power_w, assumed_period_s)
        return Published(at_s, readings_w, period_s, False, step_s, late_s)
    at_s, readings_w = _to_the_ends(found.t_s, found.readings, t_s, float(power_w[0]), found.period_s)
    return Published(at_s, readings_w, found.period_s, True, step_s, step_s)


def _on_a_clock(t_s: FloatArray, power_w: FloatArray, period_s: float) -> tuple[FloatArray, FloatArray, float, float]:
    """Readings that hardly change: what was in force once a period."""
    at_s = np.arange(t_s[0], t_s[-1] + period_s / 2, period_s)
    seen = np.minimum(np.searchsorted(t_s, at_s, side="right"), len(t_s)) - 1
    return at_s - period_s / 2, power_w[seen], period_s, period_s


def _to_the_ends(
    at_s: FloatArray, readings_w: FloatArray, t_s: FloatArray, first_w: float, period_s: float
) -> tuple[FloatArray, FloatArray]:
    """Add the readings in force before the first change, and equal ones after the last."""
    before = max(1, int(np.ceil((at_s[0] - t_s[0]) / period_s)))
    after = max(0, int(np.floor((t_s[-1] - at_s[-1]) / period_s)))
    return (
        np.concatenate(
            [at_s[0] - period_s * np.arange(before, 0, -1), at_s, at_s[-1] + period_s * np.arange(1, after + 1)]
        ),
        np.concatenate([np.full(before, first_w), readings_w, np.full(after, readings_w[-1])]),
    )


def mean_of(readings_w: FloatArray, period_s: float) -> int | None:
    """How many earlier values each reading is the mean of, from its answer to a step: a ramp of equal increments.

    Returns:
        The number, where one ramp shows it and lasts about a second; 1 where a sharp step rules a mean out; None where
        the recording shows neither and it cannot be told.
    """
    increments = np.diff(readings_w)
    largest = float(np.max(np.abs(increments), initial=0.0))
    if largest < NOTABLE_STEP * max(float(np.max(readings_w)), 1.0):
        return None
    counts = [count for start in range(len(increments)) if (count := _ramp(increments, start, period_s)) is not None]
    if counts:
        return round(float(np.median(counts)))
    return 1 if _sharp(increments) else None


def _ramp(increments: FloatArray, start: int, period_s: float) -> float | None:
    """Number of periods in a ramp whose first full increment is `start`; None where no ramp of about 1 s begins."""
    size = float(np.median(increments[start : start + FEWEST_IN_RAMP]))
    if size == 0:
        return None
    alike = np.abs(increments[start:] - size) <= ALIKE * abs(size)
    run = len(alike) if alike.all() else int(np.argmin(alike))
    starts_here = start == 0 or abs(increments[start - 1] - size) > ALIKE * abs(size)
    if run < FEWEST_IN_RAMP or not starts_here:
        return None
    longest = round(MEAN_SPAN_S[1] / period_s)
    around = increments[max(0, start - 4) : start], increments[start + run : start + longest + 4]
    calm = [np.flatnonzero(np.abs(side) <= CALM * abs(size)) for side in around]
    if any(len(each) == 0 for each in calm):
        return None
    first, last = start - (len(around[0]) - int(calm[0][-1])) + 1, start + run + int(calm[1][0])
    count = float(increments[first:last].sum()) / size
    return count if MEAN_SPAN_S[0] <= count * period_s <= MEAN_SPAN_S[1] else None


def _sharp(increments: FloatArray) -> bool:
    """One step that is over within three readings, from calm to calm."""
    at = int(np.argmax(np.abs(increments)))
    step = abs(float(increments[max(0, at - 1) : at + 2].sum()))
    before, after = increments[max(0, at - 5) : max(0, at - 1)], increments[at + 2 : at + 6]
    return len(before) == 4 and len(after) == 4 and max(np.abs(before).max(), np.abs(after).max()) <= CALM * step


def assumed_sensor(t_s: FloatArray, power_w: FloatArray, column: str = "") -> tuple[SensorProfile, tuple[Caveat, ...]]:
    """A sensor for a recording of which nothing is known: period and averaging from the data, the rest conservative.

    Args:
        t_s: Poll times, seconds, strictly rising, shape (n,), n >= 2.
        power_w: What the polls showed, watts, shape (n,).
        column: Its name; one that says `average` decides where the data cannot.

    Returns:
        The profile `unknown` with this period and the same share of the time seen, and what to say about it.
    """
    unknown = sensor_profiles()[-1]
    seen = published(t_s, power_w, unknown.period_s)
    shown = mean_of(seen.readings_w, seen.period_s)
    named = "average" in column.lower()
    count = shown if shown is not None else (max(1, round(1 / seen.period_s)) if named else 1)
    window_s = unknown.window_s / unknown.period_s * seen.period_s
    sensor = unknown.model_copy(
        update={"name": "assumed", "period_s": seen.period_s, "window_s": window_s, "mean_of": count}
    )
    shape = f"seeing {window_s / seen.period_s:.0%} of the time, {seen.period_s * 1000:.4g} ms between readings"
    notes = [
        Caveat(
            code="sensor-assumed",
            message=f"No sensor profile was given; a conservative sensor is assumed: {shape}. Give --profile.",
        )
    ]
    if count > 1:
        why = "they answer a step by a ramp of equal increments" if shown is not None else f"the column is '{column}'"
        span = f"{count} values, {count * seen.period_s:.2g} s"
        notes.append(Caveat(code="average-recognised", message=f"Readings are taken as means of {span}: {why}."))
    elif shown is None:
        notes.append(
            Caveat(
                code="average-not-excluded",
                message="The recording holds no step that would show whether readings are means over a second; "
                "instant readings are assumed.",
            )
        )
    return sensor, tuple(notes)


def averages_unlike(seen: Published, sensor: SensorProfile) -> tuple[Caveat, ...]:
    """The readings answer a step otherwise than the profile says: a mean over a second, or none."""
    shown = mean_of(seen.readings_w, seen.period_s)
    if shown is None or (shown > 1) == (sensor.mean_of > 1) or sensor.window_s > SLOW_PERIODS * seen.period_s:
        return ()
    told = f"means of about {shown} values" if shown > 1 else "no means over a second"
    return (
        Caveat(
            code="average-disagrees",
            message=f"The readings answer a step like {told}, unlike the profile {sensor.name}: another NVML field?",
        ),
    )


def with_calibration(sensor: SensorProfile, gain: float | None, offset_w: float | None) -> SensorProfile:
    """The sensor with a calibration against a meter, true = (reading - offset) / gain; None: not stated."""
    update: dict[str, float] = {}
    if gain is not None:
        update |= {"gain": gain, "gain_relative_u": CALIBRATED_GAIN_U}
    if offset_w is not None:
        update |= {"offset_w": offset_w, "offset_u_w": CALIBRATED_OFFSET_U_W}
    return sensor.model_copy(update=update)
