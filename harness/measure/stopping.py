"""When to stop repeating. Pure.

The rule looks at the scatter of the repeats alone: what they share, such as the sensor's gain, does not shrink by
repeating, and is added to the result afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.measure.energy import busy_energy_j
from harness.records import Measurement
from harness.specs import MeasureSpec
from harness.stats import Estimate, repeatability


def gross_j(measurement: Measurement, source_ids: set[str]) -> float:
    """Gross energy of some sources in one window while work ran, joules."""
    return math.fsum(busy_energy_j(source) for source in measurement.sources if source.source_id in source_ids)


def repeats_interval(measurements: Sequence[Measurement], source_ids: set[str]) -> Estimate | None:
    """Energy per generation with the interval of its scatter; None below two accepted windows."""
    accepted = [m for m in measurements if not m.rejected]
    values = [gross_j(m, source_ids) / m.work.requests for m in accepted]
    return repeatability(values) if len(values) > 1 else None


def relative_halfwidth(interval: Estimate | None) -> float | None:
    """Half-width as a fraction of the value; None while there is no interval."""
    return interval.half_width / abs(interval.value) if interval is not None and interval.value else None


def enough(spec: MeasureSpec, repeats: int, interval: Estimate | None, elapsed_s: float) -> bool:
    """Whether to stop: narrow enough, or the budget of repeats or time is spent, or nothing usable comes."""
    if repeats >= spec.max_repeats or (repeats >= 2 and elapsed_s >= spec.max_duration_s):
        return True
    if interval is None:
        return repeats >= spec.min_repeats  # at most one window was accepted: more of them will fare no better
    relative = relative_halfwidth(interval)
    return interval.n >= spec.min_repeats and relative is not None and relative <= spec.target_relative_halfwidth


def seconds_left(spec: MeasureSpec, repeats: int, interval: Estimate | None, elapsed_s: float) -> float:
    """Time still needed if the scatter stays as it is: repeats grow with the square of the precision."""
    relative = relative_halfwidth(interval)
    wanted = spec.min_repeats
    if relative is not None:
        wanted = max(wanted, math.ceil(repeats * (relative / spec.target_relative_halfwidth) ** 2))
    by_repeats_s = max(0, min(wanted, spec.max_repeats) - repeats) * elapsed_s / repeats
    return min(by_repeats_s, max(0.0, spec.max_duration_s - elapsed_s))
