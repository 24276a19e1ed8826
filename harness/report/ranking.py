"""One flat row per run for rankings: energies by boundary, equivalents, caveats, and why one is left out. Pure.

Light enough for ten thousand runs: everything that is proportional to energy is computed once, for one kWh.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from harness.footprint.accountings import accounted
from harness.footprint.equivalents import Equivalents, equivalents
from harness.frozen import Frozen
from harness.measure.consistency import changed
from harness.measure.run_caveats import all_caveats
from harness.records import RunRecord, Summary
from harness.report.rating import WAYS, Bands, Stars, Way, bands, stars
from harness.report.results import PER, Editions, boards_text
from harness.report.sweep import latency_s, work_words
from harness.stats import Estimate
from harness.study.catalog import StudyModel, study_models
from harness.tasks.catalog import task_info
from harness.units import J_PER_KWH

Boundary = Literal["gpu", "above_idle", "node_gpus", "node", "node_as_study"]
BOUNDARIES: dict[Boundary, str] = {
    "gpu": "GPUs that ran the model, gross",
    "above_idle": "GPUs that ran the model, above idle",
    "node_gpus": "every GPU of the machine",
    "node": "node: GPUs, CPU, DRAM, metered",
    "node_as_study": "node as the study counted it: every GPU, CPU and memory assumed",
}


class Energy(Frozen):
    """Per 1,000 generations, with the 95 % interval; None where none is known, which does not make it exact."""

    kwh: float
    low: float | None
    high: float | None


class RankingRow(Frozen):
    """One run, or one model of the study, as a ranking shows it.

    `energies`: by boundary, those that are known; no entry is "not measured". `left_out`: why it has no place in a
    ranking, None where it has one. `mark`: whose energy it is if not measured ("simulated", "replay, simulated",
    "study"). CO2e, charges and km are those of the GPUs that ran the model, as `energies["gpu"]`.
    """

    campaign: str
    run_id: str
    started_at_utc: str | None
    mark: str
    task: str
    model: str
    general: bool | None = Field(description="a general model that was asked by a prompt; None: the task has no others")
    parameters: int | None
    weights: str
    dtype: str
    prompts: str
    work: str = Field("", description="what one request asks for, where models of the task write: 10 new tokens")
    load: str = Field(description="batch size, or the load on a server")
    batch_size: int | None = Field(description="None: a server's own")
    gpu: str | None
    boundary: str | None = Field(description="how many of the machine's GPUs ran the model")
    windows: int = 0
    generations: int = 0
    energies: dict[Boundary, Energy] = Field(default_factory=dict)
    unit: Literal["token", "image"] | None = None
    j_per_unit: float | None = None
    j_per_unit_low: float | None = None
    j_per_unit_high: float | None = None
    carbon_g_co2e: float | None = Field(None, description="per 1,000 generations, as the next two")
    phone_charges: float | None = None
    car_km: float | None = None
    latency_s: float | None = Field(None, description="of a batch; of a server the median answer")
    duration_s: float | None = Field(None, description="engine time per generation")
    power_w: float | None = Field(None, description="mean of the GPUs that ran the model, at work")
    quality: float | None = Field(None, description="given by the user")
    quality_metric: str | None = None
    caveats: tuple[str, ...] = Field((), description="codes")
    left_out: str | None = None

    @property
    def energy(self) -> Energy | None:
        """Of the GPUs that ran the model, gross."""
        return self.energies.get("gpu")

    @property
    def peers(self) -> tuple[str, ...]:
        """What rows must share to be rated against each other.

        Task, board, how many of it, whose energy, how much a request asks for, and the requests.
        """
        return (self.task, self.gpu or "", self.boundary or "", self.mark, self.work, self.prompts)


class Rating(Frozen):
    """The bands of one group of peers under one boundary, by one way."""

    peers: tuple[str, ...]
    boundary: Boundary
    bands: Bands


Among = Mapping[tuple[tuple[str, ...], Way], Rating]


def per_kwh(editions: Editions) -> Equivalents:
    """What one kWh equals, for `ranking_row`.

    Raises:
        UserInputError: An edition that does not exist.
    """
    return equivalents(energy_kwh=1.0, phone=editions.phone, car=editions.car, grid=editions.grid)


def ranking_row(record: RunRecord, one_kwh: Equivalents) -> RankingRow:
    """The row of one run; one without a usable figure has the reason in `left_out`.

    Args:
        record: The run.
        one_kwh: What one kWh equals (`per_kwh`).
    """
    spec, summary = record.spec, record.summary
    gpu, boundary = boards_text(record)
    content: dict[str, Any] = {
        "campaign": record.campaign,
        "run_id": record.run_id,
        "started_at_utc": record.started_at_utc,
        "mark": record.mark,
        "task": spec.task,
        "model": spec.model.id,
        "general": _general(record),
        "parameters": _parameters(record),
        "weights": "none" if spec.engine == "simulated" else spec.model.weights,
        "dtype": spec.quantization or spec.dtype,
        "prompts": spec.prompts.label,
        "work": _work(record),
        "load": spec.load_label,
        "batch_size": None if spec.server is not None else spec.batch_size,
        "gpu": gpu,
        "boundary": boundary,
        "caveats": tuple(caveat.code for caveat in all_caveats(record)),
        "left_out": why_left_out(record),
    }
    if summary is None or content["left_out"] is not None:
        return RankingRow(**content)
    per_unit = summary.energy_j_per_output_token or summary.energy_j_per_image
    if per_unit is not None:
        content |= {
            "unit": "token" if summary.energy_j_per_output_token else "image",
            "j_per_unit": per_unit.value,
            "j_per_unit_low": per_unit.low,
            "j_per_unit_high": per_unit.high,
        }
    kwh = summary.gpu_energy_j.value * PER / J_PER_KWH
    return RankingRow(
        **content,
        windows=summary.windows,
        generations=summary.generations,
        energies=_energies(record, summary),
        **equal_to(kwh, one_kwh),
        latency_s=latency_s(record),
        duration_s=summary.duration_s,
        power_w=summary.power_w,
    )


def equal_to(kwh: float, one_kwh: Equivalents) -> dict[str, float]:
    """What an energy in kWh equals: the fields of a row that depend on the editions of factors."""
    names = ("carbon_g_co2e", "phone_charges", "car_km")
    return {name: getattr(one_kwh, name) * kwh for name in names}


def _in_study(record: RunRecord) -> StudyModel | None:
    """What the study has of a replayed model: on this task, else as one of the eight that have no task of their own."""
    known, spec = _study_by_task(), record.spec
    return known.get((spec.model.id, spec.task), known.get((spec.model.id, None)))


@functools.cache
def _study_by_task() -> dict[tuple[str, str | None], StudyModel]:
    return {(known.model, known.task): known for known in study_models()}


def _general(record: RunRecord) -> bool | None:
    """Whether a general model was asked by a prompt, where the task has models of its own as well."""
    spec, info = record.spec, task_info(record.spec.task)
    if record.replayed:
        known = _in_study(record)
        return known is not None and known.kind == "multi-purpose"
    if info is None or info.section is None or info.writes:
        return None
    return spec.text is not None


def _work(record: RunRecord) -> str:
    """Of tasks in which every model writes; elsewhere a general model's tokens are its way of doing the same work."""
    info = task_info(record.spec.task)
    return work_words(record.spec) if info is not None and info.writes else ""


def _parameters(record: RunRecord) -> int | None:
    """As counted; of a replay, in which no model ran, as the study's table has them."""
    known = _in_study(record) if record.replayed else None
    return record.parameter_count or (known.parameters if known else None)


OF_A_BOARD = "a fixed load, by which harness compare tells boards from models"


def why_left_out(record: RunRecord) -> str | None:
    """Why a run has no place in a ranking; None where it has one."""
    summary = record.summary
    if record.failure is not None:
        return f"failed: {record.failure.message}"
    if record.spec.calibration is not None:
        return OF_A_BOARD
    if summary is None:
        return "it has no summary"
    if summary.generations <= 0:
        return "no generation was counted in its windows, so there is no energy per generation"
    accepted = [window for window in record.measurements if not window.rejected]
    if not accepted:
        return "it has a summary, but no window that the summary could rest on"
    if not any(window.work.requests > 0 for window in accepted):
        return "its windows counted no generation, though its summary did"
    if summary.gpu_energy_j.value <= 0:
        return "its energy is not above 0: noise around nothing"
    return changed(record)


def _energies(record: RunRecord, summary: Summary) -> dict[Boundary, Energy]:
    found: dict[Boundary, Estimate | None] = {
        "gpu": summary.gpu_energy_j,
        "above_idle": summary.gpu_above_idle_j,
        "node_gpus": summary.node_gpus_energy_j,
        "node": summary.node_energy_j,
    }
    scale = PER / J_PER_KWH
    energies = {name: _energy(each, scale) for name, each in found.items() if each is not None}
    counted = accounted(record, record.spec.accounting) if record.spec.accounting else None
    if counted is not None:
        energies["node_as_study"] = _energy(counted.energy_kwh_per_1000, 1.0)
    return energies


def _energy(estimate: Estimate, scale: float) -> Energy:
    return Energy(kwh=estimate.value * scale, low=estimate.low * scale, high=estimate.high * scale)


def ranked(rows: Iterable[RankingRow], boundary: Boundary = "gpu") -> list[RankingRow]:
    """The rows that have a place under a boundary, by task in the order of their first, the least energy first."""
    placed = [row for row in rows if row.left_out is None and boundary in row.energies]
    order = {task: index for index, task in enumerate(dict.fromkeys(row.task for row in placed))}
    return sorted(placed, key=lambda row: (order[row.task], row.energies[boundary].kwh))


def ratings(rows: Sequence[RankingRow], boundary: Boundary = "gpu") -> dict[tuple[tuple[str, ...], Way], Rating]:
    """The bands of every group of peers, by both ways; groups that have none are missing.

    The edges are made from models, each by its run of least energy, so that a model that was run at ten batch sizes
    does not count ten times.
    """
    least: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows:
        energy = row.energies.get(boundary)
        if row.left_out is None and energy is not None and energy.kwh > 0:
            models = least.setdefault(row.peers, {})
            models[row.model] = min(energy.kwh, models.get(row.model, energy.kwh))
    return rated(least, boundary)


def rated(
    least: Mapping[tuple[str, ...], Mapping[str, float]], boundary: Boundary
) -> dict[tuple[tuple[str, ...], Way], Rating]:
    """The bands of groups of peers, by both ways, from each model's least energy in kWh per 1,000 generations."""
    made = ((peers, way, bands(models.values(), way)) for peers, models in least.items() for way in WAYS)
    return {
        (peers, way): Rating(peers=peers, boundary=boundary, bands=each)
        for peers, way, each in made
        if each is not None
    }


def stars_of(row: RankingRow, among: Among, way: Way) -> Stars | None:
    """The stars of one row among its peers (`ratings`); None where its group has no bands."""
    rating = among.get((row.peers, way))
    energy = row.energies.get(rating.boundary) if rating is not None else None
    if rating is None or energy is None or energy.kwh <= 0:
        return None
    return stars(rating.bands, energy.kwh, energy.low, energy.high)
