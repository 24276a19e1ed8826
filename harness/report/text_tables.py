"""The page's ranking as Markdown and as CSV: the same rows and order, the same marks and caveats. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from harness.report.payload import Content
from harness.report.ranking import BOUNDARIES, Boundary, Energy, RankingRow, ranked, ratings, stars_of
from harness.report.rating import WAYS
from harness.units import format_plus_minus, format_significant

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&-])")
_HEADS = ("model", "how", "kWh per 1,000", "caveats", "J per token or image", "g CO2e", "phone charges", "car km")
_LAST = ("latency, s", *(f"stars, {way}" for way in WAYS), "boundary", "energy")
_PLAIN = (
    *("campaign", "run_id", "started_at_utc", "mark", "task", "model", "general", "parameters", "weights", "dtype"),
    *("prompts", "work", "load", "batch_size", "gpu", "boundary", "windows", "generations"),
)
_NUMBERS = (
    *("unit", "j_per_unit", "j_per_unit_low", "j_per_unit_high", "carbon_g_co2e", "phone_charges", "car_km"),
    *("latency_s", "duration_s", "power_w", "quality", "quality_metric"),
)


def markdown(content: Content) -> str:
    """A table per task, the least energy first; then caveats, factors, and what was left out."""
    among = ratings(content.rows)
    placed = ranked(content.rows)
    lines = [f"# {_escaped(content.title)}", "", "Energy per 1,000 generations, gross, of the GPUs that ran the model."]
    for task in dict.fromkeys(row.task for row in placed):
        lines += ["", f"## {task}", "", _line([*_HEADS, *_LAST]), _line(["---"] * len([*_HEADS, *_LAST]))]
        for row in placed:
            if row.task == task:
                rated = [stars_of(row, among, way) for way in WAYS]
                lines.append(_line([*_cells(row), *(each.text if each else "-" for each in rated), *_whose(row)]))
    codes = dict.fromkeys(code for row in placed for code in row.caveats)
    lines += ["", *(f"- {code}: {_escaped(content.wordings.get(code, ''))}" for code in codes)]
    if any("simulated" in row.mark for row in placed):
        lines.append("- simulated: power comes from a simulated GPU; it is no model's energy, and no real GPU drew it.")
    for kind in ("grid", "phone", "car"):
        used = content.one_kwh.factor(kind)
        lines.append(f"- {kind}: {used.edition}, {used.value_text} {used.unit} ({_escaped(used.source)})")
    out = left_out(content)
    if out:
        lines += ["", "## Left out", "", *(f"- {_escaped(what)}: {_escaped(why)}" for what, why in out)]
    return "\n".join(lines) + "\n"


def comma_separated(content: Content) -> str:
    """Every run, those that were left out with the reason, at full precision; energies in kWh per 1,000 by boundary."""
    among = ratings(content.rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ends = [f"{name}_kwh_per_1000{end}" for name in BOUNDARIES for end in ("", "_low", "_high")]
    stars = [f"stars_{way.replace(' ', '_')}{end}" for way in WAYS for end in ("", "_fewest", "_most")]
    writer.writerow([*_PLAIN, *ends, *_NUMBERS, *stars, "caveats", "left_out"])
    placed = ranked(content.rows)
    for row in [*placed, *(row for row in content.rows if row.left_out is not None)]:
        rated = [stars_of(row, among, way) for way in WAYS]
        writer.writerow(
            [
                *(_safe(getattr(row, name)) for name in _PLAIN),
                *(end for name in BOUNDARIES for end in _ends(row, name)),
                *(getattr(row, name) for name in _NUMBERS),
                *(end for each in rated for end in ((each.stars, each.fewest, each.most) if each else ("", "", ""))),
                " ".join(row.caveats),
                _safe(row.left_out),
            ]
        )
    return out.getvalue()


def left_out(content: Content) -> list[tuple[str, str]]:
    """What is in no ranking, and why: records that cannot be read, and runs without a usable figure."""
    runs = [(f"{row.model}, {row.load} ({row.run_id})", row.left_out) for row in content.rows if row.left_out]
    return [*content.unreadable, *runs]


def _cells(row: RankingRow) -> list[str]:
    per_unit = _interval(row.j_per_unit, row.j_per_unit_low, row.j_per_unit_high)
    return [
        _escaped(row.model),
        _escaped(", ".join(part for part in (row.load, row.work, row.dtype, row.gpu) if part)),
        _energy(row.energy),
        " ".join(row.caveats),
        f"{per_unit} /{row.unit}" if row.unit else "-",
        *(_number(each) for each in (row.carbon_g_co2e, row.phone_charges, row.car_km, row.latency_s)),
    ]


def _whose(row: RankingRow) -> list[str]:
    return [row.boundary or "-", row.mark or "measured"]


def _energy(energy: Energy | None) -> str:
    return "not measured" if energy is None else _interval(energy.kwh, energy.low, energy.high)


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return _number(value)
    return format_plus_minus(value, (high - low) / 2)


def _number(value: float | None) -> str:
    return "-" if value is None else format_significant(value)


def _ends(row: RankingRow, boundary: Boundary) -> tuple[float | None, float | None, float | None]:
    energy = row.energies.get(boundary)
    return (None, None, None) if energy is None else (energy.kwh, energy.low, energy.high)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Foreign text that stays text in Markdown, also within a table: no line breaks, no markup, no HTML."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split())).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _safe(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
