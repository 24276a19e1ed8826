"""What the measuring modules share: the work they are given, and the news they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
