"""Which stored runs a command means, and what could not be read of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from harness.errors import StoreError, UserInputError
    from harness.store.files import StoredRun

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

    aside: list[StoreError] = []
    stored = find_runs([results], aside) if results.exists() else []
    if not what:
        unreadable.extend(aside)
        return stored
    chosen: dict[Path, StoredRun] = {}
    for name in what:
        found = runs_named(name, stored, unreadable)
        if not found and not (unreadable and Path(name).exists()):
            known = {run.record.campaign for run in stored} | {run.record.run_id for run in stored}
            raise no_such_run(name, known, results)
        chosen.update({run.folder: run for run in found})
    return list(chosen.values())


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
