"""`harness show` and `harness list`: what is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.factors import list_factors
from harness.cli.imports import import_rows, show_imports
from harness.cli.options import Car, Grid, Json, Phone, Results, editions
from harness.cli.selection import select_runs, tell_unreadable
from harness.cli.sweep import show_sweep

if TYPE_CHECKING:
    from rich.console import Console

    from harness.errors import StoreError
    from harness.records import Preparation, RunRecord
    from harness.report.results import ResultRow
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
    phone: Phone = None,
    car: Car = None,
    grid: Grid = None,
    accounting: Annotated[
        str | None, typer.Option(metavar="NAME", help="How a study would have counted, beside ours: study-2023.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show results: a table of many runs, or everything about one."""
    import json

    from harness.cli.tables import console, print_results
    from harness.errors import UserInputError
    from harness.report.results import result_row

    if latency_limit_s is not None and not sweep:
        raise UserInputError("--latency-limit-s belongs to --sweep.", "harness show --sweep --latency-limit-s 2")
    if what and not sweep and show_imports(what, results, as_json):
        return
    chosen = editions(phone, car, grid)
    counted = _accounting(accounting)
    unreadable: list[StoreError] = []
    runs = select_runs(what or [], results, unreadable)
    if sweep:
        show_sweep([run.record for run in runs], latency_limit_s, as_json)
        tell_unreadable(unreadable)
        return
    if uncertainty:
        _show_uncertainty(runs, as_json)
        tell_unreadable(unreadable)
        return
    rows = [result_row(run.record, chosen, counted) for run in runs]
    if as_json:
        document: dict[str, object] = {"runs": [row.model_dump(mode="json") for row in rows]}
        if len(runs) == 1:
            document["record"] = runs[0].record.model_dump(mode="json")
        typer.echo(json.dumps(document, indent=2))
        tell_unreadable(unreadable)
        return
    out = console()
    if not rows and not unreadable and show_imports([str(results)] if results.exists() else [], results, as_json):
        return
    if not rows and not unreadable:
        told = f"No results under {results} yet. Start with: harness run configs/quickstart.yaml"
        out.print(told, soft_wrap=True, markup=False)
        return
    print_results(rows, out)
    if len(runs) == 1:
        _print_one(runs[0], rows[0], out)
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
        typer.echo(json.dumps({what: rows}, indent=2))
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
    from harness.store.files import find_runs

    runs = find_runs([results], unreadable) if results.exists() else []
    rows: list[dict[str, object]] = [
        {
            "campaign": run.record.campaign,
            "run_id": run.record.run_id,
            "status": run.record.status,
            "origin": "replay, simulated" if run.record.replayed else run.record.origin,
            "task": run.record.spec.task,
            "started_at_utc": run.record.started_at_utc,
            "failure": run.record.failure.kind if run.record.failure else None,
        }
        for run in runs
    ]
    return rows + import_rows(results, unreadable)


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


def _print_one(run: StoredRun, row: ResultRow, out: Console) -> None:
    """Everything about one run: three energies, idle, budget, cross-check, caveats, failure."""
    from rich.markup import escape
    from rich.table import Table

    from harness.cli.served_tables import phase_text, print_served
    from harness.cli.tables import estimate_text

    record = run.record
    out.print(f"[bold]{escape(record.run_id)}[/] {record.status}, {record.started_at_utc}, {escape(str(run.folder))}")
    if record.failure:
        out.print(f"phase: {record.failure.phase}; kind: {record.failure.kind}")
        if record.attempts is not None:
            failed = ", ".join(f"{count} {reason}" for reason, count in record.attempts.failed.items()) or "none"
            kept = len(record.measurements)
            out.print(f"requests: {record.attempts.sent} sent, failed: {escape(failed)}; windows kept: {kept}")
            if record.attempts.last_load is not None:
                told = phase_text(record.attempts.last_load)
                out.print(f"the load that failed, in no window: {told}{f', {record.mark}' if record.mark else ''}")
        out.print(escape(record.failure.hint))
        out.print(escape(record.failure.stderr_tail), style="dim")
        return
    if record.template is not None:
        out.print(f"asked in these words: {escape(record.template)}", soft_wrap=True)
    mark = f", {record.mark}" if record.mark else ""
    energies = Table(title=f"kWh per 1,000 generations, by boundary{mark}", title_justify="left")
    energies.add_column("boundary")
    energies.add_column("energy, 95 % interval", justify="right")
    for name, estimate in (
        ("GPUs that ran the model, gross", row.energy_kwh_per_1000),
        ("  the same, scatter of repeats alone", row.repeatability_kwh_per_1000),
        ("  idle share", row.idle_kwh_per_1000),
        ("  above idle", row.above_idle_kwh_per_1000),
        ("every GPU of the machine", row.node_gpus_kwh_per_1000),
        (f"node: GPUs, CPU, DRAM{f' ({row.node_missing})' if row.node_missing else ''}", row.node_kwh_per_1000),
    ):
        energies.add_row(name, estimate_text(estimate))
    if row.true_energy_kwh_per_1000 is not None:
        energies.add_row("true energy of the simulated GPU, gross", f"{row.true_energy_kwh_per_1000:.6g}")
    out.print(energies)
    _print_idle_and_budget(run, out)
    if record.preparation is not None:
        _print_preparation(record.preparation, mark, out)
    if record.served is not None:
        print_served(record, out)
    for check in record.cross_checks:
        theirs = "none" if check.gpu_energy_j is None else f"{check.gpu_energy_j:.4g} J"
        out.print(
            f"cross-check: {check.tool} {check.version} says {theirs} for the GPUs over the same {check.windows} "
            f"windows from edge to edge, the harness {check.harness_gpu_energy_j:.4g} J{mark}. {escape(check.note)}"
        )


def _print_preparation(preparation: Preparation, mark: str, out: Console) -> None:
    from harness.cli.tables import estimate_text

    summary = preparation.summary
    if summary is None:
        out.print("preparing inputs: no figure, too few of its windows could be kept")
        return
    node = "" if summary.node_energy_j is None else f"; the node {estimate_text(summary.node_energy_j)} J"
    out.print(
        f"preparing inputs, apart from every figure above, per generation: {summary.duration_s * 1000:.3g} ms; "
        f"GPUs that run the model {estimate_text(summary.gpu_energy_j)} J gross, "
        f"{estimate_text(summary.gpu_above_idle_j)} J above idle{node}{mark}",
        soft_wrap=True,
    )


def _print_idle_and_budget(run: StoredRun, out: Console) -> None:

    record = run.record
    mark = f", {record.mark}" if record.mark else ""
    accepted = [window for window in record.measurements if not window.rejected]
    names = {source.id: source.device_name for source in record.sources if source.runs_model}
    for idle in record.idle:
        if idle.source_id in names:
            shown = {"before load": idle.before_w, "null windows": idle.null_w, "after load": idle.after_w}
            words = ", ".join(f"{k} {'not measured' if v is None else f'{v:.1f} W'}" for k, v in shown.items())
            out.print(f"idle of {names[idle.source_id]}{mark}: {words}; subtracted: {idle.subtracted}")
    window = accepted[0]
    for source in window.sources:
        if source.source_id in names:
            out.print(
                f"first window: {window.end_s - window.start_s:.2f} s, of which {window.busy_s:.2f} s at work on "
                f"{window.work.requests:.7g} requests; {source.energy_j:.4g} J{mark} by {source.method}, of which "
                f"{source.gap_energy_j:.4g} J at its edges and in pauses are taken off"
            )
    _print_windows(record, out)
    out.print(f"what its uncertainty is made of: harness show {record.run_id} --uncertainty", soft_wrap=True)


def _print_windows(record: RunRecord, out: Console) -> None:
    """Every window: what it says, and why it was left out."""
    from rich.markup import escape
    from rich.table import Table

    from harness.measure.stopping import gross_j

    active = {source.id for source in record.sources if source.runs_model}
    table = Table(title=f"Windows{f', {record.mark}' if record.mark else ''}", title_justify="left")
    for column in ("window", "at work, s", "generations", "J per generation", "°C", "counted"):
        table.add_column(column, justify="left" if column in ("window", "counted") else "right")
    for window in record.measurements:
        requests, known = window.work.requests, {source.source_id for source in window.sources} >= active
        energy = f"{gross_j(window, active) / requests:.5g}" if requests and known else "-"
        answered = f"{requests:.4g}" if window.served is not None else str(requests)
        warmth = [s.busy_temperature_c for s in window.sources if s.source_id in active and s.busy_temperature_c]
        why = "; ".join(caveat.message for caveat in window.caveats if not caveat.window_only)
        weak = ", ".join(caveat.code for caveat in window.caveats)
        counted = f"[red]rejected[/]: {escape(why)}" if window.rejected else f"yes{f', {weak}' if weak else ''}"
        heat = f"{max(warmth):.1f}" if warmth else "-"
        table.add_row(window.label, f"{window.busy_s:.2f}", answered, energy, heat, counted)
    out.print(table)


def _show_uncertainty(runs: list[StoredRun], as_json: bool) -> None:
    """The budget of every complete run; runs without a figure are said to have none."""
    import json

    from harness.cli.tables import console, print_budget
    from harness.report.uncertainty import run_budget

    budgets = [run_budget(run.record) for run in runs]
    if as_json:
        known = [budget.model_dump(mode="json") for budget in budgets if budget is not None]
        typer.echo(json.dumps({"uncertainty": known}, indent=2))
        return
    out = console()
    for run, budget in zip(runs, budgets, strict=True):
        if budget is None:
            out.print(f"{run.record.run_id} has no figure, so it has no uncertainty budget.")
        else:
            print_budget(budget, out)
    if not runs:
        out.print("No runs found.")
