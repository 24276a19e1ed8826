"""Runs work until the board is steady: two blocks agree in power, and it is no longer warming."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.clock import Clock
from harness.measure.base import Progress, ServedWorkload, Workload
from harness.measure.quality import not_steady
from harness.measure.steady import Broke, metered_steady
from harness.measure.window import WindowReadings, metered
from harness.power.base import PowerSource
from harness.power.trace import PowerTrace
from harness.records import Caveat, WarmUp
from harness.specs import MeasureSpec

STEADY_RELATIVE = 0.005
STEADY_C_PER_MIN = 1.0
TEMPERATURE_BASELINE_S = 30.0  # NVML tells whole degrees: a rate shows only over a while
TEMPERATURE_READING_C = 0.5
TraceCovering = Callable[[WindowReadings], PowerTrace]


@dataclass(frozen=True)
class Block:
    """Mean power of one block of work and the board's temperature at its end (None where it cannot be read)."""

    end_s: float
    power_w: float
    temperature_c: float | None


def unsteady_because(blocks: Sequence[Block]) -> str | None:
    """Why the last two blocks do not count as steady; None if they do.

    Power is compared between the two; temperature over up to half a minute, as far as whole degrees can tell.
    """
    if len(blocks) < 2:
        return "no second block fitted into the budget"
    first, second = blocks[-2:]
    if not abs(second.power_w - first.power_w) <= STEADY_RELATIVE * abs(second.power_w):
        return f"power still moved ({first.power_w:.1f} W, then {second.power_w:.1f} W)"
    earlier = next(block for block in blocks if second.end_s - block.end_s <= TEMPERATURE_BASELINE_S)
    if earlier.temperature_c is not None and second.temperature_c is not None and earlier is not second:
        minutes = (second.end_s - earlier.end_s) / 60
        change_c = abs(second.temperature_c - earlier.temperature_c)
        if change_c > STEADY_C_PER_MIN * minutes + TEMPERATURE_READING_C:
            return f"the GPU was still warming ({change_c / minutes:.0f} °C/min)"
    return None


def warm_up(
    sources: Sequence[PowerSource],
    lead: PowerSource,
    clock: Clock,
    spec: MeasureSpec,
    workload: Workload,
    trace_covering: TraceCovering,
    report: Callable[[Progress], None],
) -> tuple[WarmUp, float, list[Caveat]]:
    """Bring the board to a steady state, or to the end of the budget.

    Returns:
        How it went; the shortest recent batch in seconds; a caveat if it ended by the budget.
    """
    durations_s: list[float] = []

    def block() -> Block:
        return _block(sources, lead, clock, spec, workload, trace_covering, durations_s)

    warmed, caveats = _until_steady(block, clock, spec, report)
    if len(durations_s) == 1:  # the budget was spent by the batch that pays for it all: it is not typical
        (batch,) = workload.prepare(1)
        start_s = clock.now_s()
        workload.run(batch)
        workload.synchronize()
        durations_s.append(clock.now_s() - start_s)
    # The first batches pay for compilation and caches; the shortest of the rest makes windows that are long enough.
    shortest_s = min(durations_s[len(durations_s) // 2 :])
    return warmed, shortest_s, caveats


def warm_up_served(
    sources: Sequence[PowerSource],
    lead: PowerSource,
    clock: Clock,
    spec: MeasureSpec,
    workload: ServedWorkload,
    trace_covering: TraceCovering,
    report: Callable[[Progress], None],
    broke: Broke,
) -> tuple[WarmUp, list[Caveat]]:
    """The same under a load on a server, put on and taken off for each block; `broke` as `metered_steady` has it."""

    def block() -> Block:
        use_counter = spec.energy_method != "sampled"
        readings = metered_steady(sources, clock, workload, spec.warm_up_block_s, use_counter, broke=broke).window
        return Block(readings.end_s, _power_w(lead, readings, trace_covering), lead.read().temperature_c)

    return _until_steady(block, clock, spec, report)


def _until_steady(
    next_block: Callable[[], Block], clock: Clock, spec: MeasureSpec, report: Callable[[Progress], None]
) -> tuple[WarmUp, list[Caveat]]:
    """Blocks of work until two agree or the budget ends."""
    start_s = clock.now_s()
    blocks: list[Block] = []
    reason: str | None = ""
    while reason is not None:
        elapsed_s = clock.now_s() - start_s
        if blocks and elapsed_s >= spec.warm_up_max_s:
            break
        blocks.append(next_block())
        # Windows are followed by a rest; a board that was warmed without would cool down while it is measured.
        clock.sleep_s(spec.warm_up_block_s * spec.null_window_s / spec.window_s)
        reason = unsteady_because(blocks)
        report(Progress("warm-up", power_w=blocks[-1].power_w, left_s=max(0.0, spec.warm_up_max_s - elapsed_s)))
    duration_s = clock.now_s() - start_s
    caveats = [] if reason is None else [not_steady(duration_s, reason)]
    return WarmUp(duration_s=duration_s, blocks=len(blocks), steady=reason is None), caveats


def _block(
    sources: Sequence[PowerSource],
    lead: PowerSource,
    clock: Clock,
    spec: MeasureSpec,
    workload: Workload,
    trace_covering: TraceCovering,
    durations_s: list[float],
) -> Block:
    with metered(sources, clock, workload.synchronize, spec.energy_method != "sampled") as window:
        block_s = clock.now_s()
        while clock.now_s() - block_s < spec.warm_up_block_s or not window.spans_s:
            (batch,) = workload.prepare(1)
            with window.busy():
                workload.run(batch)
                workload.synchronize()
            start_s, end_s = window.spans_s[-1]
            durations_s.append(end_s - start_s)
    return Block(window.readings.end_s, _power_w(lead, window.readings, trace_covering), lead.read().temperature_c)


def _power_w(lead: PowerSource, readings: WindowReadings, trace_covering: TraceCovering) -> float:
    """Mean of the samples that show work; from the counter, edges included, where there are none."""
    shown_s = readings.busy_spans_s[0][0] + lead.info.shows_past_s
    _, sampled_w = trace_covering(readings).between(shown_s, readings.busy_spans_s[-1][1]).power(lead.info.id)
    start_j, end_j = readings.edges_j[lead.info.id]
    if len(sampled_w):
        return float(np.mean(sampled_w))
    return math.nan if start_j is None or end_j is None else (end_j - start_j) / readings.duration_s
