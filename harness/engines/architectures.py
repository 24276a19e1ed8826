"""Models built here with random weights: the shape of a real family, nothing to download.

A model's energy depends on its shapes, its number format and the lengths it works on, and also on the values it
multiplies: those alone move the power of a matrix product by up to 40 % (Gregersen et al. 2024, "Input-Dependent Power
Usage in GPUs"). Constant weights would draw the wrong power, so every model comes from its ordinary constructor, with
its family's own initialisation. That is a stand-in for trained weights, not the same; and what it says is noise.

Presets called tiny-* answer on a laptop's CPU.
"""

from __future__ import annotations

import difflib
from types import MappingProxyType
from typing import Any

from harness.engines.preset import Options, Preset
from harness.engines.presets_images import image_presets
from harness.engines.random_weights import seeded, train_tokenizer
from harness.errors import UserInputError
from harness.specs import Task
from harness.tasks.builtin import text_prompts

_TINY_VOCABULARY = 1024


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


# --- the table ------------------------------------------------------------------------------------

_ENDS: Options = {"bos_token_id": 0, "eos_token_id": 0}
_TINY: Options = {"vocab_size": _TINY_VOCABULARY, **_ENDS}


def _text(
    name: str, family: str, parameter_count: int, description: str, config_class: str, options: Options
) -> Preset:
    parts = MappingProxyType({config_class: MappingProxyType(dict(options))})
    return Preset(name, "text-generation", family, parameter_count, description, parts)


_TEXT: tuple[Preset, ...] = (
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
)  # fmt: skip
_PRESETS = _TEXT + image_presets()
