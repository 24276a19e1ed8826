"""What stands behind one run's figures: budget, windows, idle, caveats, environment, power trace. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from harness.measure.run_caveats import all_caveats
from harness.measure.stopping import gross_j
from harness.power.trace import PowerTrace
from harness.records import RunRecord
from harness.report.ranking import RankingRow, ranked
from harness.report.uncertainty import run_budget

TRACE_BUCKETS = 240  # of each the least and the most power are kept: peaks stay
NEVER_SHOWN = {"hostname"}  # a page is sent to others


def most_telling(rows: Sequence[RankingRow], most: int) -> list[int]:
    """Places of at most so many rows, from both ends of every task's ranking inwards; those left out come last."""
    place = {id(row): index for index, row in enumerate(rows)}
    by_task: dict[str, list[RankingRow]] = {}
    for row in ranked(rows):
        by_task.setdefault(row.task, []).append(row)
    depth = {
        place[id(row)]: min(index, len(group) - 1 - index)
        for group in by_task.values()
        for index, row in enumerate(group)
    }
    return sorted(range(len(rows)), key=lambda index: (depth.get(index, len(rows)), index))[:most]


def detail(record: RunRecord, trace: PowerTrace | None, no_trace: str = "the run has none") -> dict[str, Any]:
    """One run's section as plain data; what a run lacks is None or missing, never zero.

    Args:
        record: The run.
        trace: Its power trace, where it is to be drawn.
        no_trace: Why there is none to be drawn.
    """
    counted = all(window.rejected or window.work.requests > 0 for window in record.measurements)
    budget = run_budget(record) if counted and record.measurements else None
    environment = record.environment.model_dump(mode="json", exclude=NEVER_SHOWN) if record.environment else None
    return {
        "spec": record.spec.model_dump(mode="json", exclude_defaults=True, exclude={"timeout_s"}),
        "status": record.status,
        "started": record.started_at_utc,
        "finished": record.finished_at_utc,
        "schema_version": record.schema_version,
        "environment": environment,
        "caveats": [[caveat.code, caveat.message] for caveat in all_caveats(record)],
        "failure": [record.failure.phase, record.failure.message, record.failure.hint] if record.failure else None,
        "budget": None
        if budget is None
        else {
            "energy": [_short(budget.energy_j), _short(budget.low_j), _short(budget.high_j)],
            "u": _short(budget.standard_uncertainty_j),
            "boundary": budget.boundary,
            "lines": [
                [line.term, line.kind, _short(line.standard_uncertainty_j), line.counted, line.reduced_by]
                for line in budget.lines
            ],
            "sensors": [sensor.model_dump(mode="json") for sensor in budget.sensors],
        },
        "windows": _windows(record),
        "idle": [
            [_names(record).get(each.source_id, each.source_id), each.before_w, each.null_w, each.after_w]
            for each in record.idle
        ],
        "node_missing": record.summary.node_missing if record.summary else None,
        "checks": [
            [check.tool, check.version, check.gpu_energy_j, check.harness_gpu_energy_j, check.note]
            for check in record.cross_checks
        ],
        "trace": None if trace is None else _trace(record, trace),
        "no_trace": no_trace if trace is None else "it holds no power of a GPU that ran the model",
    }


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _names(record: RunRecord) -> dict[str, str]:
    return {source.id: source.device_name for source in record.sources}


def _windows(record: RunRecord) -> list[list[Any]]:
    """Label, seconds at work, generations, joules per generation, why it was rejected."""
    active = {source.id for source in record.sources if source.runs_model}
    found = []
    for window in record.measurements:
        requests, known = window.work.requests, {source.source_id for source in window.sources} >= active
        energy = _short(gross_j(window, active) / requests) if requests and known and active else None
        why = "; ".join(c.message for c in window.caveats if not c.window_only) if window.rejected else None
        found.append([window.label, _short(window.busy_s), _short(requests), energy, why])
    return found


def _trace(record: RunRecord, trace: PowerTrace) -> dict[str, Any] | None:
    """Power of the first board that ran the model, and when its windows were, seconds from the first sample."""
    source = next((info for info in record.sources if info.runs_model), None)
    if source is None or source.id not in trace.source_ids:
        return None
    t_s, power_w = trace.power(source.id)
    if len(t_s) < 2:
        return None
    kept = _extremes(power_w)
    idle = next((each.null_w for each in record.idle if each.source_id == source.id), None)
    start_s = float(t_s[0])
    return {
        "device": source.device_name,
        "boards": sum(info.runs_model for info in record.sources),
        "t": [round(float(each) - start_s, 2) for each in t_s[kept]],
        "w": [round(float(each), 1) for each in power_w[kept]],
        "samples": len(t_s),
        "phases": [
            [name, round(from_s - start_s, 3), round(to_s - start_s, 3), busy_s, rejected]
            for name, from_s, to_s, busy_s, rejected in phases(record, start_s, float(t_s[-1]))
        ],
        "idle_w": idle,
    }


Phase = tuple[str, float, float, float | None, bool]


def phases(record: RunRecord, start_s: float, end_s: float) -> list[Phase]:
    """What happened when: name, from, to (monotonic, s), seconds at work of a window, whether it was rejected.

    Windows are recorded, from edge to edge. The others follow from their durations in spec and record, in the order in
    which measure/session goes: their ends are right to a period of the sensor. All lie within [start_s, end_s].
    """
    windows, measure = record.measurements, record.spec.measure
    if not windows:
        return []
    found: list[Phase] = []
    warmed_s = windows[0].start_s - measure.null_window_s
    if record.warm_up is not None:
        cold_s = warmed_s - record.warm_up.duration_s
        found += [("idle before", start_s, cold_s, None, False), ("warm-up", cold_s, warmed_s, None, False)]
    found.append(("null window", warmed_s, windows[0].start_s, None, False))
    for window, following in zip(windows, [*windows[1:], None], strict=True):
        rested_s = window.end_s + measure.null_window_s if following is None else following.start_s
        found.append((window.label, window.start_s, window.end_s, _short(window.busy_s), window.rejected))
        found.append(("null window", window.end_s, rested_s, None, False))
    settled_s = max(windows[-1].end_s + measure.settle_s, windows[-1].end_s + measure.null_window_s)
    found.append(("settling", windows[-1].end_s + measure.null_window_s, settled_s, None, False))
    found.append(("idle after", settled_s, settled_s + measure.idle_s, None, False))
    clipped = ((name, max(a, start_s), min(b, end_s), busy_s, rejected) for name, a, b, busy_s, rejected in found)
    return [phase for phase in clipped if phase[1] < phase[2]]


def _extremes(values: Any) -> Any:
    """Places of the least and the most value of each bucket, in order; all of few."""
    if len(values) <= 2 * TRACE_BUCKETS:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), TRACE_BUCKETS + 1).astype(int)
    pairs = [
        (start + int(values[start:end].argmin()), start + int(values[start:end].argmax()))
        for start, end in pairwise(edges)
    ]
    return np.unique(np.array(pairs).ravel())
