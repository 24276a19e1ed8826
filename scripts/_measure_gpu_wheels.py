"""Packages for a machine without a network: wheels, fetched elsewhere, used from a folder. Standard library only.

PyTorch is never fetched: its build has to fit the GPU's driver, and a GPU machine has one. Nothing is installed into
the machine's Python: the wheels are unpacked into a folder of their own, which this process and its children see. They
are taken as they are, each without what it asks for: the folder holds what the machine lacks, and nothing else.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_FETCHED = ("torch", "accelerate")  # accelerate asks for torch, and only spreading over several GPUs asks for it
LARGEST_MIB = 60  # of all wheels together: a machine is reached with that much
GLIBC = (39, 38, 35, 34, 31, 28, 27, 24, 17)  # pip takes each version of the tag literally

# Nothing can be done without these.
VITAL = {
    "numpy": "every reading passes through it",
    "pydantic": "every record is checked by it",
    "yaml": "configs and profiles are written in it",
    "typer": "the commands that the parts run",
    "rich": "what the commands print",
    "psutil": "processes and the machine's description",
    "pynvml": "the GPU's power and energy",
    "duckdb": "every run's power over time is stored with it",
}
# What is left out where one of these is missing.
LEFT_OUT = {
    "jinja2": "the report page",
    "plotly": "the report page",
    "torch": "every load on the GPU",
    "transformers": "every text model",
    "diffusers": "every image model",
}


def requirements() -> list[str]:
    """What pyproject.toml asks for to measure models, without PyTorch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["models"]]
    return [each for each in named if not each.startswith(NOT_FETCHED)]


def fetch(folder: Path, python_version: str | None, there: Path | None) -> int:
    """Download with pip what a GPU machine lacks. The exit code.

    Args:
        folder: Where to.
        python_version: Of that machine, where it is another than here.
        there: File with the names of the packages that it has, in any order, as words: `pip list` writes such a list.
            None: it has none but PyTorch.
    """
    found = _resolved(python_version)
    if found is None:
        return 1
    words = re.split(r"[\s,]+", there.read_text(encoding="utf-8")) if there is not None else []
    has = {normalised(name) for name in words}
    lacking = sorted(f"{name}=={version}" for name, version in found.items() if normalised(name) not in has)
    if not lacking:
        print("That machine lacks nothing.")
        return 0
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), *_target(python_version)]
    if code := subprocess.run([*command, *lacking]).returncode:
        return code
    sizes = {path.name: path.stat().st_size / 2**20 for path in folder.glob("*.whl")}
    print(f"{len(sizes)} wheels, {sum(sizes.values()):.1f} MiB, in {folder}. PyTorch is not among them.")
    if sum(sizes.values()) > LARGEST_MIB:
        largest = ", ".join(f"{name} {size:.0f} MiB" for name, size in sorted(sizes.items(), key=_by_size)[:5])
        print(
            f"error: That is more than the {LARGEST_MIB} MiB that can be sent. The largest: {largest}.\n"
            "  Say with --there what the machine has, or remove what it does not need.",
            file=sys.stderr,
        )
        return 2
    return 0


def _by_size(named: tuple[str, float]) -> float:
    return -named[1]


def _target(python_version: str | None) -> list[str]:
    """For which machine pip chooses."""
    asked = ["--only-binary", ":all:", "--disable-pip-version-check"]
    if python_version is None:
        return asked
    tags = [f"manylinux_2_{minor}_x86_64" for minor in GLIBC] + ["manylinux2014_x86_64", "any"]
    platforms = [each for tag in tags for each in ("--platform", tag)]
    return [*asked, "--python-version", python_version, "--implementation", "cp", *platforms]


def _resolved(python_version: str | None) -> dict[str, str] | None:
    """Every package that the requirements come to, with its version; None where pip finds no answer."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    command += ["--target", "unused", "--constraint", str(ROOT / "constraints.txt"), *_target(python_version)]
    done = subprocess.run([*command, *requirements()], capture_output=True, text=True)
    if done.returncode != 0:
        print(f"error: pip cannot resolve what is needed: {_last_line(done.stderr)}", file=sys.stderr)
        return None
    return {each["metadata"]["name"]: each["metadata"]["version"] for each in json.loads(done.stdout)["install"]}


def normalised(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def provide(folder: Path, into: Path) -> str:
    """Unpack the wheels, and put them on the path of this process and its children. What was done.

    Where pip is missing or a wheel does not fit, everything stays as it is.
    """
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        return "no wheels in their folder"
    print(f"Unpacking {len(wheels)} wheels ...", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "--no-cache-dir"]
    pip += ["--quiet", "--disable-pip-version-check", "--target", str(into)]
    done = subprocess.run([*pip, *map(str, wheels)], capture_output=True, text=True)
    if done.returncode != 0:
        return f"the wheels could not be unpacked: {_last_line(done.stderr)}"
    sys.path.insert(0, str(into))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(into), os.environ.get("PYTHONPATH"))))
    return f"from wheels: {', '.join(' '.join(wheel.name.split('-')[:2]) for wheel in wheels)}"


def missing() -> dict[str, str]:
    """Packages that are not there, with what is left out for it, or why nothing can be done."""
    importlib.invalidate_caches()
    return {name: told for name, told in (VITAL | LEFT_OUT).items() if not _is_there(name)}


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "pip said nothing"
