"""The study's models as rows of a ranking: the backdrop for a user's runs, boundary by boundary. Pure."""

from __future__ import annotations

from harness.footprint.equivalents import Equivalents
from harness.report.ranking import Boundary, Energy, RankingRow, equal_to
from harness.study.catalog import INFERENCES
from harness.study.compare import STUDY_BOARD, STUDY_GPUS
from harness.study.models import Reference

STUDY = "study"
ESTIMATED = "estimated-from-node"
NOTES = {
    ESTIMATED: "The study's files hold the energy of its whole node; what the one GPU that worked drew of it is "
    "estimated (harness/study/accounting.py) and has no interval. The node's interval is the scatter of its runs alone."
}
ONLY_UNDER: dict[str, tuple[Boundary, ...]] = {ESTIMATED: ("gpu", "above_idle")}  # where a caveat weakens anything


def study_row(known: Reference, one_kwh: Equivalents) -> RankingRow:
    """One model of the study on one task; its CO2e is of `one_kwh`'s grid, as that of every row, not of the study's."""
    return RankingRow(
        campaign="Power Hungry Processing",
        run_id=f"study: {known.model}, {known.task}",
        started_at_utc=None,
        mark=STUDY,
        task=known.task or "",
        model=known.model,
        general=known.kind == "multi-purpose",
        parameters=known.parameters,
        weights="pretrained",
        dtype="float32",
        prompts="the study's datasets",
        load="batch 1",
        batch_size=1,
        gpu=f"NVIDIA {STUDY_BOARD}",
        boundary=f"1 of {STUDY_GPUS} GPUs",
        windows=known.runs,
        generations=known.runs * INFERENCES,
        energies={
            "gpu": Energy(kwh=known.active_gpu_kwh, low=None, high=None),
            "above_idle": Energy(kwh=known.above_idle_kwh, low=None, high=None),
            "node_gpus": Energy(kwh=known.gpus_kwh, low=None, high=None),
            "node_as_study": Energy(kwh=known.mean_kwh, low=known.low_kwh, high=known.high_kwh),
        },
        **equal_to(known.active_gpu_kwh, one_kwh),
        latency_s=known.duration_s / INFERENCES,
        duration_s=known.duration_s / INFERENCES,
        caveats=(ESTIMATED,),
    )


def study_rows(known: tuple[Reference, ...], one_kwh: Equivalents) -> list[RankingRow]:
    """The paper's models on every task they did: the task-specific ones, and the eight general ones task by task."""
    wanted = (each for each in known if each.row in ("paper", "paper-by-task") and each.task is not None)
    return [study_row(each, one_kwh) for each in wanted]
