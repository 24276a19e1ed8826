"""How the harness starts a module of its own in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import harness


def own_command(module: str, *arguments: str) -> list[str]:
    """What to execute. -P: a folder that happens to hold a harness/ or a statistics.py must not run in our place."""
    return [sys.executable, "-P", "-m", module, *arguments]


def own_environment() -> dict[str, str]:
    """This process's environment, with the folder that this harness was imported from among Python's paths."""
    folder, given = str(Path(harness.__file__).parent.parent), os.environ.get("PYTHONPATH", "")
    already = folder in given.split(os.pathsep)
    return os.environ | {"PYTHONPATH": given if already else os.pathsep.join(filter(None, (folder, given)))}
