"""Models built here with random weights: the shape of a real family, nothing to download.

A model's energy depends on its shapes, its number format and the lengths it works on, and also on the values it
multiplies: those alone move the power of a matrix product by up to 40 % (Gregersen et al. 2024, "Input-Dependent Power
Usage in GPUs"). Constant weights would draw the wrong power, so every model comes from its ordinary constructor, with
its family's own initialisation. That is a stand-in for trained weights, not the same; and what it says is noise.

Presets called tiny-* answer on a laptop's CPU.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from harness.engines.random_weights import seeded, train_tokenizer
from harness.errors import UserInputError
from harness.specs import Task
from harness.tasks.builtin import image_prompts, text_prompts

Options = Mapping[str, Any]

_CLIP_LENGTH = 77  # tokens a CLIP text encoder takes; Radford et al. 2021
_T5_LENGTH = 120  # tokens PixArt-alpha gives its text encoder; Chen et al. 2023
_TINY_VOCABULARY = 1024


@dataclass(frozen=True, slots=True)
class Preset:
    """One architecture. `parts` maps the classes of its configuration to their arguments."""

    name: str
    task: Task
    family: str
    parameter_count: int
    description: str
    parts: Mapping[str, Options] = field(repr=False, hash=False)


def presets() -> tuple[Preset, ...]:
    """All presets. Needs no torch."""
    return _PRESETS


def preset(name: str, task: Task) -> Preset:
    """The preset of that name.

    Raises:
        UserInputError: There is none, or it is for another task.
    """
    by_name = {known.name: known for known in _PRESETS}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=3, cutoff=0.4)
        fitting = [known.name for known in _PRESETS if known.task == task]
        raise UserInputError(
            f"There is no architecture preset '{name}'.",
            f"Did you mean {' or '.join(near)}?" if near else f"For {task} there are {', '.join(fitting)}.",
        )
    if by_name[name].task != task:
        fitting = [known.name for known in _PRESETS if known.task == task]
        raise UserInputError(
            f"The preset '{name}' is for {by_name[name].task}, not for {task}.", f"Use one of {', '.join(fitting)}."
        )
    return by_name[name]


def build_text_model(chosen: Preset, *, dtype: str, device: str, attention: str, seed: int) -> tuple[Any, Any]:
    """A causal language model in evaluation mode on `device`, and its tokenizer.

    Equal seeds give equal weights on equal kinds of device: a GPU's random numbers are not a CPU's.
    """
    import torch
    import transformers

    ((config_class, options),) = chosen.parts.items()
    config = getattr(transformers, config_class)(**options)
    # from_config calls the class's constructor under this dtype, as from_pretrained does: rotary frequencies stay
    # in float32, which model.to(float16) would spoil.
    loading = {"dtype": getattr(torch, dtype)} | ({} if attention == "default" else {"attn_implementation": attention})
    with seeded(seed, device):
        model = transformers.AutoModelForCausalLM.from_config(config, **loading)
    tokenizer = train_tokenizer(text_prompts(), config.vocab_size, eos_token="<|endoftext|>")
    return model.eval(), tokenizer


def build_image_pipeline(chosen: Preset, *, dtype: str, device: str, seed: int) -> Any:
    """A text-to-image pipeline in evaluation mode on `device`. Equal seeds: as for text."""
    import torch

    build = _build_pixart if "PixArtTransformer2DModel" in chosen.parts else _build_stable_diffusion
    with seeded(seed, device):
        pipeline = build(chosen.parts)
    return pipeline.to(device, getattr(torch, dtype))


def _build_stable_diffusion(parts: Mapping[str, Options]) -> Any:
    import diffusers
    import transformers

    text = parts["CLIPTextConfig"]
    tokenizer = train_tokenizer(
        image_prompts(),
        text["vocab_size"],
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        max_length=_CLIP_LENGTH,
    )
    special_ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    return diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(**parts["AutoencoderKL"]).eval(),
        text_encoder=transformers.CLIPTextModel(transformers.CLIPTextConfig(**text, **special_ids)).eval(),
        tokenizer=tokenizer,
        unet=diffusers.UNet2DConditionModel(**parts["UNet2DConditionModel"]).eval(),
        # As Stable Diffusion is configured, except that DDIM calls the network exactly once a step (PNDM: once more).
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _build_pixart(parts: Mapping[str, Options]) -> Any:
    import diffusers
    import transformers

    text = parts["T5Config"]
    tokenizer = train_tokenizer(
        image_prompts(),
        text["vocab_size"],
        pad_token="<pad>",
        eos_token="</s>",
        max_length=_T5_LENGTH,
    )
    return diffusers.PixArtAlphaPipeline(
        tokenizer=tokenizer,
        text_encoder=transformers.T5EncoderModel(transformers.T5Config(**text)).eval(),
        vae=diffusers.AutoencoderKL(**parts["AutoencoderKL"]).eval(),
        transformer=diffusers.PixArtTransformer2DModel(**parts["PixArtTransformer2DModel"]).eval(),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


# --- the table ------------------------------------------------------------------------------------

_ENDS: Options = {"bos_token_id": 0, "eos_token_id": 0}
_TINY: Options = {"vocab_size": _TINY_VOCABULARY, **_ENDS}

_TINY_VAE: Options = {
    "block_out_channels": (16, 16, 32, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 8,
}


def _text(
    name: str, family: str, parameter_count: int, description: str, config_class: str, options: Options
) -> Preset:
    parts = MappingProxyType({config_class: MappingProxyType(dict(options))})
    return Preset(name, "text-generation", family, parameter_count, description, parts)


def _image(name: str, family: str, parameter_count: int, description: str, parts: Mapping[str, Options]) -> Preset:
    return Preset(name, "text-to-image", family, parameter_count, description, MappingProxyType(dict(parts)))


_PRESETS: tuple[Preset, ...] = (
    _text(
        "tiny-gpt2", "GPT-2", 989_952, "4 layers of 128, learned positions, GELU",
        "GPT2Config", {**_TINY, "n_positions": 512, "n_embd": 128, "n_layer": 4, "n_head": 4},
    ),
    _text(
        "tiny-llama", "Llama", 1_000_576, "4 layers of 128, rotary positions, RMSNorm, SwiGLU, grouped queries",
        "LlamaConfig",
        {**_TINY, "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 512},
    ),
    _text(
        "tiny-opt", "OPT", 990_208, "4 layers of 128, learned positions, ReLU",
        "OPTConfig",
        {**_TINY, "hidden_size": 128, "word_embed_proj_dim": 128, "ffn_dim": 512, "num_hidden_layers": 4,
         "num_attention_heads": 4, "max_position_embeddings": 512, "pad_token_id": 1},
    ),
    _text(
        "tiny-gpt-neo", "GPT-Neo", 988_416, "4 layers of 128, attention global and local in turn",
        "GPTNeoConfig",
        {**_TINY, "hidden_size": 128, "num_layers": 4, "num_heads": 4, "max_position_embeddings": 512,
         "attention_types": [[["global", "local"], 2]], "window_size": 64},
    ),
    _text(
        "tiny-bloom", "BLOOM", 924_672, "4 layers of 128, ALiBi instead of positions",
        "BloomConfig", {**_TINY, "hidden_size": 128, "n_layer": 4, "n_head": 4},
    ),
    _image(
        "tiny-sd", "Stable Diffusion", 1_234_843, "a U-Net of two resolutions, its VAE and CLIP text encoder, DDIM",
        {
            "UNet2DConditionModel": {
                "sample_size": 8, "cross_attention_dim": 64, "block_out_channels": (32, 64), "layers_per_block": 1,
                "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
                "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
                "attention_head_dim": 4, "norm_num_groups": 8,
            },
            "AutoencoderKL": _TINY_VAE,
            "CLIPTextConfig": {
                "vocab_size": _TINY_VOCABULARY, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2,
                "num_attention_heads": 4, "max_position_embeddings": _CLIP_LENGTH,
            },
        },
    ),
    _image(
        "tiny-pixart", "PixArt-alpha", 782_327, "a diffusion transformer of 4 layers, a VAE and T5 text encoder, DPM++",
        {
            "PixArtTransformer2DModel": {
                "sample_size": 8, "num_layers": 4, "num_attention_heads": 4, "attention_head_dim": 16,
                "cross_attention_dim": 64, "caption_channels": 64, "in_channels": 4, "out_channels": 8,
                "patch_size": 2,
            },
            "AutoencoderKL": _TINY_VAE,
            "T5Config": {
                "vocab_size": _TINY_VOCABULARY, "d_model": 64, "d_kv": 16, "d_ff": 256, "num_layers": 2,
                "num_heads": 4, "feed_forward_proj": "gated-gelu",
            },
        },
    ),
)  # fmt: skip
