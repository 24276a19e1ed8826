"""General-purpose against task-specific models on the same task, and how energy grows with size and output. Pure."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from harness.frozen import Frozen
from harness.stats import student_t_quantile
from harness.store.duck import read_csv_lines
from harness.study.accounting import Accounting, account, by_model
from harness.study.catalog import INFERENCES, TASKS, StudyModel, dataset_name, model_name, study_models
from harness.study.runs import Study, StudyRun
from harness.units import J_PER_KWH

LENGTHS_HEADER = b"Input,Output,model,dataset"
Lengths = Mapping[tuple[str, str], float]


class Slope(Frozen):
    """Ordinary least squares of log energy on the log of something: energy grows as something^slope."""

    slope: float
    standard_error: float
    low: float = Field(description="95 %, Student t")
    high: float
    n: int
    r_squared: float


class GroupFigures(Frozen):
    """Means per 1,000 inferences over models of one kind on one task."""

    models: int
    runs: int
    node_kwh: float
    active_gpu_kwh: float
    above_idle_kwh: float
    duration_s: float
    output_words: float | None = Field(description="mean words per answer; None: lengths are not recorded for these")
    node_j_per_word: float | None
    ratio_node: float | None = Field(description="to the task-specific models, node as recorded; None for themselves")
    ratio_active_gpu: float | None
    ratio_duration: float | None


class ModelPoint(Frozen):
    """One multi-purpose model on one task."""

    model: str
    family: str | None
    in_paper: bool
    parameters: int | None
    node_kwh: float
    active_gpu_kwh: float
    duration_s: float
    output_words: float | None


class TaskComparison(Frozen):
    """Who does one task, and what it takes them."""

    task_specific: GroupFigures
    families: dict[str, GroupFigures]
    models: tuple[ModelPoint, ...]
    energy_on_words: Slope | None = Field(
        description="of log node energy on log words, multi-purpose models by dataset"
    )


class GeneralPurpose(Frozen):
    """What `harness study general-purpose` shows."""

    tasks: dict[str, TaskComparison]
    slopes: dict[str, Slope] = Field(description="log node kWh on log parameters, the paper's task-specific models")
    slopes_active_gpu: dict[str, Slope] = Field(description="the same for the active GPU; it leaves idle parts out")
    slopes_multi_purpose: dict[str, Slope] = Field(description="node kWh of the paper's eight, by task")
    notes: tuple[str, ...] = Field(description="models whose parameters, behind the slopes, are not what they seem")


def general_purpose(study: Study, lengths: Lengths) -> GeneralPurpose:
    """The study's central claim with its own data.

    Args:
        study: The runs.
        lengths: Mean words per answer by model and dataset, as `read_lengths` finds them; may be empty.
    """
    multi = {entry.model: entry for entry in study_models() if entry.kind == "multi-purpose"}
    size = {entry.model: entry.parameters for entry in study_models()}
    prompted = [
        task
        for task in TASKS
        if study.paper_runs(task) and any(run.prompted and run.task == task for run in study.runs)
    ]
    slopes, active, general = {}, {}, {}
    for task in TASKS:
        groups = [(size[name], account(own)) for name, own in by_model(study.paper_runs(task)).items() if name in size]
        slopes[task] = fit_slope([(count, own.node_kwh) for count, own in groups])
        active[task] = fit_slope([(count, own.active_gpu_kwh) for count, own in groups])
    for task in prompted:
        runs = [run for run in study.runs if run.prompted and run.task == task and _in_paper(multi, run.model)]
        general[task] = fit_slope([(size.get(m), account(own).node_kwh) for m, own in by_model(runs).items()])
    return GeneralPurpose(
        tasks={task: _comparison(study, task, multi, lengths) for task in prompted},
        slopes=_known(slopes),
        slopes_active_gpu=_known(active),
        slopes_multi_purpose=_known(general),
        notes=tuple(
            f"{each.model}: {each.note}" for each in study_models() if each.note and each.note.startswith("parameters")
        ),
    )


def fit_slope(points: Iterable[tuple[float | None, float]]) -> Slope | None:
    """Slope of log y on log x with its standard error; None for fewer than three points above zero, or one x.

    Args:
        points: (x, y); where either is missing or not positive, the point is left out.
    """
    logs = [(math.log(x), math.log(y)) for x, y in points if x is not None and x > 0 and y > 0]
    n = len(logs)
    if n < 3 or len({x for x, _ in logs}) < 2:
        return None
    x_mean, y_mean = statistics.fmean(x for x, _ in logs), statistics.fmean(y for _, y in logs)
    sxx = math.fsum((x - x_mean) ** 2 for x, _ in logs)
    syy = math.fsum((y - y_mean) ** 2 for _, y in logs)
    slope = math.fsum((x - x_mean) * (y - y_mean) for x, y in logs) / sxx
    rest = math.fsum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in logs)
    error = math.sqrt(rest / (n - 2) / sxx)
    half = student_t_quantile(0.95, n - 2) * error
    r_squared = 1 - rest / syy if syy > 0 else 1.0
    return Slope(slope=slope, standard_error=error, low=slope - half, high=slope + half, n=n, r_squared=r_squared)


def read_lengths(paths: Sequence[Path]) -> dict[tuple[str, str], float]:
    """Mean words per answer by model and dataset, from those of the files that hold lengths.

    Raises:
        StoreError: DuckDB cannot read a file of lengths.
    """
    sums: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path in paths:
        with path.open("rb") as file:
            if file.readline().strip() != LENGTHS_HEADER:
                continue
            lines = [line.strip() for line in file if line.strip()]
        types = {"input": "DOUBLE", "output": "DOUBLE", "model": "VARCHAR", "dataset": "VARCHAR"}
        columns, _ = read_csv_lines(lines, types)
        pairs = zip(columns["model"], columns["dataset"], strict=True)
        names = np.array([f"{model}\n{dataset}" for model, dataset in pairs])
        for name in dict.fromkeys(names.tolist()):
            model, dataset = name.split("\n")
            words = columns["output"][names == name]
            sums[(model_name(model), dataset_name(dataset))] += words[~np.isnan(words)].tolist()
    return {key: statistics.fmean(words) for key, words in sums.items() if words}


def _comparison(study: Study, task: str, multi: Mapping[str, StudyModel], lengths: Lengths) -> TaskComparison:
    specific = study.paper_runs(task)
    base = account(specific)
    prompted = [run for run in study.runs if run.prompted and run.task == task]
    families: dict[str, list[StudyRun]] = defaultdict(list)
    for run in prompted:
        entry = multi.get(run.model)
        families[(entry.family if entry else None) or "other"].append(run)
    points = []
    for name, own in by_model(prompted).items():
        figures, entry = account(own), multi.get(name)
        points.append(
            ModelPoint(
                model=name,
                family=entry.family if entry else None,
                in_paper=_in_paper(multi, name),
                parameters=entry.parameters if entry else None,
                node_kwh=figures.node_kwh,
                active_gpu_kwh=figures.active_gpu_kwh,
                duration_s=figures.duration_s,
                output_words=_words(own, lengths),
            )
        )
    by_dataset: dict[tuple[str, str], list[StudyRun]] = defaultdict(list)
    for run in prompted:
        if _in_paper(multi, run.model) and run.dataset:
            by_dataset[(run.model, run.dataset)].append(run)
    return TaskComparison(
        task_specific=_group(specific, None, lengths),
        families={name: _group(runs, base, lengths) for name, runs in sorted(families.items())},
        models=tuple(sorted(points, key=lambda point: point.node_kwh)),
        energy_on_words=fit_slope(
            [(lengths.get(key), statistics.fmean(run.node_kwh for run in own)) for key, own in by_dataset.items()]
        ),
    )


def _group(runs: Sequence[StudyRun], base: Accounting | None, lengths: Lengths) -> GroupFigures:
    figures, words = account(runs), _words(runs, lengths)
    return GroupFigures(
        models=len({run.model for run in runs}),
        runs=figures.runs,
        node_kwh=figures.node_kwh,
        active_gpu_kwh=figures.active_gpu_kwh,
        above_idle_kwh=figures.above_idle_kwh,
        duration_s=figures.duration_s,
        output_words=words,
        node_j_per_word=figures.node_kwh * J_PER_KWH / INFERENCES / words if words else None,
        ratio_node=_over(figures.node_kwh, base.node_kwh) if base else None,
        ratio_active_gpu=_over(figures.active_gpu_kwh, base.active_gpu_kwh) if base else None,
        ratio_duration=figures.duration_s / base.duration_s if base else None,
    )


def _words(runs: Sequence[StudyRun], lengths: Lengths) -> float | None:
    """Mean over runs; None if any model and dataset among them has no recorded lengths."""
    words = [lengths.get((run.model, run.dataset or "")) for run in runs]
    known = [count for count in words if count is not None]
    return statistics.fmean(known) if len(known) == len(words) and known else None


def _over(value: float, base: float) -> float | None:
    return value / base if base > 0 else None


def _in_paper(multi: Mapping[str, StudyModel], model: str) -> bool:
    return model in multi and multi[model].in_paper


def _known(slopes: Mapping[str, Slope | None]) -> dict[str, Slope]:
    return {task: slope for task, slope in slopes.items() if slope is not None}
