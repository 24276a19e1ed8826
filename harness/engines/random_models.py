"""Models built here with random weights, and what prepares their inputs. Nothing to download.

A model's energy depends on its shapes, its number format and the lengths it works on, and also on the values it
multiplies: those alone move the power of a matrix product by up to 40 % (Gregersen et al. 2024, "Input-Dependent Power
Usage in GPUs"). Constant weights would draw the wrong power, so every model comes from its ordinary constructor, with
its family's own initialisation, on the device it will run on and in the run's number format: no copy in host memory.
That is a stand-in for trained weights, not the same; and what it says is noise. Checked on CPU only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.engines.forms import AUTO_CLASSES
from harness.engines.preset import Form, Preset
from harness.engines.random_weights import seeded, train_tokenizer
from harness.tasks.builtin import text_prompts

# A chat without any of a family's special tokens: these models were trained on nothing.
_CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
# Special tokens in the order of their ids, as the families' own vocabularies begin; "read" ones are wrapped in them.
_CAUSAL: dict[str, Any] = {"eos_token": "<|endoftext|>"}
_T5 = {"pad_token": "<pad>", "eos_token": "</s>"}
_BART = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}
_BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
_ROBERTA = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "mask_token": "<mask>"}
_SPECIAL: Mapping[str, dict[str, Any]] = {
    "t5": _T5, "bart": _BART, "bert": _BERT, "distilbert": _BERT, "blip": _BERT, "roberta": _ROBERTA,
}  # fmt: skip
_READ_LENGTH = 512  # tokens: of T5, BERT and RoBERTa; BART's is in its configuration


def build_model(
    chosen: Preset, form: Form, *, dtype: str, device: str, attention: str, seed: int
) -> tuple[Any, Any, Any]:
    """A model in evaluation mode on `device`, its tokenizer, and its picture processor or None.

    Equal seeds give equal weights on equal kinds of device: a GPU's random numbers are not a CPU's.
    """
    import torch
    import transformers

    (config_class, options), *processors = chosen.parts.items()
    config = getattr(transformers, config_class)(**options)
    # from_config calls the class's constructor under this dtype, as from_pretrained does: rotary frequencies stay
    # in float32, which model.to(float16) would spoil.
    loading = {"dtype": getattr(torch, dtype)} | ({} if attention == "default" else {"attn_implementation": attention})
    with seeded(seed, device):
        model = getattr(transformers, AUTO_CLASSES[form]).from_config(config, **loading)
        if options.get("tie_word_embeddings") is False:
            _untie(model)
    picture_processor = None
    if processors:
        ((name, settings),) = processors
        picture_processor = getattr(transformers, name)(**settings)
    return model.eval(), _tokenizer(config, form), picture_processor


def _untie(model: Any) -> None:
    """Give the last layer a matrix of its own where the library ties it to the embeddings in any case (T5)."""
    import torch

    tied = model.get_input_embeddings().weight
    if model.get_output_embeddings().weight is tied:
        own = torch.empty_like(tied).normal_(std=float(tied.detach().float().std()))
        model.get_output_embeddings().weight = torch.nn.Parameter(own)


def _tokenizer(config: Any, form: Form) -> Any:
    special = _SPECIAL.get(config.model_type, _CAUSAL)
    text = config.get_text_config()
    size = getattr(text, "vocab_size", None)
    if size is None:  # a model that only looks
        return None
    if form == "causal":
        tokenizer = train_tokenizer(text_prompts(), size, **special)
        tokenizer.chat_template = _CHAT
        return tokenizer
    length = getattr(text, "max_position_embeddings", _READ_LENGTH) if config.model_type == "bart" else _READ_LENGTH
    segments = config.model_type == "bert"
    return train_tokenizer(text_prompts(), size, max_length=length, segments=segments, **special)
