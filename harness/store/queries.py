"""Stored runs asked by name, through DuckDB and the index: which runs there are, and their ranking. Read only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StoreError
from harness.store.duck import Table
from harness.store.index import DEFAULT, Keep, Keeping, indexed

_LIST = "SELECT campaign, run_id, status, origin, task, started_at_utc, failure FROM runs ORDER BY position"
_MEANT = (
    "(campaign = ${0} OR starts_with(run_id, ${0}) "
    "OR contains(${0}, '/') AND starts_with(campaign || '/' || run_id, ${0}))"
)
_NAMED = f"SELECT folder, path FROM runs WHERE {_MEANT.format(1)} ORDER BY position"
_OF_MODEL = "SELECT folder, path FROM runs WHERE model = $1 ORDER BY task, energy_j NULLS LAST, position"
_NAMES = "SELECT DISTINCT campaign FROM runs UNION SELECT DISTINCT run_id FROM runs ORDER BY 1"
_RANKING = """
    WITH places AS (
        SELECT position, row_number() OVER task_order AS place, count(*) OVER (PARTITION BY task) AS placed
        FROM runs WHERE peers IS NOT NULL AND {chosen}
        WINDOW task_order AS (PARTITION BY task ORDER BY energy_j, position)
    )
    SELECT folder, path, content, place, placed FROM runs JOIN places USING (position)
    WHERE place <= coalesce($1, placed) OR place > placed - $2 ORDER BY task, place
"""
_ALL = "SELECT folder, path, content, NULL, NULL FROM runs WHERE {chosen} ORDER BY position"
_UNPLACED = "SELECT folder, path, content, NULL, NULL FROM runs WHERE peers IS NULL AND {chosen} ORDER BY position"
_LEAST = "SELECT peers, model, min(energy_j) FROM runs WHERE peers IS NOT NULL AND {chosen} GROUP BY ALL"


@dataclass(frozen=True)
class KeptRun:
    """A run's folder, what the index keeps of it, and its place among the `placed` runs of its task; None: no place."""

    folder: Path
    content: str
    place: int | None
    placed: int | None


class StoredRuns:
    """The runs under some folders, as they are now."""

    def __init__(self, folders: Sequence[Path], keep: Keep, keeping: Keeping = DEFAULT) -> None:
        """Read the index of each folder, and whatever it does not know.

        Args:
            folders: Of results, of campaigns or of runs; or record files.
            keep: Says what is kept of a record (store/index).
            keeping: When the index is kept on disk.

        Raises:
            StoreError: A folder does not exist or cannot be listed.
        """
        self._unreadable: dict[Path, StoreError] = {}
        self._table: Table = indexed(folders, keep, self._unreadable, keeping)

    def unreadable(self, names: Sequence[str] = ()) -> list[StoreError]:
        """Why records cannot be read: those whose folders have these names of campaigns or runs; without names all."""
        return [
            error
            for folder, error in self._unreadable.items()
            if not names or any(_is_meant(folder, name) for name in names)
        ]

    def listing(self) -> list[dict[str, object]]:
        """Campaign, run id, status, origin, task, start and kind of failure of every run, in the order of folders."""
        names = ("campaign", "run_id", "status", "origin", "task", "started_at_utc", "failure")
        return [dict(zip(names, row, strict=True)) for row in self._table.ask(_LIST)]

    def count(self, names: Sequence[str] = ()) -> int:
        """How many runs the names mean; all runs if there are none."""
        return int(self._table.ask(f"SELECT count(*) FROM runs WHERE {_chosen(names, 1)}", names)[0][0])

    def ranking(self, names: Sequence[str] = (), best: int | None = None, worst: int = 0) -> list[KeptRun]:
        """Runs by task, the least energy per generation (the GPUs that ran the model, gross) first.

        Args:
            names: Campaigns, or beginnings of run ids or of CAMPAIGN/RUN_ID; all runs if there are none.
            best, worst: So many from each end of every task; None: all.
        """
        return self._kept(_RANKING.format(chosen=_chosen(names, 3)), [best, worst, *names])

    def all_runs(self, names: Sequence[str] = ()) -> list[KeptRun]:
        """What is kept of every run, in the order of folders, without places."""
        return self._kept(_ALL.format(chosen=_chosen(names, 1)), names)

    def unplaced(self, names: Sequence[str] = ()) -> list[KeptRun]:
        """Runs that have no place in a ranking, in the order of folders."""
        return self._kept(_UNPLACED.format(chosen=_chosen(names, 1)), names)

    def least_energy_j(self, names: Sequence[str] = ()) -> dict[str, dict[str, float]]:
        """Per group of peers and model the least energy per generation, J, of the GPUs that ran the model, gross."""
        least: dict[str, dict[str, float]] = {}
        for peers, model, energy_j in self._table.ask(_LEAST.format(chosen=_chosen(names, 1)), names):
            least.setdefault(peers, {})[model] = energy_j
        return least

    def named(self, name: str) -> list[Path]:
        """Folders of the runs of this campaign, or whose id, or CAMPAIGN/RUN_ID, begins so."""
        return [Path(folder, path).parent for folder, path in self._table.ask(_NAMED, [name])]

    def of_model(self, model: str) -> list[Path]:
        """Folders of the runs of a model, by task, the least energy first."""
        return [Path(folder, path).parent for folder, path in self._table.ask(_OF_MODEL, [model])]

    def names(self) -> list[str]:
        """Every campaign and run id."""
        return [str(name) for (name,) in self._table.ask(_NAMES)]

    def _kept(self, query: str, parameters: Sequence[object]) -> list[KeptRun]:
        rows = self._table.ask(query, parameters)
        return [KeptRun(Path(folder, path).parent, content, *places) for folder, path, content, *places in rows]


def _is_meant(folder: Path, name: str) -> bool:
    """As `_MEANT`, by the names of a run's folders."""
    campaign, run_id = folder.parent.name, folder.name
    return campaign == name or run_id.startswith(name) or ("/" in name and f"{campaign}/{run_id}".startswith(name))


def _chosen(names: Sequence[str], first: int) -> str:
    """The condition that a run is meant by one of the names, which are parameters from this number on."""
    if not names:
        return "true"
    each = (_MEANT.format(number) for number in range(first, first + len(names)))
    return f"({' OR '.join(each)})"
