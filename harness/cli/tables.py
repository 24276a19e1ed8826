"""Result rows on a terminal: the ranking table, what it rests on, and what to doubt."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.report.results import ResultRow, caveat_lines
from harness.report.uncertainty import RunBudget
from harness.stats import Estimate
from harness.units import format_plus_minus, format_significant

MIN_WIDTH = 140

Column = tuple[str, Literal["left", "right"], Callable[[ResultRow], str]]


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
        for table in _tables(complete, letters, out.width):
            out.print(table)
        for code, count, wording in lines:
            runs = "1 run" if count == 1 else f"{count} runs, e.g."
            out.print(f"[yellow]{letters.get(code, '-')}[/] {code}, {runs}: {escape(wording)}")
        _print_legend(complete, out)
    for row in rows:
        if row.status == "failed":
            out.print(f"[red]failed[/] {escape(row.run_id)}: {escape(row.failure or 'no reason was kept')}")


def print_budget(budget: RunBudget, out: Console) -> None:
    """Term, value, whether it counts, what would reduce it; then what is known of the sensor."""
    mark = ", simulated" if budget.simulated else ""
    half_j = (budget.high_j - budget.low_j) / 2
    told = f"{escape(budget.run_id)}: {format_plus_minus(budget.energy_j, half_j)} J per generation{mark}"
    out.print(f"[bold]{told}[/] ({budget.confidence:.0%} interval; {budget.boundary}; {budget.windows} windows)")
    table = Table()
    for name in ("term", "J per generation", "of the energy", "kind", "counted", "what would reduce it"):
        table.add_column(name, justify="right" if name in ("J per generation", "of the energy") else "left")
    for line in budget.lines:
        table.add_row(
            line.term,
            f"{line.standard_uncertainty_j:.3g}",
            f"{line.relative:.2%}",
            line.kind,
            "yes" if line.counted else "no",
            line.reduced_by,
        )
    table.add_section()
    relative = budget.standard_uncertainty_j / abs(budget.energy_j)
    table.add_row("combined, standard", f"{budget.standard_uncertainty_j:.3g}", f"{relative:.2%}", "", "", "")
    out.print(table)
    out.print(
        "per board: shared by all runs on this board, cancels between them; per run: the same in all its windows. The "
        "windows' own terms and their scatter show the same thing twice: the larger counts.",
        soft_wrap=True,
    )
    for sensor in budget.sensors:
        samples = sensor.effective_samples
        seen = "" if samples is None else f" and {samples:.0f} independent readings in a window"
        out.print(
            f"{escape(sensor.device_name)}: energy by {sensor.method}; sensor profile {escape(sensor.sensor_profile)}, "
            f"a reading every {sensor.period_s * 1000:.0f} ms, {sensor.undersampled_fraction:.0%} of the time unseen"
            f"{seen}; gain {sensor.gain_source}",
            soft_wrap=True,
        )


def estimate_text(estimate: Estimate | None) -> str:
    """value ± half-width of the 95 % interval."""
    return format_plus_minus(estimate.value, estimate.half_width) if estimate else "not measured"


def energy_badge(row: ResultRow) -> str:
    """Whose energy it is."""
    return "[magenta]simulated[/]" if row.simulated else "measured"


def _tables(rows: Sequence[ResultRow], letters: dict[str, str], width: int) -> list[Table]:
    """One table where it fits; elsewhere two narrower ones: a number is never cut."""
    marks = {row.run_id: " ".join(letters.get(caveat.code, "-") for caveat in row.caveats) for row in rows}
    first: list[Column] = [
        ("model", "left", lambda row: escape(row.model)),
        ("batch", "right", lambda row: str(row.batch_size)),
        ("kWh per 1,000", "right", lambda row: estimate_text(row.energy_kwh_per_1000)),
        ("caveats", "left", lambda row: f"[yellow]{marks[row.run_id]}[/]"),
        ("energy", "left", energy_badge),
    ]
    second: list[Column] = [
        ("J per token or image", "right", lambda row: f"{estimate_text(row.energy_j_per_unit)} /{row.unit}"),
        ("phone charges", "right", lambda row: _equivalent(row, "phone_charges")),
        ("car km", "right", lambda row: _equivalent(row, "car_km")),
        ("g CO2e", "right", lambda row: _equivalent(row, "carbon_g_co2e")),
        ("boundary", "left", lambda row: row.boundary or "-"),
    ]
    title = "Energy per 1,000 generations, gross, with 95 % interval"
    if width >= MIN_WIDTH:
        return [_table(title, [*first[:4], *second, first[4]], rows)]
    equals = "The same, per token or image and per 1,000 generations"
    return [_table(title, [*first[:4], second[4], first[4]], rows), _table(equals, [*first[:2], *second[:4]], rows)]


def _table(title: str, columns: Sequence[Column], rows: Sequence[ResultRow]) -> Table:
    table = Table(title=title, title_justify="left")
    for name, justify, _ in columns:
        table.add_column(name, justify=justify, overflow="fold")
    for row, before in zip(rows, [rows[0], *rows], strict=False):
        if row.task != before.task:
            table.add_section()
        table.add_row(*(text(row) for _, _, text in columns))
    return table


def _equivalent(row: ResultRow, name: str) -> str:
    same = row.equivalents_per_1000
    return format_significant(getattr(same, name)) if same else "-"


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
