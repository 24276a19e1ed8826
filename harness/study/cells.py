"""The study model by model and dataset by dataset: the figures that a replay needs, and the aggregate that ships."""

from __future__ import annotations

import csv
import functools
import io
import statistics
from collections import defaultdict
from collections.abc import Sequence

from harness.footprint.accountings import assumed_power
from harness.frozen import Frozen
from harness.specs import PromptSpec
from harness.study.accounting import account
from harness.study.catalog import PAPER, REPOSITORY, TASKS, read_data, study_models
from harness.study.runs import Study, StudyRun
from harness.units import J_PER_KWH

CELLS = "study_cells.csv"
DATASETS = "study_datasets.csv"
COMMAND = "harness study models --data DIR --cells harness/data/study_cells.csv"


class Cell(Frozen):
    """Runs of one of the 88 models on one task and dataset, means per 1,000 inferences.

    `dataset` None: the files do not tell (three token classifiers); the mean is over all three datasets.
    `memory_s`: time for which the meter charged memory power, a little less than `duration_s`.
    """

    model: str
    task: str
    dataset: str | None
    runs: int
    duration_s: float
    memory_s: float
    node_kwh: float
    sd_kwh: float
    gpus_kwh: float
    active_gpu_kwh: float
    above_idle_kwh: float


class StudyDataset(Frozen):
    """One of the study's datasets: its name in the study's files, and what its code asked the hub for."""

    task: str
    dataset: str
    hub: str
    config: str | None
    split: str
    column: str | None
    max_words: int | None
    note: str | None


def study_cells(study: Study) -> list[Cell]:
    """The 88 models by task, model and dataset."""
    prompted = {entry.model for entry in study_models() if entry.kind == "multi-purpose" and entry.in_paper}
    grouped: dict[tuple[int, str, str], list[StudyRun]] = defaultdict(list)
    for order, task in enumerate(TASKS):
        others = [run for run in study.runs if run.prompted and run.task == task and run.model in prompted]
        for run in [*study.paper_runs(task), *others]:
            grouped[(order, run.model, run.dataset or "")].append(run)
    return [_cell(runs) for _, runs in sorted(grouped.items()) if len(runs) > 1]


def _cell(runs: Sequence[StudyRun]) -> Cell:
    accounted = account(runs)
    memory_w = assumed_power("study-2023", "memory").power_w
    return Cell(
        model=runs[0].model,
        task=runs[0].task,
        dataset=runs[0].dataset,
        runs=len(runs),
        duration_s=accounted.duration_s,
        memory_s=statistics.fmean(run.ram_kwh for run in runs) * J_PER_KWH / memory_w,
        node_kwh=accounted.node_kwh,
        sd_kwh=statistics.stdev(run.node_kwh for run in runs),
        gpus_kwh=accounted.gpus_kwh,
        active_gpu_kwh=accounted.active_gpu_kwh,
        above_idle_kwh=accounted.above_idle_kwh,
    )


def cells_csv(cells: Sequence[Cell]) -> str:
    """The text of harness/data/study_cells.csv: where it comes from, then a row per cell, six digits."""
    out = io.StringIO()
    out.write(
        "# The study's 88 models by task and dataset, query phase, means per 1,000 inferences: what a replay needs.\n"
        "# node, sd (of the runs): kWh of the node of 8 x A100-SXM4-80GB as metered by CodeCarbon 2.3.1; gpus: all 8;\n"
        "# active_gpu, above_idle: estimated, see harness/study/accounting.py. memory_s: memory energy over its\n"
        "# assumed power, the time for which it was charged. No dataset: the files do not tell it.\n"
        f"# Paper: {PAPER}. Raw data: {REPOSITORY} (MIT).\n"
        f"# Made by: {COMMAND}\n"
    )
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(Cell.model_fields)
    for cell in cells:
        values = cell.model_dump().values()
        writer.writerow(["" if v is None else f"{v:.6g}" if isinstance(v, float) else v for v in values])
    return out.getvalue()


@functools.cache
def known_cells() -> tuple[Cell, ...]:
    """The aggregate that ships with the harness."""
    return tuple(Cell.model_validate(_without_empty(row)) for row in read_data(CELLS))


@functools.cache
def study_datasets() -> tuple[StudyDataset, ...]:
    """The study's thirty datasets, three for each task."""
    return tuple(StudyDataset.model_validate(_without_empty(row)) for row in read_data(DATASETS))


def study_dataset(task: str, prompts: PromptSpec) -> StudyDataset | None:
    """Which of the study's datasets a run's prompts come from; None for any other."""
    if prompts.kind != "hub":
        return None
    wanted = (task, prompts.dataset, prompts.config)
    return next((each for each in study_datasets() if (each.task, each.hub, each.config) == wanted), None)


def _without_empty(row: dict[str, str]) -> dict[str, str | None]:
    return {name: cell or None for name, cell in row.items()}
