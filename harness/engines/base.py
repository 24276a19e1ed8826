"""What answers requests. The harness times and meters `run` and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from harness.records import WorkCounts
from harness.tasks.base import Request

Prepared = Any  # what one engine's prepare() hands to its own run(): tensors, prompts, generators


class Loadable(Protocol):
    """What holds a model: an engine, or a server that answers many at once."""

    @property
    def parameter_count(self) -> int | None:
        """Number of weights, after load(); None where it cannot be told."""
        ...

    def load(self) -> None:
        """Bring the model onto its device, in evaluation mode."""
        ...

    def close(self) -> None:
        """Release model and device memory."""
        ...


class Engine(Loadable, Protocol):
    """Loads once, prepares outside the window, runs inside it.

    Every method may raise a HarnessError; running out of device memory is always OutOfMemory.
    """

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """Tokenise, pad, draw initial noise: work that is not the model's, done outside the window."""
        ...

    def run(self, prepared: Prepared) -> WorkCounts:
        """Generate. May return before the device has finished; synchronize() waits for it."""
        ...

    def synchronize(self) -> None:
        """Block until the device has finished everything asked of it."""
        ...
