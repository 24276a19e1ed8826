"""Random numbers on a device from a seed, and a tokenizer for models whose weights are noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Create tensors on `device` from a seed, and leave the process's own random numbers as they were."""
    import torch

    place = torch.device(device)
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []), place:
        torch.manual_seed(seed)
        yield


def fill_with_zeros(model: Any) -> None:
    """Set every weight to 0: a check of how much power the values draw, never a model's."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()


def train_tokenizer(
    texts: Iterable[str],
    vocabulary_size: int,
    *,
    max_length: int | None = None,
    segments: bool = False,
    **special: str,
) -> Any:
    """A byte-level BPE tokenizer learned from the built-in inputs in a tenth of a second, the same each time.

    Special tokens get the first ids in the order given. With `max_length` the model reads what it is given as a whole,
    and its inputs are wrapped in the special tokens it knows, as CLIP's, T5's and BERT's are: begun by cls_token or
    bos_token, ended by sep_token or eos_token, a second text after the first and ended likewise. `segments`: tell first
    and second text apart by token type.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokens = list(dict.fromkeys(special.values()))
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            special_tokens=tokens,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    if max_length is None:
        return PreTrainedTokenizerFast(tokenizer_object=core, **special)
    begin = special.get("cls_token", special.get("bos_token"))
    end = special.get("sep_token", special.get("eos_token"))
    single = " ".join(part for part in (begin, "$A", end) if part)
    second = 1 if segments else 0
    pair = f"{single} $B:{second}" + (f" {end}:{second}" if end else "")
    core.post_processor = processors.TemplateProcessing(
        single=single,
        pair=pair,
        special_tokens=[(token, core.token_to_id(token)) for token in dict.fromkeys((begin, end)) if token],
    )
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if segments else [])]
    return PreTrainedTokenizerFast(
        tokenizer_object=core, model_max_length=max_length, model_input_names=names, **special
    )
