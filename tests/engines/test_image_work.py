"""What pipelines take and what work it is, counted against the calls that really happen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
torch.set_num_threads(1)  # tiny models gain nothing from more, and tests run side by side

from tiny_pipelines import tiny_pipeline  # noqa: E402

from harness.engines.image_work import (  # noqa: E402
    calls_per_image,
    class_label,
    count_tokens,
    inputs_of,
    own_side,
    size_step,
)
from harness.tasks.base import Request  # noqa: E402

LONG = "a green dog on a hill " * 100


def batches_seen(built: Any, steps: int, guidance: float) -> list[int]:
    """The denoiser's batch size in each of its calls for one image."""
    denoiser = built.components.get("unet") or built.components["transformer"]
    seen: list[int] = []

    def note(_: Any, args: Any, kwargs: Any) -> None:
        seen.append(len(args[0]) if args else len(kwargs["hidden_states"]))

    hook = denoiser.register_forward_pre_hook(note, with_kwargs=True)
    arguments = {"num_inference_steps": steps, "guidance_scale": guidance, "output_type": "latent"}
    sized = {} if own_side(built) else {"height": 64, "width": 64}
    binned = {"use_resolution_binning": False} if "PixArt" in type(built).__name__ else {}
    try:
        if own_side(built):  # DiT decodes whatever it is asked
            arguments["output_type"] = "pt"
        built(**inputs_of(built, [Request(0, "a dog")]), **arguments, **sized, **binned)
    finally:
        hook.remove()
    return seen


# --- denoising steps ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheduler", "calls"),
    [
        ("DDIMScheduler", 5),
        ("DDPMScheduler", 5),
        ("EulerDiscreteScheduler", 5),
        ("DPMSolverMultistepScheduler", 5),
        ("UniPCMultistepScheduler", 5),
        ("PNDMScheduler", 6),
        ("HeunDiscreteScheduler", 9),
        ("KDPM2DiscreteScheduler", 9),
    ],
)
def test_a_schedule_of_five_steps_calls_the_denoiser(scheduler: str, calls: int) -> None:
    built = tiny_pipeline("tiny-sd")
    own = built.scheduler
    settings = {"skip_prk_steps": True} if scheduler == "PNDMScheduler" else {}
    built.scheduler = getattr(diffusers, scheduler)(beta_schedule="scaled_linear", **settings)
    try:
        assert len(batches_seen(built, 5, 0.0)) == calls
        assert calls_per_image(built, 5) == calls
    finally:
        built.scheduler = own


@pytest.mark.parametrize(
    ("name", "guided"),
    [
        ("tiny-sd", 2),
        ("tiny-sdxl", 2),
        ("tiny-sd3", 2),
        ("tiny-pixart", 2),
        ("tiny-pixart-sigma", 2),
        ("tiny-dit", 2),
        ("tiny-flux", 1),  # distilled
    ],
)
def test_guidance_doubles_the_batch_of_a_call_not_their_number(name: str, guided: int) -> None:
    assert batches_seen(tiny_pipeline(name), 2, 1.0) == [1, 1]
    assert batches_seen(tiny_pipeline(name), 2, 7.5) == [guided, guided]
    assert calls_per_image(tiny_pipeline(name), 2) == 2


def test_a_pipeline_without_a_schedule_is_taken_at_its_word() -> None:
    assert calls_per_image(SimpleNamespace(components={}), 7) == 7


# --- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "limit", "of_one_letter"),  # CLIP wraps a prompt in two tokens, T5 ends it with one
    [
        ("tiny-sd", 77, 3),
        ("tiny-sdxl", 77, 3),
        ("tiny-sd3", 256, 3),
        ("tiny-flux", 512, 3),
        ("tiny-pixart", 120, 2),
        ("tiny-pixart-sigma", 300, 2),
        ("tiny-dit", 0, 0),
    ],
)
def test_a_prompt_counts_once_as_its_longest_reader_cuts_it(name: str, limit: int, of_one_letter: int) -> None:
    assert count_tokens(tiny_pipeline(name), [LONG]) == limit
    assert count_tokens(tiny_pipeline(name), ["a", "b"]) == 2 * of_one_letter


def test_pixart_reads_small_letters() -> None:
    assert count_tokens(tiny_pipeline("tiny-pixart"), ["A DOG"]) == count_tokens(
        tiny_pipeline("tiny-pixart"), ["a dog"]
    )


# --- classes --------------------------------------------------------------------------------------


def test_a_request_names_a_class_or_gets_that_of_its_index() -> None:
    names = {"white shark": 2, "umbrella": 879}
    asked = [
        Request(0, " White Shark "),
        Request(1, "umbrella"),
        Request(2, "207"),
        Request(3, "1000"),
        Request(4, "x"),
    ]
    assert [class_label(request, names, 1000) for request in asked] == [2, 879, 207, 3, 4]
    assert class_label(Request(2005, "a dog"), {}, 1000) == 5
    assert inputs_of(tiny_pipeline("tiny-dit"), asked) == {"class_labels": [0, 1, 207, 3, 4]}
    assert inputs_of(tiny_pipeline("tiny-sd"), asked[:1]) == {"prompt": [" White Shark "]}


# --- sizes ----------------------------------------------------------------------------------------


def test_sizes_follow_from_patches_packing_and_the_decoder() -> None:
    steps = {
        name: size_step(tiny_pipeline(name))
        for name in ("tiny-sd", "tiny-sdxl", "tiny-sd3", "tiny-flux", "tiny-pixart")
    }
    assert steps == {"tiny-sd": 1, "tiny-sdxl": 1, "tiny-sd3": 16, "tiny-flux": 16, "tiny-pixart": 16}
    assert own_side(tiny_pipeline("tiny-dit")) == 8 * 8
    assert own_side(tiny_pipeline("tiny-sd")) is None
