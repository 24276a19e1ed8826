"""Which stored runs a command means, and what could not be read of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.echo import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.errors import StoreError, UserInputError
    from harness.store.files import StoredRun
    from harness.store.queries import StoredRuns

EXIT_UNREADABLE = 2


def tell_unreadable(unreadable: list[StoreError]) -> None:
    """Say on standard error what could not be read, and end with its exit code."""
    print_unreadable(unreadable)
    if unreadable:
        raise typer.Exit(EXIT_UNREADABLE)


def print_unreadable(unreadable: list[StoreError]) -> None:
    """Say on standard error what could not be read; of records of another schema version how many."""
    from harness.store.documents import told_together

    for error in told_together(unreadable):
        echo(f"error: {error.message}\n  {error.hint}", err=True)


def select_runs(what: list[str], results: Path, unreadable: list[StoreError]) -> list[StoredRun]:
    """The runs that are meant by folder, campaign or the beginning of a run id; those unreadable are put aside."""
    from harness.store.files import find_runs

    if not what:
        return find_runs([results], unreadable) if results.exists() else []
    stored, names, folders = _meant(what, results)
    unreadable.extend(stored.unreadable(names) if names else [])
    return find_runs([*(folder for name in names for folder in stored.named(name)), *folders], unreadable)


def select_stored(what: list[str], results: Path) -> tuple[StoredRuns, list[str]]:
    """The same through the index, without reading every record: where to ask, and for which names; none mean all."""
    from harness.report.stored import stored_runs

    stored, names, folders = _meant(what, results)
    if not folders:
        return stored, names
    return stored_runs([*(folder for name in names for folder in stored.named(name)), *folders]), []


def _meant(what: list[str], results: Path) -> tuple[StoredRuns, list[str], list[Path]]:
    """Stored runs, those of the words that name some of them, and those that are folders elsewhere."""
    from harness.report.stored import stored_runs
    from harness.store.files import record_files

    stored = stored_runs([results] if results.exists() else [])
    names = [name for name in what if stored.named(name) or (name and stored.unreadable([name]))]
    folders = [Path(name) for name in what if name not in names]
    for folder in folders:
        if not folder.exists() or next(record_files(folder), None) is None:
            raise no_such_run(str(folder), set(stored.names()), results)
    return stored, names, folders


def runs_named(
    name: str, stored: list[StoredRun], aside: list[StoreError], unreadable: list[StoreError]
) -> list[StoredRun]:
    """Those that are meant among the stored ones; else those of a folder, or whose folders begin so.

    Args:
        name: As the user wrote it.
        stored: What can be read.
        aside: What cannot; those of them that are meant join `unreadable`.
        unreadable: Told at the end.
    """
    from glob import escape

    from harness.errors import StoreError
    from harness.store.files import RECORD, StoredRun, find_runs

    folder, found = Path(name), meant(name, [*stored, *aside])
    if not found and folder.exists():
        return find_runs([folder], unreadable)
    if not found:
        broken: list[StoreError] = []
        beginning = sorted(folder.parent.glob(f"{escape(folder.name)}*/{RECORD}")) if folder.name else []
        found = meant(folder.name, [*find_runs(beginning, broken), *broken])
    unreadable += [each for each in found if isinstance(each, StoreError)]
    return [each for each in found if isinstance(each, StoredRun)]


def meant(name: str, runs: Sequence[StoredRun | StoreError]) -> list[StoredRun | StoreError]:
    """Those of a campaign or run of just this name; else of an id without its hash; else of an id that begins so.

    A run may be named with its campaign, as CAMPAIGN/RUN_ID. What cannot be read is known by its folders.
    """
    ids = [_campaign_and_id(each) for each in runs]
    short = [(campaign, run_id.rpartition("-")[0]) for campaign, run_id in ids]
    for hits in (
        [name in (campaign, run_id, f"{campaign}/{run_id}") for campaign, run_id in ids],
        [name in (stem, f"{campaign}/{stem}") for campaign, stem in short],
        [run_id.startswith(name.removeprefix(f"{campaign}/")) for campaign, run_id in ids],
    ):
        if any(hits):
            return [each for each, hit in zip(runs, hits, strict=True) if hit]
    return []


def _campaign_and_id(run: StoredRun | StoreError) -> tuple[str, str]:
    from harness.errors import StoreError

    if not isinstance(run, StoreError):
        return run.record.campaign, run.record.run_id
    folder = run.path.parent if run.path is not None else Path()
    return folder.parent.name, folder.name


def no_such_run(name: str, known: set[str], results: Path) -> UserInputError:
    """What to say of a name that means nothing, with the nearest that does."""
    import difflib

    from harness.errors import UserInputError

    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}?" if near else f"harness list --results {results} shows what is there."
    return UserInputError(f"There is no campaign, run or folder '{name}'.", hint)
