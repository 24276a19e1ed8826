"""A table of runs; and of a single one every boundary, idle power, windows, power over time, and cross-checks."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.campaign import Scheduled
from harness.cli.bars import sparkline
from harness.cli.served_tables import print_attempts, print_served
from harness.cli.tables import console, estimate_text, print_results
from harness.errors import StoreError
from harness.measure.stopping import gross_j
from harness.records import Preparation, RunRecord
from harness.report.results import ResultRow
from harness.store.files import StoredRun
from harness.store.traces import power_shapes

STRETCHES = 48


def show_runs(runs: Sequence[StoredRun], rows: Sequence[ResultRow], as_json: bool) -> None:
    """A table of runs; of a single one everything."""
    if as_json:
        document: dict[str, object] = {"runs": [row.model_dump(mode="json") for row in rows]}
        if len(runs) == 1:
            document["record"] = runs[0].record.model_dump(mode="json")
        print(json.dumps(document, indent=2))
        return
    out = console()
    print_results(rows, out)
    if len(runs) == 1:
        _print_one(runs[0], rows[0], out)


def _place(scheduled: Scheduled) -> str:
    """Where the run stood in its campaign, and why it was made once more."""
    seed = f" (seed {scheduled.order_seed})" if scheduled.order == "interleaved" else ""
    parts = [f"run {scheduled.position} of its start, order {scheduled.order}{seed}"]
    if scheduled.attempt > 1:
        parts.append(f"attempt {scheduled.attempt}")
    if scheduled.halved_from is not None:
        parts.append(f"half the batch of {scheduled.halved_from}, which ran out of memory")
    if scheduled.halved_as is not None:
        parts.append(f"see half the batch: {scheduled.halved_as}")
    parts += [f"before: {reason}" for reason in scheduled.earlier]
    if scheduled.beside:
        parts.append(f"beside {', '.join(scheduled.beside)} on other GPUs")
    return "; ".join(parts)


def _print_one(run: StoredRun, row: ResultRow, out: Console) -> None:
    """Everything about one run: three energies, idle, budget, cross-check, caveats, failure."""
    record = run.record
    out.print(
        f"[bold]{escape(record.run_id)}[/] {record.status}, {escape(record.started_at_utc)}, {escape(str(run.folder))}"
    )
    if record.scheduled is not None:
        out.print(escape(_place(record.scheduled)), soft_wrap=True)
    if record.failure:
        out.print(escape(f"phase: {record.failure.phase}; kind: {record.failure.kind}"))
        if record.attempts is not None:
            print_attempts(record, out)
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
        energies.add_row(escape(name), estimate_text(estimate))
    if row.true_energy_kwh_per_1000 is not None:
        energies.add_row("true energy of the simulated GPU, gross", f"{row.true_energy_kwh_per_1000:.6g}")
    out.print(energies)
    _print_idle_and_budget(run, out)
    _print_power(run, out)
    if record.preparation is not None:
        _print_preparation(record.preparation, mark, out)
    if record.served is not None:
        print_served(record, out)
    for check in record.cross_checks:
        theirs = "none" if check.gpu_energy_j is None else f"{check.gpu_energy_j:.4g} J"
        out.print(
            f"cross-check: {escape(f'{check.tool} {check.version}')} says {theirs} for the GPUs over the same "
            f"{check.windows} windows from edge to edge, the harness {check.harness_gpu_energy_j:.4g} J{mark}. "
            f"{escape(check.note)}"
        )


def _print_preparation(preparation: Preparation, mark: str, out: Console) -> None:
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
    names = {source.id: escape(source.device_name) for source in record.sources if source.runs_model}
    for idle in record.idle:
        if idle.source_id in names:
            shown = {"before load": idle.before_w, "null windows": idle.null_w, "after load": idle.after_w}
            words = ", ".join(f"{k} {'not measured' if v is None else f'{v:.1f} W'}" for k, v in shown.items())
            out.print(f"idle of {names[idle.source_id]}{mark}: {words}; subtracted: {escape(idle.subtracted)}")
    for window in accepted[:1]:  # of a record that was changed there may be none
        for source in (each for each in window.sources if each.source_id in names):
            out.print(
                f"first window: {window.end_s - window.start_s:.2f} s, of which {window.busy_s:.2f} s at work on "
                f"{window.work.requests:.7g} requests; {source.energy_j:.4g} J{mark} by {source.method}, of which "
                f"{source.gap_energy_j:.4g} J at its edges and in pauses are taken off"
            )
    _print_windows(record, out)
    out.print(f"what its uncertainty is made of: harness show {escape(record.run_id)} --uncertainty", soft_wrap=True)


def _print_power(run: StoredRun, out: Console) -> None:
    """How power ran over the whole run, idle and warm-up included; without a trace that is said."""
    boards = [index for index, source in enumerate(run.record.sources) if source.runs_model]
    broken: list[StoreError] = []
    shape = power_shapes({run.folder: boards}, STRETCHES, broken).get(run.folder)
    if shape is not None:
        line = sparkline(shape.power_w, shape.peak_w)
        mark = f", {run.record.mark}" if run.record.mark else ""
        out.print(
            f"power{mark}: [blue]{line}[/] from 0 to {shape.peak_w:.0f} W, from start to end, GPUs that ran the model"
        )
    else:
        why = broken[0].message if broken else "the run has no trace.parquet"
        out.print(f"power: no curve, {why}", markup=False, soft_wrap=True)


def _print_windows(record: RunRecord, out: Console) -> None:
    """Every window: what it says, and why it was left out."""
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
        counted = f"[red]rejected[/]: {escape(why)}" if window.rejected else f"yes{f', {escape(weak)}' if weak else ''}"
        heat = f"{max(warmth):.1f}" if warmth else "-"
        table.add_row(escape(window.label), f"{window.busy_s:.2f}", answered, energy, heat, counted)
    out.print(table)
