"""`harness run`: measure what a config asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Car, Grid, Json, Phone, Results, editions

if TYPE_CHECKING:
    from rich.table import Table

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
    replay: Annotated[
        bool,
        typer.Option(
            "--replay", help="Run no model: replay what the 88-model study found for each run, on a simulated node."
        ),
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
    if replay:
        from harness.study.replay import replay_plan

        plan = replay_plan(plan)
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
    _print_outcome(plan, outcome, config, chosen, replay, as_json)
    if outcome.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if outcome.failed:
        raise typer.Exit(EXIT_RUNS_FAILED)


def _run(plan: Plan, results: Path, in_process: bool, todo: int, as_json: bool) -> CampaignResult:
    import contextlib
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
    with contextlib.closing(executor):
        if err.is_terminal and not as_json and todo:
            with LiveListener(err) as live:
                return run_campaign(plan, results, executor, live)
        return run_campaign(plan, results, executor, PlainListener(err))


def _print_plan(plan: Plan, todo: set[str], as_json: bool) -> None:
    import json

    if as_json:
        runs = [
            {
                "run_id": spec.run_id,
                "pending": spec.run_id in todo,
                "spec": spec.model_dump(mode="json"),
            }
            for spec in plan.specs
        ]
        typer.echo(json.dumps({"campaign": plan.campaign, "runs": runs}, indent=2))
        return
    from harness.cli.tables import console

    out = console()
    out.print(_plan_table(plan, todo))
    if any(spec.replay for spec in plan.specs):
        out.print("replay: no model runs; time and power are those of the study's runs, on a simulated node.")


def _plan_table(plan: Plan, todo: set[str]) -> Table:
    """A row per run. Tasks and prompts have a column only where they differ."""
    from rich.markup import escape
    from rich.table import Table

    rows = []
    for spec in plan.specs:
        node = spec.sources.node
        rows.append(
            {
                "run_id": spec.run_id,
                "task": spec.task,
                "model": escape(spec.model.id),
                "prompts": escape(spec.prompts.label),
                "weights": "none" if spec.engine == "simulated" else spec.model.weights,
                "batch": str(spec.batch_size) if spec.server is None else spec.load_label,
                "dtype": spec.dtype,
                "engine": "replay" if spec.replay else spec.engine,
                "energy from": f"{node.gpu_count} simulated {node.gpu}" if node else "NVML",
                "to do": "yes" if spec.run_id in todo else "done",
            }
        )
    tasks = ", ".join(dict.fromkeys(row["task"] for row in rows))
    title = f"Plan of {escape(plan.campaign)} ({tasks}): {len(todo)} of {len(plan.specs)} runs to do"
    table = Table(title=title, title_justify="left")
    names = [name for name in rows[0] if name not in ("task", "prompts") or len({row[name] for row in rows}) > 1]
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return table


def _print_outcome(
    plan: Plan, outcome: CampaignResult, config: Path, chosen: object, replay: bool, as_json: bool
) -> None:
    import json
    import shlex

    from rich.markup import escape

    from harness.cli.tables import console, print_results
    from harness.report.results import Editions, result_row
    from harness.store.files import RECORD, read_record

    assert isinstance(chosen, Editions)
    stored = [(spec, outcome.folder / spec.run_id / RECORD) for spec in plan.specs]
    records = [(spec, read_record(path)) for spec, path in stored if path.exists()]
    rows = [result_row(record, chosen, spec.accounting) for spec, record in records]
    means = []
    if replay:
        from harness.study.replay import replayed_means

        means = replayed_means(record for _, record in records)
    left = len(plan.specs) - sum(row.status == "complete" for row in rows)
    if as_json:
        document: dict[str, object] = {
            "campaign": plan.campaign,
            "folder": str(outcome.folder),
            "completed": len(outcome.complete),
            "failed": len(outcome.failed),
            "skipped": outcome.skipped,
            "interrupted": outcome.interrupted,
            "runs": [row.model_dump(mode="json") for row in rows],
        }
        if replay:
            document["replayed"] = [mean.model_dump(mode="json") for mean in means]
        typer.echo(json.dumps(document, indent=2))
        return
    out = console()
    print_results(rows, out)
    if means:
        from harness.cli.replay_tables import print_replayed

        print_replayed(means, out)
    flag = ["--replay"] if replay else []
    again = escape(shlex.join(["harness", "run", str(config), *flag, "--results", str(outcome.folder.parent)]))
    out.print(
        f"{len(outcome.complete)} complete, {len(outcome.failed)} failed, {outcome.skipped} already done. "
        f"Results: {escape(str(outcome.folder))}",
        soft_wrap=True,
    )
    if outcome.interrupted:
        out.print(f"Stopped with {left} left. Finished runs are kept; resume with: {again}", soft_wrap=True)
    elif outcome.failed:
        out.print(f"Failed runs are tried again by: {again}", soft_wrap=True)
