"""What the transformers engine asks of the part that does one kind of task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.errors import UserInputError
from harness.records import WorkCounts
from harness.tasks.base import Request

# A tokenizer without a limit says so with a huge number.
NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """Tensors by the name under which the model takes them, rows are requests, and what running them will have done."""

    inputs: Mapping[str, Any]
    work: WorkCounts


class Part(Protocol):
    """Prepares inputs on the host, and runs them wherever they were put."""

    def prepare(self, requests: Sequence[Request]) -> PreparedBatch:
        """Tokenise, decode, resize, cut, pad; count what it is.

        Raises:
            UserInputError: A request is nothing that the model can be given.
        """
        ...

    def run(self, inputs: Mapping[str, Any]) -> None:
        """Run the model once over a batch, or generate. On a GPU it returns when the work is queued, not done.

        Raises:
            MeasurementInvalid: What came back is not what was asked for.
        """
        ...


def refuse_empty(requests: Sequence[Request], lengths: Sequence[int]) -> None:
    """A request without a token would be padding and nothing else.

    Raises:
        UserInputError: There is one.
    """
    for request, length in zip(requests, lengths, strict=True):
        if length == 0:
            raise UserInputError(f"Prompt {request.index} has no token for this model.", "Remove that prompt.")


def own_limit(tokenizer: Any) -> int | None:
    """The longest input a tokenizer says its model takes; None where it does not say."""
    limit = int(tokenizer.model_max_length)
    return limit if limit < NO_LIMIT else None


def shortest(*limits: int | None) -> int | None:
    """The least of those that are known."""
    known = [limit for limit in limits if limit is not None]
    return min(known, default=None)
