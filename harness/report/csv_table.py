"""The page's rows as CSV, at full precision: every run, what was left out and why, and the study's models. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from harness.plain_text import visible
from harness.report.payload import Content
from harness.report.ranking import BOUNDARIES, Among, Boundary, RankingRow, ranked, ratings, stars_of
from harness.report.rating import WAYS, Way

_PLAIN = (
    *("campaign", "run_id", "started_at_utc", "mark", "task", "model", "general", "parameters", "weights", "dtype"),
    *("prompts", "work", "load", "batch_size", "gpu", "boundary", "windows", "generations"),
)
_NUMBERS = (
    *("unit", "j_per_unit", "j_per_unit_low", "j_per_unit_high", "carbon_g_co2e", "phone_charges", "car_km"),
    *("latency_s", "duration_s", "power_w", "quality", "quality_metric"),
)
_GIVEN = [f"{name}_kwh_per_1000{end}" for name in BOUNDARIES for end in ("", "_low", "_high")]
_STARS = [
    f"stars_{way.replace(' ', '_')}{end}"
    for way in WAYS
    for end in ("", "_fewest", "_most", "_models", *(f"_edge_{stars}" for stars in (5, 4, 3, 2)))
]


def comma_separated(content: Content) -> str:
    """Energies in kWh per 1,000 by boundary; stars with the models and the edges that they come from.

    Runs come first; rows of the study have `mark` study.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_PLAIN, *_GIVEN, *_NUMBERS, *_STARS, "caveats", "left_out"])
    for rows in (content.rows, content.study):
        among = ratings(rows)
        for row in [*ranked(rows), *(row for row in rows if row.left_out is not None)]:
            plain = [getattr(row, name) for name in _PLAIN]
            energies = [end for name in BOUNDARIES for end in _ends(row, name)]
            numbers = [getattr(row, name) for name in _NUMBERS]
            stars = [cell for way in WAYS for cell in _star_cells(row, among, way)]
            cells = [*plain, *energies, *numbers, *stars, " ".join(row.caveats), row.left_out]
            writer.writerow([_safe(cell) for cell in cells])
    return out.getvalue()


def _star_cells(row: RankingRow, among: Among, way: Way) -> Iterator[float | None]:
    rating, given = among.get((row.peers, way)), stars_of(row, among, way)
    if rating is None or given is None:
        yield from [None] * 8
    else:
        yield from (given.stars, given.fewest, given.most, rating.bands.models, *rating.bands.edges)


def _ends(row: RankingRow, boundary: Boundary) -> tuple[float | None, float | None, float | None]:
    energy = row.energies.get(boundary)
    return (None, None, None) if energy is None else (energy.kwh, energy.low, energy.high)


def _safe(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula, and no terminal for a command."""
    if not isinstance(cell, str):
        return cell
    return visible(f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell)
