"""A user's own runs beside the study's same model and task, boundary by boundary, or why they do not compare. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from harness.footprint.accountings import accounted, assumed_power
from harness.frozen import Frozen
from harness.imported import ImportedRecord
from harness.records import RunRecord
from harness.stats import Estimate
from harness.study.catalog import INFERENCES
from harness.study.cells import Cell, StudyDataset, study_dataset
from harness.study.models import Reference
from harness.units import J_PER_KWH

STUDY_GPUS = 8
STUDY_NEW_TOKENS = 10  # code/textgen of the study's repository: max_new_tokens=10
STUDY_CODECARBON = 2
STUDY_BOARD = "A100-SXM4-80GB"

Boundary = Literal["active GPU, gross", "above idle", "all GPUs of the node", "node: GPUs, CPU, memory"]


class Side(Frozen):
    """One boundary of one run beside the study's, per 1,000 generations. No ratio where they are not the same thing."""

    boundary: Boundary
    ours_kwh: float | None
    ours_low_kwh: float | None
    ours_high_kwh: float | None
    study_kwh: float
    ratio: float | None = Field(description="ours / study's; None: not comparable")
    why_not: str | None


class PerUnit(Frozen):
    """The active GPU per token or image."""

    unit: Literal["token", "image"]
    ours_j: float
    study_j: float
    ratio: float | None
    why_not: str | None


class Compared(Frozen):
    """One run of the user beside the study."""

    campaign: str
    run_id: str
    model: str
    task: str | None
    simulated: bool
    replay: bool = Field(False, description="the study's own runs, replayed")
    device: str | None
    dataset: str | None = Field(None, description="the study's name of the run's dataset, if it is one of its thirty")
    in_study: bool
    why_not: str | None = Field(description="why nothing is comparable; None if something may be")
    sides: tuple[Side, ...] = ()
    per_unit: PerUnit | None = None
    notes: tuple[str, ...] = ()


def compare_run(record: RunRecord, known: Sequence[Reference], cells: Sequence[Cell] = ()) -> Compared:
    """One measured or simulated run beside the study.

    Args:
        record: The run.
        known: The study's models, over all of a task's datasets.
        cells: The same by dataset: used where the run's dataset is one of the study's.
    """
    spec, summary = record.spec, record.summary
    gpus = [source for source in record.sources if source.kind == "gpu"]
    active = [source for source in gpus if source.runs_model]
    head = Compared(
        campaign=record.campaign,
        run_id=record.run_id,
        model=spec.model.id,
        task=spec.task,
        simulated=record.simulated,
        replay=record.replayed,
        device=active[0].device_name if active else None,
        in_study=False,
        why_not=None,
    )
    found = _find(spec.model.id, spec.task, known)
    if summary is None:
        return head.model_copy(update={"in_study": found is not None, "why_not": "the run failed and has no energy"})
    if found is None:
        return head.model_copy(update={"why_not": _absent(spec.model.id, spec.task, known)})
    one = None if len(active) == 1 else f"your model ran on {len(active)} GPUs, the study's on one"
    work = None
    if spec.text is not None and spec.text.new_tokens != STUDY_NEW_TOKENS:
        work = f"your runs make {spec.text.new_tokens} tokens each, the study's {STUDY_NEW_TOKENS}"
    node = None if len(gpus) == STUDY_GPUS else f"your machine has {_gpus(len(gpus))}, the study's {STUDY_GPUS}"
    theirs = _figures(found, study_dataset(spec.task, spec.prompts), cells)
    ours_node, whole = _node(record, node)
    sides = (
        _side("active GPU, gross", summary.gpu_energy_j, theirs.active_gpu_kwh, one or work),
        _side("above idle", summary.gpu_above_idle_j, theirs.above_idle_kwh, one or work),
        _side("all GPUs of the node", summary.node_gpus_energy_j, theirs.gpus_kwh, node or work),
        _side("node: GPUs, CPU, memory", ours_node, theirs.node_kwh, whole or work),
    )
    return head.model_copy(
        update={
            "in_study": True,
            "dataset": theirs.dataset,
            "sides": sides,
            "per_unit": _per_unit(record, theirs, one),
            "notes": _notes(record, head.device, theirs.dataset is not None),
        }
    )


@dataclass(frozen=True)
class _Figures:
    """The study's side: of one dataset where the run's is one of its own, else of all three together."""

    dataset: str | None
    active_gpu_kwh: float
    above_idle_kwh: float
    gpus_kwh: float
    node_kwh: float


def _figures(found: Reference, dataset: StudyDataset | None, cells: Sequence[Cell]) -> _Figures:
    name = dataset.dataset if dataset else None
    for cell in cells:
        if name is not None and (cell.model, cell.task, cell.dataset) == (found.model, found.task, name):
            return _Figures(name, cell.active_gpu_kwh, cell.above_idle_kwh, cell.gpus_kwh, cell.node_kwh)
    return _Figures(None, found.active_gpu_kwh, found.above_idle_kwh, found.gpus_kwh, found.mean_kwh)


def _node(record: RunRecord, other_machine: str | None) -> tuple[Estimate | None, str | None]:
    """The node's energy, joules per generation, and why it is not the study's boundary.

    Counted as the study did (`accounting: study-2023`) on eight GPUs it is.
    """
    summary, accounting = record.summary, record.spec.accounting
    assert summary is not None  # compare_run has returned before
    if accounting is not None and (counted := accounted(record, accounting)) is not None:
        return counted.energy_kwh_per_1000.scaled(J_PER_KWH / INFERENCES), other_machine
    if summary.node_energy_j is None:
        return None, summary.node_missing or "your CPU and memory were not measured"
    assumed_w = sum(assumed_power("study-2023", part).power_w for part in ("cpu", "memory"))
    return summary.node_energy_j, f"the study assumed {assumed_w:.0f} W for CPU and memory; yours is measured"


def compare_import(record: ImportedRecord, known: Sequence[Reference]) -> Compared:
    """One run that CodeCarbon recorded beside the study, which CodeCarbon recorded too."""
    gpu = next((part for part in record.parts if part.kind == "gpu"), None)
    head = Compared(
        campaign=record.campaign,
        run_id=record.run_id,
        model=record.project_name,
        task=record.task,
        simulated=False,
        device=gpu.device_name if gpu else None,
        in_study=False,
        why_not=None,
    )
    if record.phases[-1].name is None:
        told = "the file holds the whole run, loading of the model included; the study's figures are of its query phase"
        return head.model_copy(update={"why_not": told})
    if record.task is None or record.generations is None:
        lacking = "its task" if record.task is None else "how many generations it made"
        told = f"CodeCarbon's file does not tell {lacking}; import it with --task and --generations"
        return head.model_copy(update={"why_not": told})
    found = _find(record.project_name, record.task, known)
    if found is None:
        return head.model_copy(update={"why_not": _absent(record.project_name, record.task, known)})
    gpus = gpu.device_count if gpu and gpu.device_count else 0
    node = None if gpus == STUDY_GPUS else f"CodeCarbon saw {_gpus(round(gpus))}, in the study {STUDY_GPUS}"
    if node is None and record.boundary != "node":
        node = "CodeCarbon metered one process, in the study the whole machine"
    major = record.tool_version.split(".")[0]
    whole = node
    if whole is None and major != str(STUDY_CODECARBON):
        whole = f"CodeCarbon {record.tool_version} models memory otherwise than the study's 2.3.1"
    last, per = record.phases[-1], INFERENCES / record.generations
    sides = (
        _known_side("all GPUs of the node", last.gpu_energy_j, per, found.gpus_kwh, node),
        _known_side("node: GPUs, CPU, memory", last.node_energy_j, per, found.mean_kwh, whole),
    )
    notes = [f"energies of the last phase ({last.name}) over {record.generations} generations"]
    notes += _other_board(head.device)
    return head.model_copy(update={"in_study": True, "sides": sides, "notes": tuple(notes)})


def _other_board(device: str | None) -> list[str]:
    return [] if device is None or STUDY_BOARD in device else [f"your GPU is {device}, the study's {STUDY_BOARD}"]


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _find(model: str, task: str, known: Sequence[Reference]) -> Reference | None:
    return next((row for row in known if row.model == model and row.task == task), None)


def _absent(model: str, task: str, known: Sequence[Reference]) -> str:
    """Why a model has nothing beside it, with the nearest names and what the task's models take."""
    on_task = [row for row in known if row.task == task and row.row == "paper"]
    if not on_task:
        return f"the study has no task {task!r}"
    near = difflib.get_close_matches(model, [row.model for row in known if row.task == task], n=1, cutoff=0.6)
    hint = f"; the nearest is {near[0]}" if near else ""
    energies = [row.active_gpu_kwh for row in on_task]
    return (
        f"the study did not run {model} on {task}{hint}; its {len(on_task)} models there take {min(energies):.3g} to "
        f"{max(energies):.3g} kWh per 1,000 on the active GPU"
    )


def _side(boundary: Boundary, ours_j: Estimate | None, study_kwh: float, why_not: str | None) -> Side:
    ours = ours_j.scaled(INFERENCES / J_PER_KWH) if ours_j else None
    if ours is None:
        why_not = why_not or "not measured"
    return Side(
        boundary=boundary,
        ours_kwh=ours.value if ours else None,
        ours_low_kwh=ours.low if ours else None,
        ours_high_kwh=ours.high if ours else None,
        study_kwh=study_kwh,
        ratio=ours.value / study_kwh if ours and why_not is None and study_kwh > 0 else None,
        why_not=why_not,
    )


def _known_side(boundary: Boundary, ours_j: float | None, per: float, study_kwh: float, why_not: str | None) -> Side:
    ours = None if ours_j is None else ours_j * per / J_PER_KWH
    return Side(
        boundary=boundary,
        ours_kwh=ours,
        ours_low_kwh=None,
        ours_high_kwh=None,
        study_kwh=study_kwh,
        ratio=ours / study_kwh if ours is not None and why_not is None else None,
        why_not="no GPU was metered" if ours is None and why_not is None else why_not,
    )


def _per_unit(record: RunRecord, found: _Figures, why_not: str | None) -> PerUnit | None:
    """Per token from the study's ten new tokens, per image from its one image a request."""
    summary = record.summary
    assert summary is not None  # compare_run has returned before
    study_j = found.active_gpu_kwh * J_PER_KWH / INFERENCES
    unit: Literal["token", "image"] = "token" if record.spec.task == "text-generation" else "image"
    if unit == "token":
        study_j /= STUDY_NEW_TOKENS
    ours = summary.energy_j_per_output_token if unit == "token" else summary.energy_j_per_image
    if ours is None:
        return None
    ratio = ours.value / study_j if why_not is None and study_j > 0 else None
    return PerUnit(unit=unit, ours_j=ours.value, study_j=study_j, ratio=ratio, why_not=why_not)


def _notes(record: RunRecord, device: str | None, by_dataset: bool) -> tuple[str, ...]:
    """What differs even where the boundary is the same."""
    spec = record.spec
    notes = [f"study: {STUDY_BOARD}, batch 1, transformers or diffusers of September 2023, idle of its GPU estimated"]
    notes += _other_board(device)
    if record.replayed:
        notes.append("yours replays the study's own runs: the ratio tells how well the harness returns them")
    if not by_dataset:
        notes.append("the study's figure is the mean over its three datasets; yours is of other inputs")
    elif record.simulated:
        notes.append("your energy is simulated: no real GPU drew it")
    if spec.model.built_here:
        notes.append(f"your weights are {spec.model.weights}")
    if spec.task == "text-generation":
        notes.append(
            f"the study's energy per token takes every answer for the {STUDY_NEW_TOKENS} tokens it was allowed"
        )
    if spec.batch_size != 1:
        notes.append(f"your batch is {spec.batch_size}, the study's 1")
    if spec.image is not None:
        notes.append(
            f"yours: {spec.image.steps} steps at {spec.image.width}x{spec.image.height}; the study used each "
            "pipeline's defaults"
        )
    notes.append(f"your weights are {spec.dtype}; the study's as each library loads them")
    return tuple(notes)
