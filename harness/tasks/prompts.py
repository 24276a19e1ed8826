"""Turn a PromptSpec into requests: the built-in sets, local files, or a dataset of the Hugging Face hub."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from harness.errors import UserInputError
from harness.specs import PromptSpec, Task
from harness.tasks.base import MASK, Request
from harness.tasks.builtin import image_prompts, text_prompts
from harness.tasks.builtin_reading import articles, masked_sentences, name_sentences, questions, reviews
from harness.tasks.catalog import TASKS
from harness.tasks.columns import Column
from harness.tasks.files import file_sha256, file_texts, refuse_changed
from harness.tasks.hub import hub_rows
from harness.tasks.pictures import SIZE, drawn, folder_pictures, folder_sha256, read, resized

# Columns that are taken for the prompt when there are several, first match first. From the datasets that studies
# of inference energy use: prompt sets, caption sets (COCO, LAION), question sets (SQuAD) and corpora (C4, OSCAR).
_TEXT_COLUMNS: tuple[str, ...] = (
    "prompt", "text", "caption", "sentence", "question", "instruction", "input", "query", "document", "article",
    "content",
)  # fmt: skip
_QUESTION_COLUMNS = ("question", "query", "prompt")
_CONTEXT_COLUMNS = ("context", "passage", "support", "text", "document", "article")
_PICTURE_COLUMNS = ("image", "img", "picture")
_GAPS = (MASK, "<mask>")


def load_requests(spec: PromptSpec, task: Task) -> tuple[Request, ...]:
    """The first `spec.count` inputs, or all of them where there are fewer, cut to `spec.max_words` words.

    Empty ones are skipped. White space around a text is dropped; inside it stays, unless words are cut off. A text for
    fill-mask that has no gap gets one: its last word where words were cut off, else one more after it, as in the study.

    Raises:
        UserInputError: A file is missing, unreadable, changed since it was hashed, or holds nothing.
        ModelUnavailable: The dataset cannot be had from the hub.
    """
    refuse_foreign_options(spec, task)
    kind = TASKS[task].inputs
    if kind == "nothing":
        return (Request(0, ""),)
    if kind == "picture":
        found = _picture_requests(spec)
    elif kind == "question":
        found = _question_requests(spec)
    else:
        found = _text_requests(spec, task)
    requests = tuple(islice(found, spec.count))
    if not requests:
        raise UserInputError(
            f"There is no prompt in {spec.path or spec.dataset}.", "Give at least one line that is not empty."
        )
    return requests if spec.words is None else _of_words(requests, spec.words)


def refuse_foreign_options(spec: PromptSpec, task: Task) -> None:
    """Options that say nothing about what the task is given would be ignored in silence.

    Raises:
        UserInputError: There is one.
    """
    kind = TASKS[task].inputs
    applies = {
        "words": kind in ("text", "prompt"),
        "max_words": kind != "picture",
        "context_column": kind == "question",
        "picture_size": kind == "picture",
    }
    for option, does in applies.items():
        if not does and getattr(spec, option) is not None:
            raise UserInputError(f"'{option}' does not apply to {task}.", f"Leave prompts.{option} out.")


def _of_words(requests: Sequence[Request], count: int) -> tuple[Request, ...]:
    """Each prompt with `count` words: those after it are joined on, going round the set, and the rest is cut off."""
    split = [request.text.split() for request in requests]
    starts = itertools.accumulate(map(len, split), initial=0)
    words = list(itertools.chain.from_iterable(split))
    words *= 1 + -(-count // len(words))  # from any start on there are enough
    return tuple(
        Request(request.index, " ".join(words[start : start + count]))
        for request, start in zip(requests, starts, strict=False)
    )


def input_sha256(path: Path) -> str:
    """SHA-256 of a file of prompts, or of all pictures in a folder.

    Raises:
        UserInputError: It cannot be read.
    """
    return folder_sha256(path) if path.is_dir() else file_sha256(path)


# --- texts ----------------------------------------------------------------------------------------------


def _text_requests(spec: PromptSpec, task: Task) -> Iterator[Request]:
    wanted = Column("column", spec.column, _TEXT_COLUMNS)
    texts: Iterable[str]
    if spec.kind == "hub":
        texts = (_text(value, spec) for (value,) in hub_rows(spec, (wanted,)))
    elif spec.kind == "file":
        texts = file_texts(spec, wanted)
    else:
        texts = _BUILTIN[task]()
    stripped = (text.strip() for text in texts)
    for index, text in enumerate(text for text in stripped if text):
        cut = first_words(text, spec.max_words)
        yield Request(index, with_gap(cut, cut != text) if task == "fill-mask" else cut)


def _text(value: Any, spec: PromptSpec) -> str:
    if isinstance(value, str):
        return value
    raise UserInputError(f"Dataset {spec.dataset} holds pictures where texts are needed.", "Set 'column' to a text.")


def first_words(text: str, max_words: int | None) -> str:
    """The first words of a text, joined by single spaces; a text that has no more is left as it is."""
    words = text.split()
    return text if max_words is None or len(words) <= max_words else " ".join(words[:max_words])


def with_gap(text: str, was_cut: bool) -> str:
    """A text with exactly one kind of gap in it, written as MASK."""
    for gap in _GAPS:
        if gap in text:
            return text.replace(gap, MASK)
    return f"{text.rsplit(maxsplit=1)[0] if was_cut and ' ' in text else text} {MASK}"


_BUILTIN = {
    "text-generation": text_prompts,
    "text-to-image": image_prompts,
    "text-classification": reviews,
    "token-classification": name_sentences,
    "fill-mask": masked_sentences,
    "summarization": articles,
}


# --- questions --------------------------------------------------------------------------------------------


def _question_requests(spec: PromptSpec) -> Iterator[Request]:
    """A question and the text that answers it; `max_words` cuts the text."""
    wanted = (
        Column("column", spec.column, _QUESTION_COLUMNS, alone=False),
        Column("context_column", spec.context_column, _CONTEXT_COLUMNS, alone=False),
    )
    rows: Iterable[tuple[str, str]]
    if spec.kind == "hub":
        rows = ((_text(question, spec), _text(text, spec)) for question, text in hub_rows(spec, wanted))
    elif spec.kind == "file":
        rows = zip(*(file_texts(spec, each) for each in wanted), strict=True)
    else:
        rows = questions()
    stripped = ((question.strip(), context.strip()) for question, context in rows)
    for index, (question, context) in enumerate(row for row in stripped if all(row)):
        yield Request(index, question, context=first_words(context, spec.max_words))


# --- pictures ---------------------------------------------------------------------------------------------


def _picture_requests(spec: PromptSpec) -> Iterator[Request]:
    for index, picture in enumerate(_pictures(spec)):
        if spec.picture_size is not None and spec.kind != "builtin":
            picture = resized(picture, spec.picture_size, f"Picture {index} of {spec.label}")
        yield Request(index, picture=picture)


def _pictures(spec: PromptSpec) -> Iterator[bytes]:
    if spec.kind == "file":
        folder = Path(spec.path or "").expanduser()
        if not folder.is_dir():
            raise UserInputError(f"There is no folder of pictures {folder}.", "Give a folder of JPEG or PNG files.")
        refuse_changed(folder, spec.sha256, folder_sha256)
        yield from (read(path) for path in folder_pictures(folder))
    elif spec.kind == "hub":
        for (value,) in hub_rows(spec, (Column("column", spec.column, _PICTURE_COLUMNS),)):
            if isinstance(value, bytes):
                yield value
            elif value:
                raise UserInputError(
                    f"Dataset {spec.dataset} holds texts where pictures are needed ({value[:60]!r}): addresses of "
                    "pictures are not fetched.",
                    "Save the pictures into a folder, and use kind: file.",
                )
    else:
        yield from (drawn(index, spec.picture_size or SIZE) for index in range(spec.count))
