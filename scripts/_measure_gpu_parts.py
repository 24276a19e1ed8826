"""The parts of scripts/measure_gpu: each runs what the product has for it, and leaves its output at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from _measure_gpu_campaign import PROFILE, SLACK_S, campaign
from _measure_gpu_context import Context, LeftOut
from _measure_gpu_plan import (
    IMAGE,
    LAST_CAMPAIGN,
    ONE_B,
    PARTS,
    REHEARSED_GPU,
    SIMULATED_GPU,
    STUDY_NAMES,
    STUDY_STEPS,
    Device,
    Part,
)

from harness.errors import HarnessError
from harness.records import RunRecord
from harness.simulation.profiles import board
from harness.study.cells import known_cells
from harness.study.compare import compare_run
from harness.study.models import reference

SHORTEST_PATTERN_S, LONGEST_PATTERN_S = 20.0, 60.0
AROUND_PATTERN_S = 14.0  # of characterize: its start, importing torch, the matrices of its load, the fits after it
BENCH_START_S = 3.0  # of a bench, until it looks at the clock, and of its end
SHORTEST_BENCH_S = 20.0  # of the meter's cost: models are loaded for it
LEAST_WEIGHTS_S = 50.0  # three rounds of windows and three models: borrowed from what can be done in part
DOCTOR_S = 30.0  # however few minutes were asked for: the driver may have to wake up
GRACE_S = 10.0  # for a command that is asked to end


def run_part(part: Part, context: Context) -> Any:
    """Do one part.

    Raises:
        LeftOut: With the reason.
        HarnessError: From the product.
    """
    doing: dict[str, Callable[[Context], Any]] = {
        "doctor": doctor,
        "sensor": sensor,
        "overhead": overhead,
        "weights": weights,
        "report": report,
    }
    if part.campaign is not None:
        return campaign(part, context)
    return doing[part.name](context)


# --- commands ---------------------------------------------------------------------------------------------


def command(context: Context, *arguments: str, limit_s: float) -> str:
    """Run a command of the product to its end; what it printed.

    Raises:
        LeftOut: It was not done in time.
        HarnessError: It failed.
    """
    return _ran(context, f"harness {arguments[0]}", ["-m", "harness.cli.main", *arguments], limit_s)


def _ran(context: Context, name: str, arguments: list[str], limit_s: float) -> str:
    limit_s = max(DOCTOR_S, min(limit_s, context.end_s))
    done = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=context.out
    )
    try:
        printed, errors = done.communicate(timeout=limit_s)
    except BaseException as error:
        done.terminate()  # asked, not killed: its load ends, and its helper processes with it
        with suppress(subprocess.TimeoutExpired):
            done.communicate(timeout=GRACE_S)
        done.kill()
        if isinstance(error, subprocess.TimeoutExpired):
            raise LeftOut(f"it was not done after {limit_s:.0f} s") from None
        raise
    if done.returncode != 0:
        told = errors.strip().splitlines()
        reason = " ".join([line for line in told if line.startswith("error:")] or told[-1:])
        raise HarnessError(f"{name} ended with exit code {done.returncode}: {reason.removeprefix('error: ')}")
    return printed


def doctor(context: Context) -> None:
    """Look at the machine, and learn on which board everything will be.

    Raises:
        LeftOut: No GPU answers, so nothing else can be measured either.
    """
    found = json.loads(command(context, "doctor", "--json", limit_s=2 * DOCTOR_S))
    context.write("doctor.json", found)
    if context.device.simulated:
        rehearsed = context.device.rehearsed
        profile = board(REHEARSED_GPU if rehearsed else SIMULATED_GPU)
        context.device = Device(profile.nvml_name, True, memory_bytes=profile.memory_bytes, rehearsed=rehearsed)
        return
    asked, gpus = context.device.gpu, found["gpus"].get("devices", [])
    mine = next((gpu for gpu in gpus if asked in (gpu["index"], gpu["uuid"])), None)
    if mine is None:
        raise LeftOut(f"there is no GPU {asked} here; harness doctor tells what there is, and --simulated needs none")
    context.device = Device(mine["name"], False, asked, mine["driver"], mine["memory_bytes"])


def sensor(context: Context) -> Any:
    """Find update period, kernel and counter; the profile is used by every run that follows."""
    left_s = context.left_s("sensor")
    pattern_s = min(LONGEST_PATTERN_S, max(SHORTEST_PATTERN_S, left_s - AROUND_PATTERN_S))
    if context.device.simulated:
        which = ["--simulated", REHEARSED_GPU if context.device.rehearsed else SIMULATED_GPU]
        if context.device.rehearsed:
            time.sleep(pattern_s)  # the command's own clock is virtual
        pattern_s = 40.0
    else:
        which = ["--gpu", str(context.device.gpu)]
        if left_s < SHORTEST_PATTERN_S:
            raise LeftOut(f"{left_s:.0f} s are left, and the load pattern takes {SHORTEST_PATTERN_S:.0f} s")
    asked = ["sensor", "characterize", *which, "--seconds", f"{pattern_s:.0f}", "--out", PROFILE, "--json"]
    found = json.loads(command(context, *asked, limit_s=2 * pattern_s + 60.0))
    context.write("sensor.json", found)
    return found


def overhead(context: Context) -> Any:
    """Throughput with the meter off and on, in a process that is gone from the GPU afterwards."""
    left_s = context.left_s("overhead")
    if left_s < SHORTEST_BENCH_S and not context.device.virtual:
        raise LeftOut(f"{left_s:.0f} s are left for it, and its models have to be loaded first")
    found = _bench(context, "overhead", "the bench of the meter's cost", left_s)
    for name, result in found.items():
        if "left_out" in result:
            context.drop(f"overhead, {name}", result["left_out"])
    return found


def weights(context: Context) -> Any:
    """Zero weights and another seed against random ones, in turns: the same work, other numbers."""
    left_s = context.left_s(LAST_CAMPAIGN)
    if left_s < LEAST_WEIGHTS_S and not context.device.virtual:
        raise LeftOut(f"{left_s:.0f} s are left for it, and it takes {LEAST_WEIGHTS_S:.0f} s")
    found = _bench(context, "weights", "the comparison of weights", max(LEAST_WEIGHTS_S, context.left_s("weights")))
    if "left_out" in found:
        raise LeftOut(found["left_out"])
    return found


def _bench(context: Context, name: str, told: str, left_s: float) -> Any:
    script = str(Path(__file__).with_name(f"_measure_gpu_{name}.py"))
    options = [
        "--seconds",
        f"{max(1.0, left_s - BENCH_START_S):.1f}",
        "--out",
        f"{name}.json",
        "--gpu",
        str(context.device.gpu),
    ]
    mode = ["--rehearse"] if context.device.rehearsed else ["--simulated"] if context.device.simulated else []
    path = context.out / f"{name}.json"
    try:
        _ran(context, told, [script, *options, *mode], left_s + SLACK_S)
    except (LeftOut, HarnessError) as error:
        if not path.exists():
            raise
        context.drop(f"the rest of {told}", str(error))
    return json.loads(path.read_text(encoding="utf-8"))


def report(context: Context) -> Any:
    """The fits by phase of what there is, and the page of all runs."""
    made = [part.campaign for part in PARTS if part.campaign and (context.runs / part.campaign).is_dir()]
    if not made:
        raise LeftOut("there are no runs to show")
    fitted = None
    try:
        if designs := [name for name in ("phases", "images") if name in made]:
            fitted = json.loads(command(context, "phases", *designs, "--results", "runs", "--json", limit_s=60.0))
            context.write("phases.json", fitted)
            for each in (each for each in fitted["not_fitted"] if each["model"] in (ONE_B, IMAGE)):
                context.drop(f"phases of {each['model']}", each["reason"])
    except (LeftOut, HarnessError) as error:  # the page does not need them
        context.drop("the fits by phase", str(error))
    title = f"{context.device.name}{', simulated' if context.device.simulated else ''}: scripts/measure_gpu"
    asked = ["report", *made, "--results", "runs", "--out", "report.html", "--title", title]
    command(context, *asked, limit_s=120.0)
    return fitted


def beside_study(record: RunRecord) -> dict[str, Any] | None:
    """One run beside the study's same model; None for models and work that the study has not."""
    spec = record.spec
    name = STUDY_NAMES.get(spec.model.id)
    asked = spec.image is None or spec.image.steps == STUDY_STEPS
    if name is None or record.summary is None or record.campaign not in ("text", "images") or not asked:
        return None
    named = spec.model_copy(update={"model": spec.model.model_copy(update={"id": name})})
    compared = compare_run(record.model_copy(update={"spec": named}), reference(), known_cells())
    return compared.model_dump(mode="json") | {"batch_size": spec.batch_size}
