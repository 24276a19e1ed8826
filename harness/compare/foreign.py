"""Sides that this harness did not measure: imported runs, and models of the 88-model study. Pure.

Neither has windows or a budget. Imported runs of one project are repeats; of the study the scatter of its runs is kept
for the node only. Both read NVML uncalibrated, so that NVML's own ±5 % stands for their meter; powers that they assumed
for CPU and memory have no stated doubt, and none is made up.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from statistics import fmean

from harness.compare.base import Boundary, Doubt, Meter, Side, Unit, Window
from harness.errors import MeasurementInvalid, UserInputError
from harness.imported import ImportedRecord
from harness.power.profiles import UNCALIBRATED_GAIN_U
from harness.stats import Estimate, combined, repeatability
from harness.study.catalog import INFERENCES
from harness.study.compare import STUDY_NEW_TOKENS
from harness.study.models import Reference
from harness.units import J_PER_KWH

STUDY = "study:"
STUDY_GPU = "8 x NVIDIA A100-SXM4-80GB"
ONE_NODE = "the gain of the study's node is taken to be one for all its models; it names one kind of node, not which"
ASSUMED = "powers assumed for CPU and memory have no stated doubt: the interval does not hold it"


# --- the study -------------------------------------------------------------------------------------------


def study_side(name: str, boundary: Boundary, known: Sequence[Reference], task: str | None = None) -> Side:
    """A model of the study, by `study:MODEL` or `study:MODEL@TASK`.

    Args:
        name: As the user wrote it.
        boundary: Which energy.
        known: The study's models.
        task: The task of what it is compared with; decides where the name tells none.

    Raises:
        UserInputError: The study has no such model, or has it on several tasks.
    """
    model, rows = _rows(name, known)
    tasks = sorted({row.task for row in rows if row.task})
    chosen = [row for row in rows if row.task == task] or rows
    if len({row.task for row in chosen}) != 1:
        raise UserInputError(
            f"The study ran {model} on {', '.join(tasks)}.", f"Name the task: {STUDY}{model}@{tasks[0]}"
        )
    row = chosen[0]
    return _study_side(row, f"{STUDY}{row.model}@{row.task}", boundary, name)


def study_task(name: str, known: Sequence[Reference]) -> str | None:
    """The task that a name of the study means by itself; None where there are several.

    Raises:
        UserInputError: As `study_side`.
    """
    tasks = {row.task for row in _rows(name, known)[1]}
    return tasks.pop() if len(tasks) == 1 else None


def _rows(name: str, known: Sequence[Reference]) -> tuple[str, list[Reference]]:
    model, _, asked = name.removeprefix(STUDY).partition("@")
    rows = [row for row in known if model in (row.model, row.model.rpartition("/")[2]) and row.task is not None]
    if not rows:
        names = sorted({row.model for row in known})
        near = difflib.get_close_matches(model, names, n=1, cutoff=0.5)
        hint = f"Did you mean {STUDY}{near[0]}?" if near else "harness study models lists them."
        raise UserInputError(f"The study has no model {model!r}.", hint)
    on_task = [row for row in rows if asked in ("", row.task)]
    if not on_task:
        tasks = sorted({row.task for row in rows if row.task})
        raise UserInputError(
            f"The study did not run {model} on {asked}, but on {', '.join(tasks)}.", "Name one of these."
        )
    return model, on_task


def _study_side(row: Reference, name: str, boundary: Boundary, group: str) -> Side:
    to_j = J_PER_KWH / INFERENCES
    kwh = {
        "gpu": row.active_gpu_kwh,
        "above-idle": row.above_idle_kwh,
        "node-gpus": row.gpus_kwh,
        "node": row.mean_kwh,
    }[boundary]
    energy_j = kwh * to_j
    estimated = boundary in ("gpu", "above-idle")
    whole = boundary == "node"
    meter = Meter(
        identity="study-2023",
        device="study-2023",
        taken_as_one=True,
        gain_relative_u=UNCALIBRATED_GAIN_U,
        offset_u_w=0.0,
        energy_fraction=row.gpus_kwh / row.mean_kwh if whole else 1.0,
        offset_per_w=0.0,
    )
    scatter = row.sd_kwh / math.sqrt(row.runs) / row.mean_kwh
    return Side(
        label=f"{STUDY}{row.model}",
        name=name,
        identity=name,
        group=group,
        kind="study",
        mark="estimated" if estimated else "CPU and memory assumed" if whole else "",
        simulated=False,
        boundary=boundary,
        gpu=STUDY_GPU.partition(" x ")[2] if estimated else STUDY_GPU,
        task=row.task,
        energy_j=energy_j,
        estimate_j=_scatter_alone(row, scatter) if whole else None,
        windows=(),
        repeats=row.runs,
        doubt=Doubt(scatter=scatter, stated=0.0, run=0.0) if whole else None,
        no_doubt=None if whole else "of the study's runs only the scatter of the node's energy is kept",
        meters=(meter,),
        per_generation=_work(row.task),
        fields={"model": row.model, "task": row.task or ""},
        notes=(ONE_NODE, ASSUMED) if whole else (),
    )


def _scatter_alone(row: Reference, scatter: float) -> Estimate:
    return Estimate(
        value=row.mean_kwh,
        low=row.low_kwh,
        high=row.high_kwh,
        n=row.runs,
        standard_uncertainty=scatter * row.mean_kwh,
        method="scatter of the study's runs alone",
    ).scaled(J_PER_KWH / INFERENCES)


def _work(task: str | None) -> dict[Unit, float]:
    """What one inference of the study made: it took every answer for the tokens that it allowed."""
    made: dict[str, dict[Unit, float]] = {
        "text-generation": {"token": STUDY_NEW_TOKENS},
        "text-to-image": {"image": 1.0},
    }
    found: dict[Unit, float] = {"generation": 1.0}
    return found | made.get(task or "", {})


# --- imports ---------------------------------------------------------------------------------------------


def imported_side(records: Sequence[ImportedRecord], boundary: Boundary, group: str) -> Side:
    """Imported runs of one project, each a repeat: energies of the last phase over the generations told at the import.

    Raises:
        MeasurementInvalid: They have no count of generations, or not this boundary.
    """
    first = records[0]
    energies_j = [_energy_j(record, boundary) for record in records]
    energy_j = fmean(energies_j)
    if energy_j <= 0:
        raise MeasurementInvalid(f"Its energy, {energy_j:.3g} J, is not above zero: there is no ratio to it.")
    metered = [record.phases[-1].gpu_energy_j for record in records]
    gpus_j = math.fsum(each_j for each_j in metered if each_j is not None)
    fraction = min(1.0, gpus_j / math.fsum(record.phases[-1].node_energy_j for record in records))
    if boundary != "node":
        fraction = 1.0
    board = " ".join(
        sorted(f"{each.source_sha256} {each.run_id}" for each in records)
    )  # files do not tell which it was
    meter = Meter(
        identity=board,
        device=board,
        gain_relative_u=UNCALIBRATED_GAIN_U,
        offset_u_w=0.0,
        energy_fraction=fraction,
        offset_per_w=0.0,
    )
    several = len(records) > 1
    unknown = None if several else "one imported run says nothing of its scatter"
    if None in metered:
        unknown = "no GPU was metered, and what was modelled has no stated doubt"
    scatter_j = repeatability(energies_j).standard_uncertainty if several else 0.0
    common_j = UNCALIBRATED_GAIN_U * fraction * energy_j
    estimate = combined(energies_j, [0.0] * len(records), common_j) if unknown is None else None
    return Side(
        label=first.project_name,
        name=f"{first.campaign}/{first.run_id if len(records) == 1 else first.project_name}",
        identity=board,
        group=group,
        kind="imported",
        mark="CPU and memory modelled" if boundary == "node" else "",
        simulated=False,
        boundary=boundary,
        gpu=next((part.device_name for part in first.parts if part.kind == "gpu" and part.device_name), "not known"),
        task=first.task,
        energy_j=energy_j,
        estimate_j=estimate,
        windows=tuple(
            Window(
                label=each.run_id, energy_j=value, requests=each.generations or 0, input_tokens=None, input_pixels=None
            )
            for each, value in zip(records, energies_j, strict=True)
        ),
        repeats=len(records),
        doubt=Doubt(scatter=scatter_j / energy_j, stated=0.0, run=0.0) if unknown is None else None,
        no_doubt=unknown,
        meters=(meter,),
        per_generation={"generation": 1.0},
        fields={"model": first.project_name} | ({"task": first.task} if first.task else {}),
        caveats=tuple(dict.fromkeys(caveat.code for record in records for caveat in record.caveats)),
        notes=(ASSUMED,) if boundary == "node" else (),
    )


def _energy_j(record: ImportedRecord, boundary: Boundary) -> float:
    phase = record.phases[-1]
    if not record.generations:
        raise MeasurementInvalid(
            "Its file does not tell how many generations it took: harness import codecarbon FILE --generations N."
        )
    if record.pue not in (None, 1):
        raise MeasurementInvalid(f"It was written with a PUE of {record.pue:g}, so it may be the facility's energy.")
    if record.boundary == "process":
        raise MeasurementInvalid("CodeCarbon metered one process, not the machine: that is no boundary of ours.")
    found = {"node": phase.node_energy_j, "node-gpus": phase.gpu_energy_j}.get(boundary)
    if found is None:
        raise MeasurementInvalid(f"CodeCarbon did not meter it within the boundary {boundary!r}.")
    return found / record.generations
