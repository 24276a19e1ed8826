"""The parts of scripts/measure_gpu: each runs what the product has for it, and leaves its output at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from _measure_gpu_plan import (
    IMAGE,
    ONE_B,
    PARTS,
    SIMULATED_GPU,
    STUDY_NAMES,
    STUDY_STEPS,
    Device,
    Part,
    config_of,
    deadlines_s,
    expected_s,
    too_large,
)

from harness.campaign import CampaignOptions, Retry
from harness.compare.comparison import compare_runs
from harness.errors import HarnessError
from harness.measure.base import Progress
from harness.records import RunRecord
from harness.run.config import Plan, load_plan
from harness.run.executors import Executor
from harness.run.retries import Attempt
from harness.run.runner import run_campaign
from harness.simulation.profiles import board
from harness.specs import RunSpec
from harness.store.files import find_runs
from harness.study.cells import known_cells
from harness.study.compare import compare_run
from harness.study.models import reference

PROFILE = "sensor.yaml"
SHORTEST_PATTERN_S, LONGEST_PATTERN_S = 20.0, 60.0
AROUND_PATTERN_S = 8.0  # the command's start, and the matrices of its load
ONCE = CampaignOptions(order="as-written", retry=Retry(driver=0))  # the time is planned
GRACE_S = 10.0  # for a command that is asked to end
SLACK_S = 10.0  # a run that has begun may end late by this; what follows has less


class LeftOut(Exception):
    """A part that is not done, with the reason."""


@dataclass
class Context:
    """Where everything goes, on what, and until when. `dropped`: what a part left out, with reasons."""

    out: Path
    total_s: float
    start_s: float
    device: Device
    executor: Executor
    say: Callable[[str], None]
    dropped: list[dict[str, str]] = field(default_factory=list)

    @property
    def runs(self) -> Path:
        """The campaigns' records."""
        return self.out / "runs"

    def left_s(self, part: str) -> float:
        """Seconds until a part has to end."""
        return self.start_s + deadlines_s(self.total_s)[part] - time.monotonic()

    @property
    def end_s(self) -> float:
        """Seconds until everything has to be done."""
        return self.left_s(PARTS[-1].name)

    def drop(self, what: str, reason: str) -> None:
        """Leave something out, and say so."""
        self.dropped.append({"what": what, "reason": reason})
        self.say(f"  left out: {what}: {reason}")

    def write(self, name: str, document: Any) -> None:
        """Write a document of this part."""
        (self.out / name).write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")


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
        "phases": phases,
        "weights": weights,
        "report": report,
    }
    return doing.get(part.name, lambda context: campaign(part.name, context))(context)


# --- commands ---------------------------------------------------------------------------------------------


def command(context: Context, *arguments: str, limit_s: float) -> str:
    """Run a command of the product to its end; what it printed.

    Raises:
        LeftOut: It was not done in time.
        HarnessError: It failed.
    """
    return _ran(context, f"harness {arguments[0]}", ["-m", "harness.cli.main", *arguments], limit_s)


def _ran(context: Context, name: str, arguments: list[str], limit_s: float) -> str:
    limit_s = max(1.0, min(limit_s, context.end_s))
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
    found = json.loads(command(context, "doctor", "--json", limit_s=60.0))
    context.write("doctor.json", found)
    if context.device.simulated:
        profile = board(SIMULATED_GPU)
        context.device = Device(profile.nvml_name, True, memory_bytes=profile.memory_bytes)
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
        which = ["--simulated", SIMULATED_GPU]
        pattern_s = 40.0  # virtual
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
    script = str(Path(__file__).with_name("_measure_gpu_overhead.py"))
    options = ["--seconds", f"{left_s:.1f}", "--out", "overhead.json", "--gpu", str(context.device.gpu)]
    try:
        simulated = ["--simulated"] if context.device.simulated else []
        _ran(context, "the bench of the meter's cost", [script, *options, *simulated], left_s + 60.0)
    finally:
        path = context.out / "overhead.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for name, result in found.items():
            if "left_out" in result:
                context.drop(f"overhead, {name}", result["left_out"])
    return found


# --- campaigns --------------------------------------------------------------------------------------------


class Quiet:
    """Nobody watches a single run."""

    def run_started(self, index: int, total: int, attempt: Attempt) -> None:
        """Said by the campaign."""

    def run_progress(self, spec: RunSpec, progress: Progress) -> None:
        """Not shown."""

    def run_finished(self, record: RunRecord, again: bool) -> None:
        """Said by the campaign."""


def campaign(name: str, context: Context) -> list[RunRecord]:
    """Run as much of a campaign as its time allows; every run is stored when it ends.

    Raises:
        KeyboardInterrupt: It was stopped.
        LeftOut: No run was done.
    """
    plan, each_s = planned(name, context)
    done: list[RunRecord] = []
    took_s: list[float] = []
    for spec in plan.specs:
        label = label_of(spec)
        if (reason := too_large(spec.model.id, spec.task, context.device)) is not None:
            context.drop(label, reason)
            continue
        needed_s, left_s = sum(took_s) / len(took_s) if took_s else each_s, context.left_s(name)
        if left_s < needed_s:
            context.drop(label, f"{max(0.0, left_s):.0f} s were left for it, and a run takes {needed_s:.0f} s")
            continue
        start_s = time.monotonic()
        limit_s = max(1.0, min(left_s + SLACK_S, context.end_s))
        limited = spec.model_copy(update={"timeout_s": limit_s})
        result = run_campaign(Plan(plan.campaign, (limited,), ONCE), context.runs, context.executor, Quiet())
        if result.interrupted:
            raise KeyboardInterrupt
        took_s.append(time.monotonic() - start_s)
        for record in result.failed:
            context.drop(label, record.failure.message if record.failure else "it failed")
        done += result.complete
        context.say(f"  {label}: {'done' if result.complete else 'failed'} in {took_s[-1]:.1f} s")
    if not done:
        raise LeftOut("no run of it was done")
    return done


def planned(name: str, context: Context) -> tuple[Plan, float]:
    """A campaign's plan by its config, which stays beside the results, and what a run should take, seconds."""
    folder = context.out / "configs"
    folder.mkdir(exist_ok=True)
    profile = f"../{PROFILE}" if (context.out / PROFILE).exists() else None
    config = config_of(name, max(1.0, context.left_s(name)), context.device, profile)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
    return load_plan(path), expected_s(config, context.device)


def label_of(spec: RunSpec) -> str:
    """A run in a few words."""
    size = f"{spec.prompts.words} words, {spec.text.new_tokens} new tokens" if spec.text and spec.prompts.words else ""
    if spec.image is not None:
        size = f"{spec.image.steps} steps of {spec.image.width} x {spec.image.height}"
    zeros = "weights of zeros" if spec.model.weights == "zeros" else ""
    seed = f"seed {spec.seed}" if spec.seed else ""
    return ", ".join(filter(None, (spec.model.id, f"batch {spec.batch_size}", size, zeros, seed)))


# --- what is made of them ---------------------------------------------------------------------------------


def phases(context: Context) -> Any:
    """A design of lengths and batches, and the fits of it and of the image runs."""
    with _tried(context, "the runs for the phases of text"):
        campaign("phases", context)
    made = [name for name in ("phases", "images") if (context.runs / name).is_dir()]
    if not made:
        raise LeftOut("there are no runs to fit")
    asked = ["phases", *made, "--results", "runs", "--json"]
    fitted = json.loads(command(context, *asked, limit_s=60.0))
    context.write("phases.json", fitted)
    for each in (each for each in fitted["not_fitted"] if each["model"] in (ONE_B, IMAGE)):
        context.drop(f"phases of {each['model']}", each["reason"])
    return fitted


def weights(context: Context) -> Any:
    """Zero weights and another seed against random ones: the same work, other numbers."""
    done = campaign("weights", context)
    if len(done) < 2:
        raise LeftOut("fewer than two of its runs were done, so there is nothing to compare")
    found = compare_runs(done).model_dump(mode="json")
    context.write("weights.json", found)
    return found


def report(context: Context) -> Any:
    """The page of all runs but those of the weights check."""
    made = [part.campaign for part in PARTS if part.campaign and (context.runs / part.campaign).is_dir()]
    shown = [name for name in made if name != "weights"]
    if not shown:
        raise LeftOut("there are no runs to show")
    title = f"{context.device.name}{', simulated' if context.device.simulated else ''}: scripts/measure_gpu"
    asked = ["report", *shown, "--results", "runs", "--out", "report.html", "--title", title]
    command(context, *asked, limit_s=120.0)
    return None


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


def records(context: Context) -> list[RunRecord]:
    """Everything that is stored so far."""
    return [run.record for run in find_runs([context.runs], [])] if context.runs.is_dir() else []


@contextmanager
def _tried(context: Context, what: str) -> Iterator[None]:
    """Go on where this fails, and say why."""
    try:
        yield
    except (LeftOut, HarnessError) as error:
        context.drop(what, str(error))
