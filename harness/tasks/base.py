"""What a request is, and how a set of them becomes an endless, repeatable row of batches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.errors import UserInputError

# Where a word was left out, in the built-in inputs and in files; an engine puts its model's own sign there.
MASK = "[MASK]"


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked of a model. `index` is its place in the prompt set.

    `text`: a prompt, a text to be read, or a question. `context`: the text in which the question's answer is to be
    found. `picture`: an encoded picture (JPEG, PNG, ...), which the engine decodes. What a task does not use is None,
    or an empty text.
    """

    index: int
    text: str = ""
    context: str | None = None
    picture: bytes | None = field(default=None, repr=False)


def endless_batches(requests: Sequence[Request], batch_size: int, seed: int) -> Iterator[tuple[Request, ...]]:
    """Batches of exactly `batch_size`, going round the set in a seeded order, again and again.

    Raises:
        UserInputError: The set is empty.
    """
    if not requests:
        raise UserInputError("The prompt set is empty.", "Give a file with at least one prompt, or prompts: builtin.")
    return _go_round(tuple(requests), batch_size, seed)


def _go_round(requests: tuple[Request, ...], batch_size: int, seed: int) -> Iterator[tuple[Request, ...]]:
    order = list(requests)
    random.Random(seed).shuffle(order)
    position = 0
    while True:
        yield tuple(order[(position + k) % len(order)] for k in range(batch_size))
        position = (position + batch_size) % len(order)
