"""What the names given to `harness compare` mean: sides, what is left out of them, and what cannot be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.selection import no_such_run, runs_named

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from harness.compare.base import Across, BoardLoad, Boundary, LeftOut, Side
    from harness.errors import StoreError
    from harness.imported import ImportedRecord
    from harness.store.files import StoredRun


@dataclass
class Meant:
    """What is stored; and of what the names mean, what has no figure and what cannot be read."""

    runs: list[StoredRun] = field(default_factory=list)
    imports: list[ImportedRecord] = field(default_factory=list)
    broken: list[StoreError] = field(default_factory=list)
    broken_imports: list[StoreError] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    unreadable: list[StoreError] = field(default_factory=list)
    loads: dict[tuple[Path, Boundary], list[tuple[datetime, BoardLoad, float | None]]] = field(default_factory=dict)


def sides_meant(
    what: list[str], results: Path, boundary: Boundary, allowed: Collection[Across], found: Meant
) -> list[list[Side]]:
    """The sides that each name means; what has no figure is put aside.

    A model that the study ran on several tasks is taken on that of the first thing whose task is known.

    Raises:
        UserInputError: A name means nothing, or the first one has no side.
    """
    from harness.compare.comparison import refuse_baseline
    from harness.compare.foreign import STUDY, study_side, study_task
    from harness.errors import UserInputError
    from harness.store.files import find_runs
    from harness.store.imports import find_imports
    from harness.study.models import reference

    if not all(what):
        raise UserInputError("A name to compare is empty.", "harness list shows what there is.")
    models = [name for name in what if name.startswith(STUDY)]
    if len(models) < len(what) and results.exists():
        found.runs = find_runs([results], found.broken)
        found.imports = find_imports([results], found.broken_imports)
    groups: dict[int, list[Side]] = {}
    for index, name in enumerate(what):
        if name not in models:
            groups[index] = _sides(name, results, boundary, allowed, found)
            if index == 0 and not groups[index]:
                refuse_baseline(found.left_out[0])
    tasks = [side.task for sides in groups.values() for side in sides]
    tasks += [study_task(name, reference()) for name in models]
    task = next((each for each in tasks if each), None)
    for index, name in enumerate(what):
        if name in models:
            groups[index] = [study_side(name, boundary, reference(), task)]
    return [groups[index] for index in range(len(what)) if groups[index]]


def _sides(name: str, results: Path, boundary: Boundary, allowed: Collection[Across], found: Meant) -> list[Side]:
    """Of one name: runs, else imported runs; at least one side, or something left out."""
    from harness.compare.base import LeftOut
    from harness.compare.foreign import imported_side
    from harness.store.documents import told_together

    before = len(found.unreadable)
    imports = [each for each in found.imports if name in _import_names(each)]
    known = {word for run in found.runs for word in (run.record.campaign, run.record.run_id)}
    runs = [] if imports and name not in known else runs_named(name, found.runs, found.broken, found.unreadable)
    if not runs and len(found.unreadable) == before:
        imports = imports or _imports_named(name, found)
        campaigns = {name} | {record.campaign for record in imports}
        found.unreadable += [each for each in found.broken_imports if each.path and each.path.parent.name in campaigns]
    unreadable = told_together(found.unreadable[before:])
    found.left_out += [LeftOut(name=str(each.path or name), reason=each.message) for each in unreadable]
    if runs:
        typed = _typed(found.runs)
        if any(run.record.spec.calibration is None for run in runs):  # a campaign is its models, not its calibrations
            runs = [run for run in runs if run.record.spec.calibration is None]
        builds = [(typed(run), partial(_run_side, run, typed, found)) for run in runs]
        return _built(name, builds, [boundary], found.left_out)
    if not imports and not unreadable:
        found.unreadable += [*found.broken, *found.broken_imports]  # it may be one of these
        raise no_such_run(name, known | {record.campaign for record in found.imports}, results)
    boundaries: list[Boundary] = [boundary, "node", "node-gpus"] if "boundary" in allowed else [boundary]
    foreign = [
        (f"{each[0].campaign}/{each[0].project_name}", partial(imported_side, each)) for each in _projects(imports)
    ]
    return _built(name, foreign, boundaries, found.left_out)


def _run_side(run: StoredRun, typed: Callable[[StoredRun], str], found: Meant, boundary: Boundary, group: str) -> Side:
    """A run's side, with what is known of its boards."""
    from datetime import datetime

    from harness.compare.boards import nearest
    from harness.compare.sides import side_of

    side = side_of(run.record, boundary, group, typed(run))
    if run.record.spec.calibration is not None:
        return side  # a load corrects no load
    place = run.folder.parent, boundary
    if place not in found.loads:
        found.loads[place] = _board_loads(run.folder.parent, typed, found, boundary)
    limits_w = _limits_w(run)
    loads = [(at, each) for at, each, limit_w in found.loads[place] if limit_w in limits_w]
    return side.model_copy(update={"calibrations": nearest(loads, datetime.fromisoformat(run.record.started_at_utc))})


def _limits_w(run: StoredRun) -> set[float | None]:
    """Power limits of the boards that ran it: under another limit a board is another one."""
    return {info.power_limit_w for info in run.record.sources if info.runs_model}


def _load_name(run: StoredRun) -> str:
    """What a calibration ran, and by which libraries: another one may choose other kernels for the same work."""
    spec, known = run.record.spec, run.record.environment
    name = f"{spec.model.id}, {spec.dtype} on {spec.device} by {spec.engine}"
    if spec.engine != "calibration" or known is None:
        return name
    return f"{name}, torch {known.packages.get('torch', 'not known')}, CUDA {known.cuda or 'none'}"


def _board_loads(
    campaign: Path, typed: Callable[[StoredRun], str], found: Meant, boundary: Boundary
) -> list[tuple[datetime, BoardLoad, float | None]]:
    """With its time and power limit, every calibration of the campaign that has a figure within the boundary."""
    from datetime import datetime

    from harness.compare.boards import board_load
    from harness.compare.sides import side_of
    from harness.errors import MeasurementInvalid
    from harness.store.files import find_runs
    from harness.store.manifest import MANIFEST

    runs = [run for run in found.runs if run.folder.parent == campaign]
    if not runs and (campaign / MANIFEST).exists():  # a folder elsewhere was named
        runs = find_runs([campaign], [])
    loads = []
    for run in runs:
        if run.record.spec.calibration is None:
            continue
        try:
            side = side_of(run.record, boundary, "", typed(run))
        except MeasurementInvalid:
            continue
        each = board_load(side, _load_name(run))
        if each is not None:
            (limit_w,) = _limits_w(run)
            loads.append((datetime.fromisoformat(run.record.started_at_utc), each, limit_w))
    return loads


def _typed(stored: Sequence[StoredRun]) -> Callable[[StoredRun], str]:
    """What can be typed for a run: CAMPAIGN/RUN_ID where just one is stored under it, else its folder."""
    from collections import Counter

    def short(run: StoredRun) -> str:
        return f"{run.record.campaign}/{run.record.run_id}"

    counts = Counter(map(short, stored))
    by_name = {run.folder for run in stored if counts[short(run)] == 1}
    return lambda run: short(run) if run.folder in by_name else str(run.folder)


def _import_names(record: ImportedRecord) -> tuple[str, ...]:
    alone = (record.campaign, record.project_name, record.run_id)
    return (*alone, f"{record.campaign}/{record.project_name}", f"{record.campaign}/{record.run_id}")


def _imports_named(name: str, found: Meant) -> list[ImportedRecord]:
    """By the beginning of a run id, or in a folder."""
    from harness.store.imports import find_imports

    begun = [each for each in found.imports if each.run_id.startswith(name)]
    return find_imports([Path(name)], found.unreadable) if not begun and Path(name).exists() else begun


def _projects(records: Iterable[ImportedRecord]) -> list[list[ImportedRecord]]:
    """Imported runs that are repeats of each other."""
    projects: dict[tuple[object, ...], list[ImportedRecord]] = {}
    for record in records:
        alike = (record.project_name, record.task, record.tool_version, record.boundary, record.pue, record.parts)
        projects.setdefault(alike, []).append(record)
    return list(projects.values())


def _built(
    group: str,
    builds: Sequence[tuple[str, Callable[[Boundary, str], Side]]],
    boundaries: Sequence[Boundary],
    left_out: list[LeftOut],
) -> list[Side]:
    """Each side within the first of the boundaries that it has; what has none of them is left out by its name."""
    from harness.compare.base import LeftOut
    from harness.errors import MeasurementInvalid

    sides = []
    for name, build in builds:
        reason = ""
        for boundary in boundaries:
            try:
                sides.append(build(boundary, group))
                break
            except MeasurementInvalid as error:
                reason = reason or error.message
        else:
            left_out.append(LeftOut(name=name, reason=reason))
    return sides
