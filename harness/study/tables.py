"""The paper's tables from the raw data, each number beside the printed one. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from harness.frozen import Frozen
from harness.study.catalog import INFERENCES, PAPER, TASKS, Published, published, study_models
from harness.study.runs import Study


class TaskRow(Frozen):
    """One row of Table 2: kWh per 1,000 inferences, whole node, query phase."""

    mean_kwh: float
    sd_kwh: float = Field(description="sample standard deviation over runs: models and datasets, not repeats alone")
    median_kwh: float
    runs: int
    models: int
    published_mean_kwh: float
    published_sd_kwh: float
    published_median_kwh: float | None
    agrees: bool = Field(description="the mean rounds to the printed digits")
    sd_agrees: Literal["rounded", "truncated", "no"]
    median_agrees: Literal["rounded", "truncated", "no"] | None


class ModelRow(Frozen):
    """One row of Table 3: a multi-purpose model over nine datasets, per 1,000 inferences."""

    mean_kwh: float
    mean_g_co2e: float = Field(description="as recorded, runs placed in another region included")
    runs: int
    datasets: int
    published_mean_kwh: float
    published_mean_g_co2e: float
    kwh_agrees: Literal["rounded", "truncated", "no"]
    g_co2e_agrees: Literal["rounded", "truncated", "no"]


class ParityRow(Frozen):
    """One row of Table 5: inferences whose energy equals that of training and fine-tuning."""

    parity_inferences: float = Field(description="with the energy per inference of the data")
    training_kwh: float = Field(description="as printed; not in the data")
    fine_tuning_kwh: float = Field(description="as printed; not in the data")
    kwh_per_inference: float
    published_parity_inferences: float
    published_kwh_per_inference: float
    relative_difference: float


class TotalsRow(Frozen):
    """Sums over every row of the raw data, tasks known or not."""

    rows: int
    runs: int
    energy_kwh: float
    gpu_energy_kwh: float
    emissions_kg: float


class StudyTables(Frozen):
    """What `harness study tables` shows."""

    table2: dict[str, TaskRow]
    table3: dict[str, ModelRow]
    table5: dict[str, ParityRow]
    totals: TotalsRow
    intensity_g_per_kwh: float = Field(description="emissions over energy of most rows")
    rows_of_other_intensity: int
    source: str = PAPER


def study_tables(study: Study) -> StudyTables:
    """Tables 2, 3 and 5 and the totals.

    Raises:
        ValueError: A task of the paper has fewer than two runs in the data.
    """
    multi = [entry.model for entry in study_models() if entry.kind == "multi-purpose" and entry.in_paper]
    totals = study.totals
    return StudyTables(
        table2={task: _task_row(study, task) for task in TASKS if len(study.paper_runs(task)) > 1},
        table3={model: _model_row(study, model) for model in multi if study.prompted_runs(model)},
        table5={
            model: _parity_row(study, model)
            for model in multi
            if ("5", model, "training_kwh") in published() and study.prompted_runs(model)
        },
        totals=TotalsRow(
            rows=totals.rows,
            runs=totals.runs,
            energy_kwh=totals.energy_kwh,
            gpu_energy_kwh=totals.gpu_energy_kwh,
            emissions_kg=totals.emissions_kg,
        ),
        intensity_g_per_kwh=totals.intensity_g_per_kwh,
        rows_of_other_intensity=totals.rows_of_other_intensity,
    )


def agreement(printed: Published, value: float) -> Literal["rounded", "truncated", "no"]:
    """How a value leads to a printed one."""
    return "rounded" if printed.agrees(value) else "truncated" if printed.truncates(value) else "no"


def _task_row(study: Study, task: str) -> TaskRow:
    runs = study.paper_runs(task)
    values = [run.node_kwh for run in runs]
    mean, sd, median = statistics.fmean(values), statistics.stdev(values), statistics.median(values)
    printed_mean, printed_sd = published()[("2", task, "mean_kwh")], published()[("2", task, "sd_kwh")]
    printed_median = published().get(("text", task, "median_kwh"))
    return TaskRow(
        mean_kwh=mean,
        sd_kwh=sd,
        median_kwh=median,
        runs=len(runs),
        models=len({run.model for run in runs}),
        published_mean_kwh=printed_mean.value,
        published_sd_kwh=printed_sd.value,
        published_median_kwh=printed_median.value if printed_median else None,
        agrees=printed_mean.agrees(mean),
        sd_agrees=agreement(printed_sd, sd),
        median_agrees=agreement(printed_median, median) if printed_median else None,
    )


def _model_row(study: Study, model: str) -> ModelRow:
    runs = study.prompted_runs(model)
    kwh = statistics.fmean(run.node_kwh for run in runs)
    grams = statistics.fmean(run.carbon_g_co2e for run in runs)
    printed_kwh, printed_g = published()[("3", model, "mean_kwh")], published()[("3", model, "mean_g_co2e")]
    return ModelRow(
        mean_kwh=kwh,
        mean_g_co2e=grams,
        runs=len(runs),
        datasets=len({(run.task, run.dataset) for run in runs}),
        published_mean_kwh=printed_kwh.value,
        published_mean_g_co2e=printed_g.value,
        kwh_agrees=agreement(printed_kwh, kwh),
        g_co2e_agrees=agreement(printed_g, grams),
    )


def _parity_row(study: Study, model: str) -> ParityRow:
    per_inference = statistics.fmean(run.node_kwh for run in study.prompted_runs(model)) / INFERENCES
    quantities: Sequence[str] = ("training_kwh", "fine_tuning_kwh", "inference_kwh", "parity_inferences")
    training, tuning, printed_inference, printed = (published()[("5", model, name)].value for name in quantities)
    parity = (training + tuning) / per_inference
    return ParityRow(
        parity_inferences=parity,
        training_kwh=training,
        fine_tuning_kwh=tuning,
        kwh_per_inference=per_inference,
        published_parity_inferences=printed,
        published_kwh_per_inference=printed_inference,
        relative_difference=parity / printed - 1,
    )
