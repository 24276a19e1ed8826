"""`harness migrate`: stored runs of an older schema version brought to this one, with a copy of every old file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.echo import echo
from harness.cli.options import Json

if TYPE_CHECKING:
    from harness.store.migrate import Migration

EXIT_REFUSED = 1
SHOWN_REFUSED = 20  # of a campaign; --json has all
TOLD_EVERY_ON_A_TERMINAL, TOLD_EVERY = 50, 1000  # files


def migrate_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of results, of a campaign, or of one run.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Bring stored runs of an older schema version to this harness's, a copy of each old file kept beside the new one.

    A record that is not the one that was kept, by the hash in its campaign's manifest, is refused; the manifest gets
    the hash of each new one. Ended at any moment, the same command goes on where it was.

    Exit code 0: all is of this version, or would be; 1: some was refused and left as it is; 2: nothing is stored
    there, another process holds the campaign, or it cannot be written.
    """
    import json

    from harness.records import SCHEMA_VERSION
    from harness.store.migrate import migrate

    found = migrate(folder, not dry_run, _tell)
    if as_json:
        campaigns = [
            {
                "folder": str(each.folder),
                "migrated": each.migrated,
                "already": each.already,
                "refused": [{"message": error.message, "hint": error.hint} for error in each.refused],
            }
            for each in found
        ]
        document = {"schema_version": SCHEMA_VERSION, "dry_run": dry_run, "campaigns": campaigns}
        echo(json.dumps(document, indent=2))
    else:
        for each in found:
            _print(each, SCHEMA_VERSION, dry_run)
    if any(each.refused for each in found):
        raise typer.Exit(EXIT_REFUSED)


def _tell(done: int, total: int) -> None:
    """How far it is, on standard error."""
    if sys.stderr.isatty():
        if total > TOLD_EVERY_ON_A_TERMINAL and (done == total or done % TOLD_EVERY_ON_A_TERMINAL == 0):
            typer.echo(f"\r{done:,} of {total:,} files", nl=done == total, err=True)
    elif done % TOLD_EVERY == 0:
        echo(f"{done:,} of {total:,} files", err=True)


def _print(migration: Migration, version: int, dry_run: bool) -> None:
    """One line for a campaign, then what was refused of it."""
    files = "file" if migration.migrated == 1 else "files"
    done = f"{migration.migrated:,} {files} {'to migrate' if dry_run else 'migrated'} to version {version}"
    told = f"{done}, {migration.already:,} already of it, {len(migration.refused):,} refused"
    if not migration.migrated and not migration.refused:
        told = f"nothing to do, already of version {version}: {migration.already:,}"
    echo(f"{migration.folder}: {told}")
    for error in migration.refused[:SHOWN_REFUSED]:
        echo(f"  refused: {error.message}\n    {error.hint}")
    if len(migration.refused) > SHOWN_REFUSED:
        echo(f"  and {len(migration.refused) - SHOWN_REFUSED:,} more refused; --json tells all")
