"""Packages for a machine without a network: wheels, fetched elsewhere, used from a folder. Standard library only.

PyTorch is never fetched: its build has to fit the GPU's driver, and a GPU machine has one. Nothing is installed into
the machine's Python: what it lacks is unpacked into a folder of its own, which this process and its children see.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_FETCHED = ("torch", "accelerate")  # accelerate asks for torch, and only spreading over several GPUs asks for it
EXTRAS = ("models", "codecarbon")

# What is left out where a package is missing. None: nothing can be done without it.
LEFT_OUT: dict[str, str | None] = {
    "numpy": None,
    "pydantic": None,
    "yaml": None,
    "typer": None,
    "rich": None,
    "psutil": None,
    "pynvml": None,
    "duckdb": "the report page and the fits by phase",
    "jinja2": "the report page",
    "plotly": "the report page",
    "torch": "every load on the GPU",
    "transformers": "every text model",
    "diffusers": "every image model",
    "codecarbon": "nothing: CodeCarbon is not asked here",
}


def requirements() -> list[str]:
    """What pyproject.toml asks for, without PyTorch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *(each for extra in EXTRAS for each in project["optional-dependencies"][extra])]
    return [each for each in named if not each.startswith(NOT_FETCHED)]


def fetch(folder: Path, python_version: str | None) -> int:
    """Download the wheels with pip; its exit code. `python_version`: of the GPU machine, where it is another."""
    command = [sys.executable, "-m", "pip", "download", "--only-binary", ":all:", "--dest", str(folder)]
    command += ["--constraint", str(ROOT / "constraints.txt")]
    if python_version is not None:
        command += ["--python-version", python_version]
    code = subprocess.run([*command, *requirements()]).returncode
    if code == 0:
        size_mb = sum(path.stat().st_size for path in folder.glob("*.whl")) / 1e6
        print(f"{len(list(folder.glob('*.whl')))} wheels, {size_mb:.0f} MB, in {folder}. PyTorch is not among them.")
    return code


def provide(folder: Path, into: Path) -> str:
    """Unpack what this Python lacks, and put it on the path of this process and its children. What was done.

    pip decides what is lacking; without pip, or where the wheels do not fit, everything stays as it is.
    """
    pip = [sys.executable, "-m", "pip"]
    offline = ["--no-index", "--find-links", str(folder), "--quiet", "--disable-pip-version-check"]
    asked = subprocess.run(
        [*pip, "install", "--dry-run", "--report", "-", *offline, *requirements()], capture_output=True, text=True
    )
    if asked.returncode != 0:
        return f"the wheels in {folder} could not be used: {_last_line(asked.stderr)}"
    lacking = json.loads(asked.stdout)["install"]
    names = sorted(f"{each['metadata']['name']} {each['metadata']['version']}" for each in lacking)
    if not names:
        return "nothing was lacking"
    print(f"Unpacking {len(names)} packages that this Python lacks ...", flush=True)
    exact = [name.replace(" ", "==") for name in names]
    done = subprocess.run(
        [*pip, "install", "--no-deps", "--no-compile", "--target", str(into), *offline, *exact],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        return f"the wheels in {folder} could not be unpacked: {_last_line(done.stderr)}"
    sys.path.insert(0, str(into))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(into), os.environ.get("PYTHONPATH"))))
    return f"from wheels: {', '.join(names)}"


def missing() -> dict[str, str | None]:
    """Packages that are not there, with what is left out for it."""
    importlib.invalidate_caches()
    return {name: told for name, told in LEFT_OUT.items() if importlib.util.find_spec(name) is None}


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "pip said nothing"
