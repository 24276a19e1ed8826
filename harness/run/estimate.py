"""How long a run will take and what it will draw, as ranges, before it starts: from its settings and earlier records.

Nothing is guessed: what neither settings nor a record of the same kind tells is None, and counted as unknown in totals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harness.engines.simulated import known_batch_s
from harness.errors import StoreError
from harness.measure.session import PREPARATION_WINDOWS
from harness.records import RunRecord
from harness.simulation.profiles import board
from harness.specs import MeasureSpec, RunSpec
from harness.store.files import RECORD, read_record

Range = tuple[float, float]  # low, high
EDGE_S = 0.5  # to find two increments of a counter and see a sensor's end: an A100's 0.4 s, rounded up
ALLOWANCE = 0.25  # how much longer or shorter than all earlier runs of its kind one more may take: a choice
MOST_RECORDS = 200
BY_SETTINGS = "settings, without loading; a batch is taken to last no longer than window_s"


@dataclass(frozen=True)
class RunEstimate:
    """One run's ranges, and what they rest on.

    Attributes:
        duration_s: Of this machine's time, from start to record.
        settings_s: Of the clock that is measured by (virtual or real), without loading the model.
        gpu_energy_j: Of the GPUs that run the model over all of that: idle, warm-up and windows.
        simulated: No real GPU draws that energy.
    """

    run_id: str
    duration_s: Range | None
    duration_from: str
    settings_s: Range
    gpu_energy_j: Range | None
    energy_from: str
    simulated: bool


def by_settings_s(measure: MeasureSpec, batch_s: float | None = None, batch_size: int = 1) -> Range:
    """The least and the most that the settings allow, without loading the model.

    Args:
        measure: The settings.
        batch_s: How long a batch takes; None: not known, and taken to fit a window and a block of the warm-up.
        batch_size: Requests in it.
    """
    requests, rest_s = measure.requests_per_window, measure.null_window_s
    window_s, work_s = measure.window_s if requests is None else 0.0, measure.warm_up_block_s
    if batch_s is not None:  # whole batches
        batches = math.ceil(window_s / batch_s) if requests is None else math.ceil(requests / batch_size)
        window_s, work_s = batches * batch_s, math.ceil(work_s / batch_s) * batch_s
    one_s = window_s + rest_s
    block_s = work_s + measure.warm_up_block_s * rest_s / measure.window_s
    fixed_s = 2 * measure.idle_s + measure.settle_s + rest_s
    fixed_s += PREPARATION_WINDOWS * (measure.window_s + rest_s) if measure.meter_preparation else 0.0
    fewest = min(measure.min_repeats, max(2, math.ceil(measure.max_duration_s / one_s)))
    low_s = fixed_s + block_s * (2 if measure.warm_up_max_s > block_s else 1) + fewest * one_s
    longest_s = measure.max_duration_s + one_s + EDGE_S
    if requests is None or batch_s is not None:
        longest_s = min(longest_s, measure.max_repeats * (one_s + EDGE_S))
    return low_s, max(low_s, fixed_s + measure.warm_up_max_s + block_s + longest_s)


def estimate(spec: RunSpec, earlier: Sequence[RunRecord]) -> RunEstimate:
    """One run's time and energy.

    Args:
        spec: The run.
        earlier: Complete records; those of its kind are used (same model, task, engine, and kind of machine).
    """
    kin = [record for record in earlier if _kind(record.spec) == _kind(spec)]
    settings_s = by_settings_s(spec.measure, known_batch_s(spec), spec.batch_size)
    duration_s, told = _duration_s(spec, kin, settings_s)
    board_s = settings_s if spec.on_virtual_clock or duration_s is None else duration_s
    energy_j, power_from = _energy_j(spec, kin, board_s)
    return RunEstimate(spec.run_id, duration_s, told, settings_s, energy_j, power_from, spec.sources.node is not None)


def total(ranges: Iterable[Range | None]) -> tuple[Range | None, int]:
    """The sum of what is known, and how many are not."""
    listed = list(ranges)
    known = [each for each in listed if each is not None]
    if not known:
        return None, len(listed)
    return (math.fsum(low for low, _ in known), math.fsum(high for _, high in known)), len(listed) - len(known)


def earlier_records(results: Path) -> list[RunRecord]:
    """The newest complete records of all campaigns; those that cannot be read are left out."""
    found = []
    paths = sorted(results.glob(f"*/*/{RECORD}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths[:MOST_RECORDS]:
        try:
            record = read_record(path)
        except StoreError:
            continue
        if record.status == "complete" and record.origin in ("measured", "simulated"):
            found.append(record)
    return found


def _kind(spec: RunSpec) -> tuple[object, ...]:
    node = spec.sources.node
    machine = (node.gpu, node.clock) if node is not None else (spec.sources.gpus,)
    return spec.task, spec.model.id, spec.model.weights, spec.engine, spec.device, machine


def _duration_s(spec: RunSpec, kin: Sequence[RunRecord], settings_s: Range) -> tuple[Range | None, str]:
    alike = [record for record in kin if record.spec.measure == spec.measure]
    if alike:
        took_s = [_took_s(record) for record in alike]
        low_s, high_s = (1 - ALLOWANCE) * min(took_s), (1 + ALLOWANCE) * max(took_s)
        return (low_s, min(high_s, spec.timeout_s)), f"{len(alike)} earlier run{'s' if len(alike) > 1 else ''}"
    if spec.on_virtual_clock:
        return None, "virtual clock, never run"
    return (min(settings_s[0], spec.timeout_s), min(settings_s[1], spec.timeout_s)), BY_SETTINGS if known_batch_s(
        spec
    ) is None else "settings"


def _took_s(record: RunRecord) -> float:
    """Whole seconds by the wall clock, at least one."""
    start, end = (datetime.fromisoformat(at) for at in (record.started_at_utc, record.finished_at_utc))
    return max(1.0, (end - start).total_seconds())


def _energy_j(spec: RunSpec, kin: Sequence[RunRecord], board_s: Range) -> tuple[Range | None, str]:
    """Idle all the time at least, at work all the time at most."""
    powers_w = [power for record in kin if (power := _powers_w(record)) is not None]
    if powers_w:
        low_w, high_w = min(idle for idle, _ in powers_w), max(busy for _, busy in powers_w)
        told = f"power of {len(powers_w)} earlier run{'s' if len(powers_w) > 1 else ''}"
    elif spec.sources.node is not None:
        profile, count = board(spec.sources.node.gpu), len(spec.sources.gpus)
        low_w, high_w = count * (spec.sources.node.idle_w or profile.idle_w), count * profile.power_limit_w
        told = "simulated board's idle power and limit"
    else:
        return None, "no earlier run tells the power"
    return (low_w * board_s[0], high_w * board_s[1]), told


def _powers_w(record: RunRecord) -> Range | None:
    """Idle power and power at work of the GPUs that ran the model."""
    active = {info.id for info in record.sources if info.runs_model}
    idle_w = [idle.null_w for idle in record.idle if idle.source_id in active]
    known = [power for power in idle_w if power is not None]
    if record.summary is None or len(known) < len(idle_w) or not known:
        return None
    return math.fsum(known), record.summary.power_w
