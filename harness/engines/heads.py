"""Models that answer in one pass: classes of texts and words, answers found, words filled in, pictures, objects.

Metered is the forward pass. Turning its numbers into labels, spans or boxes is a few operations on the host, no model's
work, and is left out; the study's pipelines included it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.engines.part import PreparedBatch, own_limit, refuse_empty, shortest
from harness.engines.preset import Form
from harness.engines.writing import picture_inputs
from harness.errors import MeasurementInvalid, ModelUnavailable, UserInputError
from harness.records import WorkCounts
from harness.tasks.base import MASK, Request


@dataclass
class Reader:
    """An encoder with a head for texts.

    A text that is longer than the model takes is cut at its end; of a question with its text, the text.
    `max_input_tokens` cuts earlier.
    """

    model: Any
    tokenizer: Any
    form: Form
    name: str
    max_input_tokens: int | None
    fixed_length: bool = False

    def __post_init__(self) -> None:
        if self.tokenizer.pad_token_id is None:
            raise ModelUnavailable(f"The tokenizer of {self.name} has no token to pad with.", "Use batch_size: 1.")
        if self.form == "mask-filler" and self.tokenizer.mask_token is None:
            raise ModelUnavailable(f"The tokenizer of {self.name} has no token for a gap.", "Choose another model.")
        if self.fixed_length and self.max_input_tokens is None:
            raise UserInputError(
                "Compiled code is made for one shape, and texts have many lengths.",
                "Set text.max_input_tokens: every text is cut or padded to it. Or leave 'compile' out.",
            )
        limit = shortest(_positions(self.model), own_limit(self.tokenizer))
        if limit is not None and self.max_input_tokens is not None and self.max_input_tokens > limit:
            raise UserInputError(
                f"{self.name} reads {limit} tokens at most, and text.max_input_tokens is {self.max_input_tokens}.",
                "Lower text.max_input_tokens.",
            )
        self.input_limit = shortest(limit, self.max_input_tokens)
        wrapping = self.tokenizer.num_special_tokens_to_add(pair=self.form == "answer-finder")
        if self.input_limit is not None and self.input_limit <= wrapping:
            raise UserInputError(
                f"{self.input_limit} tokens leave no room for a text: {self.name} wraps it in {wrapping} of its own.",
                "Raise text.max_input_tokens.",
            )
        self.accepted = set(inspect.signature(self.model.forward).parameters)

    def prepare(self, requests: Sequence[Request]) -> PreparedBatch:
        """Tokenise, cut, pad.

        Raises:
            UserInputError: A text has no token for this model, a question is too long, a gap was cut off.
        """
        texts = [request.text for request in requests]
        if self.form == "mask-filler":
            texts = [text.replace(MASK, self.tokenizer.mask_token) for text in texts]
        asks = self.form == "answer-finder"
        try:
            batch = self.tokenizer(
                texts,
                [request.context or "" for request in requests] if asks else None,
                padding="max_length" if self.fixed_length else True,
                truncation="only_second" if asks else True,
                max_length=self.input_limit,
                return_tensors="pt",
            )
        except Exception as error:  # tokenizers raise a bare Exception where nothing is left to cut
            if "runcation" not in str(error):
                raise
            raise UserInputError(
                f"A question is longer than the {self.input_limit} tokens that {self.name} reads.",
                "Raise text.max_input_tokens, or take shorter questions.",
            ) from error
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        refuse_empty(requests, lengths)
        if self.form == "mask-filler":
            self._refuse_lost_gaps(requests, batch["input_ids"])
        cut = 0 if self.max_input_tokens is not None else self._cut(texts, requests, lengths)
        work = WorkCounts(requests=len(requests), input_tokens=int(sum(lengths)), inputs_cut=cut)
        return PreparedBatch({name: value for name, value in batch.items() if name in self.accepted}, work)

    def run(self, inputs: Mapping[str, Any]) -> None:
        """One forward pass.

        Raises:
            MeasurementInvalid: It does not answer for every request.
        """
        output = self.model(**inputs)
        scores = output.start_logits if self.form == "answer-finder" else output.logits
        refuse_other_rows(self.name, scores, inputs["input_ids"].shape[0])

    def _cut(self, texts: Sequence[str], requests: Sequence[Request], lengths: Sequence[int]) -> int:
        """How many are longer than what the model reads; only those that fill it can be."""
        both = self.form == "answer-finder"
        whole = (
            self.tokenizer(text, (request.context or "") if both else None)["input_ids"]
            for text, request, length in zip(texts, requests, lengths, strict=True)
            if length == self.input_limit
        )
        return sum(len(ids) > (self.input_limit or 0) for ids in whole)

    def _refuse_lost_gaps(self, requests: Sequence[Request], ids: Any) -> None:
        for request, row in zip(requests, (ids == self.tokenizer.mask_token_id).any(dim=1).tolist(), strict=True):
            if not row:
                raise UserInputError(
                    f"The gap of prompt {request.index} lies behind the first {self.input_limit} tokens.",
                    f"Write {MASK} earlier, or set prompts.max_words: the last word kept is then the gap.",
                )


def _positions(model: Any) -> int | None:
    """How many tokens have a position. Models of RoBERTa's kind count from the one after the padding's."""
    told = getattr(model.config, "max_position_embeddings", None)
    if told is None:
        return None
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(told) - int(module.padding_idx) - 1
    return int(told)


@dataclass
class Looker:
    """A model with a head for pictures: one class each, or boxes."""

    model: Any
    processor: Any
    form: Form
    name: str

    def __post_init__(self) -> None:
        self.accepted = set(inspect.signature(self.model.forward).parameters)

    def prepare(self, requests: Sequence[Request]) -> PreparedBatch:
        """Decode and resize the pictures; those of a batch are padded to one size where the model's processor does so.

        Raises:
            UserInputError: One is not a picture.
        """
        batch = picture_inputs(self.processor, requests)
        shape = batch["pixel_values"].shape
        mask = batch.get("pixel_mask")
        pixels = shape[0] * shape[-2] * shape[-1] if mask is None else int(mask.sum())
        work = WorkCounts(requests=len(requests), input_pixels=pixels)
        return PreparedBatch({name: value for name, value in batch.items() if name in self.accepted}, work)

    def run(self, inputs: Mapping[str, Any]) -> None:
        """One forward pass.

        Raises:
            MeasurementInvalid: It does not answer for every request.
        """
        refuse_other_rows(self.name, self.model(**inputs).logits, inputs["pixel_values"].shape[0])


def refuse_other_rows(name: str, scores: Any, rows: int) -> None:
    """Shapes are known on the host: asking does not wait for the device.

    Raises:
        MeasurementInvalid: There are not as many answers as requests.
    """
    if scores.shape[0] != rows:
        raise MeasurementInvalid(
            f"{name} answered {scores.shape[0]} of {rows} requests: the work is not what was asked.",
            "Choose another model.",
        )
