"""`harness import`: runs that other tools recorded. Each format has one command."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.echo import echo
from harness.cli.options import Json, Results

if TYPE_CHECKING:
    from harness.errors import StoreError
    from harness.imported import ImportedRecord
    from harness.importers.codecarbon import Reading
    from harness.importers.codecarbon_table import Problem
    from harness.store.imports import Kept

EXIT_REFUSED = 2
SHOWN_OF_A_KIND = 5

import_app = typer.Typer(
    help="Take over runs that other tools recorded, their accounting kept.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@import_app.callback()
def _group() -> None:
    """Take over runs that other tools recorded, their accounting kept."""


@import_app.command("codecarbon")
def codecarbon_command(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="CSV files, folders, or globs in quotes.")],
    campaign: Annotated[str, typer.Option(metavar="NAME", help="Campaign to store them in.")] = "codecarbon",
    results: Results = Path("results"),
    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="What these runs did, e.g. text-generation; the files do not say."),
    ] = None,
    generations: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Requests that the last phase of each run answered.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Read and check the files, store nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Import CodeCarbon CSV files (2.3 to 3.x): all rows of a file or none; every problem is told and counted."""
    import json

    from harness.importers.codecarbon import read_codecarbon, records, require_rows
    from harness.store.imports import Kept, keep_imports

    _check_campaign(campaign)
    _check_task(task)
    kept = Kept()
    with _nothing_to_collect():
        reading = require_rows(read_codecarbon(paths))
        if not check:
            kept = keep_imports(results, campaign, list(records(reading, campaign, task, generations)))
    document = _document(reading, kept, check)
    if as_json:
        echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print(document, results / campaign)
    _tell(reading.problems, kept)
    if reading.refused or kept.conflicting:
        raise typer.Exit(EXIT_REFUSED)


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """No search for garbage while thousands of records are made and kept: there is none, and it takes its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check_campaign(campaign: str) -> None:
    import re

    from harness.errors import UserInputError

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", campaign):
        raise UserInputError(f"The campaign name {campaign!r} cannot be a folder.", "Use letters, digits, . _ and -.")


def _check_task(task: str | None) -> None:
    import difflib

    from harness.errors import UserInputError
    from harness.study.catalog import TASKS

    if task is not None and task not in TASKS:
        near = difflib.get_close_matches(task, TASKS, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"The tasks are {', '.join(TASKS)}."
        raise UserInputError(f"There is no task {task!r}.", hint)


def _document(reading: Reading, kept: Kept, check: bool) -> dict[str, Any]:
    from collections import Counter
    from dataclasses import asdict

    from harness.importers.codecarbon_table import counted

    table = reading.table
    runs = set(zip(table.file.tolist(), table.text["run_id"], strict=True))
    return {
        "files": len(reading.paths),
        "files_refused": list(reading.refused),
        "rows": len(table.file),
        "runs": len(runs),
        "stored": None if check else {"written": kept.written, "already_there": kept.already},
        "files_in_conflict": kept.conflicting,
        "versions": dict(sorted(Counter(table.text["codecarbon_version"]).items())),
        "energy_kwh": float(table.number["energy_consumed"].sum()),
        "gpu_energy_kwh": float(table.number["gpu_energy"].sum()),
        "emissions_kg": float(table.number["emissions"].sum()),
        "problem_counts": counted(reading.problems),
        "problems": [asdict(problem) for problem in reading.problems],
    }


def _print(document: dict[str, Any], folder: Path) -> None:
    versions = ", ".join(f"{version} ({rows:,} rows)" for version, rows in document["versions"].items())
    refused = f", {len(document['files_refused'])} refused" if document["files_refused"] else ""
    echo(
        f"{document['files']:,} files{refused}: {document['runs']:,} runs, {document['rows']:,} rows; "
        f"CodeCarbon {versions}"
    )
    echo(
        f"{document['energy_kwh']:,.4f} kWh as recorded, of which GPUs {document['gpu_energy_kwh']:,.4f} kWh "
        "(measured); CPU and memory are modelled"
    )
    if document["stored"] is None:
        echo("checked only, nothing stored")
    else:
        stored = document["stored"]
        echo(f"{stored['written']:,} runs written to {folder}, {stored['already_there']:,} already there")


def _tell(problems: tuple[Problem, ...], kept: Kept) -> None:
    """Every kind of problem with its count and its first few places, on standard error."""
    kinds: dict[tuple[str, bool], list[Problem]] = {}
    for problem in problems:
        kinds.setdefault((problem.code, problem.refused), []).append(problem)
    for (code, refused), found in kinds.items():
        what = "refused" if refused else "note"
        echo(f"{what}: {code}, {len(found)} time{'s' if len(found) > 1 else ''}", err=True)
        for problem in found[:SHOWN_OF_A_KIND]:
            where = problem.file if problem.line is None else f"{problem.file}:{problem.line}"
            echo(f"  {where}: {problem.message}", err=True)
        if len(found) > SHOWN_OF_A_KIND:
            echo(f"  and {len(found) - SHOWN_OF_A_KIND} more; --json lists them all", err=True)
    for name in kept.conflicting:
        echo(f"refused: {name}: its runs are stored already, with other content; choose another --campaign", err=True)


def show_imports(what: list[str], results: Path, as_json: bool) -> bool:
    """Show imported runs where every name means some: campaigns, beginnings of run ids, or folders; else False."""
    import json

    from harness.store.documents import told_together
    from harness.store.imports import find_imports

    unreadable: list[StoreError] = []
    stored = find_imports([results], unreadable) if results.exists() else []
    chosen: dict[tuple[str, str], ImportedRecord] = {}
    for name in what:
        found = [each for each in stored if each.campaign == name or each.run_id.startswith(name)]
        if not found and Path(name).exists():
            found = find_imports([Path(name)])
        if not found and (broken := [each for each in unreadable if each.path and each.path.parent.name == name]):
            raise told_together(broken)[0]
        if not found:
            return False
        chosen.update({(each.campaign, each.run_id): each for each in found})
    records = list(chosen.values())
    if as_json:
        echo(json.dumps({"imported": [each.model_dump(mode="json") for each in records]}, indent=2))
    else:
        _print_imports(records)
    return True


def import_rows(results: Path, unreadable: list[StoreError]) -> list[dict[str, object]]:
    """Imported runs as `harness list` shows runs. Their time is local, of the machine, and is not told as UTC."""
    from harness.store.imports import find_imports

    return [
        {
            "campaign": each.campaign,
            "run_id": each.run_id,
            "status": "imported",
            "origin": each.origin,
            "task": each.task,
            "started_at_utc": None,
            "failure": None,
        }
        for each in (find_imports([results], unreadable) if results.exists() else [])
    ]


def _print_imports(records: list[ImportedRecord]) -> None:
    """Phases with their energies, each part marked, then what the parts are and what to doubt."""
    from rich.markup import escape
    from rich.table import Table

    from harness.cli.tables import console
    from harness.units import format_si

    out = console()
    table = Table(title="Imported from CodeCarbon, as recorded", title_justify="left")
    for name in ("project", "phase", "ended, local"):
        table.add_column(name, overflow="fold")
    for name in ("s", "GPUs", "CPU, modelled", "memory, modelled", "in all", "g CO2e"):
        table.add_column(name, justify="right")
    for each in records:
        for phase in each.phases:
            gpu = "not metered" if phase.gpu_energy_j is None else format_si(phase.gpu_energy_j, "J")
            cpu = "-" if phase.cpu_energy_j is None else format_si(phase.cpu_energy_j, "J")
            dram = "-" if phase.dram_energy_j is None else format_si(phase.dram_energy_j, "J")
            table.add_row(
                *map(escape, (each.project_name, phase.name or "whole run", phase.finished_at_local.replace("T", " "))),
                *(f"{phase.duration_s:,.1f}", gpu, cpu, dram, format_si(phase.node_energy_j, "J")),
                f"{phase.carbon_g_co2e:.4g}",
            )
    out.print(table)
    for told in dict.fromkeys(
        f"{part.kind}: {part.device_name or 'not told'}, {part.provenance}: {part.note}"
        for each in records
        for part in each.parts
    ):
        out.print(escape(told), soft_wrap=True)
    for message in dict.fromkeys(caveat.message for each in records for caveat in each.caveats):
        out.print(f"[yellow]{escape(message)}[/]", soft_wrap=True)
