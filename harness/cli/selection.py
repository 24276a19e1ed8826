"""Which stored runs a command means, and what could not be read of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from harness.errors import StoreError, UserInputError
    from harness.store.files import StoredRun
    from harness.store.queries import StoredRuns

EXIT_UNREADABLE = 2


def tell_unreadable(unreadable: list[StoreError]) -> None:
    """Say on standard error what could not be read, and end with its exit code."""
    for error in unreadable:
        typer.echo(f"error: {error.message}\n  {error.hint}", err=True)
    if unreadable:
        raise typer.Exit(EXIT_UNREADABLE)


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


def runs_named(name: str, stored: list[StoredRun], unreadable: list[StoreError]) -> list[StoredRun]:
    """Those of one campaign, or whose id begins so; else those of a folder of that name."""
    from harness.store.files import find_runs

    found = [run for run in stored if run.record.campaign == name or run.record.run_id.startswith(name)]
    return find_runs([Path(name)], unreadable) if not found and Path(name).exists() else found


def no_such_run(name: str, known: set[str], results: Path) -> UserInputError:
    """What to say of a name that means nothing, with the nearest that does."""
    import difflib

    from harness.errors import UserInputError

    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}?" if near else f"harness list --results {results} shows what is there."
    return UserInputError(f"There is no campaign, run or folder '{name}'.", hint)
