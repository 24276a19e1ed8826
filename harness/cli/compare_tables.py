"""A comparison on a terminal: a row per pair with its interval as a bar, then what it rests on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.cli.tables import print_table, whole_cells
from harness.compare.base import Compared, Comparison, SideFigure
from harness.units import format_plus_minus, format_significant

Column = tuple[str, Literal["left", "right"], Callable[[Compared], str]]
BAR_WIDTH = 31  # characters
AROUND_CELL = 3  # characters: two spaces and a line
COLOURS = {"less": "green", "more": "red", "equivalent": "cyan", "cannot tell": "yellow"}
BAR, TO_DECIDE, TOGETHER = "1 is │, margin ┊", "to decide", "95 %, all rows together"
SMALLEST_U, SMALLEST_CHANGE = 0.0001, 0.001  # below them nothing is told of a term, or of another unit's ratio
DETAILED = 3  # comparisons up to which each is told in full
SHOWN_PAIRS = 200  # rows of the table; --json has all
SHOWN_LINES = 40  # below the table, of what holds of some pairs only
SHOWN_NAMES = 3  # of what one line is about; --json has all


def print_comparison(comparison: Comparison, out: Console) -> None:
    """Sides, ratios, what they rest on, what is left out."""
    title = f"J per {comparison.per}, {comparison.boundary_told}, with 95 % interval"
    out.print(f"[bold]{title}[/]", soft_wrap=True)
    print_table(whole_cells(_sides_table(comparison)), out)
    baselines = {each.baseline for each in comparison.comparisons}
    against = f", against {escape(next(iter(baselines)))}" if len(baselines) == 1 else ""
    out.print(f"[bold]Ratio of energy per {comparison.per}{against}[/]", soft_wrap=True)
    print_table(_ratios_table(comparison, out), out)
    if len(comparison.comparisons) > SHOWN_PAIRS:
        rest = len(comparison.comparisons) - SHOWN_PAIRS
        out.print(f"{rest:,} more rows are not shown: --json has all.", soft_wrap=True)
    for line in _legend(comparison):
        out.print(line, soft_wrap=True, markup=False)


def _sides_table(comparison: Comparison) -> Table:
    table = Table()
    for name in ("what", f"J per {comparison.per}", "repeats", "energy"):
        table.add_column(name, justify="left" if name in ("what", "energy") else "right")
    boundaries = {side.boundary for side in comparison.sides}
    if len(boundaries) > 1:
        table.add_column("boundary")
    for side in comparison.sides:
        cells = [escape(side.label), _energy(side), str(side.repeats), side.mark or "measured"]
        table.add_row(*cells, *([side.boundary] if len(boundaries) > 1 else []))
    return table


def _energy(side: SideFigure) -> str:
    if side.low_j is None or side.high_j is None:
        return f"{format_significant(side.energy_j)}, doubt not known"
    return format_plus_minus(side.energy_j, (side.high_j - side.low_j) / 2)


def _ratios_table(comparison: Comparison, out: Console) -> Table:
    """All columns where they fit; a narrower terminal loses the bar first, then what is told below as well."""
    pairs = comparison.comparisons[:SHOWN_PAIRS]
    span = _span(comparison)
    one_baseline = len({each.baseline for each in pairs}) == 1
    columns: list[Column] = [
        ("compared", "left", lambda each: escape(each.other if one_baseline else _pair(each))),
        ("ratio", "right", lambda each: _factor_text(each, each.ratio)),
        ("95 % interval", "left", lambda each: _range(each, each.low, each.high)),
        (TOGETHER, "left", lambda each: _range(each, each.simultaneous_low, each.simultaneous_high)),
        (BAR, "left", lambda each: _bar(each, span, comparison.margin)),
        ("verdict", "left", lambda each: _verdict(each, comparison.margin)),
        (TO_DECIDE, "left", _repeats),
        ("energy", "left", lambda each: escape(_energy_told(each))),
    ]
    unneeded = [] if len(pairs) > 1 else [TOGETHER]
    unneeded += [] if any(each.verdict == "cannot tell" for each in pairs) else [TO_DECIDE]
    columns = [column for column in columns if column[0] not in unneeded]
    cells = {name: [text(each) for each in pairs] for name, _, text in columns}
    widths = {name: max(cell_len(Text.from_markup(cell).plain) for cell in (name, *cells[name])) for name in cells}
    for lost in (BAR, TO_DECIDE, TOGETHER):
        if sum(widths.values()) + AROUND_CELL * len(widths) + 1 <= out.width:
            break
        widths.pop(lost, None)
    table = Table()
    for name, justify, _ in columns:
        if name in widths:
            table.add_column(name, justify=justify)
    for row in zip(*(cells[name] for name in widths), strict=True):
        table.add_row(*row)
    return whole_cells(table)


def _factor_text(each: Compared, value: float) -> str:
    """As many digits as the interval is worth."""
    if each.low is None or each.high is None:
        return format_significant(value)
    width = (each.high - each.low) / 2
    places = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 4
    return f"{value:,.{min(places, 6)}f}"


def _range(each: Compared, low: float | None, high: float | None) -> str:
    return "not known" if low is None or high is None else f"{_factor_text(each, low)} to {_factor_text(each, high)}"


def _repeats(each: Compared) -> str:
    if each.verdict != "cannot tell":
        return ""
    return "see below" if each.repeats_to_decide is None else f"{each.repeats_to_decide} repeats"


def _verdict(each: Compared, margin: float) -> str:
    """An equivalence that is a difference too is told as one that is small, not as none."""
    small = f", by less than {100 * margin:g} %" if each.within_margin and each.verdict in ("less", "more") else ""
    return f"[{COLOURS[each.verdict]}]{each.verdict}{small}[/]"


def _energy_told(each: Compared) -> str:
    kinds = ", ".join(told.partition(":")[0].removeprefix("across ") for told in each.across)
    return f"{each.marks}; across {kinds}" if kinds else each.marks


def _span(comparison: Comparison) -> tuple[float, float]:
    """Ends of the common axis, as logs: every interval and the margin lie within."""
    edge = math.log1p(comparison.margin)
    ends = [edge, -edge]
    for each in comparison.comparisons:
        ends += [math.log(value) for value in (each.low, each.ratio, each.high) if value is not None]
    room = 0.05 * (max(ends) - min(ends))
    return min(ends) - room, max(ends) + room


def _bar(each: Compared, span: tuple[float, float], margin: float) -> str:
    """The interval as a line on a common log axis, its ratio as a dot."""

    def place(value: float) -> int:
        return min(BAR_WIDTH - 1, max(0, round((math.log(value) - span[0]) / (span[1] - span[0]) * (BAR_WIDTH - 1))))

    axis = [" "] * BAR_WIDTH
    axis[place(1 + margin)] = axis[place(1 / (1 + margin))] = "┊"
    axis[place(1.0)] = "│"
    if each.low is not None and each.high is not None:
        for index in range(place(each.low), place(each.high) + 1):
            axis[index] = "─" if axis[index] == " " else "┼"
    axis[place(each.ratio)] = "●"
    return "".join(axis)


# --- in words ---------------------------------------------------------------------------------------------


def _legend(comparison: Comparison) -> list[str]:
    """How each was compared, what cancels, what differs, what to doubt; what holds of several once."""
    pairs = comparison.comparisons
    told: dict[str, list[str]] = {}
    for each in pairs:
        for line in _told_of(each, len(pairs) <= DETAILED):
            told.setdefault(line, []).append(_pair(each))
    lines = [line if len(whose) == len(pairs) else f"{_some(whose)}: {line}" for line, whose in told.items()]
    if len(lines) > SHOWN_LINES:
        lines = [*lines[:SHOWN_LINES], f"{len(lines) - SHOWN_LINES:,} more lines are not shown: --json has all."]
    needed = [each.repeats_to_decide for each in pairs if each.repeats_to_decide is not None]
    if needed and len(pairs) > DETAILED:
        lines.append(f"to decide: from {min(needed)} to {max(needed)} repeats each, if spreads and ratios stay")
    low, high = 1 / (1 + comparison.margin), 1 + comparison.margin
    lines.append(
        f"verdict: less or more where 1 is ruled out; equivalent where ratios beyond {low:.3f} to {high:.3f} are (two "
        f"one-sided tests, margin {100 * comparison.margin:g} %); else cannot tell. {comparison.correction}."
    )
    if any("simulated" in each.marks for each in pairs):
        lines.append("simulated: power comes from a simulated GPU; it is no model's energy and no real GPU drew it.")
    reasons: dict[str, list[str]] = {}
    for left in comparison.left_out:
        reasons.setdefault(left.reason, []).append(left.name)
    return [*lines, *(f"left out: {_some(names)}: {reason}" for reason, names in reasons.items())]


def _pair(each: Compared) -> str:
    return f"{each.other} against {each.baseline}"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN_NAMES
    return ", ".join(names) if rest <= 0 else f"{', '.join(names[:SHOWN_NAMES])} and {rest} more"


def _told_of(each: Compared, in_full: bool) -> list[str]:
    lines = [*each.across, f"{each.method_told}; {each.cancels}", *_boards(each)]
    if each.verdict == "cannot tell" and (in_full or each.repeats_to_decide is None):
        lines.append(f"to decide: {each.to_decide}")
    if in_full:
        lines += _in_full(each)
    return [*lines, *each.notes]


def _boards(each: Compared) -> list[str]:
    """How the boards differ, and the ratio read the other way."""
    boards = each.boards
    if boards is None:
        return []
    loads = ", ".join(f"{load.partition(',')[0]} {_change(ratio)}" for load, ratio in boards.by_load.items())
    what = f"{_change(boards.ratio)} ({_change(boards.low)} to {_change(boards.high)})"
    line = f"boards: as read, that of {each.other} takes {what} for the calibrations' work ({loads})"
    other = each.as_run if each.judged == "one board" else each.one_board
    if other is None:
        return [f"{line}; one load cannot tell what of that holds for a model"]
    told = f"{other.ratio:.4g} ({other.low:.4g} to {other.high:.4g})"
    if each.judged == "one board":
        return [f"{line}, which is taken out; as they ran, the ratio is {told}"]
    return [f"{line}; as if on one board the ratio is {told}: --one-board judges by that"]


def _change(ratio: float) -> str:
    """More or less, in per cent."""
    return f"{100 * (ratio - 1):+.2g} %"


def _in_full(each: Compared) -> list[str]:
    lines = []
    terms = sorted((term for term in each.budget if term.counted), key=lambda term: -term.relative_u)
    if terms:
        told = ", ".join(f"{term.name} {term.relative_u:.2%}" for term in terms if term.relative_u >= SMALLEST_U)
        lines.append(f"standard uncertainty of the ratio: {told or f'below {SMALLEST_U:.2%}'}")
    for other in each.ratios:
        if abs(other.ratio / each.ratio - 1) > SMALLEST_CHANGE:
            told = "" if other.low is None or other.high is None else f" ({other.low:.4g} to {other.high:.4g})"
            lines.append(f"per {other.per}: {other.ratio:.4g}{told}")
    if each.differs:
        lines.append(f"differs in {'; '.join(each.differs)}")
    if each.caveats:
        lines.append(f"caveats: {', '.join(each.caveats)}")
    return lines
