"""The study replayed: a plan's runs turned into simulated ones with the study's time and power, and Table 2 from them.

Every run gets a node of 8 x A100 of its own on the virtual clock: seven boards at the idle power of the study's runs of
that model and dataset, one at their active power. The boards' sensors have errors of their own, drawn by a seed that
hangs on model, task and dataset; nothing but these errors separates a replay from the study's mean.
"""

from __future__ import annotations

import difflib
import math
import statistics
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from pydantic import Field

from harness.errors import UserInputError
from harness.footprint.accountings import accounted
from harness.frozen import Frozen
from harness.records import RunRecord
from harness.run.config import Plan
from harness.simulated_node import SimulatedNodeSpec
from harness.specs import Accounting, MeasureSpec, ReplaySpec, RunSpec, SourcesSpec
from harness.stats import Estimate
from harness.study.catalog import INFERENCES, TASKS, Published, published, study_models
from harness.study.cells import Cell, known_cells, study_datasets
from harness.study.compare import STUDY_GPUS, STUDY_NEW_TOKENS
from harness.units import J_PER_KWH

STUDY: Accounting = "study-2023"
SUFFIX = "-replay"
# Short: the simulated board is steady from its first second, and every virtual second of eight boards costs real time.
MEASURE = MeasureSpec(
    window_s=1.0,
    null_window_s=0.5,
    idle_s=0.5,
    settle_s=0.2,
    warm_up_block_s=0.5,
    warm_up_max_s=100.0,  # two images of the slowest model
    target_relative_halfwidth=0.05,
    min_repeats=3,
    max_repeats=6,
    max_duration_s=1e6,
    sample_period_s=0.1,
)


def replay_plan(plan: Plan) -> Plan:
    """The same runs, each as a replay of what the study found for its model, task and dataset.

    Raises:
        UserInputError: The study did not run one of them: another model, task, dataset, batch, or number of tokens.
    """
    replays = [replay_spec(spec) for spec in plan.specs]
    return Plan(plan.campaign + SUFFIX, tuple({spec.run_id: spec for spec in replays}.values()), plan.options)


def replay_spec(spec: RunSpec) -> RunSpec:
    """One run as a replay.

    Raises:
        UserInputError: The study did not run it.
    """
    cell = _cell_of(spec)
    _refuse_other_work(spec)
    per = 1 / INFERENCES
    idle_w = (cell.gpus_kwh - cell.active_gpu_kwh) * J_PER_KWH / cell.duration_s / (STUDY_GPUS - 1)
    replay = ReplaySpec(
        study=STUDY,
        dataset=cell.dataset,
        runs=cell.runs,
        duration_s=cell.duration_s * per,
        active_gpu_w=cell.active_gpu_kwh * J_PER_KWH / cell.duration_s,
        idle_gpu_w=idle_w,
        memory_unmetered_s=max(0.0, cell.duration_s - cell.memory_s) * per,
        node_energy_j=cell.node_kwh * J_PER_KWH * per,
        node_scatter_j=cell.sd_kwh * J_PER_KWH * per,
    )
    seed = zlib.crc32(f"{spec.model.id} {spec.task} {spec.prompts.dataset}".encode())
    node = SimulatedNodeSpec(gpu_count=STUDY_GPUS, clock="virtual", seed=seed, idle_w=idle_w, steady=True)
    changes = {
        "engine": "simulated",
        "sources": SourcesSpec(kind="simulated", node=node),
        "measure": MEASURE,
        "accounting": STUDY,
        "replay": replay,
        # What the study's models wrote is not known of the other tasks: a replay does not count it.
        "text": spec.text if spec.task == "text-generation" else None,
    }
    return RunSpec.model_validate({name: getattr(spec, name) for name in RunSpec.model_fields} | changes)


def _cell_of(spec: RunSpec) -> Cell:
    """What the study found for a run's model, task and dataset."""
    on_task = [cell for cell in known_cells() if cell.task == spec.task]
    models = sorted({cell.model for cell in on_task})
    if spec.model.id not in models:
        near = difflib.get_close_matches(spec.model.id, models, n=1, cutoff=0.5)
        guess = f"Did you mean {near[0]}? " if near else ""
        raise UserInputError(
            f"The study did not run {spec.model.id} on {spec.task}, so there is nothing to replay.",
            f"{guess}Its models there are in configs/study/{spec.task}.yaml.",
        )
    datasets = {entry.hub: entry.dataset for entry in study_datasets() if entry.task == spec.task}
    if spec.prompts.kind != "hub" or spec.prompts.dataset not in datasets:
        given = spec.prompts.dataset or f"prompts of kind {spec.prompts.kind!r}"
        raise UserInputError(
            f"The study did not run {spec.task} on {given}, so there is nothing to replay.",
            f"Its datasets there are {', '.join(datasets)}: see configs/study/{spec.task}.yaml.",
        )
    known = {cell.dataset: cell for cell in on_task if cell.model == spec.model.id}
    cell = known.get(datasets[spec.prompts.dataset], known.get(None))
    assert cell is not None, f"study_cells.csv lacks {spec.model.id} on {spec.prompts.dataset}"
    return cell


def _refuse_other_work(spec: RunSpec) -> None:
    """What the study's runs were not."""
    for asked, given, theirs in (
        ("batch_size", spec.batch_size, 1),
        ("text.new_tokens", _generated_tokens(spec), STUDY_NEW_TOKENS),
        ("dtype", spec.dtype, "float32"),
    ):
        if given != theirs:
            raise UserInputError(
                f"The study ran {spec.model.id} with {asked} {theirs}, not {given}, so there is nothing to replay.",
                f"Set {asked}: {theirs}, as in configs/study/{spec.task}.yaml.",
            )


def _generated_tokens(spec: RunSpec) -> int:
    return spec.text.new_tokens if spec.text and spec.task == "text-generation" else STUDY_NEW_TOKENS


# --- Table 2 from replayed runs -----------------------------------------------------------------------


class ReplayedMean(Frozen):
    """The mean over replayed runs beside the study's, kWh per 1,000 inferences, the node as the study accounted for it.

    `item`: a task with its task-specific models (Table 2), or a multi-purpose model over all its datasets (Table 3).
    """

    table: str
    item: str
    models: int
    cells: int = Field(description="pairs of model and dataset that were replayed")
    cells_of_study: int
    replayed_kwh: Estimate
    sd_kwh: float | None = Field(description="over models and datasets; the paper's is over single runs")
    data_kwh: float = Field(description="the study's own mean over the same pairs")
    ratio: float = Field(description="replayed over data")
    agrees: bool = Field(description="the replay's 95 % interval holds the study's mean")
    cells_agreeing: int = Field(
        description="pairs whose interval holds the study's mean of that pair: more than 95 %, since gain errors of "
        "eight boards are added as if all erred alike, and the simulation draws each apart"
    )
    cells_agreeing_active_gpu: int = Field(
        description="the same for our own count, the GPU that ran the model: about 95 %"
    )
    published_kwh: float | None = Field(description="None where not every pair was replayed")
    published_agrees: bool | None = Field(
        description="the interval holds a value that is printed so, rounded or cut off (the paper did both)"
    )


def replayed_means(records: Iterable[RunRecord]) -> list[ReplayedMean]:
    """Table 2, then Table 3, as far as complete replays of them are among the records; others are left out."""
    multi = {entry.model for entry in study_models() if entry.kind == "multi-purpose" and entry.in_paper}
    groups: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        if record.spec.replay is not None and record.summary is not None:
            model = record.spec.model.id
            groups[("3", model) if model in multi else ("2", record.spec.task)].append(record)
    order = [*(("2", task) for task in TASKS), *(("3", model) for model in sorted(multi))]
    return [_mean(*group, groups[group], multi) for group in order if group in groups]


def _mean(table: str, item: str, records: Sequence[RunRecord], multi: set[str]) -> ReplayedMean:
    energies, truths, active = [], [], 0
    for record in records:
        found = accounted(record, STUDY)
        replay = record.spec.replay
        assert found  # replayed_means has left the others out
        assert replay
        energies.append(found.energy_kwh_per_1000)
        truths.append(replay.node_energy_j * INFERENCES / J_PER_KWH)
        assert record.summary
        ours = record.summary.gpu_energy_j
        active += ours.low <= replay.active_gpu_w * replay.duration_s <= ours.high
    mean, truth = mean_of_nodes(energies), statistics.fmean(truths)
    if table == "2":
        models = {cell.model for cell in known_cells() if cell.task == item} - multi
        whole = len(models) * sum(entry.task == item for entry in study_datasets())
    else:
        whole = sum(cell.model == item for cell in known_cells())
    printed = published()[(table, item, "mean_kwh")] if len(records) == whole else None
    return ReplayedMean(
        table=table,
        item=item,
        models=len({record.spec.model.id for record in records}),
        cells=len(records),
        cells_of_study=whole,
        replayed_kwh=mean,
        sd_kwh=statistics.stdev(each.value for each in energies) if len(energies) > 1 else None,
        data_kwh=truth,
        ratio=mean.value / truth,
        agrees=mean.low <= truth <= mean.high,
        cells_agreeing=sum(each.low <= t <= each.high for each, t in zip(energies, truths, strict=True)),
        cells_agreeing_active_gpu=active,
        published_kwh=printed.value if printed else None,
        published_agrees=printed_within(printed, mean) if printed else None,
    )


def printed_within(printed: Published, mean: Estimate) -> bool:
    """Whether an interval holds a value that rounds to the printed digits, or gives them when the rest is cut off."""
    return mean.low <= printed.value + printed.unit and mean.high >= printed.value - printed.unit / 2


def mean_of_nodes(energies: Sequence[Estimate]) -> Estimate:
    """The mean of estimates whose errors are independent: each replayed run has boards of its own.

    Half-widths and standard uncertainties add in squares; nothing common is left to add up.
    """
    count = len(energies)
    value = math.fsum(each.value for each in energies) / count
    half = math.sqrt(math.fsum(each.half_width**2 for each in energies)) / count
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        n=count,
        standard_uncertainty=math.sqrt(math.fsum(each.standard_uncertainty**2 for each in energies)) / count,
        method="mean over simulated nodes with independent sensor errors",
    )
