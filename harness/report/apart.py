"""How far the most lies from the least of every group of peers, with the ratio's own interval (harness compare). Pure.

A board's gain moves both and cancels: the ratio is known better than the intervals of the two figures suggest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.compare.base import Boundary as ComparedBoundary
from harness.compare.comparison import compare_runs
from harness.errors import HarnessError
from harness.records import RunRecord
from harness.report.ranking import Boundary, RankingRow

COMPARED: dict[Boundary, ComparedBoundary] = {
    "gpu": "gpu",
    "above_idle": "above-idle",
    "node_gpus": "node-gpus",
    "node": "node",
}
MOST_GROUPS = 50  # the largest: each takes two records to read


@dataclass(frozen=True)
class Apart:
    """Most over least under one boundary, places of rows; the 95 % interval, None where one side's doubt is unknown."""

    least: int
    most: int
    boundary: Boundary
    ratio: float
    low: float | None
    high: float | None


def ends_apart(rows: Sequence[RankingRow], record_at: Callable[[int], RunRecord]) -> list[Apart]:
    """The ratio of the ends of each group of peers, boundary by boundary.

    Args:
        rows: Of runs.
        record_at: The record of the row at this place.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if row.left_out is None:
            groups.setdefault(row.peers, []).append(place)
    largest = sorted(groups.values(), key=len, reverse=True)[:MOST_GROUPS]
    found = (_apart(rows, group, boundary, record_at) for group in largest for boundary in COMPARED)
    return [each for each in found if each is not None]


def _apart(
    rows: Sequence[RankingRow], group: Sequence[int], boundary: Boundary, record_at: Callable[[int], RunRecord]
) -> Apart | None:
    known = {place: rows[place].energies[boundary].kwh for place in group if boundary in rows[place].energies}
    above = sorted((place for place, kwh in known.items() if kwh > 0), key=lambda place: known[place])
    if len(above) < 2:
        return None
    least, most = above[0], above[-1]
    try:
        told = compare_runs([record_at(least), record_at(most)], COMPARED[boundary]).comparisons[0]
    except HarnessError:  # what cannot be compared has no ratio here
        return None
    return Apart(least, most, boundary, told.ratio, told.low, told.high)
