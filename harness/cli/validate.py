"""`harness validate`: is what is stored still what was kept, and does it agree with itself?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.echo import echo
from harness.cli.options import Json, Results

EXIT_PROBLEMS = 1


def validate_command(
    campaigns: Annotated[
        list[str] | None, typer.Argument(help="Campaigns, or their folders; none: all of them.")
    ] = None,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Check schema, hashes and invariants of every stored run; name what was changed, cut off or lost.

    Invariants: energy is mean power times time, in the summary and against the trace; power lies between idle and the
    board's limit; tokens, images and requests add up; uncertainties are made of their terms.

    Exit code 0: nothing found; 1: a problem; 2: there is no such campaign.
    """
    import json
    from dataclasses import asdict

    from harness.store.validate import check_campaign

    checks = [check_campaign(folder) for folder in _folders(campaigns or [], results)]
    if as_json:
        document = [
            {
                "folder": str(check.folder),
                "runs": check.runs,
                "imported_runs": check.imported_runs,
                "problems": check.problems,
                "findings": [asdict(finding) for finding in check.findings],
            }
            for check in checks
        ]
        echo(json.dumps({"campaigns": document}, indent=2))
    else:
        for check in checks:
            imported = f", {check.imported_runs} imported" if check.imported_runs else ""
            echo(f"{check.folder}: {check.runs} runs{imported}, {check.problems} problems")
            for finding in check.findings:
                echo(f"  {finding.severity}: {finding.place}: {finding.code}: {finding.message}")
    if any(check.problems for check in checks):
        raise typer.Exit(EXIT_PROBLEMS)


def _folders(names: list[str], results: Path) -> list[Path]:
    import difflib

    from harness.errors import UserInputError
    from harness.store.files import RECORD
    from harness.store.imports import IMPORTED
    from harness.store.manifest import MANIFEST

    def is_campaign(folder: Path) -> bool:
        return folder.is_dir() and any(any(folder.glob(kind)) for kind in (MANIFEST, f"*/{RECORD}", IMPORTED))

    there = sorted(folder for folder in results.glob("*") if is_campaign(folder)) if results.is_dir() else []
    if not names and not there:
        raise UserInputError(f"There is no campaign under {results}.", "Run one first, or give --results.")
    chosen: dict[Path, None] = {} if names else dict.fromkeys(there)
    for name in names:
        folder = next((each for each in (results / name, Path(name)) if is_campaign(each)), None)
        if folder is None:
            near = difflib.get_close_matches(name, [each.name for each in there], n=1, cutoff=0.4)
            hint = f"Did you mean {near[0]}?" if near else "Give a campaign's name, or its folder."
            raise UserInputError(f"There is no campaign '{name}' under {results}.", hint)
        chosen[folder] = None
    return list(chosen)
