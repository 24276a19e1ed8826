"""Energy per 1,000 inferences of every model of the study, by dataset, and the aggregate that ships with us."""

from __future__ import annotations

import csv
import functools
import io
import statistics
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from harness.errors import UserInputError
from harness.footprint.factors import factor
from harness.frozen import Frozen
from harness.stats import Estimate, repeatability
from harness.study.accounting import account, by_model
from harness.study.catalog import PAPER, REPOSITORY, TASKS, StudyModel, read_data, study_models
from harness.study.runs import Study, StudyRun

REFERENCE = "study.csv"
COMMAND = "harness study models --data DIR --csv harness/data/study.csv"
Row = Literal["paper", "paper-by-task", "other"]


class DatasetFigures(Frozen):
    """Runs on one dataset, kWh per 1,000 inferences. `dataset` None: the files do not tell it."""

    dataset: str | None
    task: str
    runs: int
    mean_kwh: float
    sd_kwh: float | None
    duration_s: float


class ModelFigures(Frozen):
    """One model on one task, or (multi-purpose, task None) over all: per 1,000 inferences, the whole node as recorded.

    `energy_kwh` has a 95 % interval from the scatter of the runs alone; it knows nothing of what the meter leaves out.
    `row`: paper (the 88), paper-by-task (the eight multi-purpose ones on one task), other (in the data only).
    """

    row: Row
    model: str
    label: str = Field(description="the name in emissions/complete")
    task: str | None
    kind: Literal["task-specific", "multi-purpose"]
    family: str | None
    parameters: int | None
    runs: int
    energy_kwh: Estimate
    sd_kwh: float
    duration_s: float
    gpus_kwh: float
    active_gpu_kwh: float
    above_idle_kwh: float
    fair_share_kwh: float
    carbon_g_co2e: float
    datasets: tuple[DatasetFigures, ...]
    note: str | None


class Reference(Frozen):
    """One row of the aggregate in harness/data/study.csv: as ModelFigures, without datasets."""

    row: Row
    model: str
    task: str | None
    kind: Literal["task-specific", "multi-purpose"]
    family: str | None
    parameters: int | None
    runs: int
    datasets: int | None = Field(description="None: the files do not tell them")
    mean_kwh: float
    sd_kwh: float
    low_kwh: float
    high_kwh: float
    duration_s: float
    gpus_kwh: float
    active_gpu_kwh: float
    above_idle_kwh: float
    fair_share_kwh: float
    carbon_g_co2e: float


def model_figures(study: Study, task: str | None = None) -> list[ModelFigures]:
    """Every model of the study, the paper's by task and energy, then the multi-purpose ones, then the others.

    Args:
        study: The runs.
        task: Only this task.

    Raises:
        UserInputError: There is no such task.
    """
    if task is not None and task not in TASKS:
        raise UserInputError(f"The study has no task {task!r}.", f"Its tasks are {', '.join(TASKS)}.")
    known = {(entry.model, entry.task): entry for entry in study_models()}
    figures = []
    for each in TASKS:
        figures += [_figures("paper", known[(name, each)], each, own) for name, own in _groups(study.paper_runs(each))]
    prompted = [run for run in study.runs if run.prompted]
    for name, own in _groups(prompted):
        entry = known.get((name, None))
        if entry is not None and entry.in_paper:
            figures.append(_figures("paper", entry, None, own))
            for each in sorted({run.task for run in own}, key=TASKS.index):
                figures.append(_figures("paper-by-task", entry, each, [run for run in own if run.task == each]))
    in_paper = {run.run_id for each in TASKS for run in study.paper_runs(each)}
    rest = [run for run in study.runs if not run.prompted and run.run_id not in in_paper]
    rest = [run for run in rest if (run.model, run.task) not in known or not known[(run.model, run.task)].in_paper]
    for name, own in [*_groups(rest), *_groups(prompted)]:
        entry = known.get((name, None) if own[0].prompted else (name, own[0].task))
        if entry is None or not entry.in_paper:
            for each in sorted({run.task for run in own}, key=TASKS.index):
                figures.append(_figures("other", entry, each, [run for run in own if run.task == each]))
    return [row for row in figures if task in (None, row.task)]


def _groups(runs: Iterable[StudyRun]) -> list[tuple[str, list[StudyRun]]]:
    """Runs by model, the least energy first; models with one run have no scatter and are left out."""
    grouped = [(name, own) for name, own in by_model(runs).items() if len(own) > 1]
    return sorted(grouped, key=lambda pair: statistics.fmean(run.node_kwh for run in pair[1]))


def _figures(row: Row, entry: StudyModel | None, task: str | None, runs: Sequence[StudyRun]) -> ModelFigures:
    accounted = account(runs)
    values = [run.node_kwh for run in runs]
    places = sorted(
        {(run.task, run.dataset) for run in runs}, key=lambda place: (TASKS.index(place[0]), place[1] or "")
    )
    return ModelFigures(
        row=row,
        model=runs[0].model,
        label=runs[0].label,
        task=task,
        kind="multi-purpose" if runs[0].prompted else "task-specific",
        family=entry.family if entry else None,
        parameters=entry.parameters if entry else None,
        runs=len(runs),
        energy_kwh=repeatability(values),
        sd_kwh=statistics.stdev(values),
        duration_s=accounted.duration_s,
        gpus_kwh=accounted.gpus_kwh,
        active_gpu_kwh=accounted.active_gpu_kwh,
        above_idle_kwh=accounted.above_idle_kwh,
        fair_share_kwh=accounted.fair_share_kwh,
        carbon_g_co2e=statistics.fmean(run.carbon_g_co2e for run in runs),
        datasets=tuple(_dataset(task, name, runs) for task, name in places),
        note=entry.note if entry else None,
    )


def _dataset(task: str, dataset: str | None, runs: Sequence[StudyRun]) -> DatasetFigures:
    own = [run for run in runs if (run.task, run.dataset) == (task, dataset)]
    return DatasetFigures(
        dataset=dataset,
        task=task,
        runs=len(own),
        mean_kwh=statistics.fmean(run.node_kwh for run in own),
        sd_kwh=statistics.stdev(run.node_kwh for run in own) if len(own) > 1 else None,
        duration_s=statistics.fmean(run.duration_s for run in own),
    )


# --- the aggregate that ships ----------------------------------------------------------------------


def reference_csv(figures: Sequence[ModelFigures]) -> str:
    """The text of harness/data/study.csv: where it comes from, then a row per model and task, five digits."""
    out = io.StringIO()
    out.write("# Energy per 1,000 inferences of the models of the 88-model study, query phase: mean over runs.\n")
    out.write(
        "# mean, sd, low, high (95 %, scatter of runs alone), gpus: kWh of the node of 8 x A100-SXM4-80GB as metered\n"
    )
    out.write(
        "# by CodeCarbon 2.3.1 (one GPU at work; CPU 42.5 W and memory 430.8 W assumed); active_gpu, above_idle,\n"
    )
    recorded = f"{factor('grid', 'study-recorded').value:g} g/kWh"
    out.write(f"# fair_share: estimated, see harness/study/accounting.py; carbon: as recorded, {recorded}.\n")
    out.write(f"# Paper: {PAPER}. Raw data: {REPOSITORY} (MIT).\n")
    out.write(f"# Made by: {COMMAND}\n")
    writer = csv.writer(out, lineterminator="\n")
    names = list(Reference.model_fields)
    writer.writerow(names)
    for each in figures:
        cells = each.model_dump(include=set(names) - {"datasets"})
        cells |= {
            "datasets": sum(one.dataset is not None for one in each.datasets) or None,
            "mean_kwh": each.energy_kwh.value,
        }
        cells |= {"low_kwh": each.energy_kwh.low, "high_kwh": each.energy_kwh.high}
        writer.writerow([_cell(cells[name]) for name in names])
    return out.getvalue()


def _cell(value: object) -> object:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else value


@functools.cache
def reference() -> tuple[Reference, ...]:
    """The aggregate that ships with the harness."""
    rows = read_data(REFERENCE)
    return tuple(Reference.model_validate({name: cell or None for name, cell in row.items()}) for row in rows)
