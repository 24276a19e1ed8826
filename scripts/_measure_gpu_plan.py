"""What scripts/measure_gpu measures, in which order, and how long each piece may take.

Each part has a share of the minutes and ends when the shares up to it are spent; what a part leaves goes to the next.
How long a run takes besides its windows is learnt from the runs so far; the windows of the next are as long as that
leaves for them, within bounds. Only until the first run is done does the plan rest on assumptions.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.engines.architectures import preset
from harness.records import RunRecord

SIMULATED_GPU, REHEARSED_GPU = "A100-SXM4-80GB", "H200"
NOMINAL_S = 540.0  # what a simulated run's windows are made for: its virtual time costs next to nothing

# --- parts ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One part: its share of the time, and what it does.

    `needs`: packages, on a real GPU. `campaign`: that of its runs. `fewest`: runs without which it is not begun, and
    for which it may borrow time from the parts after it.
    """

    name: str
    share: float
    told: str
    needs: tuple[str, ...] = ()
    campaign: str | None = None
    fewest: int = 1


TEXT_NEEDS, IMAGE_NEEDS = ("torch", "transformers"), ("torch", "diffusers")
# What nothing can stand in for comes first; what can be done in part, and still says something, comes last.
PARTS = (
    Part("doctor", 0.01, "what this machine is and lets us meter"),
    Part("sensor", 0.075, "the board's power sensor and energy counter", ("torch",)),
    Part("overhead", 0.08, "throughput with the meter off and on, and the sampler's share of a core", TEXT_NEEDS),
    Part("phases", 0.16, "prefill and decode energy per token", TEXT_NEEDS, "phases", fewest=4),
    Part("weights", 0.095, "random against zero weights, and a second seed", TEXT_NEEDS),
    Part("images", 0.22, "Stable Diffusion 1.5, XL and 2.1, energy per denoising step", IMAGE_NEEDS, "images"),
    Part("chat", 0.095, "an 8B chat model, 128 new tokens", TEXT_NEEDS, "chat"),
    Part("text", 0.23, "the study's eight text generators, 10 new tokens", TEXT_NEEDS, "text"),
    Part("report", 0.035, "the fits and the page of all runs"),
)

LAST_CAMPAIGN = "text"  # what is borrowed is missing there


def deadlines_s(total_s: float) -> dict[str, float]:
    """When each part has to end, seconds after the start."""
    ends, spent = {}, 0.0
    for part in PARTS:
        spent += part.share * total_s
        ends[part.name] = spent
    return ends


# --- device -----------------------------------------------------------------------------------------------

WEIGHT_BYTES = 2  # float16 and bfloat16
ROOM_FRACTION = 0.9  # of the board's memory for weights: activations and CUDA itself need the rest


@dataclass(frozen=True)
class Device:
    """The board that all runs are on. `memory_bytes`: None where it does not say.

    `rehearsed`: simulated, and on the wall clock: every run takes as long as it would.
    """

    name: str
    simulated: bool
    gpu: int | str = 0
    driver: str | None = None
    memory_bytes: int | None = None
    rehearsed: bool = False

    @property
    def virtual(self) -> bool:
        """Simulated on a virtual clock: what it takes is arithmetic."""
        return self.simulated and not self.rehearsed


def too_large(model: str, task: str, device: Device) -> str | None:
    """Why a model is not tried on this board; None if its weights fit."""
    if device.memory_bytes is None:
        return None
    needed_bytes = WEIGHT_BYTES * preset(model, task).parameter_count  # type: ignore[arg-type]
    if needed_bytes <= ROOM_FRACTION * device.memory_bytes:
        return None
    gib = 2**30
    return f"its weights take {needed_bytes / gib:.1f} GiB, and the board has {device.memory_bytes / gib:.1f} GiB"


# --- campaigns --------------------------------------------------------------------------------------------

# Presets and the study's names of them. The text generators that tell most apart first, in case time ends before.
STUDY_NAMES = {
    "distilgpt2": "distilgpt2",
    "opt-6.7b": "facebook/opt-6.7b",
    "gpt2-xl": "gpt2-xl",
    "opt-1.3b": "facebook/opt-1.3b",
    "bloom-560m": "bigscience/bloom-560m",
    "gpt2": "gpt2",
    "gpt-neo-125m": "EleutherAI/gpt-neo-125m",
    "gpt2-medium": "gpt2-medium",
    "sd-1.5": "runwayml/stable-diffusion-v1-5",
    "sd-2.1": "stabilityai/stable-diffusion-2-1",
    "sdxl-base-1.0": "stabilityai/stable-diffusion-xl-base-1.0",
}
TEXT_MODELS = tuple(STUDY_NAMES)[:8]
ONE_B, CHAT, IMAGE = "opt-1.3b", "llama-3.1-8b", "sd-1.5"
STUDY_STEPS = 50  # each image pipeline's default, as in the study

IDLE_S, WARM_UP_S, WARM_UP_BLOCK_S, SETTLE_S, NULL_S = 0.3, 2.5, 0.5, 0.2, 0.3
SHORTEST_WINDOW_S, LONGEST_WINDOW_S = 1.0, 3.0  # ten updates of a sensor of 0.1 s; beyond, other runs tell more
REPEATS, FEW_REPEATS, LONG_BATCH_S = 5, 3, 2.0  # fewer windows where one batch is this long
ASSUMED_START_S = 7.0  # a worker starts, draws the weights and chooses kernels; idle before and after; files
EDGES_S = 0.8  # of a window and of the null window after it: waiting for the counter, and for the last readings
# Assumed until a run of the model is done: seconds of a decoding or denoising step, one request or image at a time.
ASSUMED_STEP_S = {"sd-1.5": 0.03, "sd-2.1": 0.05, "sdxl-base-1.0": 0.09}
ASSUMED_TOKEN_S = 0.025


@dataclass(frozen=True)
class Asked:
    """A run as a config writes it; `steps` that one batch of it takes, one after the other."""

    run: dict[str, Any]
    model: str
    steps: int

    @property
    def label(self) -> str:
        """The run in a few words."""
        words = self.run.get("prompts", {}).get("words")
        return label(self.model, self.run.get("batch_size", 1), words, self.steps, self.run.get("image"))


def label(model: str, batch_size: int, words: int | None, steps: int, image: dict[str, Any] | None) -> str:
    """A run in a few words. `steps`: new tokens, or denoising steps."""
    size = f"{words} words, {steps} new tokens" if words is not None else ""
    if image is not None:
        size = f"{steps} steps of {image['width']} x {image['height']}"
    return ", ".join(filter(None, (model, f"batch {batch_size}", size)))


def runs_of(campaign: str, simulated: bool) -> list[Asked]:
    """The runs of a campaign, the most important first: time may end before the list.

    Every simulated model costs the same, so of those one is enough at the larger batches.
    """
    if campaign == "text":
        larger = TEXT_MODELS[:1] if simulated else TEXT_MODELS
        sizes = [(1, TEXT_MODELS), (64, larger), (8, larger)]
        short = {"count": 1000, "max_words": 20}
        return [_text(model, short, 10, size) for size, models in sizes for model in models]
    if campaign == "chat":
        return [_text(CHAT, {"count": 1000, "words": 128}, 128, size) for size in (1, 64, 256, 8)]
    if campaign == "phases":  # one batch size: three phases; the first four tell them, the fifth checks
        corners = [(32, 8), (512, 64), (32, 64), (512, 8), (128, 32)]
        return [_text(ONE_B, {"words": words}, new, 32) for words, new in corners]
    assert campaign == "images"
    sizes = [(IMAGE, STUDY_STEPS, 512), (IMAGE, 10, 512), (IMAGE, 25, 512)]  # three tell a step from the rest
    sizes += [("sdxl-base-1.0", STUDY_STEPS, 1024), ("sd-2.1", STUDY_STEPS, 768)]
    return [
        Asked(
            {
                "task": "text-to-image",
                "model": {"id": model, "weights": "random"},
                "image": {"steps": steps, "height": side, "width": side},
            },
            model,
            steps,
        )
        for model, steps, side in sizes
    ]


def _text(model: str, prompts: dict[str, Any], new_tokens: int, batch_size: int) -> Asked:
    run = {
        "task": "text-generation",
        "model": {"id": model, "weights": "random"},
        "prompts": prompts,
        "text": {"new_tokens": new_tokens},
        "batch_size": batch_size,
    }
    return Asked(run, model, new_tokens)


# --- time -------------------------------------------------------------------------------------------------


@dataclass
class Costs:
    """What runs have taken so far, seconds: what the next ones are planned by."""

    starts_s: list[float] = field(default_factory=list)
    step_s: dict[str, float] = field(default_factory=lambda: dict(ASSUMED_STEP_S))

    def learn(self, asked: Asked, record: RunRecord, took_s: float) -> None:
        """Take from a complete run how long its model takes for a step, and how long all but work and windows took."""
        windows = record.measurements
        batches = sum(window.work.requests for window in windows) / record.spec.batch_size
        if record.warm_up is None or not batches:
            return
        self.step_s[asked.model] = sum(window.busy_s for window in windows) / batches / asked.steps
        planned_s = sum(window.busy_s + NULL_S + EDGES_S for window in windows) + record.warm_up.duration_s
        self.starts_s.append(max(0.0, took_s - planned_s))

    @property
    def start_s(self) -> float:
        """A run without its warm-up and its windows. A median: one slow start must not push out every other run."""
        return statistics.median(self.starts_s) if self.starts_s else ASSUMED_START_S

    def batch_s(self, asked: Asked) -> float:
        """One batch."""
        return asked.steps * self.step_s.get(asked.model, ASSUMED_TOKEN_S)

    def repeats(self, asked: Asked) -> int:
        """Windows of a run."""
        return REPEATS if self.batch_s(asked) < LONG_BATCH_S else FEW_REPEATS

    def run_s(self, asked: Asked, window_s: float) -> float:
        """A whole run with windows of that length, in whole batches."""
        batch_s = self.batch_s(asked)
        repeat_s = math.ceil(window_s / batch_s) * batch_s + NULL_S + EDGES_S
        return self.start_s + WARM_UP_S + 2 * batch_s + self.repeats(asked) * repeat_s

    def fitting(self, runs: Sequence[Asked], left_s: float) -> list[Asked]:
        """The runs that fit into the time with the shortest windows: one that does not leaves it to those after it."""
        found = []
        for run in runs:
            needed_s = self.run_s(run, SHORTEST_WINDOW_S)
            if needed_s <= left_s:
                left_s -= needed_s
                found.append(run)
        return found

    def window_s(self, runs: Sequence[Asked], left_s: float) -> float:
        """How long the windows of the runs that fit may be: they share the time alike."""
        fitting = self.fitting(runs, left_s) or runs[:1]
        low, high = SHORTEST_WINDOW_S, LONGEST_WINDOW_S
        for _ in range(20):
            middle = (low + high) / 2
            fits = sum(self.run_s(run, middle) for run in fitting) <= left_s
            low, high = (middle, high) if fits else (low, middle)
        return round(low, 2)

    def measure(self, asked: Asked, window_s: float) -> dict[str, Any]:
        """How a run is measured: what is its own in a config."""
        batch_s, repeats = self.batch_s(asked), self.repeats(asked)
        return {
            "window_s": window_s,
            "warm_up_max_s": round(WARM_UP_S + 2 * batch_s, 2),
            "min_repeats": repeats,
            "max_repeats": repeats,
            "max_duration_s": round(4 * repeats * (max(window_s, batch_s) + 1), 1),
        }


def config_of(
    campaign: str, runs: Sequence[dict[str, Any]], device: Device, sensor_profile: str | None
) -> dict[str, Any]:
    """Runs, each with its `measure`, as a config for `harness run`."""
    sources: dict[str, Any] = {"kind": "nvml", "gpus": [device.gpu]}
    how: dict[str, Any] = {"device": "cuda", "dtype": "bfloat16"}
    if device.simulated:
        gpu, clock = (SIMULATED_GPU, "virtual") if device.virtual else (REHEARSED_GPU, "real")
        sources = {"kind": "simulated", "node": {"gpu": gpu, "clock": clock, "steady": True}}
        how = {"engine": "simulated", "dtype": "bfloat16"}
    if sensor_profile is not None:
        sources["sensor_profile"] = sensor_profile
    measure = {
        "null_window_s": NULL_S,
        "idle_s": IDLE_S,
        "settle_s": SETTLE_S,
        "warm_up_block_s": WARM_UP_BLOCK_S,
    }
    return {"campaign": campaign, "defaults": {"sources": sources, **how, "measure": measure}, "runs": list(runs)}
