"""The ranking on a terminal: a table for each task, the least energy first. A narrow one has fewer columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from harness.cli.bars import interval_bar, sparkline
from harness.cli.tables import (
    caveat_letters,
    console,
    print_caveats,
    print_factors,
    print_marks,
    print_table,
    whole_cells,
)
from harness.errors import StoreError
from harness.footprint.equivalents import Equivalents
from harness.report.ranking import OF_A_BOARD, Rating, per_kwh, stars_of
from harness.report.rating import WAYS, Way
from harness.report.results import Editions, caveat_lines
from harness.report.stored import RankedRun, left_out, ranking, stored_ratings
from harness.store.queries import StoredRuns
from harness.store.traces import PowerShape, power_shapes
from harness.units import format_plus_minus, format_significant

BEST, WORST = 20, 5  # rows of a task, where it has more than both together
BAR_WIDTH, NARROW_BAR_WIDTH, WIDE = 16, 8, 110  # characters; from so wide a terminal on the long bars fit
STRETCHES = 16
ALWAYS = 0


@dataclass(frozen=True)
class Look:
    """What a table needs beside its rows."""

    one_kwh: Equivalents
    ratings: Mapping[tuple[tuple[str, ...], Way], Rating]
    shapes: Mapping[Path, PowerShape]
    letters: Mapping[str, str]
    mark: str | None


@dataclass(frozen=True)
class Column:
    """A column; where there is no room those with the highest `rank` go first, and those of rank 0 never."""

    name: str
    rank: int
    text: Callable[[RankedRun], str]
    justify: Literal["left", "right"] = "left"


def show_ranking(
    stored: StoredRuns, names: Sequence[str], chosen: Editions, all_rows: bool, as_json: bool
) -> list[StoreError]:
    """The ranking of these runs, as tables or one JSON document with all rows; returns errors of broken traces."""
    one_kwh = per_kwh(chosen)
    ratings = stored_ratings(stored, names)
    unplaced = left_out(stored, one_kwh, names)
    if as_json:
        document = {
            "ranking": [_document(run, ratings) for run in ranking(stored, one_kwh, names)],
            "left_out": [_document(run, ratings) for run in unplaced],
            "bands": [rating.model_dump(mode="json") for rating in ratings.values()],
            "factors": [one_kwh.factor(kind).model_dump(mode="json") for kind in ("grid", "phone", "car")],
        }
        print(json.dumps(document, indent=2))
        return []
    ranked = ranking(stored, one_kwh, names, None if all_rows else BEST, WORST)
    broken: list[StoreError] = []
    shapes = power_shapes({run.folder: run.boards for run in ranked}, STRETCHES, broken)
    print_ranking(ranked, unplaced, one_kwh, ratings, shapes, console())
    return broken


def _document(run: RankedRun, ratings: Mapping[tuple[tuple[str, ...], Way], Rating]) -> dict[str, object]:
    """A row with its place, its stars by each way, and its caveats in full."""
    rated = {way: stars_of(run.row, ratings, way) for way in WAYS}
    return {
        "place": run.place,
        "placed": run.placed,
        "folder": str(run.folder),
        **run.row.model_dump(mode="json"),
        "stars": {way: None if each is None else each.model_dump(mode="json") for way, each in rated.items()},
        "caveats": [caveat.model_dump(mode="json") for caveat in run.caveats],
    }


def print_ranking(
    ranked: Sequence[RankedRun],
    unplaced: Sequence[RankedRun],
    one_kwh: Equivalents,
    ratings: Mapping[tuple[tuple[str, ...], Way], Rating],
    shapes: Mapping[Path, PowerShape],
    out: Console,
) -> None:
    """Tables, what their signs mean, what they rest on, and what is in none of them and why."""
    lines = caveat_lines(ranked)
    letters = caveat_letters(lines)
    marks = {run.row.mark for run in ranked}
    look = Look(one_kwh, ratings, shapes, letters, marks.pop() if len(marks) == 1 else None)
    dropped: dict[str, None] = {}
    for task in dict.fromkeys(run.row.task for run in ranked):
        dropped |= dict.fromkeys(_print_task([run for run in ranked if run.row.task == task], look, out))
    if ranked:
        out.print()
        print_caveats(lines, letters, out)
        _print_signs(ranked, look, dropped, out)
    loads = sum(run.row.left_out == OF_A_BOARD for run in unplaced)
    if loads:
        out.print(f"not ranked: {loads} calibration{'s' if loads > 1 else ''}: {OF_A_BOARD}", soft_wrap=True)
    for run in (run for run in unplaced if run.row.left_out != OF_A_BOARD):
        out.print(f"[red]left out[/] {escape(run.row.run_id)}: {escape(run.row.left_out or '')}", soft_wrap=True)


def _print_task(runs: Sequence[RankedRun], look: Look, out: Console) -> list[str]:
    """One task's table; names of the columns for which there was no room."""
    mark = f", {look.mark}" if look.mark else ""
    task = runs[0].row.task
    head = f"[bold]{escape(task)}[/]: kWh per 1,000 generations, gross, 95 % interval{mark}"
    columns = _columns(runs, look, BAR_WIDTH if out.width >= WIDE else NARROW_BAR_WIDTH)
    dropped: list[str] = []
    while True:
        table = _table(columns, runs)
        whole = out.options.update(max_width=10_000)
        if Measurement.get(out, whole, table).maximum <= out.width:
            break
        last = max(columns, key=lambda column: column.rank)
        if last.rank == ALWAYS:
            break
        columns = [column for column in columns if column is not last]
        dropped.append(last.name)
    out.print(f"\n{head}", soft_wrap=True)
    print_table(table, out)
    return dropped


def _columns(runs: Sequence[RankedRun], look: Look, bar_width: int) -> list[Column]:
    largest = max(run.row.energy.high or run.row.energy.kwh for run in runs if run.row.energy)
    apart = _what_tells_apart(runs)

    def stars(way: Way) -> Callable[[RankedRun], str]:
        return lambda run: f"[yellow]{_stars(run, look, way)}[/]"

    columns = [
        Column("", ALWAYS, lambda run: str(run.place), "right"),
        Column("model", ALWAYS, lambda run: escape(run.row.model)),
        Column("run", ALWAYS, lambda run: escape(apart[run.folder])),
        Column("kWh per 1,000", ALWAYS, _energy, "right"),
        Column("bars", 2, lambda run: _bar(run, largest, bar_width)),
        Column("stars", 1, stars("equal bands")),
        Column("by fifths", 5, stars("quantiles")),
        Column(
            "caveats", ALWAYS, lambda run: f"[yellow]{' '.join(look.letters.get(c.code, '-') for c in run.caveats)}[/]"
        ),
        Column("J per token or image", 3, _per_unit, "right"),
        Column("power", 4, lambda run: _power(run, look)),
        Column("g CO2e", 6, lambda run: _equal(run.row.carbon_g_co2e), "right"),
        Column("phone charges", 7, lambda run: _equal(run.row.phone_charges), "right"),
        Column("car km", 8, lambda run: _equal(run.row.car_km), "right"),
        Column("boundary", 9, lambda run: run.row.boundary or "-"),
    ]
    if look.mark is None:
        columns.insert(4, Column("energy", ALWAYS, lambda run: _mark(run.row.mark)))
    unused = {"run"} if not any(apart.values()) else set()
    unused |= {"caveats"} if not any(run.caveats for run in runs) else set()
    unused |= {"J per token or image"} if not any(run.row.unit for run in runs) else set()
    unused |= {"power"} if not any(run.folder in look.shapes for run in runs) else set()
    unused |= {"stars", "by fifths"} if not any(_stars(run, look, "quantiles") for run in runs) else set()
    return [column for column in columns if column.name not in unused]


def _table(columns: Sequence[Column], runs: Sequence[RankedRun]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column.name, justify=column.justify, no_wrap=True)
    before = 0
    for run in runs:
        place = run.place or 0
        if place != before + 1:
            more = f"{place - before - 1:,} more: --all"
            table.add_row(*(f"[dim]{more}[/]" if column.name == "model" else "[dim]…[/]" for column in columns))
        table.add_row(*(column.text(run) for column in columns))
        before = place
    return whole_cells(table)


def _what_tells_apart(runs: Sequence[RankedRun]) -> dict[Path, str]:
    """Of each run what differs among them: load, number format, board, prompts; the run id where all that is equal."""
    facts = {
        run.folder: (run.row.load, run.row.dtype, (run.row.gpu or "").removeprefix("NVIDIA "), run.row.prompts)
        for run in runs
    }
    differ = [len(set(column)) > 1 for column in zip(*facts.values(), strict=True)]
    texts = {
        folder: ", ".join(fact for fact, differs in zip(each, differ, strict=True) if differs and fact)
        for folder, each in facts.items()
    }
    alike = Counter((run.row.model, texts[run.folder]) for run in runs)
    for run in runs:
        text = texts[run.folder]
        if alike[run.row.model, text] > 1:
            texts[run.folder] = ", ".join(filter(None, (text, run.row.campaign, run.row.run_id[-12:])))
    return texts


def _energy(run: RankedRun) -> str:
    energy = run.row.energy
    assert energy is not None
    if energy.low is None or energy.high is None:
        return format_significant(energy.kwh)
    return format_plus_minus(energy.kwh, (energy.high - energy.low) / 2)


def _bar(run: RankedRun, largest: float, width: int) -> str:
    energy = run.row.energy
    assert energy is not None
    low, high = (energy.kwh if end is None else end for end in (energy.low, energy.high))
    return f"[green]{interval_bar(low, high, largest, width)}[/]"


def _stars(run: RankedRun, look: Look, way: Way) -> str:
    rated = stars_of(run.row, look.ratings, way)
    if rated is None:
        return ""
    drawn = "★" * rated.stars + "☆" * (5 - rated.stars)
    return f"{drawn} {rated.fewest}-{rated.most}" if rated.crosses else drawn


def _power(run: RankedRun, look: Look) -> str:
    shape = look.shapes.get(run.folder)
    return "no trace" if shape is None else f"[blue]{sparkline(shape.power_w, shape.peak_w)}[/] {shape.peak_w:.0f} W"


def _per_unit(run: RankedRun) -> str:
    row = run.row
    if row.j_per_unit is None or row.j_per_unit_low is None or row.j_per_unit_high is None:
        return "-"
    return f"{format_plus_minus(row.j_per_unit, (row.j_per_unit_high - row.j_per_unit_low) / 2)} /{row.unit}"


def _equal(value: float | None) -> str:
    return "-" if value is None else format_significant(value)


def _mark(mark: str) -> str:
    return f"[magenta]{mark}[/]" if mark else "measured"


def _print_signs(runs: Sequence[RankedRun], look: Look, dropped: Mapping[str, None], out: Console) -> None:
    """What bars, stars and sparklines mean, whose energy it is, and which columns there was no room for."""
    boards = ", ".join(sorted({run.row.gpu for run in runs if run.row.gpu}))
    counted = ", ".join(sorted({run.row.boundary for run in runs if run.row.boundary}))
    out.print(
        f"boundary: GPUs that ran the model, of those in the machine: {counted} ({escape(boards)}).", soft_wrap=True
    )
    shown = [name for name in ("bars", "stars", "power") if name not in dropped]
    if "bars" in shown:
        out.print(
            "bars: █ up to the interval's low end, ▒ up to its high end; the longest is the task's largest shown."
        )
    if "stars" in shown and look.ratings:
        out.print(
            "stars: 5 for the least energy; the range of the models on one board, each by its best run, in five equal "
            "parts; by fifths: every fifth of the models. 3-4 behind them: the interval reaches from 3 to 4.",
            soft_wrap=True,
        )
    missing = sum(run.folder not in look.shapes for run in runs)
    if "power" in shown and look.shapes:
        out.print("power: the run's trace from start to end, from 0 W to its own peak, the GPUs that ran the model.")
    if missing and "power" in shown:
        out.print(f"power: {missing} of {len(runs)} runs have no trace (trace.parquet), so no curve.")
    marks = {run.row.mark for run in runs}
    replay = any("replay" in mark for mark in marks)
    print_marks(replay, any("simulated" in mark for mark in marks), {run.row.weights for run in runs}, out)
    if {"g CO2e", "phone charges", "car km"} - set(dropped):
        print_factors(look.one_kwh.factors, out)
    if dropped:
        names = ", ".join(dropped)
        out.print(
            f"No room at this width for: {names}. A wider terminal, --table or --json tells them.", soft_wrap=True
        )
