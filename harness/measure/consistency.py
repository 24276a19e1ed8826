"""Does a record's summary say what its windows say? Cheap enough to be asked whenever a record is shown. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.measure.energy import busy_energy_j
from harness.records import Measurement, RunRecord, Summary

Broken = tuple[str, str]  # code, one sentence
SAME = 1e-6  # relative: the same arithmetic, stored as text


def same(one: float, other: float) -> bool:
    """Equal but for how numbers are added and stored."""
    return math.isclose(one, other, rel_tol=SAME, abs_tol=1e-12)


def contradictions(record: RunRecord) -> list[Broken]:
    """What a complete run's summary says otherwise than its windows; nothing of a run without a summary."""
    if record.summary is None or record.status != "complete":
        return []
    return list(_of_summary(record.summary, record))


def changed(record: RunRecord) -> str | None:
    """Why no figure of a record can be trusted, in sentences; None where its summary is that of its windows."""
    found = contradictions(record)
    told = (
        "The record contradicts itself: it was changed after it was measured, and none of its figures can be trusted."
    )
    return f"{told} {found[0][1]}" if found else None


def _of_summary(summary: Summary, record: RunRecord) -> Iterator[Broken]:
    active = {info.id for info in record.sources if info.runs_model}
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
    if not same(mean_j, stated_j):
        yield "energy", f"The windows' mean is {mean_j:.6g} J per generation; the summary says {stated_j:.6g} J."
    gpus = {info.id for info in record.sources if info.kind == "gpu"}
    nodes = (("every GPU", summary.node_gpus_energy_j, gpus), ("the node", summary.node_energy_j, None))
    for name, estimate, ids in nodes:
        node_j = _mean_j(accepted, ids)
        if estimate is not None and not same(node_j, estimate.value):
            yield "energy", f"The windows' mean of {name} is {node_j:.6g} J; the summary says {estimate.value:.6g} J."
    yield from _per_part(summary, accepted)
    if not same(summary.power_w * summary.duration_s, stated_j):
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
        if not all(same(per_part_j * count, gross_j * requests) for per_part_j, gross_j in pairs):
            told = (
                f"{estimate.value:.6g} J ({estimate.low:.6g} to {estimate.high:.6g}) are stated per {part}; the gross "
            )
            yield "energy", f"{told}{gross.value:.6g} J over {count / requests:.6g} of them make another."
