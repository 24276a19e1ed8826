"""Was the board left alone before and after the work? Looks at the idle on both sides of a window. Pure.

What a board draws at rest just before the work and at rest just after it must agree, and nobody may have used it then.
A load of someone else's that no process list shows (another container) is seen here.
"""

from __future__ import annotations

import numpy as np

from harness.measure.window import WindowReadings
from harness.power.trace import PowerTrace
from harness.records import Caveat, SourceInfo
from harness.stats import FloatArray

GUARD_TOLERANCE_W = 2.0
GUARD_COVERAGE = 3.0
GUARD_S = 0.5  # how much of the rest before the work is looked at
SHORTEST_REST_S = 1.0  # a board settles after a load for about two seconds; in less than this nothing can be compared
UTILISATION_LAG_S = 1.0  # NVML's utilisation is a mean over up to the last second
BUSY_FRACTION = 0.05


def guard_power(
    info: SourceInfo, trace: PowerTrace, readings: WindowReadings, null: WindowReadings, rested_since_s: float
) -> Caveat | None:
    """Power just before the work against the second half of the null window after it: 2 W + 3 sd (protocol.md).

    Args:
        info: A source that ran the model.
        trace: Samples that cover the rest before, the window and the null window.
        readings: The window.
        null: The null window after it.
        rested_since_s: When the last work before this window ended.

    Returns:
        None as well where a rest is shorter than a second, or has no readings: nothing can be said then.
    """
    if not readings.busy_spans_s:
        return None
    first_s = readings.busy_spans_s[0][0] - trace.period_s
    middle_s = (null.start_s + null.end_s) / 2
    if first_s - rested_since_s < SHORTEST_REST_S or null.duration_s < SHORTEST_REST_S:
        return None
    _, before_w = trace.between(max(rested_since_s + SHORTEST_REST_S / 2, first_s - GUARD_S), first_s).power(info.id)
    _, after_w = trace.between(middle_s, null.end_s).power(info.id)
    if len(before_w) < 2 or len(after_w) < 2:
        return None
    step_w = float(np.mean(before_w) - np.mean(after_w))
    allowed_w = GUARD_TOLERANCE_W + GUARD_COVERAGE * float(np.hypot(np.std(before_w), np.std(after_w)))
    if abs(step_w) <= allowed_w:
        return None
    return Caveat(
        code="guard-power",
        message=f"{info.device_name} drew {np.mean(before_w):.1f} W at rest before the window and "
        f"{np.mean(after_w):.1f} W after it; {allowed_w:.1f} W apart would be explained. Something else used it.",
    )


def guard_utilisation(
    info: SourceInfo, trace: PowerTrace, readings: WindowReadings, null: WindowReadings, rested_since_s: float
) -> Caveat | None:
    """The driver reports use of the board while it should be at rest.

    Looks at what lies more than a second after the last own work: before that, the driver still shows our own.
    """
    if not readings.busy_spans_s:
        return None
    first_s, last_s = readings.busy_spans_s[0][0] - trace.period_s, readings.busy_spans_s[-1][1]
    seen = np.concatenate(
        [
            _utilisation(info, trace, rested_since_s + UTILISATION_LAG_S, first_s),
            _utilisation(info, trace, last_s + UTILISATION_LAG_S, null.end_s),
        ]
    )
    if len(seen) == 0 or float(seen.max()) <= BUSY_FRACTION:
        return None
    return Caveat(
        code="guard-utilisation",
        message=f"{info.device_name} was up to {seen.max():.0%} in use while it should have been at rest.",
    )


def _utilisation(info: SourceInfo, trace: PowerTrace, start_s: float, end_s: float) -> FloatArray:
    if end_s <= start_s:
        return np.empty(0)
    values = trace.between(start_s, end_s).column("utilisation_fraction", info.id)
    known: FloatArray = values[~np.isnan(values)]
    return known
