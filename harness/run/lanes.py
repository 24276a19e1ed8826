"""Which runs may be in flight at the same time: one after another, a GPU each, or wherever an executor places them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserInputError
from harness.run.estimate import Range, total
from harness.run.retries import Attempt
from harness.specs import RunSpec, SourcesSpec

HOLD = "hold"  # while this file lies in a run's scratch folder, its worker waits before it measures
HELD = "loaded, waiting for the others"  # the phase that it reports then


@dataclass(frozen=True)
class Lanes:
    """How many runs at once, and what each owns meanwhile: two runs never own the same thing.

    `in_rounds`: runs that may be made at once start together, wait for each other until all have loaded their models,
    and the next ones start when all have ended, so that nothing is loaded while anything is measured.
    """

    at_once: int
    owns: Callable[[RunSpec], frozenset[str]]
    in_rounds: bool = False

    @property
    def threads(self) -> int:
        """How many runs there may ever be at once."""
        return self.at_once

    def startable(self, todo: Sequence[Attempt], in_flight: Iterable[Attempt]) -> list[Attempt]:
        """The next attempts that may start beside those in flight, in their order."""
        running = list(in_flight)
        if self.in_rounds and running:
            return []
        taken = frozenset[str]().union(*(self.owns(attempt.spec) for attempt in running))
        chosen: list[Attempt] = []
        for attempt in todo:
            if len(running) + len(chosen) >= self.at_once:
                break
            owned = self.owns(attempt.spec)
            if not owned & taken:
                chosen.append(attempt)
                taken |= owned
        return chosen

    def duration_s(self, specs: Sequence[RunSpec], each_s: Sequence[Range | None]) -> Range | None:
        """How long all of them take: the longest of each round after that of the one before. None: nothing is known.

        Args:
            specs: The runs in their order.
            each_s: How long each takes; one that is not known is taken to end before another of its round.
        """
        if self.at_once == 1 or all(each is None for each in each_s):
            return total(each_s)[0]
        took_s = {spec.run_id: each or (0.0, 0.0) for spec, each in zip(specs, each_s, strict=True)}
        left, low_s, high_s = [Attempt(spec) for spec in specs], 0.0, 0.0
        while left:
            together = self.startable(left, ())
            for attempt in together:
                left.remove(attempt)
            low_s += max(took_s[attempt.spec.run_id][0] for attempt in together)
            high_s += max(took_s[attempt.spec.run_id][1] for attempt in together)
        least_s = math.fsum(low_s for low_s, _ in took_s.values()) / self.at_once
        return low_s if self.in_rounds else min(low_s, least_s), high_s


SERIAL = Lanes(at_once=1, owns=lambda spec: frozenset({"machine"}))


def gpu_lanes(gpus: Mapping[SourcesSpec, tuple[str, ...]]) -> Lanes:
    """A lane per GPU of this machine.

    Args:
        gpus: UUIDs of the GPUs that run the model, for every kind of source in the plan.
    """

    def owns(spec: RunSpec) -> frozenset[str]:
        server = ("server",) if spec.server is not None else ()  # one server at a time: they share ports and pids
        return frozenset((*gpus[spec.sources], *server))

    return Lanes(len({gpu for uuids in gpus.values() for gpu in uuids}) or 1, owns, in_rounds=True)


def refuse_parallel(specs: Sequence[RunSpec]) -> None:
    """Runs that would disturb each other on one machine although they have GPUs of their own.

    Raises:
        UserInputError: A model runs on the CPU, or an accounting counts every GPU of the machine.
    """
    for spec in specs:
        if spec.engine not in ("simulated", "openai") and spec.device == "cpu":
            raise UserInputError(
                f"--parallel is for models on GPUs: {spec.model.id} runs on the CPU, which all runs share.",
                "Leave --parallel out.",
            )
        if spec.accounting is not None:
            raise UserInputError(
                f"The accounting {spec.accounting} counts every GPU of the machine, so no other run may use one.",
                "Leave --parallel or the accounting out.",
            )


class Gate:
    """Lets the runs of a round begin to measure together, once each of them has loaded its model or ended."""

    def __init__(self, runs: int) -> None:
        self._awaited = runs
        self._files: list[Path] = []
        self._passed: set[Path] = set()
        self._lock = threading.Lock()

    def hold(self, scratch: Path) -> None:
        """Make the worker of this scratch folder wait."""
        with self._lock:
            self._files.append(scratch / HOLD)
        (scratch / HOLD).touch()

    def passed(self, scratch: Path) -> None:
        """This run has loaded; again is harmless. The last one opens the gate."""
        with self._lock:
            self._passed.add(scratch)
            if len(self._passed) < self._awaited:
                return
            for file in self._files:
                file.unlink(missing_ok=True)

    def ended(self, scratch: Path) -> None:
        """This run has ended, perhaps without having loaded."""
        (scratch / HOLD).unlink(missing_ok=True)
        self.passed(scratch)
