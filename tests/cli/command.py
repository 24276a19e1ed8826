"""Runs the command line as a user does, and small configs to give it."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli.main import main

ROOT = Path(__file__).parent.parent.parent

# Two runs of the simulated engine on the virtual clock: a second of real time, minutes of virtual.
QUICK = """\
campaign: quick
defaults:
  sources: {kind: simulated, node: {clock: virtual}}
  engine: simulated
  measure: {window_s: 2, null_window_s: 1, idle_s: 1, warm_up_max_s: 4, max_repeats: 5}
runs:
  - task: text-generation
    model: pretend-text
    batch_size: 4
  - task: text-to-image
    model: pretend-image
"""


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as exactly one JSON document."""
        return json.loads(self.out)


def harness(*arguments: str | Path, cwd: Path) -> Answer:
    """Run the command to its end, in this process: a second less than in one of its own."""
    out, err, argv, code = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv = ["harness", *map(str, arguments)]
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = argv
    return Answer(code, out.getvalue(), err.getvalue())


def harness_apart(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> Answer:
    """Run the command to its end in a process of its own, as a shell does."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli.main", *map(str, arguments)],
        cwd=cwd,
        env=environment() | (env or {}),
        capture_output=True,
        text=True,
        timeout=180,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def environment() -> dict[str, str]:
    """This process's environment, with the harness importable from any folder."""
    import os

    return dict(os.environ) | {"PYTHONPATH": str(ROOT)}


def config(folder: Path, text: str = QUICK) -> Path:
    """Write a config."""
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path
