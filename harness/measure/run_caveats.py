"""What all windows of a run together leave in doubt. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from harness.measure import quality
from harness.measure.consistency import changed
from harness.measure.period import period_disagrees
from harness.measure.siblings import unexplained_scatter
from harness.measure.stopping import relative_halfwidth, repeats_interval
from harness.power.trace import PowerTrace
from harness.records import Caveat, Measurement, RunRecord, SourceInfo
from harness.specs import MeasureSpec


def run_caveats(
    measurements: Sequence[Measurement],
    trace: PowerTrace,
    profiles: Sequence[SourceInfo],
    seen: Sequence[SourceInfo],
    spec: MeasureSpec,
) -> list[Caveat]:
    """Doubts about the trace, the scatter, the sensors, and whether it was repeated enough.

    Args:
        measurements: Every window, judged.
        trace: Samples of the whole run.
        profiles: The sources as they were opened.
        seen: The same as the run came to know them.
        spec: What was asked for.
    """
    active = {info.id for info in seen if info.runs_model}
    found = [quality.samples_missed(trace), unexplained_scatter(measurements, active)]
    for profile, info in zip(profiles, seen, strict=True):
        if info.runs_model and info.kind == "gpu":
            found += [quality.unknown_sensor(info), period_disagrees(profile, info)]
    relative = relative_halfwidth(repeats_interval(measurements, active))
    target = spec.target_relative_halfwidth
    if relative is not None and relative > target:
        repeats_spent = len(measurements) >= spec.max_repeats
        why = "max_repeats was reached" if repeats_spent else "max_duration_s was spent"
        found.append(quality.not_narrow_enough(relative, target, why))
    return [caveat for caveat in found if caveat is not None]


def all_caveats(record: RunRecord) -> tuple[Caveat, ...]:
    """The run's caveats and those of its windows that weaken the run as well, the first of each kind.

    Before all of them: its summary is not what its windows say. Someone changed it, and no figure of it can be trusted.
    """
    of_windows = (caveat for window in record.measurements for caveat in window.caveats if not caveat.window_only)
    why = changed(record)
    found = [*([Caveat(code="changed", message=why)] if why else []), *record.caveats, *of_windows]
    first_of_code: dict[str, Caveat] = {}
    for caveat in found:
        first_of_code.setdefault(caveat.code, caveat)
    return tuple(first_of_code.values())
