"""What scripts/measure_gpu measures, in which order, and how long each piece may take.

Each part has a share of the minutes and ends when the shares up to it are spent; what a part leaves goes to the next.
The windows of a run are as long as its part's share allows for all of its runs, within bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.engines.architectures import preset

SIMULATED_GPU = "A100-SXM4-80GB"
NOMINAL_S = 540.0  # what a simulated run's windows are made for: its virtual time costs next to nothing

# --- parts ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One part: its share of the time, and what it does. `needs`: on a real GPU. `campaign`: that of its runs."""

    name: str
    share: float
    told: str
    needs: tuple[str, ...] = ()
    campaign: str | None = None


PARTS = (
    Part("doctor", 0.01, "what this machine is and lets us meter"),
    Part("sensor", 0.09, "the board's power sensor and energy counter", ("torch",)),
    Part(
        "overhead",
        0.09,
        "throughput with the meter off and on, and the sampler's share of a core",
        ("torch", "transformers"),
    ),
    Part("text", 0.32, "the study's eight text generators, 10 new tokens", ("torch", "transformers"), "text"),
    Part("chat", 0.16, "an 8B chat model, 128 new tokens", ("torch", "transformers"), "chat"),
    Part("images", 0.17, "Stable Diffusion 1.5, 2.1 and XL", ("torch", "diffusers"), "images"),
    Part(
        "phases",
        0.07,
        "prefill and decode energy per token, energy per denoising step",
        ("torch", "transformers"),
        "phases",
    ),
    Part("weights", 0.05, "random against zero weights, and a second seed", ("torch", "transformers"), "weights"),
    Part("report", 0.04, "the page of all runs"),
)


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
    """The board that all runs are on. `memory_bytes`: None where it does not say."""

    name: str
    simulated: bool
    gpu: int | str = 0
    driver: str | None = None
    memory_bytes: int | None = None


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

# Presets and the study's names of them. Small ones first: what time is left over is spent on large ones.
STUDY_NAMES = {
    "distilgpt2": "distilgpt2",
    "gpt2": "gpt2",
    "gpt-neo-125m": "EleutherAI/gpt-neo-125m",
    "gpt2-medium": "gpt2-medium",
    "bloom-560m": "bigscience/bloom-560m",
    "opt-1.3b": "facebook/opt-1.3b",
    "gpt2-xl": "gpt2-xl",
    "opt-6.7b": "facebook/opt-6.7b",
    "sd-1.5": "runwayml/stable-diffusion-v1-5",
    "sd-2.1": "stabilityai/stable-diffusion-2-1",
    "sdxl-base-1.0": "stabilityai/stable-diffusion-xl-base-1.0",
}
TEXT_MODELS = tuple(STUDY_NAMES)[:8]
ONE_B, CHAT, IMAGE = "opt-1.3b", "llama-3.1-8b", "sd-1.5"
STUDY_STEPS = 50  # each image pipeline's default, as in the study

REPEATS = 3
IDLE_S, WARM_UP_S, SETTLE_S, NULL_S = 0.3, 1.0, 0.2, 0.3
LOAD_S = 3.0  # assumed: a worker starts, draws the weights and chooses kernels
SHORTEST_WINDOW_S, LONGEST_WINDOW_S = 0.6, 10.0  # six updates of a sensor of 0.1 s; more is not worth its time
OVERHEAD_OF_RUN_S = 2 * IDLE_S + WARM_UP_S + SETTLE_S + NULL_S


def runs_of(campaign: str, simulated: bool) -> list[dict[str, Any]]:
    """The runs of a campaign as a config writes them, the most important first: time may end before the list.

    Every simulated model costs the same, so of those one is enough at the larger batches.
    """
    text = {"task": "text-generation"}
    if campaign == "text":
        short = {"prompts": {"count": 1000, "max_words": 20}, "text": {"new_tokens": 10}}
        larger = TEXT_MODELS[:1] if simulated else TEXT_MODELS
        models = {1: TEXT_MODELS, 64: larger, 8: larger}
        return [text | short | {"batch_size": size, "model": list(names)} for size, names in models.items()]
    if campaign == "chat":
        asked = {"prompts": {"count": 1000, "words": 128}, "text": {"new_tokens": 128}}
        return [text | asked | {"model": CHAT, "batch_size": [1, 64, 8, 256]}]
    if campaign == "phases":
        corners = [(32, 8, 8), (512, 64, 8), (32, 64, 8), (512, 8, 8), (32, 64, 32), (512, 8, 32)]
        return [
            text | {"model": ONE_B, "prompts": {"words": words}, "text": {"new_tokens": new}, "batch_size": size}
            for words, new, size in corners
        ]
    if campaign == "weights":
        asked = {"prompts": {"words": 128}, "text": {"new_tokens": 32}, "batch_size": 8}
        kinds = (("random", 0), ("zeros", 0), ("random", 1))
        return [text | asked | {"model": {"id": ONE_B, "weights": kind}, "seed": seed} for kind, seed in kinds]
    assert campaign == "images"
    sizes = [(IMAGE, STUDY_STEPS, 512), ("sdxl-base-1.0", STUDY_STEPS, 1024), ("sd-2.1", STUDY_STEPS, 768)]
    sizes += [(IMAGE, 10, 512), (IMAGE, 25, 512)]  # for the energy of a denoising step
    return [
        {"task": "text-to-image", "model": model, "image": {"steps": steps, "height": side, "width": side}}
        for model, steps, side in sizes
    ]


def config_of(campaign: str, part_s: float, device: Device, sensor_profile: str | None) -> dict[str, Any]:
    """A campaign as a config for `harness run`, its windows made for the part's time."""
    runs = [_random(run) for run in runs_of(campaign, device.simulated)]
    part_s = next(part.share for part in PARTS if part.name == campaign) * NOMINAL_S if device.simulated else part_s
    sources: dict[str, Any] = {"kind": "nvml", "gpus": [device.gpu]}
    how: dict[str, Any] = {"device": "cuda", "dtype": "bfloat16"}
    if device.simulated:
        node = {"gpu": SIMULATED_GPU, "clock": "virtual", "steady": True}
        sources, how = {"kind": "simulated", "node": node}, {"engine": "simulated", "dtype": "bfloat16"}
    if sensor_profile is not None:
        sources["sensor_profile"] = sensor_profile
    measure = measure_of(part_s / sum(map(_count, runs)))
    return {"campaign": campaign, "defaults": {"sources": sources, **how, "measure": measure}, "runs": runs}


def _random(run: dict[str, Any]) -> dict[str, Any]:
    """Weights are drawn here wherever the run does not say otherwise."""
    model = run["model"]
    named = [{"id": each, "weights": "random"} for each in model] if isinstance(model, list) else model
    return run | {"model": {"id": model, "weights": "random"} if isinstance(model, str) else named}


def _count(run: dict[str, Any]) -> int:
    lists = [run[key] for key in ("model", "batch_size") if isinstance(run.get(key), list)]
    return len(lists[0]) if lists else 1


def measure_of(run_s: float) -> dict[str, Any]:
    """How one run of so many seconds, its start included, is measured."""
    window_s = (run_s - LOAD_S - OVERHEAD_OF_RUN_S) / REPEATS - NULL_S
    window_s = round(min(LONGEST_WINDOW_S, max(SHORTEST_WINDOW_S, window_s)), 2)
    return {
        "window_s": window_s,
        "null_window_s": NULL_S,
        "idle_s": IDLE_S,
        "settle_s": SETTLE_S,
        "warm_up_block_s": WARM_UP_S / 2,
        "warm_up_max_s": WARM_UP_S,
        "min_repeats": REPEATS,
        "max_repeats": REPEATS,
        "max_duration_s": 4 * REPEATS * window_s,
    }


def expected_s(config: dict[str, Any], device: Device) -> float:
    """What one of its runs should take, seconds on the wall."""
    if device.simulated:
        return 0.5  # a virtual clock: what it takes is arithmetic
    window_s: float = config["defaults"]["measure"]["window_s"]
    return LOAD_S + OVERHEAD_OF_RUN_S + REPEATS * (window_s + NULL_S)
