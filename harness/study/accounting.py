"""The study's runs under five boundaries: what one working GPU drew, out of what eight GPUs and assumed parts did.

The study metered a node of eight GPUs of which one worked, a constant for the CPU and a constant for its memory. For
each run the idle power of one GPU is taken from that run's own loading phase, less what one CUDA context adds:

    idle_w   = (P8_load - context_w) / gpus
    active_w = P8_query - (gpus - 1) idle_w

Means over many runs are what this is good for: a single run's idle differs from the next run's by about 1.6 W per GPU
(standard deviation of neighbours in time, 3,493 pairs of the data), which makes 11 W on the active GPU.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from pydantic import Field

from harness.errors import UserInputError
from harness.frozen import Frozen
from harness.study.catalog import TASKS, study_models
from harness.study.runs import Study, StudyRun
from harness.units import J_PER_KWH

CONTEXT_W = 5.0  # what one CUDA context adds to one A100 while a model is loaded; NOTES.md of the data
CONTEXT_RANGE_W = (0.0, 10.0)
IDLE_SHIFT_W = 0.5  # per GPU, between loading and work, that all runs may share; neighbours differ by 0.1 W in the mean

ASSUMPTIONS = {
    "node": "as recorded: 8 GPUs by their counters, CPU at a constant 42.5 W, memory at a constant 430.8 W",
    "gpus": "all 8 GPUs by their counters, 7 of them idle",
    "active_gpu": f"the working GPU with its own idle; idle of the 7 others from the run's loading phase less "
    f"{CONTEXT_W:g} W for one CUDA context",
    "above_idle": "the working GPU less its own idle",
    "fair_share": "the working GPU and an eighth of the CPU's and the memory's constants",
    "range": f"context {CONTEXT_RANGE_W[0]:g} to {CONTEXT_RANGE_W[1]:g} W, and ±{IDLE_SHIFT_W:g} W per GPU by which "
    "idle may differ between loading and work in all runs alike; corners, not standard uncertainties",
    "node_with_codecarbon3_ram": "the node, had CodeCarbon 3 guessed the memory's power from its size (42 W)",
}


class Range(Frozen):
    """Two ends of what the assumptions allow; None: without bound."""

    low: float
    high: float | None


class Accounting(Frozen):
    """Means per 1,000 inferences over a group of runs, kWh, by boundary."""

    runs: int
    node_kwh: float
    gpus_kwh: float
    active_gpu_kwh: float
    above_idle_kwh: float
    fair_share_kwh: float
    node_over_active: float | None = Field(
        description="mean node energy over mean active-GPU energy; None where that estimate is not above zero"
    )
    active_gpu_range_kwh: Range
    above_idle_range_kwh: Range
    fair_share_range_kwh: Range
    node_over_active_range: Range | None
    node_with_codecarbon3_ram_kwh: float = Field(description="the node, had CodeCarbon 3 guessed the memory's power")
    idle_w_per_gpu: float
    active_gpu_w: float
    duration_s: float
    runs_below_idle: int = Field(description="runs whose estimate above idle is negative: noise of the baseline, kept")


class Shares(Frozen):
    """What the recorded energy is made of, fractions of the node."""

    active_gpu: float
    idle_gpus: float
    ram_assumed: float
    cpu_assumed: float


class ModelAccounting(Accounting):
    """The same for one model on one task."""

    model: str
    in_paper: bool
    kind: str


class TaskAccounting(Accounting):
    """The same for one task, with its models."""

    shares: Shares
    models: tuple[ModelAccounting, ...]


class StudyAccounting(Frozen):
    """What `harness study accounting` shows. `tasks`: the paper's task-specific runs."""

    assumptions: dict[str, str]
    tasks: dict[str, TaskAccounting]
    multi_purpose: tuple[ModelAccounting, ...] = Field(description="prompted models, over all their datasets")
    overall: Shares = Field(description="of all runs of all tasks together")


def idle_w(run: StudyRun, context_w: float = CONTEXT_W) -> float:
    """Idle power of one GPU of the run's node, W."""
    return (run.load_gpus_w - context_w) / run.gpu_count


def active_gpu_kwh(run: StudyRun, context_w: float = CONTEXT_W, shift_w: float = 0.0) -> float:
    """Energy of the GPU that worked, its own idle included: all GPUs less the idle of the others, kWh.

    Args:
        run: Its query phase is accounted.
        context_w: Added by the loading process to the idle of one GPU.
        shift_w: By how much the idle of one GPU is higher during work than during loading.
    """
    others_w = (run.gpu_count - 1) * (idle_w(run, context_w) + shift_w)
    return run.gpus_kwh - others_w * run.duration_s / J_PER_KWH


def above_idle_kwh(run: StudyRun, context_w: float = CONTEXT_W, shift_w: float = 0.0) -> float:
    """Energy of the GPU that worked, less its own idle, kWh."""
    return active_gpu_kwh(run, context_w, shift_w) - (idle_w(run, context_w) + shift_w) * run.duration_s / J_PER_KWH


def fair_share_kwh(run: StudyRun, context_w: float = CONTEXT_W, shift_w: float = 0.0) -> float:
    """The GPU that worked and its part of CPU and memory (one of as many as there are GPUs), kWh."""
    return active_gpu_kwh(run, context_w, shift_w) + (run.cpu_kwh + run.ram_kwh) / run.gpu_count


def ram_power_v3_w(memory_gb: float) -> float:
    """CodeCarbon 3's model of an x86 server's memory power from its size (above 128 GB), W.

    Source: codecarbon 3.3.2, codecarbon/external/ram.py: modules of the largest common size of which eight fit, at most
    32; 5 W each, the 5th to 8th 4.5 W, the 9th to 16th 4 W, further ones 3.5 W.
    """
    module_gb = next((size for size in (128, 64, 32, 16, 8, 4) if size <= memory_gb / 8), 4)
    modules = min(32, math.ceil(memory_gb / module_gb))
    steps = ((4, 5.0), (4, 4.5), (8, 4.0), (16, 3.5))
    power_w, left = 0.0, modules
    for count, each_w in steps:
        power_w += min(left, count) * each_w
        left -= min(left, count)
    return power_w


def account(runs: Sequence[StudyRun]) -> Accounting:
    """Means over runs under every boundary.

    Raises:
        ValueError: There are no runs.
    """
    if not runs:
        raise ValueError("an accounting needs runs")
    node, active = fmean(run.node_kwh for run in runs), fmean(map(active_gpu_kwh, runs))
    actives = _corners(runs, active_gpu_kwh)
    # A lower idle of the others leaves more for the active one, so high and low change sides in the ratio.
    ratio = None
    if active > 0 and actives.high is not None:
        ratio = Range(low=node / actives.high, high=node / actives.low if actives.low > 0 else None)
    ram3 = fmean(
        run.node_kwh - run.ram_kwh + ram_power_v3_w(run.memory_gb) * run.duration_s / J_PER_KWH for run in runs
    )
    return Accounting(
        runs=len(runs),
        node_kwh=node,
        gpus_kwh=fmean(run.gpus_kwh for run in runs),
        active_gpu_kwh=active,
        above_idle_kwh=fmean(map(above_idle_kwh, runs)),
        fair_share_kwh=fmean(map(fair_share_kwh, runs)),
        node_over_active=node / active if active > 0 else None,
        active_gpu_range_kwh=actives,
        above_idle_range_kwh=_corners(runs, above_idle_kwh),
        fair_share_range_kwh=_corners(runs, fair_share_kwh),
        node_over_active_range=ratio,
        node_with_codecarbon3_ram_kwh=ram3,
        idle_w_per_gpu=fmean(map(idle_w, runs)),
        active_gpu_w=active * J_PER_KWH / fmean(run.duration_s for run in runs),
        duration_s=fmean(run.duration_s for run in runs),
        runs_below_idle=sum(above_idle_kwh(run) < 0 for run in runs),
    )


def study_accounting(study: Study) -> StudyAccounting:
    """Every task and model of the study under the five boundaries.

    Raises:
        UserInputError: No run is of the paper's models.
    """
    tasks = {}
    for task in TASKS:
        runs = study.paper_runs(task)
        if runs:
            models = tuple(_model(name, own, "task-specific", True) for name, own in by_model(runs).items())
            tasks[task] = TaskAccounting(**account(runs).model_dump(), shares=shares(runs), models=models)
    in_paper = {entry.model: entry.in_paper for entry in study_models() if entry.kind == "multi-purpose"}
    prompted = by_model([run for run in study.runs if run.prompted])
    every = [run for task in tasks for run in study.paper_runs(task)] + [
        run for run in study.runs if run.prompted and in_paper.get(run.model, False)
    ]
    if not every:
        raise UserInputError("None of these runs is of the study's models.", "See them with: harness study models")
    return StudyAccounting(
        assumptions=ASSUMPTIONS,
        tasks=tasks,
        multi_purpose=tuple(
            _model(name, own, "multi-purpose", in_paper.get(name, False)) for name, own in prompted.items()
        ),
        overall=shares(every),
    )


def shares(runs: Sequence[StudyRun]) -> Shares:
    """Of what the recorded energy of these runs is made, by sums."""
    node = math.fsum(run.node_kwh for run in runs)
    active = math.fsum(map(active_gpu_kwh, runs))
    return Shares(
        active_gpu=active / node,
        idle_gpus=(math.fsum(run.gpus_kwh for run in runs) - active) / node,
        ram_assumed=math.fsum(run.ram_kwh for run in runs) / node,
        cpu_assumed=math.fsum(run.cpu_kwh for run in runs) / node,
    )


def by_model(runs: Iterable[StudyRun]) -> dict[str, list[StudyRun]]:
    """Runs grouped by model, models sorted by name."""
    grouped: dict[str, list[StudyRun]] = defaultdict(list)
    for run in runs:
        grouped[run.model].append(run)
    return dict(sorted(grouped.items()))


def _model(name: str, runs: Sequence[StudyRun], kind: str, in_paper: bool) -> ModelAccounting:
    return ModelAccounting(**account(runs).model_dump(), model=name, in_paper=in_paper, kind=kind)


def _corners(runs: Sequence[StudyRun], quantity: Callable[[StudyRun, float, float], float]) -> Range:
    ends = [
        fmean(quantity(run, context_w, shift_w) for run in runs)
        for context_w in CONTEXT_RANGE_W
        for shift_w in (-IDLE_SHIFT_W, IDLE_SHIFT_W)
    ]
    return Range(low=min(ends), high=max(ends))
