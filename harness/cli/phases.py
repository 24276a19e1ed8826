"""`harness phases`: what a generation costs, phase by phase, from stored runs of different lengths and batches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.echo import echo
from harness.cli.options import Json, Results
from harness.cli.selection import select_runs, tell_unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from harness.errors import HarnessError, StoreError
    from harness.measure.phases import PhaseFit
    from harness.records import RunRecord

PLOT_WIDTH = 41  # characters; odd, so that zero has one
PLOT_U = 4.0  # standard uncertainties from the middle to either end


def phases_command(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RESULTS...", help="Campaigns, run ids (or their beginning), or folders; all if left out."
        ),
    ] = None,
    results: Results = Path("results"),
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write residuals and fit as a page of its own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Energy of a generation by phase: fixed, prefill, decode; or text encoder, denoising steps, decoder."""
    import json

    from harness.cli.tables import console
    from harness.errors import UserInputError

    unreadable: list[StoreError] = []
    records = [run.record for run in select_runs(what or [], results, unreadable)]
    fits, refused, used = _fits(records)
    if not fits and not unreadable:
        if refused:
            raise refused[0][1]
        raise UserInputError(
            f"There is no complete run of text or image generation among {len(records)} runs.",
            "Measure a design of lengths and batches first: harness run configs/phases.yaml --in-process",
        )
    if out is not None and fits:
        from harness.report.figures import write_phases_page

        write_phases_page(fits, out)
    if as_json:
        document = {
            "fits": [fit.model_dump(mode="json") for fit in fits],
            "not_fitted": [
                {"model": group[0].spec.model.id, "runs": len(group), "reason": error.message, "hint": error.hint}
                for group, error in refused
            ],
            "left_out_runs": len(records) - used,
        }
        echo(json.dumps(document, indent=2, ensure_ascii=False))
        tell_unreadable(unreadable)
        return
    screen = console()
    for fit in fits:
        _print_fit(fit, screen)
    for group, error in refused:
        told = f"{group[0].spec.model.id}: not fitted. {error.message} {error.hint}"
        screen.print(told, style="yellow", markup=False, soft_wrap=True)
    if len(records) > used:
        screen.print(f"{len(records) - used} runs without a figure or a generation are left out.")
    if out is not None and fits:
        screen.print(f"Page written to {out}.", markup=False, soft_wrap=True)
    tell_unreadable(unreadable)


def _fits(
    records: Sequence[RunRecord],
) -> tuple[list[PhaseFit], list[tuple[list[RunRecord], HarnessError]], int]:
    """A fit for each group of comparable runs, the groups that allow none, and how many runs are in any group."""
    from harness.errors import HarnessError
    from harness.measure.phases import fit_phases, phase_groups
    from harness.simulation.costs import common_truth

    fits, refused, used = [], [], 0
    for group in phase_groups(records):
        used += len(group)
        try:
            fits.append(fit_phases(group, common_truth([record.spec for record in group])))
        except HarnessError as error:
            refused.append((group, error))
    return fits, refused, used


def _print_fit(fit: PhaseFit, screen: Console) -> None:
    """Coefficients, what is not told, how well it fits, what each run is made of, residuals."""
    from rich.markup import escape
    from rich.table import Table

    from harness.cli.tables import print_table, whole_cells
    from harness.units import format_plus_minus, format_significant

    mark = ", replay, simulated" if fit.replay else ", simulated" if fit.simulated else ""
    head = f"{fit.setting['model']}, {fit.setting['task']}, {fit.setting['dtype']}, {fit.setting['board']}"
    screen.print(f"[bold]{escape(head)}[/]{mark}", soft_wrap=True)
    truth = any(phase.true_value_j is not None for phase in fit.phases)
    columns = ["phase", "energy, 95 % interval", "unit", "standard error", "of it own", "of it shared"]
    table = Table(title=f"Energy by phase, gross{mark}", title_justify="left")
    for name in [*columns, *(["true, simulated"] if truth else [])]:
        right = name in ("energy, 95 % interval", "standard error", "of it own", "of it shared", "true, simulated")
        table.add_column(name, justify="right" if right else "left")
    for phase in fit.phases:
        energy = format_plus_minus(phase.energy_j.value, phase.energy_j.half_width)
        cells = [
            phase.name,
            f"[red]{energy}[/]" if phase.warning else energy,
            phase.unit,
            *(f"{u_j:.2g}" for u_j in (phase.energy_j.standard_uncertainty, phase.own_u_j, phase.shared_u_j)),
        ]
        if truth:
            cells.append("-" if phase.true_value_j is None else format_significant(phase.true_value_j, 4))
        table.add_row(*cells)
    print_table(whole_cells(table), screen)
    screen.print(fit.formula, soft_wrap=True, markup=False)
    for untold in fit.untold:
        screen.print(f"{untold.name}: not told apart, it is in {untold.into}; {untold.reason}.", soft_wrap=True)
    for warning in fit.warnings:
        screen.print(f"[yellow]{escape(warning)}[/]", soft_wrap=True)
    screen.print(_checked(fit), soft_wrap=True)
    print_table(whole_cells(_parts_table(fit, mark)), screen)
    screen.print(f"Residuals{mark}: measured less fitted, in each run's own standard uncertainties")
    for line in _residual_lines(fit):
        screen.print(line, markup=False, soft_wrap=True)
    if fit.simulated:
        screen.print(
            "[magenta]simulated[/]: power comes from a simulated GPU; it is no model's energy and no real GPU drew it."
        )


def _checked(fit: PhaseFit) -> str:
    """Goodness of fit and the held-out check in sentences."""
    widened = f"widened by {fit.inflation:.2f}" if fit.inflation > 1 else "not widened"
    told = (
        f"{len(fit.runs)} runs, {fit.boundary}; chi-squared {fit.chi_squared:.2g} on {fit.degrees} degrees of freedom, "
        f"own doubts {widened}; own: differs between runs; shared: the board's gain and offset, "
        "which move all phases together."
    )
    held = fit.held_out
    if held is None:
        return f"{told} Held-out check: every run alone decides a phase, so none can be left out."
    return (
        f"{told} Held-out check, each run predicted from the others: off by {held.median_relative:.2%} (median), "
        f"{held.largest_relative:.2%} (largest); {held.within} of {held.runs} within the 95 % that is stated."
    )


def _parts_table(fit: PhaseFit, mark: str) -> Table:
    """What one generation of each run is made of."""
    from rich.table import Table

    from harness.units import format_significant

    table = Table(title=f"J per generation and what it is made of{mark}", title_justify="left")
    work = ("steps", "Mpx") if fit.kind == "image" else ("in", "out")
    for name in ("batch", *work, "measured, J", *(phase.name for phase in fit.phases), "held-out error"):
        table.add_column(name, justify="right")
    for run in fit.runs:
        asked = (
            (f"{run.steps:.0f}", f"{run.megapixels:.3f}")
            if fit.kind == "image"
            else (f"{run.input_tokens:.0f}", f"{run.output_tokens:.0f}")
        )
        parts = (
            f"{format_significant(part_j / run.batch_size)} ({part_j / run.fitted_j:.0%})"
            for part_j in run.parts_j.values()
        )
        left_out = "-" if run.held_out_relative is None else f"{run.held_out_relative:+.2%}"
        measured = format_significant(run.energy_j / run.batch_size, 4)
        table.add_row(str(run.batch_size), *asked, measured, *parts, left_out)
    return table


def _residual_lines(fit: PhaseFit) -> list[str]:
    """A line for each run: a point on an axis from -4 to +4 standard uncertainties; arrows beyond."""
    middle = PLOT_WIDTH // 2
    two = round(2 / PLOT_U * middle)
    lines = []
    for run in fit.runs:
        axis = [" "] * PLOT_WIDTH
        axis[middle - two] = axis[middle + two] = "┊"
        axis[middle] = "│"
        place = middle + round(run.residual_u / PLOT_U * middle)
        mark = "◀" if place < 0 else "▶" if place >= PLOT_WIDTH else "●"
        axis[min(max(place, 0), PLOT_WIDTH - 1)] = mark
        asked = (
            f"{run.steps:4.0f} steps, {run.megapixels:6.3f} Mpx"
            if fit.kind == "image"
            else f"{run.input_tokens:6.0f} in, {run.output_tokens:5.0f} out"
        )
        lines.append(f"batch {run.batch_size:4d}, {asked} {''.join(axis)} {run.residual_u:+6.2f}")
    scale = f"{-PLOT_U:g}".ljust(middle) + "0" + f"{PLOT_U:+g}".rjust(middle)
    return [*lines, " " * (len(lines[0]) - PLOT_WIDTH - 7) + scale]
