"""What machine, driver and libraries a run ran on. Never secrets: only named variables are kept."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil

import harness
from harness.records import Environment

PACKAGES = (
    "torch",
    "transformers",
    "diffusers",
    "accelerate",
    "safetensors",
    "tokenizers",
    "numpy",
    "pydantic",
    "duckdb",
    "nvidia-ml-py",
    "codecarbon",
)
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "PYTORCH_CUDA_ALLOC_CONF",
    "OMP_NUM_THREADS",
    "HF_HUB_OFFLINE",
)
COMMIT = "HARNESS_COMMIT"


def describe_environment(driver: str | None) -> Environment:
    """The environment as it is now; the CUDA version is known once torch is loaded."""
    return Environment(
        harness_version=harness.__version__,
        git_commit=git_commit(),
        python=sys.version.split()[0],
        platform=platform.platform(),
        hostname=platform.node(),
        cpu_model=_cpu_model(),
        cpu_count=psutil.cpu_count() or 0,
        memory_bytes=psutil.virtual_memory().total,
        driver=driver,
        cuda=None,
        packages={name: version for name in PACKAGES if (version := _version(name))},
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The harness's own commit, when it runs from a checkout; marked where files differ from it.

    A copy without its history cannot know it: there it is what HARNESS_COMMIT says, marked as told.
    """
    root = Path(harness.__file__).parent.parent
    if not (root / ".git").exists():
        told = os.environ.get(COMMIT, "")
        return f"{told} (told by {COMMIT})" if re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?", told) else None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
