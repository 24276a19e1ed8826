"""`harness show` and `harness list`: what is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.echo import echo
from harness.cli.factors import list_factors
from harness.cli.imports import import_rows, show_imports
from harness.cli.options import Car, Grid, Json, Phone, Results, editions
from harness.cli.selection import select_runs, select_stored, tell_unreadable
from harness.cli.sweep import show_sweep

if TYPE_CHECKING:
    from harness.errors import StoreError
    from harness.specs import Accounting
    from harness.store.files import StoredRun


def show_command(
    what: Annotated[
        list[str] | None, typer.Argument(help="Campaigns, run ids (or their beginning), or folders; all if left out.")
    ] = None,
    results: Results = Path("results"),
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="The uncertainty budget of each run: term, value, what reduces it.")
    ] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Energy per generation and latency against batch size, and the best.")
    ] = False,
    latency_limit_s: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="With --sweep: the longest that a batch may take.")
    ] = None,
    table: Annotated[
        bool,
        typer.Option("--table", help="A table of runs in the order of folders, every figure, instead of a ranking."),
    ] = False,
    all_rows: Annotated[
        bool, typer.Option("--all", help="Every row of a long ranking, not just its best and worst.")
    ] = False,
    phone: Phone = None,
    car: Car = None,
    grid: Grid = None,
    accounting: Annotated[
        str | None, typer.Option(metavar="NAME", help="How a study would have counted, beside ours: study-2023.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show results: a ranking of many runs by task, or everything about one."""
    from harness.cli.one_run import show_runs
    from harness.cli.ranking import show_ranking
    from harness.cli.tables import console
    from harness.errors import UserInputError
    from harness.report.results import result_row

    if latency_limit_s is not None and not sweep:
        raise UserInputError("--latency-limit-s belongs to --sweep.", "harness show --sweep --latency-limit-s 2")
    if what and not sweep and show_imports(what, results, as_json):
        return
    chosen = editions(phone, car, grid)
    counted = _accounting(accounting)
    unreadable: list[StoreError] = []
    if sweep or uncertainty:
        runs = select_runs(what or [], results, unreadable)
        if sweep:
            show_sweep([run.record for run in runs], latency_limit_s, as_json)
        else:
            _show_uncertainty(runs, as_json)
        tell_unreadable(unreadable)
        return
    stored, names = select_stored(what or [], results)
    count = stored.count(names)
    if count == 1 or ((table or counted) and (count or as_json)):
        runs = select_runs(what or [], results, unreadable)
        show_runs(runs, [result_row(run.record, chosen, counted) for run in runs], as_json)
    elif count or as_json or stored.unreadable():
        unreadable = [*stored.unreadable(names), *show_ranking(stored, names, chosen, all_rows, as_json)]
    elif not (results.exists() and show_imports([str(results)], results, as_json)):
        told = f"No results under {results} yet. Start with: harness run configs/quickstart.yaml"
        console().print(told, soft_wrap=True, markup=False)
    tell_unreadable(unreadable)


def _accounting(name: str | None) -> Accounting | None:
    """The accounting of that name."""
    from typing import get_args

    from harness.errors import UserInputError
    from harness.specs import Accounting

    known: tuple[Accounting, ...] = get_args(Accounting)
    found = next((each for each in known if each == name), None)
    if name is not None and found is None:
        raise UserInputError(f"There is no accounting named {name!r}.", f"Choose from {', '.join(known)}.")
    return found


def list_command(
    what: Annotated[
        str, typer.Argument(help="runs, models (architecture presets), gpus (simulated boards) or factors.")
    ] = "runs",
    results: Results = Path("results"),
    about: Annotated[
        str | None, typer.Option("--about", metavar="WORD", help="Of the factors, only those about this: phone, grid.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List stored runs, what a config can name, or the conversion factors with their sources."""
    import json
    from functools import partial

    from rich.markup import escape
    from rich.table import Table

    from harness.cli.tables import console
    from harness.errors import UserInputError

    if what == "factors":
        list_factors(about, as_json)
        return
    if about is not None:
        raise UserInputError("--about chooses among factors.", f"Try: harness list factors --about {about}")
    unreadable: list[StoreError] = []
    listings: dict[str, Callable[[Path], list[dict[str, object]]]] = {
        "runs": partial(_run_rows, unreadable=unreadable),
        "models": _model_rows,
        "gpus": _gpu_rows,
    }
    if what not in listings:
        raise UserInputError(f"There is no list of '{what}'.", f"Choose from {', '.join(listings)}, factors.")
    rows = listings[what](results)
    if as_json:
        echo(json.dumps({what: rows}, indent=2))
        tell_unreadable(unreadable)
        return
    if not rows and not unreadable:
        console().print(
            f"Nothing under {escape(str(results))} yet. Start with: harness run configs/quickstart.yaml", soft_wrap=True
        )
        return
    table = Table()
    for name in rows[0] if rows else ():
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("-" if value is None else escape(str(value)) for value in row.values()))
    console().print(table)
    tell_unreadable(unreadable)


def _run_rows(results: Path, unreadable: list[StoreError]) -> list[dict[str, object]]:
    from harness.report.stored import stored_runs

    stored = stored_runs([results] if results.exists() else [])
    unreadable.extend(stored.unreadable())
    return stored.listing() + import_rows(results, unreadable)


def _model_rows(_: Path) -> list[dict[str, object]]:
    from harness.engines.architectures import presets

    return [
        {
            "name": preset.name,
            "tasks": ", ".join(preset.tasks),
            "family": preset.family,
            "description": preset.description,
        }
        for preset in presets()
    ]


def _gpu_rows(_: Path) -> list[dict[str, object]]:
    from harness.simulation.profiles import board, simulated_boards

    return [
        {
            "name": profile.name,
            "idle_w": profile.idle_w,
            "power_limit_w": profile.power_limit_w,
            "sensor": profile.sensor.name,
            "provenance": "assumed power, recorded sensor",
        }
        for profile in map(board, simulated_boards())
    ]


def _show_uncertainty(runs: list[StoredRun], as_json: bool) -> None:
    """The budget of every complete run; runs without a figure are said to have none."""
    import json

    from harness.cli.tables import console, print_budget
    from harness.report.uncertainty import run_budget

    budgets = [run_budget(run.record) for run in runs]
    if as_json:
        known = [budget.model_dump(mode="json") for budget in budgets if budget is not None]
        echo(json.dumps({"uncertainty": known}, indent=2))
        return
    out = console()
    for run, budget in zip(runs, budgets, strict=True):
        if budget is None:
            told = f"{run.record.run_id} has no figure that its windows bear out, so it has no uncertainty budget."
            out.print(told, markup=False)
        else:
            print_budget(budget, out)
    if not runs:
        out.print("No runs found.")
