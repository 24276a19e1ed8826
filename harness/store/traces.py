"""How power ran over each of many runs, from their traces at once: a shape of a few stretches, not the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StoreError
from harness.store.duck import read_stretches
from harness.store.files import TRACE


@dataclass(frozen=True)
class PowerShape:
    """Mean power in equal stretches of a run, watts, over the boards together; None where one has no sample."""

    power_w: tuple[float | None, ...]

    @property
    def peak_w(self) -> float:
        """The most power of any stretch."""
        return max(power_w for power_w in self.power_w if power_w is not None)


def power_shapes(
    runs: Mapping[Path, Sequence[int]], stretches: int, broken: list[StoreError]
) -> dict[Path, PowerShape]:
    """The shapes of those runs that have a trace.

    Args:
        runs: By folder, which of the trace's sources are added up.
        stretches: How many each run is cut into.
        broken: Errors of traces that cannot be read are put here.
    """
    files = [folder / TRACE for folder in runs if (folder / TRACE).exists()]
    try:
        return _shapes(files, runs, stretches)
    except StoreError:  # one of them is broken, and hides no other
        found: dict[Path, PowerShape] = {}
        for file in files:
            try:
                found |= _shapes([file], runs, stretches)
            except StoreError as error:
                broken.append(error)
        return found


def _shapes(files: Sequence[Path], runs: Mapping[Path, Sequence[int]], stretches: int) -> dict[Path, PowerShape]:
    means: dict[Path, dict[tuple[int, int], float]] = {}
    for file, source, stretch, power_w in read_stretches(files, stretches):
        means.setdefault(file.parent, {})[source, stretch] = power_w
    found = {}
    for folder, of_run in means.items():
        each = [[of_run.get((source, stretch)) for source in runs[folder]] for stretch in range(stretches)]
        together = tuple(_sum(boards) for boards in each)
        if any(value is not None for value in together):
            found[folder] = PowerShape(together)
    return found


def _sum(boards: Sequence[float | None]) -> float | None:
    known = [power_w for power_w in boards if power_w is not None]
    return sum(known) if known and len(known) == len(boards) else None
