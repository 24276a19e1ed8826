"""Image pipelines built here with random weights, on the device itself and in the run's number format.

Every part comes from its family's own constructor, which draws its own initialisation. The target device and the
number format are torch's defaults meanwhile, so weights are drawn where and as they will be used: no copy on the host,
none in float32. Position embeddings do not suffer from it: they are computed in float32 whatever the default is
(tests/engines/test_random_pipelines.py compares). Schedulers are built outside, as from_pretrained() does.

Constructors are written for weights that will be loaded, or for training, which may begin at zero. A matrix of zeros
draws other power, so a constant one is drawn anew. None of today's families has one: diffusers leaves the zeros of
adaLN-zero to the training scripts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from harness.engines.preset import Options, Preset
from harness.engines.random_weights import seeded, train_tokenizer
from harness.tasks.builtin import image_prompts


def build_image_pipeline(chosen: Preset, *, dtype: str, device: str, seed: int) -> Any:
    """A pipeline in evaluation mode on `device`.

    Equal seeds give equal weights on equal kinds of device in equal formats: a GPU's random numbers are not a CPU's.
    """
    import diffusers
    import torch

    parts = dict(chosen.parts)
    pipeline_class, settings = _class_and_options(parts.pop("pipeline"))
    texts = image_prompts()
    others = {"scheduler": _build_scheduler(parts.pop("scheduler"))}
    for role in [role for role in parts if role.startswith("tokenizer")]:
        others[role] = _build_tokenizer(parts.pop(role), texts)
    format_ = getattr(torch, dtype)
    modules = {}
    with seeded(seed, device):
        for role, part in parts.items():
            with _default_format(format_):
                modules[role] = build_module(part)
            keep_in_float32(modules[role], format_)
            redraw_constant_weights(modules[role])
    return getattr(diffusers, pipeline_class)(**modules, **others, **settings)


def build_module(part: Options) -> Any:
    """One network of a pipeline by its own constructor, on torch's default device and in its default format."""
    import diffusers
    import transformers

    class_name, options = _class_and_options(part)
    of_diffusers = getattr(diffusers, class_name, None)
    if of_diffusers is not None:
        return of_diffusers(**options).eval()
    model_class = getattr(transformers, class_name)
    return model_class(model_class.config_class(**options)).eval()


def keep_in_float32(module: Any, dtype: Any) -> None:
    """As from_pretrained() does: in float16, layers that overflow there (T5's `wo`) stay in float32."""
    import torch

    if dtype != torch.float16:
        return
    kept = set(getattr(module, "_keep_in_fp32_modules", None) or ())
    for name, layer in module.named_modules():
        if name.rsplit(".", 1)[-1] in kept:
            layer.float()


def redraw_constant_weights(module: Any) -> tuple[str, ...]:
    """Fill matrices that are constant from a normal distribution; the names of what was filled.

    Its standard deviation is that of torch's own layers, sqrt(1 / (3 x inputs)).
    """
    import torch

    filled = []
    for name, weight in module.named_parameters():
        if weight.ndim >= 2 and weight.numel() > 1 and bool(weight.amin() == weight.amax()):
            torch.nn.init.normal_(weight, std=(3 * weight[0].numel()) ** -0.5)
            filled.append(name)
    return tuple(filled)


def _class_and_options(part: Options) -> tuple[str, dict[str, Any]]:
    options = dict(part)
    return options.pop("_class_name"), options


def _build_scheduler(part: Options) -> Any:
    import diffusers

    class_name, options = _class_and_options(part)
    return getattr(diffusers, class_name)(**options)


def _build_tokenizer(part: Options, texts: Sequence[str]) -> Any:
    kind, options = _class_and_options(part)
    special: dict[str, Any] = {
        "clip": {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
        "t5": {"pad_token": "<pad>", "eos_token": "</s>"},
    }[kind]
    return train_tokenizer(texts, options["vocabulary_size"], max_length=options["max_length"], **special)


@contextmanager
def _default_format(dtype: Any) -> Iterator[None]:
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
