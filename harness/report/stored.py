"""Ranking rows of stored runs, kept in the index: thousands are ranked without reading their records again."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.footprint.defaults import DEFAULTS
from harness.footprint.equivalents import Equivalents
from harness.frozen import Frozen
from harness.measure.run_caveats import all_caveats
from harness.records import Caveat, RunRecord
from harness.report.ranking import RankingRow, Rating, equal_to, per_kwh, ranking_row, rated
from harness.report.rating import Way
from harness.report.results import PER, Editions
from harness.store.index import Kept
from harness.store.queries import KeptRun, StoredRuns
from harness.units import J_PER_KWH


class _Content(Frozen):
    row: RankingRow
    caveats: tuple[Caveat, ...]
    boards: tuple[int, ...]


@dataclass(frozen=True)
class RankedRun:
    """A stored run's row, its caveats in full, and its place among the `placed` runs of its task; None: no place.

    `boards`: which of the trace's sources ran the model.
    """

    folder: Path
    row: RankingRow
    caveats: tuple[Caveat, ...]
    boards: tuple[int, ...]
    place: int | None
    placed: int | None


def stored_runs(folders: Sequence[Path]) -> StoredRuns:
    """The runs under these folders, as they are now.

    Raises:
        StoreError: A folder does not exist or cannot be listed.
    """
    return StoredRuns(folders, _keep)


def ranking(
    stored: StoredRuns, one_kwh: Equivalents, names: Sequence[str] = (), best: int | None = None, worst: int = 0
) -> list[RankedRun]:
    """Runs by task, the least energy of the GPUs that ran the model first.

    Args:
        stored: The runs.
        one_kwh: What one kWh equals (`per_kwh`).
        names: Campaigns, or beginnings of run ids; all runs if there are none.
        best, worst: So many from each end of every task; None: all.
    """
    return [_ranked_run(kept, one_kwh) for kept in stored.ranking(names, best, worst)]


def all_runs(stored: StoredRuns, one_kwh: Equivalents, names: Sequence[str] = ()) -> list[RankedRun]:
    """Every run in the order of folders, without places."""
    return [_ranked_run(kept, one_kwh) for kept in stored.all_runs(names)]


def left_out(stored: StoredRuns, one_kwh: Equivalents, names: Sequence[str] = ()) -> list[RankedRun]:
    """Runs without a place in the ranking; each row says why."""
    return [_ranked_run(kept, one_kwh) for kept in stored.unplaced(names)]


def stored_ratings(stored: StoredRuns, names: Sequence[str] = ()) -> dict[tuple[tuple[str, ...], Way], Rating]:
    """The bands of every group of peers among all these runs (report/ranking), by both ways."""
    least = {
        tuple(json.loads(peers)): {model: energy_j * (PER / J_PER_KWH) for model, energy_j in models.items()}
        for peers, models in stored.least_energy_j(names).items()
    }
    return rated(least, "gpu")


def _keep(record: RunRecord) -> Kept:
    row = ranking_row(record, _default_kwh())
    boards = tuple(index for index, source in enumerate(record.sources) if source.runs_model)
    content = _Content(row=row, caveats=all_caveats(record), boards=boards)
    return Kept(json.dumps(row.peers) if row.left_out is None else None, content.model_dump_json())


@functools.cache
def _default_kwh() -> Equivalents:
    """Any will do: what depends on it is computed again when a row is told."""
    return per_kwh(Editions(phone=DEFAULTS["phone"], car=DEFAULTS["car"], grid=DEFAULTS["grid"]))


def _ranked_run(kept: KeptRun, one_kwh: Equivalents) -> RankedRun:
    content = _Content.model_validate_json(kept.content)
    energy = content.row.energy
    equal = {} if energy is None else equal_to(energy.kwh, one_kwh)
    row = content.row.model_copy(update=equal)
    return RankedRun(kept.folder, row, content.caveats, content.boards, kept.place, kept.placed)
