"""`harness run`: measure what a config asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Car, Grid, Json, Phone, Results, editions

if TYPE_CHECKING:
    from harness.run.config import Plan
    from harness.run.runner import CampaignResult

EXIT_RUNS_FAILED = 1
EXIT_INTERRUPTED = 130


def run_command(
    config: Annotated[Path, typer.Argument(help="A YAML config; the shipped ones are under configs/.")],
    results: Results = Path("results"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be run, and run nothing.")] = False,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="No child process per run: faster, but a crash ends the campaign.")
    ] = False,
    phone: Phone = None,
    car: Car = None,
    grid: Grid = None,
    as_json: Json = False,
) -> None:
    """Measure every run of a config that has no complete result yet, and print the campaign's table.

    Exit code 0: all complete; 1: some runs failed; 2: nothing could be run; 130: stopped.
    """
    from harness.errors import UserInputError
    from harness.run.config import load_plan
    from harness.run.runner import pending, preflight

    chosen = editions(phone, car, grid)
    plan = load_plan(config)
    todo = pending(plan, results)
    if dry_run:
        _print_plan(plan, {spec.run_id for spec in todo}, as_json)
        return
    if in_process and not all(spec.on_virtual_clock for spec in todo):
        raise UserInputError(
            "--in-process is for the virtual clock: two runs with real engines in one process disturb each other.",
            "Leave it out.",
        )
    preflight(todo)
    outcome = _run(plan, results, in_process, len(todo), as_json)
    _print_outcome(plan, outcome, config, chosen, as_json)
    if outcome.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if outcome.failed:
        raise typer.Exit(EXIT_RUNS_FAILED)


def _run(plan: Plan, results: Path, in_process: bool, todo: int, as_json: bool) -> CampaignResult:
    import signal

    from rich.console import Console

    from harness.cli.progress import LiveListener, PlainListener
    from harness.run.executors import InProcessExecutor, SubprocessExecutor
    from harness.run.runner import run_campaign

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for polite in (signal.SIGTERM, signal.SIGHUP):  # a scheduler's stop, a lost terminal: as a Ctrl-C
        signal.signal(polite, interrupt)
    executor = InProcessExecutor() if in_process else SubprocessExecutor()
    err = Console(stderr=True, highlight=False)
    if err.is_terminal and not as_json and todo:
        with LiveListener(err) as live:
            return run_campaign(plan, results, executor, live)
    return run_campaign(plan, results, executor, PlainListener(err))


def _print_plan(plan: Plan, todo: set[str], as_json: bool) -> None:
    import json

    if as_json:
        runs = [
            {"run_id": spec.run_id, "pending": spec.run_id in todo, "spec": spec.model_dump(mode="json")}
            for spec in plan.specs
        ]
        typer.echo(json.dumps({"campaign": plan.campaign, "runs": runs}, indent=2))
        return
    from rich.markup import escape
    from rich.table import Table

    from harness.cli.tables import console

    title = f"Plan of {escape(plan.campaign)}: {len(todo)} of {len(plan.specs)} runs to do"
    table = Table(title=title, title_justify="left")
    for name in ("run_id", "task", "model", "weights", "batch", "dtype", "engine", "energy from", "to do"):
        table.add_column(name, overflow="fold")
    for spec in plan.specs:
        sources = spec.sources
        source = f"simulated {sources.node.gpu}" if sources.node else "NVML"
        table.add_row(
            spec.run_id,
            spec.task,
            escape(spec.model.id),
            "none" if spec.engine == "simulated" else spec.model.weights,
            str(spec.batch_size),
            spec.dtype,
            spec.engine,
            source,
            "yes" if spec.run_id in todo else "done",
        )
    console().print(table)


def _print_outcome(plan: Plan, outcome: CampaignResult, config: Path, chosen: object, as_json: bool) -> None:
    import json
    import shlex

    from rich.markup import escape

    from harness.cli.tables import console, print_results
    from harness.report.results import Editions, result_row
    from harness.store.files import RECORD, read_record

    assert isinstance(chosen, Editions)
    stored = [outcome.folder / spec.run_id / RECORD for spec in plan.specs]
    rows = [result_row(read_record(path), chosen) for path in stored if path.exists()]
    left = len(plan.specs) - sum(row.status == "complete" for row in rows)
    if as_json:
        document = {
            "campaign": plan.campaign,
            "folder": str(outcome.folder),
            "completed": len(outcome.complete),
            "failed": len(outcome.failed),
            "skipped": outcome.skipped,
            "interrupted": outcome.interrupted,
            "runs": [row.model_dump(mode="json") for row in rows],
        }
        typer.echo(json.dumps(document, indent=2))
        return
    out = console()
    print_results(rows, out)
    again = escape(shlex.join(["harness", "run", str(config), "--results", str(outcome.folder.parent)]))
    out.print(
        f"{len(outcome.complete)} complete, {len(outcome.failed)} failed, {outcome.skipped} already done. "
        f"Results: {escape(str(outcome.folder))}",
        soft_wrap=True,
    )
    if outcome.interrupted:
        out.print(f"Stopped with {left} left. Finished runs are kept; resume with: {again}", soft_wrap=True)
    elif outcome.failed:
        out.print(f"Failed runs are tried again by: {again}", soft_wrap=True)
