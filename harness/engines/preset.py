"""What a preset is, and which forms of a model can do a task. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from harness.specs import Task

Options = Mapping[str, Any]

# What a model's last layers make of it. The first three write tokens; the rest answer in one pass.
Form = Literal[
    "causal", "seq2seq", "captioner",
    "classifier", "tagger", "answer-finder", "mask-filler", "image-classifier", "detector",
]  # fmt: skip

# Forms that do a task, made-for-it first. Models that write do some tasks by prompt, as in the study.
FORMS: Mapping[Task, tuple[Form, ...]] = MappingProxyType({
    "text-classification": ("classifier", "seq2seq", "causal"),
    "question-answering": ("answer-finder", "seq2seq", "causal"),
    "fill-mask": ("mask-filler",),
    "token-classification": ("tagger",),
    "image-classification": ("image-classifier",),
    "object-detection": ("detector",),
    "text-generation": ("causal", "seq2seq"),
    "summarization": ("seq2seq", "causal"),
    "image-to-text": ("captioner",),
    "text-to-image": (),
})  # fmt: skip


# The library's default for BLIP's vision part is 1e-10, for checkpoints only: weights that float16 rounds to zero.
BLIP_SCALE: Options = MappingProxyType({"initializer_range": 0.02})


@dataclass(frozen=True, slots=True)
class Preset:
    """One architecture with the sizes of a public model, or a tiny one.

    `task` is the first it was made for, and `parameter_count` is of the model for that task; another head differs by
    some thousand weights. `parts` maps classes of its configuration (and of its picture processor) to their arguments,
    or the roles of an image pipeline's parts to class and arguments. `forms`: what it can be built as; none for image
    pipelines, which are of one kind.
    """

    name: str
    task: Task
    family: str
    parameter_count: int
    description: str
    parts: Mapping[str, Options] = field(repr=False, hash=False)
    forms: tuple[Form, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Everything it can be run on."""
        return tuple(task for task, forms in FORMS.items() if task == self.task or set(forms) & set(self.forms))

    def form_for(self, task: Task) -> Form:
        """The form in which it does a task of `tasks`."""
        return next(form for form in FORMS[task] if form in self.forms)


def frozen_parts(**parts: Options) -> Mapping[str, Options]:
    """Parts that cannot be changed any more."""
    return MappingProxyType({name: MappingProxyType(dict(options)) for name, options in parts.items()})
