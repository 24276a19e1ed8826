#!/usr/bin/env python
"""How far from the truth is our energy, and is its stated doubt honest? Beside Zeus and CodeCarbon on virtual GPUs.

Every tool reads the same virtual boards, through its own unmodified code, around the same work: synthetic loads and
recordings of real boards (../shared/data/traces, left out where it is not). Ours is a whole session as `harness run`
measures it, on virtual time; the others read the energy counter right at the begin and the end of the work. Errors are
against the true energy of the work itself.

    scripts/bench_accuracy.py                        all loads, 200 windows per cell (about 40 minutes of one core)
    scripts/bench_accuracy.py --windows 10 --loads beat steady --lengths 1 10

Zeus gets a virtual environment of its own (--zeus-venv), made on the first run. A tool that cannot be had is reported
so. Needs the extra `codecarbon` for CodeCarbon.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from _bench_accuracy_ours import our_windows
from _bench_accuracy_peers import CodeCarbonPeer, run_cell
from _bench_accuracy_report import figures, markdown, verdicts
from _bench_accuracy_world import LOADS, Cell, available_loads, load_class

from harness.errors import HarnessError, SourceUnavailable
from harness.run.environment import describe_environment
from harness.simulation.nvml import nvidia_smi_on_path

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
LENGTHS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
WINDOWS_PER_BOARD = 5  # what a run measures at least
NOTES = (
    "Calibrated: worked out from the run's windows by the gain and offset of the counter as a meter finds them, as a "
    "run with `sources.sensor_profile` does. The other tools have no way to be told. A counter of true energy is exact "
    "here, and nothing is left to calibrate; that a user cannot know it is why its stated interval is as wide.",
    "Ours waits between batches where the load could beat with the sensor, and takes those waits out again; the others "
    "measure the same work without waits. `time` is the cost, edges and guard included, null window not.",
    "What our profile says of the sensor's period is off by up to 3 % to either side, drawn for every board; that its "
    "samples show its own is part of the measurement.",
    "Both counters move once per period of the sensor. Boards' gains and offsets: harness/simulation/gpu.py.",
)
ZEUS = "zeus==0.16.0"
BESIDE_ZEUS = ("numpy", "pydantic", "pyyaml", "psutil", "nvidia-ml-py")  # what the harness's simulation imports


def main() -> int:
    """Run the plan and write or print the result."""
    arguments = parsed()
    cells = plan(arguments)
    started_s = time.monotonic()
    facts = run_facts(arguments)  # before a long run: what is edited meanwhile was not run
    notes = [*NOTES, *(f"{name} left out: its recording is not here." for name in missing_loads(arguments))]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        zeus = None if arguments.no_zeus else ZeusProcess(arguments.zeus_venv, cells, Path(folder))
        if zeus is not None:
            stack.callback(zeus.close)
        windows, tools = run_here(cells, arguments)
        if zeus is None:
            tools["Zeus"] = "left out (--no-zeus)"
        else:
            tools["Zeus"], answers = zeus.result()
            for cell in cells if answers else ():
                windows[cell]["zeus"] = answers[cell]
    agree_on_truth(windows)
    result = {
        "run": facts | {"elapsed_s": round(time.monotonic() - started_s, 1)},
        "tools": tools,
        "notes": notes,
        "loads": {name: load_class(name).words for name in arguments.loads},
        "cells": list(summed_up(windows)),
    }
    result["verdicts"] = verdicts(result["cells"])
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "accuracy.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        (arguments.out / "README.md").write_text(markdown(result), encoding="utf-8")
    print(json.dumps(result, indent=1) if arguments.json else markdown(result))
    return 0


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=200, help="per cell, five on each board (200)")
    parser.add_argument("--loads", nargs="+", choices=[load.name for load in LOADS], default=None)
    parser.add_argument("--lengths", nargs="+", type=float, default=LENGTHS_S, metavar="S", help="window lengths")
    parser.add_argument("--counters", nargs="+", choices=("sensor", "truth"), default=("sensor", "truth"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes beside that of Zeus")
    parser.add_argument("--zeus-venv", type=Path, default=ROOT / ".venv-zeus", help="made if it is not there")
    parser.add_argument("--no-zeus", action="store_true")
    parser.add_argument("--no-codecarbon", action="store_true")
    parser.add_argument("--out", type=Path, default=None, help="folder for accuracy.json and README.md")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    arguments = parser.parse_args()
    if arguments.windows < WINDOWS_PER_BOARD or min(arguments.lengths) <= 0 or arguments.jobs < 1:
        parser.error(f"--windows must be {WINDOWS_PER_BOARD} at least, --lengths above 0, --jobs 1 at least")
    arguments.wanted_loads = arguments.loads or [load.name for load in LOADS]
    arguments.loads = [name for name in arguments.wanted_loads if name in available_loads()]
    if not arguments.loads:
        parser.error("none of these loads can be played: their recordings are not here")
    return arguments


def missing_loads(arguments: argparse.Namespace) -> list[str]:
    """Loads that were wanted and cannot be played."""
    return [name for name in arguments.wanted_loads if name not in arguments.loads]


def plan(arguments: argparse.Namespace) -> list[Cell]:
    """Every board of every cell. The boards are the same in all of them; the work is drawn anew."""
    boards = -(-arguments.windows // WINDOWS_PER_BOARD)
    return [
        Cell(load, counter, length_s, board, arguments.seed)
        for load in arguments.loads
        for counter in arguments.counters
        for length_s in arguments.lengths
        for board in range(boards)
    ]


# --- in this environment --------------------------------------------------------------------------------


def run_here(cells: Sequence[Cell], arguments: argparse.Namespace) -> tuple[dict[Cell, dict[str, Any]], dict[str, str]]:
    """Ours and CodeCarbon's windows of every cell, and what the tools were."""
    tools = {"harness": f"{metadata.version('energy-harness')}, a session of {WINDOWS_PER_BOARD} windows on each board"}
    if arguments.no_codecarbon:
        tools["CodeCarbon"] = "left out (--no-codecarbon)"
    found: dict[Cell, dict[str, Any]] = {}
    with ProcessPoolExecutor(arguments.jobs, initializer=show_a_gpu) as pool:
        tasks = pool.map(run_board, cells, [not arguments.no_codecarbon] * len(cells), chunksize=4)
        for cell, (windows, said) in zip(cells, tasks, strict=True):
            found[cell] = windows
            tools.setdefault("CodeCarbon", said)
            progress(cell, len(found), len(cells))
    return found, tools


def show_a_gpu() -> None:
    """CodeCarbon looks for `nvidia-smi`: for the life of this process there is one."""
    shown = ExitStack()
    shown.enter_context(nvidia_smi_on_path())
    atexit.register(shown.close)


def run_board(cell: Cell, with_codecarbon: bool) -> tuple[dict[str, Any], str]:
    """One board: our windows, CodeCarbon's, and what CodeCarbon is."""
    windows: dict[str, Any] = {"harness": our_windows(cell, WINDOWS_PER_BOARD)}
    if not with_codecarbon:
        return windows, ""
    try:
        windows["codecarbon"] = run_cell(cell, WINDOWS_PER_BOARD, CodeCarbonPeer)
    except SourceUnavailable as error:
        return windows, f"could not be had: {error.message}"
    return windows, f"{metadata.version('codecarbon')}, offline tracker, start_task and stop_task around the work"


def progress(cell: Cell, done: int, total: int) -> None:
    """How far it is, on standard error: one line, rewritten on a terminal, now and then elsewhere."""
    live = sys.stderr.isatty()
    if live or done == total or done % 100 == 0:
        text = f"{done}/{total} boards: {cell.load}, {cell.counter} counter, {cell.window_s:g} s"
        sys.stderr.write(f"\r{text:<72}" if live and done < total else f"\r{text}\n" if live else f"{text}\n")
        sys.stderr.flush()


# --- Zeus, in its own -----------------------------------------------------------------------------------


class ZeusProcess:
    """Zeus at work on the same cells, in a process and a virtual environment of its own."""

    def __init__(self, folder: Path, cells: Sequence[Cell], scratch: Path) -> None:
        self._answers = scratch / "zeus.jsonl"
        self._process: subprocess.Popen[bytes] | None = None
        self._trouble = install_zeus(folder)
        if self._trouble is not None:
            return
        questions = scratch / "cells.jsonl"
        questions.write_text(
            "".join(json.dumps({"cell": asdict(cell), "count": WINDOWS_PER_BOARD}) + "\n" for cell in cells)
        )
        self._log = scratch / "zeus.log"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
        with questions.open() as asked, self._answers.open("w") as answers, self._log.open("w") as log:
            self._process = subprocess.Popen(
                [python_of(folder), str(SCRIPTS / "_bench_accuracy_peers.py")],
                stdin=asked,
                stdout=answers,
                stderr=log,
                env=environment | {"PYTHONPATH": str(ROOT)},
            )

    def result(self) -> tuple[str, dict[Cell, Any]]:
        """What Zeus was, and its windows by cell; none if it failed, with the reason."""
        if self._process is None:
            return f"could not be had: {self._trouble}", {}
        if self._process.wait() != 0:
            last = (self._log.read_text().strip().splitlines() or ["no message"])[-1]
            return f"could not be had: it ended with {last}", {}
        lines = [json.loads(line) for line in self._answers.read_text().splitlines()]
        said = f"{lines[0]['version']}, ZeusMonitor.begin_window and end_window, sync_execution=False (no CUDA here)"
        return said, {Cell(**line["cell"]): line["windows"] for line in lines[1:]}

    def close(self) -> None:
        """End it, if the rest has failed before it was done."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


def install_zeus(folder: Path) -> str | None:
    """Make Zeus's virtual environment if it is not there; the reason if that fails."""
    if Path(python_of(folder)).exists():
        return None
    sys.stderr.write(f"Installing {ZEUS} into {folder} ...\n")
    try:
        venv.create(folder, with_pip=True)
        pip = [python_of(folder), "-m", "pip", "install", "--quiet", ZEUS, *BESIDE_ZEUS]
        subprocess.run(pip, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return f"{ZEUS} could not be installed ({lines[-1] if lines else error})."
    return None


def python_of(folder: Path) -> str:
    """The interpreter of a virtual environment."""
    return str(folder / "bin" / "python")


# --- together -------------------------------------------------------------------------------------------


def agree_on_truth(windows: dict[Cell, dict[str, Any]]) -> None:
    """Both peers must have seen the same board do the same work, in their two processes.

    Raises:
        HarnessError: They did not; the comparison would mean nothing.
    """
    for cell, tools in windows.items():
        if "zeus" not in tools or "codecarbon" not in tools:
            continue
        for zeus, codecarbon in zip(tools["zeus"], tools["codecarbon"], strict=True):
            if abs(zeus["true_j"] / codecarbon["true_j"] - 1) > 1e-9:
                raise HarnessError(f"Two processes simulated {cell.key} differently.", "Report this as a bug.")


def summed_up(windows: dict[Cell, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The figures of every load, counter and length, over all its boards."""
    grouped: dict[tuple[str, str, float], dict[str, list[Any]]] = {}
    for cell, tools in windows.items():
        group = grouped.setdefault((cell.load, cell.counter, cell.window_s), {})
        for tool, found in tools.items():
            group.setdefault(tool, []).append(found)
    for (load, counter, window_s), tools in grouped.items():
        yield {"load": load, "counter": counter, "window_s": window_s} | figures(tools)


def run_facts(arguments: argparse.Namespace) -> dict[str, Any]:
    """Where, when and how."""
    environment = describe_environment(None)
    boards = -(-arguments.windows // WINDOWS_PER_BOARD)
    return {
        "command": shlex.join(["scripts/bench_accuracy.py", *said_arguments()]),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": environment.git_commit,
        "cpu": environment.cpu_model,
        "cpus": environment.cpu_count,
        "python": environment.python,
        "packages": environment.packages,
        "seed": arguments.seed,
        "boards": boards,
        "windows": boards * WINDOWS_PER_BOARD,
    }


def said_arguments() -> list[str]:
    """The command line, less where Zeus lives on this machine."""
    kept, skip = [], False
    for argument in sys.argv[1:]:
        if not skip and not argument.startswith("--zeus-venv"):
            kept.append(argument)
        skip = argument == "--zeus-venv"
    return kept


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HarnessError as error:
        sys.exit(f"{error.message}\n{error.hint}")
