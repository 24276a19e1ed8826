"""Runs configs/example.yaml, draws the pages of results/example-replay and results/study, keeps what has not changed.

The example is a replay on a simulated node and a virtual clock, so that every run of this gives the same records,
except for their dates and the machine's description: a record that differs in nothing else is left as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.cli.main import app
from harness.store.files import RECORD, TRACE

ROOT = Path(__file__).parent.parent
EXAMPLE, STUDY = "results/example-replay", "results/study"
PASSING = ("environment", "started_at_utc", "finished_at_utc")
TITLE = "An example: eight models of the study of 88, replayed on a simulated node"


def main() -> int:
    """Rebuild, or say what is not current."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", action="store_true", help="only the pages, from the records that are there")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if something differs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        changed = [] if options.pages else list(run_example(made, write=not options.check))
        make_pages(ROOT, made)
        changed += list(keep_pages(made, write=not options.check))
    for path in changed:
        print(f"{'differs' if options.check else 'written'}: {path}")
    return 1 if options.check and changed else 0


def run_example(made: Path, write: bool) -> Iterator[str]:
    """Run the campaign; yield, and write, runs that are not the committed ones."""
    harness("run", ROOT / "configs/example.yaml", "--replay", "--in-process", "--results", made)
    kept = ROOT / EXAMPLE
    new, old = ({path.parent.name for path in folder.glob(f"*/{RECORD}")} for folder in (made / "example-replay", kept))
    for name in sorted(new | old):
        if name in new and name in old and same(made / "example-replay" / name, kept / name):
            continue
        if write:
            shutil.rmtree(kept / name, ignore_errors=True)
            if name in new:
                shutil.copytree(made / "example-replay" / name, kept / name)
        yield f"{EXAMPLE}/{name}"


def same(one: Path, other: Path) -> bool:
    """Whether two runs differ in nothing but when and where they ran."""
    return lasting(one) == lasting(other) and (one / TRACE).read_bytes() == (other / TRACE).read_bytes()


def lasting(run: Path) -> dict[str, Any]:
    """A record without what passes."""
    content = json.loads((run / RECORD).read_text(encoding="utf-8"))
    return {name: value for name, value in content.items() if name not in PASSING}


def make_pages(root: Path, made: Path) -> None:
    """The pages of the committed records and of the study, under the names that they have in the repository."""
    for folder in (EXAMPLE, STUDY):
        (made / folder).mkdir(parents=True)
    pages = ("--out", made / EXAMPLE / "report.html", "--markdown", made / EXAMPLE / "report.md")
    harness("report", root / EXAMPLE, "--results", root / EXAMPLE, "--title", TITLE, *pages)
    harness("report", "--study-only", "--out", made / STUDY / "report.html")


def keep_pages(made: Path, write: bool) -> Iterator[str]:
    """Yield, and write, pages that are not the committed ones."""
    for page in sorted((made / "results").glob("*/report.*")):
        name = str(page.relative_to(made))
        if not (ROOT / name).exists() or (ROOT / name).read_bytes() != page.read_bytes():
            if write:
                (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(page, ROOT / name)
            yield name


def harness(*arguments: str | Path) -> None:
    """A command of the harness, in this process, told on standard error."""
    print(f"harness {' '.join(map(str, arguments))}", file=sys.stderr)
    app([str(argument) for argument in arguments], standalone_mode=False)


if __name__ == "__main__":
    sys.exit(main())
