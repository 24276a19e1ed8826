"""The page's tables as Markdown: ranking, boundaries, bands, study, caveats, factors, what was left out. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.plain_text import visible
from harness.report.payload import Content
from harness.report.ranking import BOUNDARIES, OF_A_BOARD, Among, Energy, RankingRow, ranked, ratings, stars_of
from harness.report.rating import WAYS
from harness.report.study_rows import NOTES
from harness.study.catalog import PAPER, PAPER_URL
from harness.units import format_plus_minus, format_significant

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&@]|(?<!\w)-)")
_LINKS = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)  # what GitHub turns into a link without being asked
_HEADS = ("model", "how", "kWh per 1,000", "caveats", "J per token or image", "g CO2e", "phone charges", "car km")
_LAST = ("latency, s", "parameters", *(f"stars, {way}" for way in WAYS), "boundary", "energy")


def markdown(content: Content) -> str:
    """A table per task, the least energy first; then the rest of what the page shows."""
    own = ranked(content.rows)
    lines = [f"# {escaped(content.title)}", "", "Energy per 1,000 generations, gross, of the GPUs that ran the model."]
    lines += ["g CO2e, phone charges and km are of that energy alone: no rest of the machine, no PUE."]
    for task in dict.fromkeys(row.task for row in own or ranked(content.study)):
        lines += ["", f"## {escaped(task)}", *_task(content, task)]
    lines += _bands(content)
    lines += ["", *_notes(content, own)]
    out = left_out(content)
    for heading, told in {"Left out": out, **content.aside}.items():
        if told:
            lines += ["", f"## {heading}", "", *(f"- {escaped(joined(what, why))}" for what, why in told)]
    return "\n".join(lines) + "\n"


def _task(content: Content, task: str) -> list[str]:
    """The runs, and the study's models as a backdrop under a heading of their own."""
    lines: list[str] = []
    for heading, rows in (("", content.rows), ("The study's models", content.study)):
        placed = [row for row in ranked(rows) if row.task == task]
        if placed:
            lines += ["", f"### {heading}"] if heading else []
            lines += ["", *_ranking(placed, ratings(rows)), "", *_by_boundary(placed)]
    return lines


def _ranking(placed: Sequence[RankingRow], among: Among) -> list[str]:
    scored = any(row.quality is not None for row in placed)
    heads = [*_HEADS, *(["quality"] if scored else []), *_LAST]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for row in placed:
        rated = [stars_of(row, among, way) for way in WAYS]
        stars = [each.text if each else "-" for each in rated]
        quality = "-" if row.quality is None else f"{row.quality:g} ({escaped(row.quality_metric or '')})"
        size = "-" if row.parameters is None else f"{row.parameters:,}"
        last = [_number(row.latency_s), size, *stars, escaped(row.boundary or "-"), row.mark or "measured"]
        lines.append(_line([*_cells(row), *([quality] if scored else []), *last]))
    return lines


def _by_boundary(placed: Sequence[RankingRow]) -> list[str]:
    known = [name for name in BOUNDARIES if any(name in row.energies for row in placed)]
    heads = ["kWh per 1,000 by boundary", "how", *(BOUNDARIES[name] for name in known)]
    cells = [[escaped(row.model), _how(row), *(_energy(row.energies.get(name)) for name in known)] for row in placed]
    return [_line(heads), _line(["---"] * len(heads)), *map(_line, cells)]


def _bands(content: Content) -> list[str]:
    """Edges of the stars, kWh per 1,000, of the same boundary as the ranking."""
    among = {**ratings(content.rows), **ratings(content.study)}
    if not among:
        return []
    heads = ["among", "way", "models", *(f"{'★' * stars} up to" for stars in (5, 4, 3, 2, 1))]
    lines = ["", "## Edges of the stars", "", _line(heads), _line(["---"] * len(heads))]
    for rating in among.values():
        edges = [*rating.bands.edges, rating.bands.high]
        who = escaped(", ".join(part for part in rating.peers if part))
        lines.append(_line([who, rating.bands.way, str(rating.bands.models), *map(format_significant, edges)]))
    return lines


def _notes(content: Content, own: Sequence[RankingRow]) -> list[str]:
    wordings = {**content.wordings, **NOTES}
    codes = dict.fromkeys(code for row in [*own, *content.study] for code in row.caveats)
    lines = [f"- {escaped(code)}: {escaped(wordings.get(code, ''))}" for code in codes]
    if any("simulated" in row.mark for row in own):
        lines.append("- simulated: power comes from a simulated GPU; it is no model's energy, and no real GPU drew it.")
    if content.study:
        lines.append(f"- study: recorded by others, {escaped(PAPER)}, <{PAPER_URL}>; what one GPU drew is estimated.")
    for kind in ("grid", "phone", "car"):
        used = content.one_kwh.factor(kind)
        edition, source = escaped(used.edition), escaped(used.source)
        lines.append(f"- {kind}: {edition}, {used.value_text} {escaped(used.unit)} ({source})")
    return lines


def left_out(content: Content) -> list[tuple[str, str]]:
    """What is in no ranking, and why: records that cannot be read, and runs without a usable figure."""
    own = [row for row in content.rows if row.left_out and row.left_out != OF_A_BOARD]
    runs = [(f"{row.model}, {row.load} ({row.run_id})", row.left_out) for row in own if row.left_out]
    loads = sum(row.left_out == OF_A_BOARD for row in content.rows)
    boards = [(f"{loads} calibration{'s' if loads > 1 else ''}", OF_A_BOARD)] if loads else []
    return [*content.unreadable, *runs, *boards]


def joined(what: str, why: str) -> str:
    """A sentence and what to do, or a name and its reason."""
    return f"{what.rstrip('.')}. {why}" if why[:1].isupper() else f"{what}: {why}"


def _cells(row: RankingRow) -> list[str]:
    per_unit = _interval(row.j_per_unit, row.j_per_unit_low, row.j_per_unit_high)
    return [
        escaped(row.model),
        _how(row),
        _energy(row.energy),
        escaped(" ".join(row.caveats)),
        f"{per_unit} /{row.unit}" if row.unit else "-",
        *(_number(each) for each in (row.carbon_g_co2e, row.phone_charges, row.car_km)),
    ]


def _how(row: RankingRow) -> str:
    return escaped(", ".join(part for part in (row.load, row.work, row.dtype, row.gpu) if part))


def _energy(energy: Energy | None) -> str:
    return "not measured" if energy is None else _interval(energy.kwh, energy.low, energy.high)


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return _number(value)
    return format_plus_minus(value, (high - low) / 2)


def _number(value: float | None) -> str:
    return "-" if value is None else format_significant(value)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Foreign text that stays text in Markdown, also within a table: no line breaks, no markup, no HTML, no links."""
    plain = _MARKUP.sub(r"\\\1", visible(" ".join(text.split()))).replace("\\<", "&lt;").replace("\\>", "&gt;")
    return _LINKS.sub(lambda found: f"\\{found[0]}", plain)
