"""Models that answer in tokens: exactly as many as were asked for, so that every model does the same work.

Texts are continued, summarised, or asked about by a template (the study's zero-shot prompts for general models);
pictures are described.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers

from harness.engines.part import PreparedBatch, own_limit, refuse_empty, shortest
from harness.engines.preset import Form
from harness.errors import MeasurementInvalid, ModelUnavailable, UserInputError
from harness.records import WorkCounts
from harness.specs import RunSpec, TextOptions
from harness.tasks.base import Request
from harness.tasks.catalog import TASKS
from harness.tasks.pictures import decoded

_SLOT = re.compile(r"\{(text|context)\}")


def text_options(spec: RunSpec, form: Form) -> TextOptions:
    """The run's options for text; where it has none, the task's number of tokens. The template is the task's.

    A model made for summaries is given the text alone, as the study did; one that only continues texts is asked.
    """
    info = TASKS[spec.task]
    options = spec.text or TextOptions(new_tokens=info.new_tokens or TextOptions().new_tokens)
    asked = spec.task != "summarization" or form == "causal"
    return options if options.template or not asked else options.model_copy(update={"template": info.template})


@dataclass
class Writer:
    """A causal model, or an encoder with a decoder, that answers texts."""

    model: Any
    tokenizer: Any
    options: TextOptions
    form: Form
    name: str
    fixed_length: bool = False

    def __post_init__(self) -> None:
        self.input_limit = self._input_limit()
        if self.fixed_length and self.options.max_input_tokens is None:
            raise UserInputError(
                "Compiled code is made for one shape, and prompts have many lengths.",
                "Set text.max_input_tokens: every prompt is cut or padded to it. Or leave 'compile' out.",
            )
        if self.options.chat and not self.tokenizer.chat_template:
            raise ModelUnavailable(f"{self.name} has no chat template.", "Leave 'chat' out, or choose a chat model.")
        # So that generation continues each prompt where it ends.
        self.tokenizer.padding_side = "left" if self.form == "causal" else "right"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.convert_ids_to_tokens(0)
        cache = "static" if self.fixed_length else None
        self.generation = exactly(self.model, self.options, self.tokenizer.pad_token_id, cache)

    def prepare(self, requests: Sequence[Request]) -> PreparedBatch:
        """Ask, tokenise, cut, pad on the left (an encoder: on the right); count tokens here, where it disturbs nothing.

        Raises:
            UserInputError: A prompt has no token for this model.
        """
        limit = self.input_limit
        prompts = [self._prompt(request) for request in requests]
        batch = self.tokenizer(
            [prompt for prompt, _ in prompts],
            padding="max_length" if self.fixed_length else True,
            truncation=limit is not None,
            max_length=limit,
            add_special_tokens=not self.options.chat,  # the chat template has written them
            return_tensors="pt",
        )
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        refuse_empty(requests, lengths)
        cut = (
            is_cut or (limit is not None and length == limit < self._length(prompt))
            for (prompt, is_cut), length in zip(prompts, lengths, strict=True)
        )
        work = WorkCounts(
            requests=len(requests),
            input_tokens=int(sum(lengths)),
            inputs_cut=sum(cut) if self.options.max_input_tokens is None else 0,
            output_tokens=len(requests) * self.options.new_tokens,
        )
        return PreparedBatch({name: batch[name] for name in ("input_ids", "attention_mask")}, work)

    def run(self, inputs: Mapping[str, Any]) -> None:
        """Generate.

        Raises:
            MeasurementInvalid: Another number of tokens came back than was asked for.
        """
        output = self.model.generate(**inputs, generation_config=self.generation)
        rows, columns = inputs["input_ids"].shape
        before = columns if self.form == "causal" else 1  # a decoder starts from one token
        refuse_other_shape(self.name, output, (rows, before + self.options.new_tokens))

    # --- prompts ---

    def _prompt(self, request: Request) -> tuple[str, bool]:
        """The request as the model is asked; where it is too long for the model, the text is cut, not the question.

        What is put as it is is cut later, with its tokens.
        """
        prompt = self._asked(request)
        limit = self.input_limit
        asked_in_words = self.options.template is not None or self.options.chat
        if limit is None or not asked_in_words or self._length(prompt) <= limit:
            return prompt, False
        key = "text" if request.context is None else "context"
        ids = self.tokenizer(getattr(request, key), add_special_tokens=False)["input_ids"]
        room = len(ids)
        while room > 0 and self._length(prompt) > limit:
            room -= max(1, self._length(prompt) - limit)
            shorter = self.tokenizer.decode(ids[: max(room, 0)])
            prompt = self._asked(replace(request, **{key: shorter}))
        if room <= 0:
            raise UserInputError(
                f"What is asked of prompt {request.index} leaves no room for its text within {limit} tokens.",
                "Raise text.max_input_tokens, or shorten text.template.",
            )
        return prompt, True

    def _asked(self, request: Request) -> str:
        parts = {"text": request.text, "context": request.context or ""}
        template = self.options.template
        prompt = request.text if template is None else _SLOT.sub(lambda slot: parts[slot[1]], template)
        if not self.options.chat:
            return prompt
        turn = [{"role": "user", "content": prompt}]
        told: str = self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        return told

    def _length(self, prompt: str) -> int:
        return len(self.tokenizer(prompt, add_special_tokens=not self.options.chat)["input_ids"])

    def _input_limit(self) -> int | None:
        """Longest prompt in tokens: what was asked for, else what the model leaves."""
        limit, asked = self._model_limit(), self.options.max_input_tokens
        if limit is not None and asked is not None and asked > limit:
            beside = "" if self.form == "seq2seq" else f" beside {self.options.new_tokens} new ones"
            raise UserInputError(
                f"{self.name} takes {limit} tokens at most{beside}, and text.max_input_tokens is {asked}.",
                "Lower text.max_input_tokens.",
            )
        return shortest(limit, asked)

    def _model_limit(self) -> int | None:
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if context is not None and self.options.new_tokens >= int(context):
            raise too_many(self.options.new_tokens, self.name, int(context))
        if self.form == "seq2seq":  # encoder and decoder have positions of their own
            return shortest(context, own_limit(self.tokenizer))
        return None if context is None else int(context) - self.options.new_tokens


@dataclass
class Captioner:
    """A model that describes pictures."""

    model: Any
    processor: Any
    pad_token_id: int | None
    options: TextOptions
    name: str

    def __post_init__(self) -> None:
        decoder = self.model.config.get_text_config(decoder=True)
        positions = getattr(decoder, "max_position_embeddings", None)
        if positions is not None and self.options.new_tokens >= int(positions):
            raise too_many(self.options.new_tokens, self.name, int(positions))
        self.generation = exactly(self.model, self.options, self.pad_token_id, None)
        self.tokens_before: int | None = None  # that come back before the first new one; models differ

    def prepare(self, requests: Sequence[Request]) -> PreparedBatch:
        """Decode and resize the pictures.

        Raises:
            UserInputError: One is not a picture.
        """
        pixels = picture_inputs(self.processor, requests)["pixel_values"]
        work = WorkCounts(
            requests=len(requests),
            input_pixels=pixels.shape[0] * pixels.shape[-2] * pixels.shape[-1],
            output_tokens=len(requests) * self.options.new_tokens,
        )
        return PreparedBatch({"pixel_values": pixels}, work)

    def run(self, inputs: Mapping[str, Any]) -> None:
        """Generate.

        Raises:
            MeasurementInvalid: Another number of tokens came back than was asked for.
        """
        if self.tokens_before is None:  # the first batch of the warm-up
            one = transformers.GenerationConfig(**self.generation.to_diff_dict())
            one.min_new_tokens = one.max_new_tokens = 1
            self.tokens_before = self.model.generate(**inputs, generation_config=one).shape[1] - 1
        output = self.model.generate(**inputs, generation_config=self.generation)
        expected = (inputs["pixel_values"].shape[0], self.tokens_before + self.options.new_tokens)
        refuse_other_shape(self.name, output, expected)


def too_many(new_tokens: int, name: str, context: int) -> UserInputError:
    """What is said when an answer does not fit."""
    return UserInputError(
        f"{new_tokens} new tokens do not fit into the context of {name}, which is {context} tokens long.",
        "Lower text.new_tokens.",
    )


def picture_inputs(processor: Any, requests: Sequence[Request]) -> Any:
    """What an image processor makes of the requests' pictures.

    Raises:
        UserInputError: One is not a picture.
    """
    pictures = []
    for request in requests:
        if request.picture is None:
            raise UserInputError(f"Request {request.index} holds no picture.", "Give a folder of pictures.")
        pictures.append(decoded(request.picture, f"Picture {request.index}"))
    try:
        return processor(images=pictures, return_tensors="pt")
    except ValueError as error:  # e.g. one that is so flat that nothing of it is left when it is made smaller
        shapes = ", ".join(sorted({f"{picture.width} x {picture.height}" for picture in pictures}))
        raise UserInputError(
            f"The model's own preprocessing cannot take a picture of this batch ({shapes} pixels): {error}",
            "Set prompts.picture_size, or leave that picture out.",
        ) from error


def exactly(model: Any, options: TextOptions, pad_token_id: int | None, cache: str | None) -> Any:
    """A search for exactly `new_tokens`; of the model's own settings only token ids and cache are kept."""
    own = model.generation_config
    generation = transformers.GenerationConfig(
        do_sample=False,
        num_beams=options.beams,
        min_new_tokens=options.new_tokens,
        max_new_tokens=options.new_tokens,
        pad_token_id=pad_token_id,
        bos_token_id=own.bos_token_id,
        eos_token_id=own.eos_token_id,
        decoder_start_token_id=own.decoder_start_token_id,
        cache_implementation=cache or own.cache_implementation,
    )
    model.generation_config = generation  # generate() fills what is None from here: not from its penalties
    return generation


def refuse_other_shape(name: str, output: Any, expected: tuple[int, int]) -> None:
    """Shapes are known on the host: asking does not wait for the device.

    Raises:
        MeasurementInvalid: Another number of tokens came back than was asked for.
    """
    found = tuple(output.shape) if torch.is_tensor(output) else type(output).__name__
    if found != expected:
        raise MeasurementInvalid(
            f"{name} returned {found} tokens (requests, prompt + new) instead of {expected}: the work is not what was "
            "asked.",
            "Models that write several tokens at once, or their own generate(), are not supported.",
        )
