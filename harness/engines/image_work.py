"""What image pipelines take, and what work it is. Pure: they look at a loaded pipeline and change nothing.

Input tokens: those of the prompt, as the text encoder that reads most of it takes them, without the padding up to its
length (which it computes too: 77 tokens for CLIP, 120 for PixArt-alpha, 300 for Sigma, 256 for SD3, 512 for Flux).

Denoising steps: calls of the denoiser per image. The scheduler decides how many a schedule of n steps takes: most of
them n (DDIM, DDPM, Euler, DPM-Solver++, UniPC, LCM, flow matching), PNDM n + 1, Heun and the two-stage DPM solvers
2 n - 1. Classifier-free guidance (above 1, in Stable Diffusion, SDXL, SD3, PixArt and DiT) doubles the batch of each
call, not their number. Flux dev has its guidance distilled and takes it as an input; Flux schnell ignores it.

DiT takes a class, not a text. A request whose text names one of the pipeline's classes, or is a class's number, asks
for that; any other asks for the class of its index, counted round. No text is encoded, so there are no input tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from harness.tasks.base import Request

_NO_LIMIT = 1_000_000  # a tokenizer without a limit says so with a huge number


DENOISERS = ("unet", "transformer")  # the part that every step runs, by its role in a pipeline


def denoiser_of(pipeline: Any) -> Any:
    """The part of a pipeline that every step runs."""
    return next(pipeline.components[role] for role in DENOISERS if pipeline.components.get(role) is not None)


def call_parameters(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    """What a pipeline's call knows."""
    return inspect.signature(pipeline.__call__).parameters


def inputs_of(pipeline: Any, requests: Sequence[Request]) -> dict[str, Any]:
    """The arguments that say what is asked: prompts, or classes."""
    if "class_labels" not in call_parameters(pipeline):
        return {"prompt": [request.text for request in requests]}
    class_count = pipeline.transformer.config.num_embeds_ada_norm
    names = getattr(pipeline, "labels", {})
    return {"class_labels": [class_label(request, names, class_count) for request in requests]}


def class_label(request: Request, names: Mapping[str, int], class_count: int) -> int:
    """The class that a request asks for.

    Args:
        request: What is asked.
        names: Class names as the pipeline spells them (ImageNet's), and their numbers; may be empty.
        class_count: Classes are numbered from 0; the number after the last is the pipeline's "no class".
    """
    asked = request.text.strip().casefold()
    by_name = {name.casefold(): number for name, number in names.items()}
    if asked in by_name:
        return by_name[asked]
    if asked.isdecimal() and int(asked) < class_count:
        return int(asked)
    return request.index % class_count


def count_tokens(pipeline: Any, prompts: Sequence[str]) -> int:
    """Tokens of the prompts, special ones included; several text encoders read the same prompt, which counts once.

    0 where nothing limits them, or nothing reads them.
    """
    call = call_parameters(pipeline)
    own_limit = call["max_sequence_length"].default if "max_sequence_length" in call else None
    texts = list(prompts)
    if "clean_caption" in call:  # PixArt rewrites a prompt before it is cut
        texts = pipeline._text_preprocessing(texts, clean_caption=call["clean_caption"].default)
    counts = [0]
    for role in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        tokenizer = pipeline.components.get(role)
        if tokenizer is None:
            continue
        limit = min(int(tokenizer.model_max_length), own_limit or _NO_LIMIT)
        if limit < _NO_LIMIT:
            counts.append(sum(len(ids) for ids in tokenizer(texts, truncation=True, max_length=limit)["input_ids"]))
    return max(counts)


def calls_per_image(pipeline: Any, step_count: int) -> int:
    """Calls of the denoiser in the generation just made: one for each entry of the schedule that it went through.

    A pipeline without such a schedule is taken at its word: one call a step.
    """
    timesteps = getattr(pipeline.components.get("scheduler"), "timesteps", None)
    return step_count if timesteps is None else len(timesteps)


def size_step(pipeline: Any) -> int:
    """Images have heights and widths in multiples of this many pixels.

    Transformers see their latents in patches; Flux packs them, which its image processor's factor tells. An odd number
    of rows would fail deep inside, or Flux would make a smaller image. U-Nets pad what does not fit: 1.
    """
    transformer = pipeline.components.get("transformer")
    factor = getattr(pipeline, "vae_scale_factor", None)
    if transformer is None or not isinstance(factor, int):
        return 1
    patch = transformer.config.get("patch_size")
    packed = pipeline.image_processor.config.vae_scale_factor
    return max(patch * factor if isinstance(patch, int) else factor, int(packed))


def own_side(pipeline: Any) -> int | None:
    """Pixels of a side where a pipeline makes squares of one size only, as DiT does; None where it is asked."""
    if "class_labels" not in call_parameters(pipeline) or "height" in call_parameters(pipeline):
        return None
    halvings = len(pipeline.vae.config.block_out_channels) - 1
    return int(pipeline.transformer.config.sample_size * 2**halvings)
