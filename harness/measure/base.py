"""What the measuring modules share: the work they are given, and the news they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from harness.measure.served import Account
from harness.records import WorkCounts


class Workload(Protocol):
    """Batches of one size, ready to be run."""

    def prepare(self, batch_count: int) -> Sequence[Any]:
        """The next batches, prepared outside any window."""
        ...

    def run(self, batch: Any) -> WorkCounts:
        """Run one batch."""
        ...

    def synchronize(self) -> None:
        """Wait until the device is idle."""
        ...


@runtime_checkable
class ServedWorkload(Protocol):
    """A load on a server: requests in flight at any time, not one batch after another."""

    def begin(self) -> bool:
        """Put the load on; returns once it is as asked for, False if it came on only in part within its bound.

        Raises:
            HarnessError: Nothing is answered.
        """
        ...

    def end(self) -> None:
        """Take the load off: send nothing more, wait until what is in flight has ended. Again is harmless.

        Raises:
            HarnessError: The server ended, or refuses what is asked.
        """
        ...

    def synchronize(self) -> None:
        """Wait until nothing is in flight."""
        ...

    def account(self, start_s: float, end_s: float, reached: bool) -> Account:
        """What happened between two instants since the last begin()."""
        ...

    def totals(self) -> tuple[int, dict[str, int]]:
        """Attempts of the whole run, and how many of them failed by reason."""
        ...


@dataclass(frozen=True)
class Progress:
    """What a person wants to know while waiting. `phase` names the step; None is not yet known."""

    phase: str
    repeat: int | None = None
    max_repeats: int | None = None
    power_w: float | None = None
    energy_j: float | None = None
    relative_halfwidth: float | None = None
    left_s: float | None = None
