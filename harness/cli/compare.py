"""`harness compare`: which of two or more takes less energy, by how much, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from harness.cli.options import Json, Results
from harness.cli.selection import EXIT_UNREADABLE, no_such_run, runs_named, tell_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from harness.compare.base import Across, Boundary, LeftOut, Side
    from harness.errors import StoreError
    from harness.imported import ImportedRecord
    from harness.store.files import StoredRun

EXIT_MORE = 1
Name = TypeVar("Name", bound=str)


def compare_command(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C ...]",
            help="Run ids (or their beginning), folders, campaigns, imported runs, or study:MODEL; the first is the "
            "baseline. One campaign alone: its models against each other.",
        ),
    ],
    per: Annotated[
        str, typer.Option(metavar="UNIT", help="Energy per generation, token (written), image or megapixel (made).")
    ] = "generation",
    boundary: Annotated[
        str, typer.Option(metavar="NAME", help="gpu (those that ran the model, gross), above-idle, node-gpus or node.")
    ] = "gpu",
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Every pair, not all against the first.")] = False,
    margin: Annotated[str, typer.Option(metavar="X%", help="A difference up to this counts as none.")] = "5%",
    across: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Compare although these differ: boundary,gpu,unit,origin; said beside it."),
    ] = None,
    fail_if_more_than: Annotated[
        str | None,
        typer.Option(
            metavar="X%",
            help="Exit code 1 where more than this above the baseline is shown (95 %), 2 where it cannot be checked.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="With it: exit code 1 unless more than that is ruled out.")
    ] = False,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Ratios of energy with 95 % intervals and verdicts: less, more, equivalent, or cannot tell."""
    from harness.cli.compare_tables import print_comparison
    from harness.cli.tables import console
    from harness.compare.base import BOUNDARIES, UNITS
    from harness.compare.comparison import compare_sides
    from harness.compare.groups import by_model, matched
    from harness.compare.verdicts import check_limit
    from harness.errors import UserInputError

    unit, energy = _one_of("--per", per, UNITS), _one_of("--boundary", boundary, tuple(BOUNDARIES))
    allowed = _across(across)
    same = _fraction("--margin", margin, 0.0)
    limit = None if fail_if_more_than is None else _fraction("--fail-if-more-than", fail_if_more_than, -1.0)
    if strict and limit is None:
        raise UserInputError("--strict belongs to --fail-if-more-than.", "harness compare A B --fail-if-more-than 5%")
    unreadable: list[StoreError] = []
    left_out: list[LeftOut] = []
    groups = _groups(what, results, energy, allowed, unreadable, left_out)
    if len(groups) == 1 and len(what) == 1:
        groups = by_model(groups[0])
    sets, unmatched = matched(groups) if groups else ([], [])
    comparison = compare_sides(sets, energy, unit, all_pairs, same, allowed, [*left_out, *unmatched])
    if limit is not None:
        check = check_limit(comparison.comparisons, comparison.left_out, limit, strict)
        comparison = comparison.model_copy(update={"check": check})
    if as_json:
        typer.echo(comparison.model_dump_json(indent=2))
    else:
        print_comparison(comparison, console())
    for line in comparison.check.lines if comparison.check is not None else ():
        typer.echo(line, err=as_json or line.startswith("fails"))
    if comparison.check is not None and comparison.check.failed:
        raise typer.Exit(EXIT_MORE)
    tell_unreadable(unreadable)
    if comparison.check is not None and comparison.check.unchecked:
        raise typer.Exit(EXIT_UNREADABLE)


# --- options ----------------------------------------------------------------------------------------------


def _one_of(option: str, value: str, known: Sequence[Name]) -> Name:
    from harness.errors import UserInputError

    found = next((each for each in known if each == value), None)
    if found is None:
        raise UserInputError(f"{option} cannot be {value!r}.", f"Choose from {', '.join(known)}.")
    return found


def _across(listed: str | None) -> frozenset[Across]:
    from harness.compare.base import ACROSS

    names = [name.strip() for name in (listed or "").split(",") if name.strip()]
    return frozenset(_one_of("--across", name, ACROSS) for name in names)


def _fraction(option: str, text: str, above: float) -> float:
    """5% or 0.05. Bare numbers of 1 and more could be either."""
    from harness.errors import UserInputError

    bare = text.strip().removesuffix("%")
    try:
        value = float(bare) / (100 if bare != text.strip() else 1)
    except ValueError:
        value = float("nan")
    if bare == text.strip() and abs(value) >= 1:
        raise UserInputError(f"{option} {text} could be per cent or a fraction.", f"Write {option} {text}%.")
    if not above < value <= 10 and not (above < 0 and value == 0):
        raise UserInputError(f"{option} cannot be {text!r}.", f"Give a share above {above:.0%}, such as 5%.")
    return value


# --- what is meant ----------------------------------------------------------------------------------------


def _groups(
    what: list[str],
    results: Path,
    boundary: Boundary,
    allowed: Collection[Across],
    unreadable: list[StoreError],
    left_out: list[LeftOut],
) -> list[list[Side]]:
    """The sides that each name means; what has no figure is put aside.

    A model that the study ran on several tasks is taken on that of the first thing whose task is known.
    """
    from harness.compare.comparison import refuse_baseline
    from harness.compare.foreign import STUDY, study_side, study_task
    from harness.errors import UserInputError
    from harness.store.files import find_runs
    from harness.store.imports import find_imports
    from harness.study.models import reference

    aside: list[StoreError] = []
    own = [name for name in what if not name.startswith(STUDY)]
    stored = find_runs([results], aside) if own and results.exists() else []
    imported = find_imports([results], aside) if own and results.exists() else []
    found: dict[int, list[Side]] = {}
    for index, name in enumerate(what):
        if not name:
            raise UserInputError("A name to compare is empty.", "harness list shows what there is.")
        if not name.startswith(STUDY):
            found[index] = _sides(name, stored, imported, results, boundary, allowed, unreadable, left_out)
    models = [name for name in what if name.startswith(STUDY)]
    tasks = [side.task for sides in found.values() for side in sides] + [
        study_task(name, reference()) for name in models
    ]
    task = next((each for each in tasks if each), None)
    for index, name in enumerate(what):
        if name in models:
            found[index] = [study_side(name, boundary, reference(), task)]
        if index == 0 and not found[index] and left_out:
            refuse_baseline(left_out[0])
    return [found[index] for index in range(len(what)) if found[index]]


def _sides(
    name: str,
    stored: list[StoredRun],
    imported: list[ImportedRecord],
    results: Path,
    boundary: Boundary,
    allowed: Collection[Across],
    unreadable: list[StoreError],
    left_out: list[LeftOut],
) -> list[Side]:
    from functools import partial

    from harness.compare.foreign import imported_side
    from harness.compare.sides import side_of

    runs = runs_named(name, stored, unreadable)
    if runs:
        builds = [(f"{run.record.campaign}/{run.record.run_id}", partial(side_of, run.record)) for run in runs]
        return _built(name, builds, [boundary], left_out)
    projects: dict[tuple[object, ...], list[ImportedRecord]] = {}
    for record in _imports_named(name, imported, unreadable):
        alike = (record.project_name, record.task, record.tool_version, record.boundary, record.pue, record.parts)
        projects.setdefault(alike, []).append(record)
    if not projects:
        if unreadable and Path(name).exists():
            return []
        known = {run.record.campaign for run in stored} | {run.record.run_id for run in stored}
        raise no_such_run(name, known | {record.campaign for record in imported}, results)
    boundaries: list[Boundary] = [boundary, "node", "node-gpus"] if "boundary" in allowed else [boundary]
    foreign = [(f"{name}: {found[0].project_name}", partial(imported_side, found)) for found in projects.values()]
    return _built(name, foreign, boundaries, left_out)


def _imports_named(name: str, imported: list[ImportedRecord], unreadable: list[StoreError]) -> list[ImportedRecord]:
    from harness.store.imports import find_imports

    found = [each for each in imported if name in (each.campaign, each.project_name) or each.run_id.startswith(name)]
    return find_imports([Path(name)], unreadable) if not found and Path(name).exists() else found


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
