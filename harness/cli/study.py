"""`harness study`: the 88-model study reproduced, accounted for in other ways, and compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.echo import echo
from harness.cli.options import Json
from harness.cli.selection import tell_unreadable

if TYPE_CHECKING:
    from pydantic import BaseModel

    from harness.errors import StoreError
    from harness.study.models import ModelFigures


study_app = typer.Typer(
    help="The study of 88 models (Power Hungry Processing): tables, accountings, claims; your runs beside it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Clone of github.com/sashavor/co2_inference, or its folder of emissions and lengths.",
    ),
]
Task = Annotated[str | None, typer.Option("--task", metavar="TASK", help="Only this task, e.g. text-generation.")]


@study_app.command("tables")
def tables_command(data: Data, as_json: Json = False) -> None:
    """The paper's tables 2, 3 and 5 and its totals from the raw data, beside the printed numbers."""
    from harness.study.runs import load_study
    from harness.study.tables import study_tables

    tables = study_tables(load_study(data))
    if as_json:
        _json(tables)
        return
    from harness.cli.study_tables import print_tables

    print_tables(tables)


@study_app.command("models")
def models_command(
    data: Data,
    task: Task = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the aggregate that ships as harness/data/study.csv."),
    ] = None,
    cells: Annotated[
        Path | None,
        typer.Option("--cells", metavar="FILE", help="Write the figures by dataset that ship as study_cells.csv."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Every model: parameters, energy per 1,000 inferences with interval, seconds, by dataset."""
    import json

    from harness.errors import UserInputError
    from harness.study.models import model_figures, reference_csv
    from harness.study.runs import load_study

    if task is not None and (csv is not None or cells is not None):
        raise UserInputError(f"{'--csv' if csv else '--cells'} writes all tasks.", "Leave --task out.")
    study = load_study(data)
    figures = model_figures(study, task)
    if csv is not None:
        _write(csv, reference_csv(figures))
    if cells is not None:
        from harness.study.cells import cells_csv, study_cells

        _write(cells, cells_csv(study_cells(study)))
    if as_json:
        echo(json.dumps({"models": [row.model_dump(mode="json") for row in figures]}, indent=2))
        return
    from harness.cli.study_tables import print_models

    print_models(figures, _counts(figures))
    for path in filter(None, (csv, cells)):
        echo(f"Aggregate written to {path}.")


@study_app.command("accounting")
def accounting_command(data: Data, as_json: Json = False) -> None:
    """The same runs under five boundaries: node, eight GPUs, the active GPU, above idle, fair share."""
    from harness.study.accounting import study_accounting
    from harness.study.runs import load_study

    accounting = study_accounting(load_study(data))
    if as_json:
        _json(accounting)
        return
    from harness.cli.study_tables import print_accounting

    print_accounting(accounting)


@study_app.command("general-purpose")
def general_purpose_command(data: Data, as_json: Json = False) -> None:
    """Multi-purpose models against task-specific ones; how energy grows with parameters and output."""
    from harness.importers.codecarbon_table import find_files
    from harness.study.general import general_purpose, read_lengths
    from harness.study.runs import load_study

    found = general_purpose(load_study(data), read_lengths(find_files([data])))
    if as_json:
        _json(found)
        return
    from harness.cli.study_tables import print_general_purpose

    print_general_purpose(found)


@study_app.command("claims")
def claims_command(data: Data, as_json: Json = False) -> None:
    """Numbers that the study and the press quote from it: arithmetic, what the data gives, and a verdict."""
    import json

    from harness.study.claims import study_claims
    from harness.study.runs import load_study

    claims = study_claims(load_study(data))
    if as_json:
        echo(json.dumps({"claims": [claim.model_dump(mode="json") for claim in claims]}, indent=2))
        return
    from harness.cli.study_tables import print_claims

    print_claims(claims)


@study_app.command("compare")
def compare_command(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="Folders of results, campaigns or runs.")],
    as_json: Json = False,
) -> None:
    """Your runs beside the study's same model and task, under the same boundary. Needs no raw data."""
    import json

    from harness.errors import UserInputError
    from harness.store.files import find_runs
    from harness.store.imports import find_imports
    from harness.study.cells import known_cells
    from harness.study.compare import compare_import, compare_run
    from harness.study.models import reference

    unreadable: list[StoreError] = []
    known = reference()
    rows = [compare_run(run.record, known, known_cells()) for run in find_runs(results, unreadable)]
    rows += [compare_import(record, known) for record in find_imports(results, unreadable)]
    if not rows and not unreadable:
        where = ", ".join(map(str, results))
        raise UserInputError(f"There are no runs under {where}.", "Measure some with harness run, or import some.")
    if as_json:
        echo(json.dumps({"runs": [row.model_dump(mode="json") for row in rows]}, indent=2))
    else:
        from harness.cli.study_tables import print_compared

        print_compared(rows)
    tell_unreadable(unreadable)


def _json(document: BaseModel) -> None:
    echo(document.model_dump_json(indent=2))


def _counts(figures: list[ModelFigures]) -> str:
    paper = len({(row.model, row.task) for row in figures if row.row == "paper"})
    other = len({(row.model, row.task) for row in figures if row.row == "other"})
    return f"{paper} of the paper's models, {other} rows of models that are in the data only"


def _write(path: Path, text: str) -> None:
    from harness.errors import UserInputError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserInputError(
            f"Cannot write {path}: {error.strerror}.", "Give a file in a folder that exists."
        ) from error
