"""What must hold in every record, whatever was measured: one number against another, and against the trace. Pure.

A record that was changed by hand, or written wrongly, breaks one of them. Where a sensor may differ from its counter
the bound is wide: a sound record must never be accused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from harness.errors import MeasurementInvalid
from harness.measure.energy import busy_energy_j, integrate_power
from harness.measure.quality import IMPLAUSIBLE_LIMITS
from harness.measure.uncertainty import combined_u_j
from harness.power.trace import PowerTrace
from harness.records import Measurement, RunRecord, SourceEnergy, SourceInfo, Summary
from harness.tasks.catalog import TASKS

Broken = tuple[str, str]  # code, one sentence
SAME = 1e-6  # relative: the same arithmetic, stored as text
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
    if record.summary is not None and record.status == "complete":
        found += _summary(record.summary, record, active)
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
    if record.spec.server is None and not _same(worked_s, window.busy_s):
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
    if source.budget and not _same(together_j, source.uncertainty_j):
        stated = f"not {source.uncertainty_j:.6g} J"
        yield "uncertainty", f"{window.label}: the terms of {source.source_id} make {together_j:.6g} J, {stated}."


def _power(window: Measurement, source: SourceEnergy, info: SourceInfo) -> Iterator[Broken]:
    """Mean power lies between idle and the board's limit."""
    duration_s = window.end_s - window.start_s
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


def _summary(summary: Summary, record: RunRecord, active: set[str]) -> Iterator[Broken]:
    accepted = [window for window in record.measurements if not window.rejected]
    counted = len(accepted), len(record.measurements) - len(accepted)
    if (summary.windows, summary.rejected_windows) != counted:
        told = f"{summary.windows} and {summary.rejected_windows}"
        yield "summary", f"{counted[0]} windows are accepted and {counted[1]} rejected; the summary says {told}."
        return
    requests = math.fsum(window.work.requests for window in accepted)
    if not accepted or not requests or not all(window.work.requests for window in accepted):
        yield "summary", "There is a summary, and no accepted window with work."
        return
    if summary.generations != round(requests):
        yield "summary", f"The windows hold {requests:g} generations; the summary says {summary.generations}."
    mean_j, stated_j = _mean_j(accepted, active), summary.gpu_energy_j.value
    if not _same(mean_j, stated_j):
        yield "energy", f"The windows' mean is {mean_j:.6g} J per generation; the summary says {stated_j:.6g} J."
    gpus = {info.id for info in record.sources if info.kind == "gpu"}
    nodes = (("every GPU", summary.node_gpus_energy_j, gpus), ("the node", summary.node_energy_j, None))
    for name, estimate, ids in nodes:
        node_j = _mean_j(accepted, ids)
        if estimate is not None and not _same(node_j, estimate.value):
            yield "energy", f"The windows' mean of {name} is {node_j:.6g} J; the summary says {estimate.value:.6g} J."
    yield from _per_part(summary, accepted)
    if not _same(summary.power_w * summary.duration_s, stated_j):
        product_j = summary.power_w * summary.duration_s
        yield "energy", f"Mean power times time is {product_j:.6g} J per generation; the summary says {stated_j:.6g} J."
    parts_j = summary.gpu_idle_j.value + summary.gpu_above_idle_j.value
    if not math.isclose(parts_j, stated_j, rel_tol=SAME, abs_tol=SAME * abs(summary.gpu_idle_j.value)):
        yield "energy", f"Idle share and above idle make {parts_j:.6g} J, not the gross {stated_j:.6g} J."


def _mean_j(accepted: list[Measurement], ids: set[str] | None) -> float:
    """Mean over the windows of the energy per generation of some sources; None: of all."""
    per_window = [
        math.fsum(busy_energy_j(source) for source in window.sources if ids is None or source.source_id in ids)
        / window.work.requests
        for window in accepted
    ]
    return math.fsum(per_window) / len(per_window)


def _per_part(summary: Summary, accepted: list[Measurement]) -> Iterator[Broken]:
    """Energy per token and per image is the gross energy in another unit: value and interval."""
    requests, work = math.fsum(window.work.requests for window in accepted), [window.work for window in accepted]
    tokens = sum(each.output_tokens for each in work)
    reasoned = [window.served.reasoning_tokens if window.served is not None else None for window in accepted]
    answered = tokens - sum(each for each in reasoned if each is not None)
    stated = (
        ("output token", summary.energy_j_per_output_token, tokens),
        ("answer token", summary.energy_j_per_answer_token, answered),
        ("image", summary.energy_j_per_image, sum(each.images for each in work)),
    )
    gross = summary.gpu_energy_j
    for part, estimate, count in stated:
        if estimate is None:
            continue
        pairs = ((estimate.value, gross.value), (estimate.low, gross.low), (estimate.high, gross.high))
        if not all(_same(per_part_j * count, gross_j * requests) for per_part_j, gross_j in pairs):
            told = (
                f"{estimate.value:.6g} J ({estimate.low:.6g} to {estimate.high:.6g}) are stated per {part}; the gross "
            )
            yield "energy", f"{told}{gross.value:.6g} J over {count / requests:.6g} of them make another."


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


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=SAME, abs_tol=1e-12)
