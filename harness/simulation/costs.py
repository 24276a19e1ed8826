"""What the simulated engine's work costs, phase by phase: times, loads, and the true energies that follow. Pure.

Every phase has a load of its own, so that on a board without drift the energy of a batch is a sum of phases, each
proportional to one count of work: what `harness phases` has to find again. Assumed, not measured on any model; only
sizes are plausible. Beyond FULL_LOAD_BATCH requests the board is full and the sum no longer holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.simulation.profiles import board
from harness.specs import CALIBRATION, MATRIX_PRODUCTS, MEMORY_COPIES, RunSpec

# Assumed costs of a model that does not exist.
FIXED_S = 0.004
INPUT_TOKEN_S = 4e-6
INPUT_PIXEL_S = 2e-8
OUTPUT_TOKEN_S = 0.006  # one decoding step of a whole batch
STEP_S = 0.0297  # one denoising step of one image of PIXELS_AT_STEP_S; 50 of them and the rest take 1.5 s
TEXT_ENCODER_S = 0.003  # per image
DECODER_S = 0.012  # per image of PIXELS_AT_STEP_S
PIXELS_AT_STEP_S = 512 * 512
FULL_LOAD_BATCH = 32
LOW_LOAD, FULL_LOAD = 0.35, 0.9
CALIBRATION_S = 0.02  # one request of either load
CALIBRATION_LOAD = {MATRIX_PRODUCTS: 0.95, MEMORY_COPIES: 0.55}
IMAGE_LOAD = LOW_LOAD  # of any number of images: more of them take more time, not more power


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """One phase of a batch: how long it takes, and how hard it drives the board meanwhile."""

    duration_s: float
    load: float


def utilisation_of(batch_size: int) -> float:
    """How hard a batch drives the board: 0.35 for one request, rising to 0.9 for 32 and more (assumed)."""
    return min(FULL_LOAD, LOW_LOAD + (FULL_LOAD - LOW_LOAD) * (batch_size - 1) / (FULL_LOAD_BATCH - 1))


def text_batch(batch_size: int, input_tokens: int, new_tokens: int, input_pixels: int = 0) -> tuple[PhaseCost, ...]:
    """Launch, what is read at full load, and a decoding step per new token at the batch's load.

    Args:
        batch_size: Requests.
        input_tokens: Of the whole batch.
        new_tokens: Of each request; 0 for a model that answers in one pass.
        input_pixels: Of the whole batch.
    """
    load = utilisation_of(batch_size)
    return (
        PhaseCost(FIXED_S, load),
        PhaseCost(INPUT_TOKEN_S * input_tokens + INPUT_PIXEL_S * input_pixels, FULL_LOAD),
        PhaseCost(OUTPUT_TOKEN_S * new_tokens, load),
    )


def image_batch(batch_size: int, steps: int, pixels: int) -> tuple[PhaseCost, ...]:
    """Launch at the batch's load; text encoder, denoising and decoder of one image after the other, at its load.

    Args:
        batch_size: Images.
        steps: Denoising steps of each.
        pixels: Of each.
    """
    relative = pixels / PIXELS_AT_STEP_S
    return (
        PhaseCost(FIXED_S, utilisation_of(batch_size)),
        PhaseCost(TEXT_ENCODER_S * batch_size, IMAGE_LOAD),
        PhaseCost(STEP_S * steps * batch_size * relative, IMAGE_LOAD),
        PhaseCost(DECODER_S * batch_size * relative, IMAGE_LOAD),
    )


def calibration_batch(load: str, request_count: int) -> tuple[PhaseCost, ...]:
    """One phase: arithmetic drives a board harder than copying does."""
    return (PhaseCost(CALIBRATION_S * request_count, CALIBRATION_LOAD[load]),)


def duration_s(phases: tuple[PhaseCost, ...]) -> float:
    """How long the batch takes."""
    return math.fsum(phase.duration_s for phase in phases)


def mean_load(phases: tuple[PhaseCost, ...]) -> float:
    """The load that, held over the whole batch, takes the same energy as the phases one after the other."""
    return math.fsum(phase.duration_s * phase.load for phase in phases) / duration_s(phases)


def true_phase_energies_j(spec: RunSpec) -> dict[str, float] | None:
    """What each phase really takes on the simulated boards, by the names of measure/phases.

    Returns:
        Joules per batch, request, input token, decoding step, output token; for images per batch, image, step and
        megapixel, megapixel. None where power is not one per load (a board that warms), where other things than this
        cost model draw it, or where the batch is beyond a full load.
    """
    node = spec.sources.node
    if spec.engine != "simulated" or spec.replay is not None or node is None or not node.steady or node.faults:
        return None
    if spec.task == CALIBRATION:
        return None
    if spec.batch_size > FULL_LOAD_BATCH:
        return None
    profile = board(node.gpu)
    idle_w = profile.idle_w if node.idle_w is None else node.idle_w
    count = len(spec.sources.gpus)
    range_w = (profile.power_limit_w - idle_w) * count
    per_request_w = range_w * (FULL_LOAD - LOW_LOAD) / (FULL_LOAD_BATCH - 1)
    no_request_w = idle_w * count + range_w * LOW_LOAD - per_request_w  # what a batch of none would draw
    full_w, image_w = (idle_w * count + range_w * load for load in (FULL_LOAD, IMAGE_LOAD))
    if spec.image is None:
        return {
            "fixed": FIXED_S * no_request_w,
            "request": FIXED_S * per_request_w,
            "prefill": INPUT_TOKEN_S * full_w,
            "decode step": OUTPUT_TOKEN_S * no_request_w,
            "decode": OUTPUT_TOKEN_S * per_request_w,
        }
    megapixels = PIXELS_AT_STEP_S / 1e6
    return {
        "fixed": FIXED_S * no_request_w,
        "text encoder": FIXED_S * per_request_w + TEXT_ENCODER_S * image_w,
        "denoising": STEP_S * image_w / megapixels,
        "decoder": DECODER_S * image_w / megapixels,
    }


def common_truth(specs: Sequence[RunSpec]) -> dict[str, float] | None:
    """The true phase energies that all these runs share; None where one has none, or another."""
    truths = [true_phase_energies_j(spec) for spec in specs]
    return truths[0] if truths and all(truth == truths[0] for truth in truths) else None
