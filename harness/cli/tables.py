"""Result rows on a terminal: the ranking table, what it rests on, and what to doubt."""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from harness.footprint.factors import Factor
from harness.footprint.grids import unnamed_grid
from harness.plain_text import blotted, visible
from harness.report.results import ResultRow, caveat_lines, told_apart_by
from harness.report.uncertainty import RunBudget
from harness.stats import Estimate
from harness.units import format_plus_minus, format_significant

MIN_WIDTH = 140
USUAL_COLUMNS = 5  # that identify a run; with more of them, the table is split in two

Column = tuple[str, Literal["left", "right"], Callable[[ResultRow], str]]


class Screen(Console):
    """A console that no text can command: records, servers and other tools' files may hold escape sequences."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Text with control characters spelled out, before it is laid out."""
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What was no plain string until now: here they are blotted out."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(blotted(part.text), part.style)


def console() -> Console:
    """Standard output; wide enough for the tables where it is a file or a pipe."""
    out = Screen(highlight=False)
    return out if out.is_terminal else Screen(highlight=False, width=max(MIN_WIDTH, out.width))


def print_line(out: Console, text: str, style: str = "") -> None:
    """A line of plain words: wrapped on a terminal with its indent kept, whole in a file or a pipe."""
    if not out.is_terminal:
        out.print(text, markup=False, soft_wrap=True, style=style)
        return
    for line in text.split("\n"):
        words = line.lstrip(" ")
        out.print(Padding.indent(Text(visible(words) or " ", style=style), len(line) - len(words)))


def print_table(table: Table, out: Console) -> None:
    """A table where its longest words fit; elsewhere each row as a sentence, so that no number is broken in two."""
    whole = out.options.update(max_width=10_000)
    measured = Measurement.get(out, whole, table)
    if measured.maximum <= out.width or (measured.minimum <= out.width and not _cuts_words(table, out)):
        out.print(table)
        return
    if table.title:
        out.print(f"[italic]{table.title}[/]")
    names = [str(column.header) for column in table.columns]
    group = ""
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        head, *rest = (str(cell) for cell in cells)
        group = head or group
        told = "; ".join(f"{name}: {cell}" for name, cell in zip(names[1:], rest, strict=True) if cell)
        out.print(f"[bold]{group}[/] - {told}" if told else f"[bold]{group}[/]")


def _cuts_words(table: Table, out: Console) -> bool:
    """Whether a word of the table would be cut short at this width, though all longest words fit beside each other."""
    with out.capture() as captured:
        out.print(table)
    whole = sum(str(cell).count("…") for column in table.columns for cell in column.cells)
    return captured.get().count("…") > whole


def whole_cells(table: Table) -> Table:
    """The same table, whose cells are never broken: where it does not fit, `print_table` writes sentences."""
    for column in table.columns:
        cells = [str(column.header), *(str(cell) for cell in column.cells)]
        column.min_width = max(Text.from_markup(cell).cell_len for cell in cells)
    return table


def print_results(rows: Sequence[ResultRow], out: Console) -> None:
    """The table of complete runs, then failures, caveats and sources."""
    complete = [row for row in rows if row.status == "complete"]
    lines = caveat_lines(complete)
    letters = caveat_letters(lines)
    if complete:
        for table in _tables(complete, letters, out.width):
            print_table(table, out)
        print_caveats(lines, letters, out)
        _print_legend(complete, out)
        _print_accounted(complete, out)
    for row in rows:
        if row.status == "failed":
            out.print(f"[red]failed[/] {escape(row.run_id)}: {escape(row.failure or 'no reason was kept')}")


def caveat_letters(lines: Sequence[tuple[str, int, str]]) -> dict[str, str]:
    """A letter for each kind of caveat (`caveat_lines`), as far as they reach."""
    return {code: letter for (code, _, _), letter in zip(lines, string.ascii_lowercase, strict=False)}


def print_caveats(lines: Sequence[tuple[str, int, str]], letters: dict[str, str], out: Console) -> None:
    """What each letter means, in how many runs, and in the words of the first."""
    for code, count, wording in lines:
        runs = "1 run" if count == 1 else f"{count} runs, e.g."
        out.print(f"[yellow]{letters.get(code, '-')}[/] {escape(code)}, {runs}: {escape(wording)}")


def print_budget(budget: RunBudget, out: Console) -> None:
    """Term, value, whether it counts, what would reduce it; then what is known of the sensor."""
    mark = ", replay, simulated" if budget.replay else ", simulated" if budget.simulated else ""
    half_j = (budget.high_j - budget.low_j) / 2
    told = f"{escape(budget.run_id)}: {format_plus_minus(budget.energy_j, half_j)} J per generation{mark}"
    out.print(
        f"[bold]{told}[/] ({budget.confidence:.0%} interval; {escape(budget.boundary)}; {budget.windows} windows)"
    )
    table = Table()
    for name in ("term", "J per generation", "of the energy", "kind", "counted", "what would reduce it"):
        table.add_column(name, justify="right" if name in ("J per generation", "of the energy") else "left")
    for line in budget.lines:
        table.add_row(
            escape(line.term),
            f"{line.standard_uncertainty_j:.3g}",
            f"{line.relative:.2%}",
            escape(line.kind),
            "yes" if line.counted else "no",
            escape(line.reduced_by),
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
            f"{seen}; gain {escape(sensor.gain_source)}",
            soft_wrap=True,
        )


def estimate_text(estimate: Estimate | None) -> str:
    """value ± half-width of the 95 % interval."""
    return format_plus_minus(estimate.value, estimate.half_width) if estimate else "not measured"


def energy_badge(row: ResultRow) -> str:
    """Whose energy it is."""
    if row.replay:
        return "[magenta]replay, simulated[/]"
    return "[magenta]simulated[/]" if row.simulated else "measured"


def _tables(rows: Sequence[ResultRow], letters: dict[str, str], width: int) -> list[Table]:
    """One table where it fits; elsewhere two narrower ones: a number is never cut."""
    marks = {row.run_id: " ".join(letters.get(caveat.code, "-") for caveat in row.caveats) for row in rows}
    first: list[Column] = [
        ("model", "left", lambda row: escape(row.model)),
        ("batch", "right", _batch),
        ("kWh per 1,000", "right", lambda row: estimate_text(row.energy_kwh_per_1000)),
        ("caveats", "left", lambda row: f"[yellow]{marks[row.run_id]}[/]"),
        ("energy", "left", energy_badge),
    ]
    first[2:2] = _setting_columns(rows)
    if len({row.prompts for row in rows}) > 1:
        first.insert(1, ("prompts", "left", _prompts))
    if needs_tasks(rows):
        rows = sorted(rows, key=lambda row: row.task)
        first.insert(1, ("task", "left", lambda row: escape(row.task)))
    fits = width >= MIN_WIDTH and len(first) == USUAL_COLUMNS
    last = first.pop()
    second: list[Column] = [
        ("J per token or image", "right", _per_unit),
        ("phone charges", "right", lambda row: _equivalent(row, "phone_charges")),
        ("car km", "right", lambda row: _equivalent(row, "car_km")),
        ("g CO2e", "right", lambda row: _equivalent(row, "carbon_g_co2e")),
        ("boundary", "left", lambda row: escape(row.boundary or "-")),
    ]
    title = "Energy per 1,000 generations, gross, with 95 % interval"
    if fits:
        return [_table(title, [*first, *second, last], rows)]
    badges = {energy_badge(row) for row in rows} - {"measured"}
    marks_all = f", {badges.pop()}" if len(badges) == 1 and all(row.simulated for row in rows) else ""
    equals = f"The same, per token or image and per 1,000 generations{marks_all}"
    return [_table(title, [*first, second[4], last], rows), _table(equals, [*first[:-2], *second[:4]], rows)]


def needs_tasks(rows: Sequence[ResultRow]) -> bool:
    """Text and images tell themselves apart; more tasks do not, nor does a model that does two of them."""
    pairs = {(row.model, row.task) for row in rows}
    return len({task for _, task in pairs}) > 2 or len({model for model, _ in pairs}) < len(pairs)


def _setting_columns(rows: Sequence[ResultRow]) -> list[Column]:
    """Only where rows differ in it: runs that a table tells apart by nothing look like the same run twice."""

    def column(name: str) -> Column:
        return name, "left" if name == "asked" else "right", lambda row: escape(row.settings.get(name, ""))

    return [column(name) for name in told_apart_by(rows)]


def _batch(row: ResultRow) -> str:
    return row.load or str(row.batch_size)


def _prompts(row: ResultRow) -> str:
    return escape(row.prompts)


def _per_unit(row: ResultRow) -> str:
    return f"{estimate_text(row.energy_j_per_unit)} /{row.unit}" if row.unit else "-"


def _print_accounted(rows: Sequence[ResultRow], out: Console) -> None:
    """The same runs as a study would have counted them, with what it assumed."""
    counted = [row for row in rows if row.accounted]
    for name in dict.fromkeys(row.accounted.accounting for row in counted if row.accounted):
        own = [row for row in counted if row.accounted and row.accounted.accounting == name]

        def kwh(row: ResultRow, part: str) -> str:
            return format_significant(getattr(row.accounted, part))

        marks, batches, prompts = ({of(row) for row in own} for of in (energy_badge, _batch, _prompts))
        columns: list[Column] = [
            ("model", "left", lambda row: escape(row.model)),
            ("ours: GPUs that ran it", "right", lambda row: estimate_text(row.energy_kwh_per_1000)),
            (name, "right", lambda row: estimate_text(row.accounted.energy_kwh_per_1000 if row.accounted else None)),
            ("of it every GPU", "right", lambda row: kwh(row, "gpus_kwh_per_1000")),
            ("CPU, assumed", "right", lambda row: kwh(row, "cpu_kwh_per_1000")),
            ("memory, assumed", "right", lambda row: kwh(row, "memory_kwh_per_1000")),
        ]
        columns[1:1] = _setting_columns(own)
        if len(batches) > 1:
            columns.insert(1, ("batch", "right", _batch))
        if len(prompts) > 1:
            columns.insert(1, ("prompts", "left", _prompts))
        if len(marks) > 1:
            columns.append(("energy", "left", energy_badge))
        mark = f", {marks.pop()}" if len(marks) == 1 else ""
        print_table(_table(f"kWh per 1,000 generations as {name} counted, beside ours{mark}", columns, own), out)
        first = own[0].accounted
        assert first is not None
        boundaries = ", ".join(sorted({row.accounted.boundary for row in own if row.accounted}))
        out.print(f"{name}: {boundaries}: {first.assumptions}; modelled ({escape(first.source)}).", soft_wrap=True)


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
    print_marks(
        any(row.replay for row in rows),
        any(row.simulated for row in rows),
        {row.weights for row in rows},
        out,
    )
    first = next((row.equivalents_per_1000 for row in rows if row.equivalents_per_1000), None)
    print_factors(first.factors if first else (), out)


def print_marks(replay: bool, simulated: bool, weights: Collection[str], out: Console) -> None:
    """What the marks of energies and weights mean, of those that there are."""
    if replay:
        out.print(
            "[magenta]replay[/]: time and power of the study's runs on a simulated node of eight GPUs; no model ran."
        )
    if simulated:
        out.print(
            "[magenta]simulated[/]: power comes from a simulated GPU; it is no model's energy and no real GPU drew it."
        )
    if "random" in weights:
        out.print("weights: random; speed and energy of the architecture, no meaningful output.")
    if "zeros" in weights:
        out.print("weights: zeros; a check of how much their values matter, no model's energy.")


def print_factors(factors: Sequence[Factor], out: Console) -> None:
    """Edition, value and source of the grid, a phone charge and driving a car."""
    for factor in factors:
        if factor.kind in ("phone", "car", "grid"):
            out.print(
                f"{factor.kind}: {factor.edition}, {factor.value_text} {factor.unit}"
                f"{f' ({factor.range_text})' if factor.range_text else ''}"
                f"{f', {factor.year}' if factor.year else ''} ({escape(factor.source)})"
                f"{', [yellow]unverified, from memory[/]' if factor.verified == 'unverified' else ''}"
                f"{'; no grid was named: the range is that of all on record in CO2e' if unnamed_grid(factor) else ''}"
            )
