"""The study's models as rows of a ranking: the backdrop for a user's runs, boundary by boundary. Pure."""

from __future__ import annotations

from harness.report.ranking import Boundary, Energy, RankingRow
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


def study_row(known: Reference) -> RankingRow:
    """One model of the study on one task.

    What follows from energy (CO2e, charges, km) is left to the reader of the row: the study's own CO2e is of its grid.
    """
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
        latency_s=known.duration_s / INFERENCES,
        duration_s=known.duration_s / INFERENCES,
        caveats=(ESTIMATED,),
    )


def study_rows(known: tuple[Reference, ...]) -> list[RankingRow]:
    """The paper's models on every task they did: the task-specific ones, and the eight general ones task by task."""
    return [study_row(each) for each in known if each.row in ("paper", "paper-by-task") and each.task is not None]
