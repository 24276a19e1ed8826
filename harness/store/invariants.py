"""What must hold in every record, whatever was measured: one number against another, and against the trace. Pure.

A record that was changed by hand, or written wrongly, breaks one of them. Where a sensor may differ from its counter
the bound is wide: a sound record must never be accused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from harness.errors import MeasurementInvalid
from harness.measure.consistency import SAME, Broken, contradictions, same
from harness.measure.energy import integrate_power
from harness.measure.quality import IMPLAUSIBLE_LIMITS
from harness.measure.uncertainty import combined_u_j
from harness.power.trace import PowerTrace
from harness.records import Measurement, RunRecord, SourceEnergy, SourceInfo
from harness.tasks.catalog import TASKS

COVERAGE = 3.0
UPLIFT_W = 28.0  # protocol.md: a board after load draws up to so much more than before, so a rest may outdraw a window
TRACE_FRACTION = 0.1  # sensors differ from counters; a slip of the pen is a factor
TRACE_EDGE_S = 0.5  # a reading speaks of the past: what the edges may differ by, at the power of the window
# Windows in which the harness itself says that trace and energy need not agree.
TRACE_DOUBTED = {"counter-disagrees", "counter-stuck", "lock-in", "samples-lost", "beat-not-excluded"}


def broken(record: RunRecord, trace: PowerTrace | None) -> list[Broken]:
    """Everything that does not hold."""
    found = list(_identity(record))
    active = {info.id for info in record.sources if info.runs_model}
    infos = {info.id: info for info in record.sources}
    end_s = -math.inf
    for window in record.measurements:
        if window.start_s < end_s:
            found.append(("windows", f"{window.label} begins before the one before it has ended."))
        end_s = window.end_s
        found += _time(record, window)
        if not window.rejected:
            found += _work(record, window)
        for source in window.sources:
            info = infos.get(source.source_id)
            if info is None:
                found.append(("sources", f"{window.label} has a source {source.source_id} that the record lacks."))
                continue
            found += _budget(window, source)
            if not window.rejected and source.source_id in active and info.kind == "gpu":
                found += _power(window, source, info)
                found += _against_trace(window, source, info, trace) if trace is not None else ()
    found += contradictions(record)
    return found + (list(_samples(trace)) if trace is not None else [])


def _identity(record: RunRecord) -> Iterator[Broken]:
    named = record.spec.named_without(record.later_fields)
    if record.run_id != named:
        yield "run-id", f"The spec is that of {named}, not of {record.run_id}."
    if record.status == "failed" and record.summary is not None:
        yield "status", "A failed run has a summary."


def _time(record: RunRecord, window: Measurement) -> Iterator[Broken]:
    duration_s = window.end_s - window.start_s
    if not duration_s > 0 or not 0 <= window.busy_s <= duration_s * (1 + SAME):
        yield "time", f"{window.label} lasts {duration_s:.6g} s, of which {window.busy_s:.6g} s are said to be work."
    worked_s = math.fsum(window.batch_durations_s)
    if record.spec.server is None and not same(worked_s, window.busy_s):
        yield "time", f"The batches of {window.label} take {worked_s:.6g} s together, not {window.busy_s:.6g} s."


def _work(record: RunRecord, window: Measurement) -> Iterator[Broken]:
    """Whole batches; exactly the tokens and images asked for."""
    spec, work = record.spec, window.work
    if spec.server is not None or spec.replay is not None:
        return
    requests = spec.batch_size * len(window.batch_durations_s)
    if work.requests != requests:
        yield "requests", f"{window.label} holds {requests} requests in whole batches, not {work.requests}."
    if TASKS[spec.task].writes and spec.text is not None and work.output_tokens != work.requests * spec.text.new_tokens:
        asked = f"{work.requests} x {spec.text.new_tokens}"
        yield "tokens", f"{window.label} has {work.output_tokens} output tokens, and {asked} were asked for."
    if spec.task == "text-to-image" and work.images != work.requests:
        yield "images", f"{window.label} has {work.images} images of {work.requests} requests."


def _budget(window: Measurement, source: SourceEnergy) -> Iterator[Broken]:
    together_j = combined_u_j(source.budget)
    if source.budget and not same(together_j, source.uncertainty_j):
        stated = f"not {source.uncertainty_j:.6g} J"
        yield "uncertainty", f"{window.label}: the terms of {source.source_id} make {together_j:.6g} J, {stated}."


def _power(window: Measurement, source: SourceEnergy, info: SourceInfo) -> Iterator[Broken]:
    """Mean power lies between idle and the board's limit."""
    duration_s = window.end_s - window.start_s
    if not duration_s > 0:
        return  # told by _time
    mean_w, doubt_w = source.energy_j / duration_s, COVERAGE * source.uncertainty_j / duration_s
    least_w = source.idle_power_w - doubt_w - COVERAGE * source.idle_power_u_w - UPLIFT_W
    if mean_w < min(least_w, source.idle_power_w):
        yield "power", f"{window.label}: {mean_w:.4g} W on average, below {source.idle_power_w:.4g} W at rest."
    if info.power_limit_w is not None and mean_w > IMPLAUSIBLE_LIMITS * info.power_limit_w:
        yield "power", f"{window.label}: {mean_w:.4g} W on average; the board's limit is {info.power_limit_w:.4g} W."


def _against_trace(window: Measurement, source: SourceEnergy, info: SourceInfo, trace: PowerTrace) -> Iterator[Broken]:
    """Energy is mean power times time, within what a sensor may differ from a counter."""
    if {caveat.code for caveat in window.caveats} & TRACE_DOUBTED:
        return
    duration_s = window.end_s - window.start_s
    try:
        raw_j = integrate_power(*trace.power(source.source_id), window.start_s, window.end_s)
    except (MeasurementInvalid, ValueError):  # a trace that ends early is told by the record's own caveats
        return
    sampled_j = (raw_j - info.offset_w * duration_s) / info.gain
    bound_j = TRACE_FRACTION * sampled_j + COVERAGE * (source.sampled_uncertainty_j or source.uncertainty_j)
    bound_j += TRACE_EDGE_S * sampled_j / duration_s
    if abs(source.energy_j - sampled_j) > bound_j:
        yield (
            "energy",
            f"{window.label}: {source.energy_j:.5g} J are stored; the trace's {sampled_j / duration_s:.4g} W over "
            f"{duration_s:.4g} s make {sampled_j:.5g} J.",
        )


def _samples(trace: PowerTrace) -> Iterator[Broken]:
    known = trace.rows[:, 1]
    if not np.isin(known, np.arange(len(trace.source_ids))).all():
        yield "trace", "The trace has samples of a source that the record lacks."
        return
    for source_id in trace.source_ids:
        t_s, power_w = trace.power(source_id)
        if (np.diff(t_s) < 0).any():
            yield "trace", f"The samples of {source_id} do not follow one another in time."
        if (power_w < 0).any():
            yield "trace", f"The trace says that {source_id} drew less than nothing."
