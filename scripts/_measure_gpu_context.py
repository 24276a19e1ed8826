"""What the parts of scripts/measure_gpu share: where everything goes, on what, until when, and what was left out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _measure_gpu_plan import PARTS, Costs, Device, deadlines_s

from harness.records import RunRecord
from harness.run.executors import Executor
from harness.store.files import find_runs


class LeftOut(Exception):
    """A part that is not done, with the reason."""


@dataclass
class Context:
    """Where everything goes, on what, and until when.

    `dropped`: what a part left out, with reasons. `counts`: runs that a part was to make, and made. `kept`: called
    whenever there is something new on disk.
    """

    out: Path
    total_s: float
    start_s: float
    device: Device
    executor: Executor
    say: Callable[[str], None]
    kept: Callable[[], None] = lambda: None
    costs: Costs = field(default_factory=Costs)
    dropped: list[dict[str, str]] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def runs(self) -> Path:
        """The campaigns' records."""
        return self.out / "runs"

    def left_s(self, part: str) -> float:
        """Seconds until a part has to end."""
        return self.start_s + deadlines_s(self.total_s)[part] - time.monotonic()

    @property
    def end_s(self) -> float:
        """Seconds until everything has to be done."""
        return self.left_s(PARTS[-1].name)

    def drop(self, what: str, reason: str) -> None:
        """Leave something out, and say so."""
        self.dropped.append({"what": what, "reason": reason})
        self.say(f"  left out: {what}: {reason}")

    def write(self, name: str, document: Any) -> None:
        """Write a document of this part."""
        (self.out / name).write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")

    def records(self) -> list[RunRecord]:
        """Everything that is stored so far."""
        return [run.record for run in find_runs([self.runs], [])] if self.runs.is_dir() else []
