"""One row per run: energy per 1,000 generations, what it equals, and what to doubt. Pure; printing is the CLI's."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from pydantic import Field

from harness.footprint.accountings import Accounted, accounted
from harness.footprint.equivalents import Equivalents, equivalents
from harness.footprint.factors import Factor
from harness.frozen import Frozen
from harness.measure.run_caveats import all_caveats
from harness.records import Caveat, RunRecord
from harness.specs import Accounting
from harness.stats import Estimate
from harness.units import J_PER_KWH

PER = 1000
MOST_OF_A_TEMPLATE = 32  # letters of it that a table shows


class Editions(Frozen):
    """Which edition of each factor turns energy into what people know."""

    phone: str
    car: str
    grid: str | Factor


class ResultRow(Frozen):
    """What a table, a JSON document or a page shows of one run.

    Energies are gross over the devices that ran the model (`boundary`), per 1,000 generations in kWh, and per token
    or image in J. `simulated` marks energy that no real GPU drew.
    """

    campaign: str
    run_id: str
    status: Literal["complete", "failed"]
    simulated: bool
    replay: bool = Field(False, description="time and power of a study's runs on a simulated node; no model ran")
    model: str
    weights: str
    task: str
    prompts: str = Field("builtin", description="the prompt set: builtin, a file, or a hub dataset")
    batch_size: int
    load: str | None = Field(None, description="the load on a server, instead of a batch")
    settings: dict[str, str] = Field(
        {}, description="what else may tell runs of one model and task apart, as far as it applies to the run"
    )
    gpu: str | None
    boundary: str | None
    windows: int = 0
    generations: int = 0
    energy_kwh_per_1000: Estimate | None = None
    repeatability_kwh_per_1000: Estimate | None = None
    above_idle_kwh_per_1000: Estimate | None = None
    idle_kwh_per_1000: Estimate | None = None
    node_gpus_kwh_per_1000: Estimate | None = None
    node_kwh_per_1000: Estimate | None = None
    node_missing: str | None = None
    true_energy_kwh_per_1000: float | None = None
    unit: Literal["token", "image"] | None = None
    energy_j_per_unit: Estimate | None = None
    equivalents_per_1000: Equivalents | None = None
    duration_s: float | None = None
    power_w: float | None = None
    accounted: Accounted | None = Field(None, description="how a study would have counted it, beside our own count")
    caveats: tuple[Caveat, ...] = ()
    failure: str | None = None


def result_row(record: RunRecord, editions: Editions, accounting: Accounting | None = None) -> ResultRow:
    """The row of one run.

    Args:
        record: The run.
        editions: Of the factors.
        accounting: Shown beside our own; None: the one that the run's config asked for, if any.

    Raises:
        UserInputError: An edition that does not exist.
    """
    spec, summary = record.spec, record.summary
    gpu, boundary = boards_text(record)
    head = ResultRow(
        campaign=record.campaign,
        run_id=record.run_id,
        status=record.status,
        simulated=record.simulated,
        replay=record.replayed,
        prompts=spec.prompts.label,
        model=spec.model.id,
        weights="none" if spec.engine == "simulated" else spec.model.weights,
        task=spec.task,
        batch_size=spec.batch_size,
        load=spec.load_label if spec.server is not None else None,
        settings=_settings(record),
        gpu=gpu,
        boundary=boundary,
        caveats=all_caveats(record),
        failure=record.failure.message if record.failure else None,
    )
    if summary is None:
        return head

    def kwh(per_generation: Estimate | None) -> Estimate | None:
        return per_generation.scaled(PER / J_PER_KWH) if per_generation else None

    energy = summary.gpu_energy_j.scaled(PER / J_PER_KWH)
    per_token = summary.energy_j_per_output_token
    true_j = summary.true_gpu_energy_j
    accounting = accounting or spec.accounting
    return head.model_copy(
        update={
            "windows": summary.windows,
            "generations": summary.generations,
            "energy_kwh_per_1000": energy,
            "repeatability_kwh_per_1000": kwh(summary.gpu_repeatability_j),
            "above_idle_kwh_per_1000": kwh(summary.gpu_above_idle_j),
            "idle_kwh_per_1000": kwh(summary.gpu_idle_j),
            "node_gpus_kwh_per_1000": kwh(summary.node_gpus_energy_j),
            "node_kwh_per_1000": kwh(summary.node_energy_j),
            "node_missing": summary.node_missing,
            "true_energy_kwh_per_1000": None if true_j is None else true_j * PER / J_PER_KWH,
            "unit": "token" if per_token else "image" if summary.energy_j_per_image else None,
            "energy_j_per_unit": per_token or summary.energy_j_per_image,
            "accounted": accounted(record, accounting) if accounting else None,
            "equivalents_per_1000": _equivalents(energy, editions),
            "duration_s": summary.duration_s,
            "power_w": summary.power_w,
        }
    )


def _settings(record: RunRecord) -> dict[str, str]:
    """By the name a table gives them; what was left open is "-", what does not apply is not there."""
    spec, text, image = record.spec, record.spec.text, record.spec.image
    found: dict[str, object] = {"max words": spec.prompts.max_words}
    if spec.prompts.picture_size is not None:
        found["picture size"] = "{} x {}".format(*spec.prompts.picture_size)
    if text is not None:
        found["max input tokens"] = text.max_input_tokens
        if any(window.work.output_tokens for window in record.measurements):
            asked = record.template or text.template
            found |= {"new tokens": text.new_tokens, "beams": text.beams, "chat": "yes" if text.chat else None}
            found["asked"] = None if asked is None else textwrap.shorten(asked, MOST_OF_A_TEMPLATE, placeholder="...")
    if image is not None:
        found |= {"steps": image.steps, "guidance": image.guidance, "image size": f"{image.width} x {image.height}"}
    if spec.server is not None:
        found["api"] = spec.server.api
    found |= {name: getattr(spec, name) for name in ("dtype", "attention", "compile", "quantization", "seed")}
    found["device map"] = spec.device_map
    return {name: "-" if value is None else str(value) for name, value in found.items()}


def told_apart_by(rows: Sequence[ResultRow]) -> tuple[str, ...]:
    """The settings in which rows of one task differ."""
    names = dict.fromkeys(name for row in rows for name in row.settings)
    values = {(row.task, name): set[str]() for row in rows for name in names}
    for row in rows:
        for name, value in row.settings.items():
            values[row.task, name].add(value)
    return tuple(name for name in names if any(len(values[row.task, name]) > 1 for row in rows))


def boards_text(record: RunRecord) -> tuple[str | None, str | None]:
    """Name of the board that ran the model, and how many of the machine's did: "1 of 8 GPUs"."""
    gpus = [source for source in record.sources if source.kind == "gpu"]
    active = [source for source in gpus if source.runs_model]
    boundary = f"{len(active)} of {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if gpus else None
    return active[0].device_name if active else None, boundary


class HasCaveats(Protocol):
    """Any kind of row that has caveats."""

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """In full."""


def caveat_lines(rows: Iterable[HasCaveats]) -> list[tuple[str, int, str]]:
    """(code, number of runs, one wording) for each kind of caveat among the rows."""
    lines: dict[str, tuple[int, str]] = {}
    for row in rows:
        for caveat in row.caveats:
            count, wording = lines.get(caveat.code, (0, caveat.message))
            lines[caveat.code] = (count + 1, wording)
    return [(code, count, wording) for code, (count, wording) in lines.items()]


def _equivalents(energy: Estimate, editions: Editions) -> Equivalents | None:
    if energy.value < 0:  # noise around nothing: there is no such number of phone charges
        return None
    interval = (max(0.0, energy.low), energy.high)
    return equivalents(
        energy_kwh=energy.value, interval=interval, phone=editions.phone, car=editions.car, grid=editions.grid
    )
