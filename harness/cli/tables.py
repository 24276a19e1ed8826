"""Result rows on a terminal: the ranking table, what it rests on, and what to doubt."""

from __future__ import annotations

import string
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.report.results import ResultRow, caveat_lines
from harness.stats import Estimate
from harness.units import format_plus_minus, format_significant

MIN_WIDTH = 140


def console() -> Console:
    """Standard output; wide enough for the tables where it is a file or a pipe."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=max(MIN_WIDTH, out.width))


def print_results(rows: Sequence[ResultRow], out: Console) -> None:
    """The table of complete runs, then failures, caveats and sources."""
    complete = [row for row in rows if row.status == "complete"]
    lines = caveat_lines(complete)
    letters = {code: letter for (code, _, _), letter in zip(lines, string.ascii_lowercase, strict=False)}
    if complete:
        out.print(_table(complete, letters))
        for code, count, wording in lines:
            runs = "1 run" if count == 1 else f"{count} runs, e.g."
            out.print(f"[yellow]{letters.get(code, '-')}[/] {code}, {runs}: {escape(wording)}")
        _print_legend(complete, out)
    for row in rows:
        if row.status == "failed":
            out.print(f"[red]failed[/] {row.run_id}: {escape(row.failure or 'no reason was kept')}")


def estimate_text(estimate: Estimate | None) -> str:
    """value ± half-width of the 95 % interval."""
    return format_plus_minus(estimate.value, estimate.half_width) if estimate else "not measured"


def energy_badge(row: ResultRow) -> str:
    """Whose energy it is."""
    return "[magenta]simulated[/]" if row.simulated else "measured"


def _table(rows: Sequence[ResultRow], letters: dict[str, str]) -> Table:
    table = Table(title="Energy per 1,000 generations, gross, with 95 % interval", title_justify="left")
    table.add_column("model", no_wrap=True)
    table.add_column("batch", justify="right")
    table.add_column("kWh per 1,000", justify="right", no_wrap=True)
    table.add_column("caveats", style="yellow")
    table.add_column("J per token or image", justify="right", no_wrap=True)
    table.add_column("phone charges", justify="right")
    table.add_column("car km", justify="right")
    table.add_column("g CO2e", justify="right")
    table.add_column("boundary", no_wrap=True)
    table.add_column("energy", no_wrap=True)
    previous_task = rows[0].task
    for row in rows:
        if row.task != previous_task:
            table.add_section()
            previous_task = row.task
        same = row.equivalents_per_1000
        table.add_row(
            escape(row.model),
            str(row.batch_size),
            estimate_text(row.energy_kwh_per_1000),
            " ".join(letters.get(caveat.code, "-") for caveat in row.caveats),
            f"{estimate_text(row.energy_j_per_unit)} /{row.unit}",
            format_significant(same.phone_charges) if same else "-",
            format_significant(same.car_km) if same else "-",
            format_significant(same.carbon_g_co2e) if same else "-",
            row.boundary or "-",
            energy_badge(row),
        )
    return table


def _print_legend(rows: Sequence[ResultRow], out: Console) -> None:
    boards = sorted({row.gpu for row in rows if row.gpu})
    out.print(f"boundary: GPUs that ran the model, of those in the machine ({escape(', '.join(boards))}).")
    if any(row.simulated for row in rows):
        out.print(
            "[magenta]simulated[/]: power comes from a simulated GPU; it is no model's energy and no real GPU drew it."
        )
    if any(row.weights == "random" for row in rows):
        out.print("weights: random; speed and energy of the architecture, no meaningful output.")
    first = next((row.equivalents_per_1000 for row in rows if row.equivalents_per_1000), None)
    for factor in first.factors if first else ():
        if factor.kind in ("phone", "car", "grid"):
            out.print(
                f"{factor.kind}: {factor.edition}, {factor.value_text} {factor.unit}"
                f"{f', {factor.year}' if factor.year else ''} ({escape(factor.source)})"
            )
