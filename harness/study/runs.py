"""The study's runs from its raw files: CodeCarbon's rows joined to task and dataset, in any folder layout."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import UserInputError
from harness.importers.codecarbon_checks import intensities, parse_time
from harness.importers.codecarbon_table import Problem, Table, find_files, read_table
from harness.study.catalog import IMAGE_INPUT, StudyModel, file_meaning, study_models
from harness.units import G_PER_KG, J_PER_KWH

LOAD, QUERY = "load model", "query model"
_HINT = (
    "Give a clone of github.com/sashavor/co2_inference, or its data folder, with emissions/base and emissions/complete."
)


@dataclass(frozen=True)
class StudyRun:
    """One run: 1,000 inferences of one model on one dataset. Energies are of the query phase, of the whole node.

    `label` is the name in emissions/complete, `model` the one in the run's own rows; they differ for 30 runs.
    """

    run_id: str
    model: str
    label: str
    task: str
    dataset: str | None
    prompted: bool
    resized: bool
    finished_at_local: str
    duration_s: float
    node_kwh: float
    gpus_kwh: float
    cpu_kwh: float
    ram_kwh: float
    carbon_g_co2e: float
    load_duration_s: float
    load_gpus_kwh: float
    all_phases_kwh: float
    gpu_count: int
    memory_gb: float

    @property
    def load_gpus_w(self) -> float:
        """Mean power of all GPUs while the model was loaded."""
        return self.load_gpus_kwh * J_PER_KWH / self.load_duration_s

    @property
    def kind(self) -> str:
        """Whether the model was made for the task or prompted for it."""
        return "multi-purpose" if self.prompted else "task-specific"


@dataclass(frozen=True)
class StudyTotals:
    """Sums over every row of emissions/base."""

    rows: int
    runs: int
    energy_kwh: float
    gpu_energy_kwh: float
    emissions_kg: float
    intensity_g_per_kwh: float
    rows_of_other_intensity: int


@dataclass(frozen=True)
class Study:
    """Runs whose task is known, sums over all, and what the files left open."""

    runs: tuple[StudyRun, ...]
    totals: StudyTotals
    problems: tuple[Problem, ...]
    files: int

    def paper_runs(self, task: str) -> list[StudyRun]:
        """What the paper's table of tasks uses: its own task-specific models, resized images."""
        models = {entry.model for entry in study_models() if entry.task == task and entry.in_paper}
        resized = task in IMAGE_INPUT
        return [
            run
            for run in self.runs
            if run.task == task and not run.prompted and run.resized == resized and run.model in models
        ]

    def prompted_runs(self, model: str, task: str | None = None) -> list[StudyRun]:
        """Runs of a general model that was prompted, over all tasks or one."""
        return [run for run in self.runs if run.prompted and run.model == model and task in (None, run.task)]


def load_study(folder: Path) -> Study:
    """Read the study's raw data from wherever below a folder it lies.

    CSV files are told apart by their headers: CodeCarbon's task form (emissions/base), its run form with a name that
    tells task and dataset (emissions/complete). What lies in other folders and is neither is left alone.

    Raises:
        UserInputError: No CSV files; none of CodeCarbon; a file of other columns, malformed or truncated; a run
            without its query phase, or named in emissions/complete and missing in emissions/base.
    """
    if not folder.is_dir():
        raise UserInputError(f"There is no folder {folder}.", _HINT)
    paths = find_files([folder])
    table = read_table(paths)
    refused = [problem for problem in table.problems if problem.refused and not _beside(problem, table)]
    if refused:
        first = refused[0]
        where = first.file if first.line is None else f"{first.file}, line {first.line}"
        more = f" ({len(refused) - 1} more such problems)" if len(refused) > 1 else ""
        raise UserInputError(f"The study's data cannot be used: {where}: {first.message}{more}.", _HINT)
    if not table.files:
        raise UserInputError(f"{folder} holds {len(paths)} CSV files, but none of CodeCarbon.", _HINT)
    forms = np.array([source.form == "tasks" for source in table.files], dtype=bool)
    in_base = forms[table.file] if len(forms) else np.zeros(0, dtype=bool)
    base, complete = table.only(in_base), table.only(~in_base)
    if len(base.file) == 0 or len(complete.file) == 0:
        lacking = "emissions/base (a row per phase)" if len(base.file) == 0 else "emissions/complete (a row per run)"
        raise UserInputError(f"{folder} holds {len(paths)} CSV files, but none of {lacking}.", _HINT)
    runs = _runs(base, complete)
    return Study(tuple(runs), _totals(base), table.problems, len(paths))


def _beside(problem: Problem, table: Table) -> bool:
    """A CSV file of something else that lies in no folder of CodeCarbon's files: lengths, parameters, a user's own."""
    homes = {source.path.parent for source in table.files}
    return problem.code == "not-codecarbon" and Path(problem.file).parent not in homes


def _runs(base: Table, complete: Table) -> list[StudyRun]:
    phases: dict[str, dict[str, int]] = {}
    for row, (run_id, name) in enumerate(zip(base.text["run_id"], base.text["task_name"], strict=True)):
        if name in phases.setdefault(run_id, {}):
            file, line = base.where(row)
            raise UserInputError(
                f"The study's data cannot be used: {file}, line {line}: {name!r} a second time.", _HINT
            )
        phases[run_id][name] = row
    runs, labelled = [], set()
    for row, run_id in enumerate(complete.text["run_id"]):
        source = complete.files[int(complete.file[row])].path
        meaning = file_meaning(source.stem)
        if meaning is None:
            raise UserInputError(f"The name of {source} does not tell task and dataset.", _HINT)
        if run_id not in phases:
            raise UserInputError(f"Run {run_id} of {source} is missing in emissions/base.", _HINT)
        if run_id in labelled:
            raise UserInputError(f"Run {run_id} of {source} is in emissions/complete twice.", _HINT)
        labelled.add(run_id)
        task, dataset, prompted, resized = meaning
        label = str(complete.text["project_name"][row])
        runs.append(_run(base, run_id, phases[run_id], label, task, dataset, prompted, resized))
    # Three token classifiers of the paper are in no file of emissions/complete: their task is known from the model
    # table, their dataset is not known.
    seen = {run.model for run in runs}
    lost = {entry.model: entry for entry in study_models() if entry.in_paper and entry.model not in seen and entry.task}
    for run_id, rows in phases.items():
        model = str(base.text["project_name"][next(iter(rows.values()))])
        entry: StudyModel | None = lost.get(model)
        if entry is not None and entry.task is not None and run_id not in labelled:
            resized = entry.task in IMAGE_INPUT
            runs.append(_run(base, run_id, rows, model, entry.task, None, False, resized))
    return runs


def _run(
    base: Table,
    run_id: str,
    rows: dict[str, int],
    label: str,
    task: str,
    dataset: str | None,
    prompted: bool,
    resized: bool,
) -> StudyRun:
    for name in (LOAD, QUERY):
        if name not in rows or base.number["duration"][rows[name]] <= 0:
            file, _ = base.where(next(iter(rows.values())))
            raise UserInputError(
                f"The study's data cannot be used: {file}: run {run_id} has no row {name!r}; the file may be cut.",
                _HINT,
            )
    load, query = rows[LOAD], rows[QUERY]
    number = {name: float(values[query]) for name, values in base.number.items()}
    parsed = parse_time(str(base.text["timestamp"][query]))
    return StudyRun(
        run_id=run_id,
        model=str(base.text["project_name"][query]),
        label=label,
        task=task,
        dataset=dataset,
        prompted=prompted,
        resized=resized,
        finished_at_local=parsed[0].isoformat() if parsed else str(base.text["timestamp"][query]),
        duration_s=number["duration"],
        node_kwh=number["energy_consumed"],
        gpus_kwh=number["gpu_energy"],
        cpu_kwh=number["cpu_energy"],
        ram_kwh=number["ram_energy"],
        carbon_g_co2e=number["emissions"] * G_PER_KG,
        load_duration_s=float(base.number["duration"][load]),
        load_gpus_kwh=float(base.number["gpu_energy"][load]),
        all_phases_kwh=float(base.number["energy_consumed"][list(rows.values())].sum()),
        gpu_count=int(number["gpu_count"]),
        memory_gb=number["ram_total_size"],
    )


def _totals(base: Table) -> StudyTotals:
    """Sums; the intensity is the one that most rows share (to five digits)."""
    ratio = intensities(base)
    shared, count = Counter(f"{value:.5g}" for value in ratio).most_common(1)[0]
    return StudyTotals(
        rows=len(base.file),
        runs=len(set(base.text["run_id"])),
        energy_kwh=float(base.number["energy_consumed"].sum()),
        gpu_energy_kwh=float(base.number["gpu_energy"].sum()),
        emissions_kg=float(base.number["emissions"].sum()),
        intensity_g_per_kwh=float(shared),
        rows_of_other_intensity=len(ratio) - count,
    )
