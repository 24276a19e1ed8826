"""`harness show --sweep` as a person sees it: bars of energy and latency against batch size, and the best point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.cli.echo import echo

if TYPE_CHECKING:
    from rich.console import Console

    from harness.records import RunRecord
    from harness.report.sweep import Sweep

BAR_WIDTH, NARROW_BAR_WIDTH = 24, 8
WIDE = 110  # columns of a terminal from which on the long bars fit


def show_sweep(records: Sequence[RunRecord], latency_limit_s: float | None, as_json: bool) -> None:
    """Every sweep over batch sizes, as tables or one JSON document."""
    import json

    from harness.cli.tables import console
    from harness.report.sweep import sweeps_of

    sweeps = sweeps_of(records, latency_limit_s)
    if as_json:
        document = {"sweeps": [sweep.model_dump(mode="json") for sweep in sweeps]}
        echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    out = console()
    for sweep in sweeps:
        _print(sweep, out)
    if any(not sweep.served for sweep in sweeps):
        out.print("latency: the time a batch takes, engine time per generation x batch size (mean over all windows).")
    if any(sweep.served for sweep in sweeps):
        out.print("in flight: requests kept at the server; latency there: the median time to the end of an answer.")
    if any(sweep.simulated for sweep in sweeps):
        out.print(
            "[magenta]simulated[/]: power comes from a simulated GPU; it is no model's energy and no real GPU drew it."
        )


def _print(sweep: Sweep, out: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from harness.cli.bars import bar
    from harness.cli.tables import estimate_text, print_table, whole_cells
    from harness.units import format_duration

    mark = ", replay, simulated" if sweep.replay else ", simulated" if sweep.simulated else ""
    out.print(f"[bold]{escape(sweep.model)}[/]: {escape(sweep.workload)}; {escape(sweep.gpu)}{mark}", soft_wrap=True)
    table = Table(title=f"Energy per generation, gross, with 95 % interval, and latency{mark}", title_justify="left")
    size = "in flight" if sweep.served else "batch"
    for name in (size, "J/generation", "energy", "latency", "time", "point"):
        right = name in (size, "J/generation", "latency")
        table.add_column(name, justify="right" if right else "left")
    width = BAR_WIDTH if out.width >= WIDE else NARROW_BAR_WIDTH
    dearest_j = max(point.energy_j.value for point in sweep.points)
    slowest_s = max(point.latency_s for point in sweep.points)
    for point in sweep.points:
        best = sweep.best is not None and point.run_id == sweep.best.run_id
        table.add_row(
            str(point.batch_size),
            estimate_text(point.energy_j),
            f"[green]{bar(point.energy_j.value, dearest_j, width)}[/]",
            format_duration(point.latency_s),
            f"[blue]{bar(point.latency_s, slowest_s, width)}[/]",
            "[bold]best[/]" if best else "" if point.within_limit else "[yellow]too slow[/]",
        )
    print_table(whole_cells(table), out)
    out.print(best_sentence(sweep), soft_wrap=True, markup=False)


def best_sentence(sweep: Sweep) -> str:
    """The best batch size, its interval, and whether the next can be told from it."""
    from harness.cli.tables import estimate_text
    from harness.units import format_duration, format_plus_minus

    limit_s = sweep.latency_limit_s
    under = "" if limit_s is None else f" within {format_duration(limit_s)}"
    best = sweep.best
    if best is None:
        return f"No batch size of {sweep.model} meets the latency limit of {format_duration(limit_s or 0.0)}."
    point = next(each for each in sweep.points if each.run_id == best.run_id)
    size, whole = ("in flight", "an answer") if sweep.served else ("batch", "a batch")
    told = (
        f"Least energy per generation{under}: {size} {best.batch_size}, {estimate_text(point.energy_j)} J; "
        f"{whole} takes {format_duration(point.latency_s)}."
    )
    if best.difference_j is None:
        return f"{told} It is the only one{under}."
    more = format_plus_minus(best.difference_j.value, best.difference_j.half_width)
    if best.told_apart:
        return f"{told} Next is {size} {best.second_batch_size} with {more} J more."
    return f"{told} It cannot be told from {size} {best.second_batch_size}, which takes {more} J more."
