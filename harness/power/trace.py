"""Power samples of all sources over one run, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.stats import FloatArray

COLUMNS = (
    "t_s",
    "source_index",
    "power_w",
    "average_power_w",
    "energy_j",
    "clock_hz",
    "temperature_c",
    "throttle",
    "utilisation_fraction",
)


@dataclass(frozen=True)
class PowerTrace:
    """Samples in the order they were taken; what a source lacks is NaN in memory and NULL on disk.

    `rows` has shape (n, len(COLUMNS)); `source_ids[source_index]` names the source; `missed_deadlines` counts
    samples that came more than one period late, None when the sampler died before telling.
    """

    source_ids: tuple[str, ...]
    period_s: float
    rows: FloatArray
    missed_deadlines: int | None

    def column(self, name: str, source_id: str) -> FloatArray:
        """One column of one source, shape (m,)."""
        mine = self.rows[:, COLUMNS.index("source_index")] == self.source_ids.index(source_id)
        values: FloatArray = self.rows[mine, COLUMNS.index(name)]
        return values

    def between(self, start_s: float, end_s: float) -> PowerTrace:
        """The samples of a stretch of time, edges included."""
        t_s = self.rows[:, 0]
        inside = (t_s >= start_s) & (t_s <= end_s)
        return PowerTrace(self.source_ids, self.period_s, self.rows[inside], self.missed_deadlines)

    def within(self, spans_s: Sequence[tuple[float, float]]) -> PowerTrace:
        """The samples of several stretches of time that follow one another, edges included."""
        if not spans_s:
            return self.between(0.0, -1.0)
        starts_s, ends_s = np.array(spans_s).T
        t_s = self.rows[:, 0]
        index = np.searchsorted(starts_s, t_s, side="right") - 1
        inside = (index >= 0) & (t_s <= ends_s[index])
        return PowerTrace(self.source_ids, self.period_s, self.rows[inside], self.missed_deadlines)

    def power(self, source_id: str) -> tuple[FloatArray, FloatArray]:
        """Times and power of one source where power was read, each of shape (m,)."""
        t_s, power_w = self.column("t_s", source_id), self.column("power_w", source_id)
        known = ~np.isnan(power_w)
        return t_s[known], power_w[known]


def empty_trace(source_ids: tuple[str, ...], period_s: float) -> PowerTrace:
    """A trace without samples."""
    return PowerTrace(source_ids, period_s, np.empty((0, len(COLUMNS))), None)


def read_samples(
    path: Path, source_ids: tuple[str, ...], period_s: float, missed_deadlines: int | None = None
) -> PowerTrace:
    """What a sampler has appended to its file so far, whole rows only; an empty trace where there is no file."""
    if not path.is_file():
        return empty_trace(source_ids, period_s)
    flat = np.fromfile(path, dtype=np.float64)
    whole = len(flat) // len(COLUMNS) * len(COLUMNS)
    return PowerTrace(source_ids, period_s, flat[:whole].reshape(-1, len(COLUMNS)), missed_deadlines)
