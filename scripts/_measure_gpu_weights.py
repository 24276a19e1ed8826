"""How much the values in the weights matter: zeros, and another seed, against random weights. A process of its own.

    python scripts/_measure_gpu_weights.py --seconds 45 --out weights.json [--simulated] [--gpu 0]

The same batches on models of one architecture that lie beside each other in the GPU's memory, window after window in
turns, so that what drifts falls on all alike: random, zeros, another seed, and again in the opposite order. Prompts are
long and the batch large, so that matrix products draw the power, which is where values can matter. Energy is the
counter's, from one increment to another, less idle power for the time in which nothing ran. The ratios of each round
make an interval; the sensor's gain, which is unknown, cancels.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _measure_gpu_bench import CONFIDENCE, Asked, asked, mean_interval
from _measure_gpu_plan import ONE_B

from harness.clock import Clock
from harness.errors import HarnessError
from harness.measure.window import leading, metered
from harness.power.base import PowerSource
from harness.run.engine_choice import engine_of
from harness.run.sources import OpenedSources, opened_sources
from harness.specs import RunSpec
from harness.tasks.base import endless_batches
from harness.tasks.prompts import load_requests

WINDOW_S = 2.5  # the counter's edges are known to a millisecond, idle power to some watts for a tenth of it
FEWEST_ROUNDS, MOST_ROUNDS = 3, 8
SETTLE_S = 4.0  # of work of all kinds before the first window: clocks and temperature
IDLE_S = 0.8
KINDS: dict[str, tuple[str, int]] = {"random": ("random", 0), "zeros": ("zeros", 0), "another seed": ("random", 1)}


@dataclass(frozen=True)
class Window:
    """One window of one kind: joules and seconds per batch, watts while it worked."""

    round: int
    kind: str
    batches: int
    energy_j: float
    busy_s: float
    power_w: float


def main() -> None:
    """Measure what fits."""
    given = asked(__doc__)
    end_s = time.monotonic() + given.seconds
    try:
        given.write(compared(given, end_s))
    except HarnessError as error:
        given.write({"left_out": f"{error.message} {error.hint}".strip()})


def spec_of(given: Asked, weights: str, seed: int) -> RunSpec:
    """The work: a prompt of 512 words, 64 at once, few new tokens."""
    content = {"task": "text-generation", "engine": "transformers", "batch_size": 64, "text": {"new_tokens": 2}}
    content |= {"model": {"id": ONE_B, "weights": weights}, "seed": seed, "prompts": {"words": 512}}
    return RunSpec.model_validate(content | given.how("real" if given.rehearsed else "virtual"))


def compared(given: Asked, end_s: float) -> dict[str, Any]:
    """Rounds of windows until the time is up, and their ratios."""
    specs = {name: spec_of(given, *kind) for name, kind in KINDS.items()}
    first = specs["random"]
    with tempfile.TemporaryDirectory() as folder, opened_sources(first.sources, Path(folder)) as opened:
        lead = leading(opened.sources, True)
        if lead is None:
            return {"left_out": "this board has no energy counter, and only that is exact enough here"}
        engines = {name: engine_of(spec, opened, Path(folder)) for name, spec in specs.items()}
        try:
            for engine in engines.values():
                engine.load()
            work = Work(first, engines, lead, opened)
            work.settle()
            windows: list[Window] = []
            most = FEWEST_ROUNDS if given.simulated and not given.rehearsed else MOST_ROUNDS
            while work.rounds < FEWEST_ROUNDS or (work.rounds < most and time.monotonic() + work.round_s < end_s):
                windows += work.round()
                given.write(found_of(first, lead, work, windows))
        finally:
            for engine in engines.values():
                engine.close()
    return found_of(first, lead, work, windows)


def found_of(spec: RunSpec, lead: PowerSource, work: Work, windows: Sequence[Window]) -> dict[str, Any]:
    """What there is after some rounds."""
    return {
        "model": spec.model.id,
        "batch_size": spec.batch_size,
        "words": spec.prompts.words,
        "new_tokens": spec.text.new_tokens if spec.text else None,
        "dtype": spec.dtype,
        "engine": spec.engine,
        "power": lead.info.provenance,
        "idle_w": work.idle_w,
        "rounds": work.rounds,
        "comparisons": [ratios(windows, other) for other in list(KINDS)[1:]],
        "confidence": CONFIDENCE,
        "method": "mean of log ratios within a round, Student's t",
        "windows": [asdict(window) for window in windows],
    }


class Work:
    """The same batches on every engine, metered by the counter of one board."""

    def __init__(self, spec: RunSpec, engines: dict[str, Any], lead: PowerSource, opened: OpenedSources) -> None:
        self._spec, self._engines, self._lead, self._opened = spec, engines, lead, opened
        self.rounds = 0
        self.round_s = 0.0
        self.idle_w = 0.0

    @property
    def _clock(self) -> Clock:
        return self._opened.clock

    def settle(self) -> None:
        """Idle power, then work of every kind; after that, how many batches make a window."""
        energy_j, window_s, _ = self._metered(lambda window: self._clock.sleep_s(IDLE_S), self._synchronize)
        self.idle_w = energy_j / window_s
        batches = endless_batches(load_requests(self._spec.prompts, self._spec.task), self._spec.batch_size, 0)
        requests = [next(batches) for _ in range(2)]
        self._batches = {name: [engine.prepare(batch) for batch in requests] for name, engine in self._engines.items()}
        took_s = []
        start_s = self._clock.now_s()
        while len(took_s) < 2 * len(KINDS) or self._clock.now_s() - start_s < SETTLE_S:
            for name in KINDS:
                batch_s = self._clock.now_s()
                self._run(name, 0)
                took_s.append(self._clock.now_s() - batch_s)
        self._count = max(1, math.ceil(WINDOW_S / statistics.median(took_s[len(KINDS) :])))

    def round(self) -> list[Window]:
        """One window of each kind; every other round in the opposite order."""
        start_s = time.monotonic()
        names = list(KINDS) if self.rounds % 2 == 0 else list(KINDS)[::-1]
        windows = [self._window(name) for name in names]
        self.rounds += 1
        self.round_s = time.monotonic() - start_s
        return windows

    def _window(self, name: str) -> Window:
        def work(window: Any) -> None:
            for index in range(self._count):
                with window.busy():
                    self._run(name, index)

        energy_j, window_s, busy_s = self._metered(work, self._engines[name].synchronize)
        energy_j -= self.idle_w * (window_s - busy_s)
        return Window(self.rounds, name, self._count, energy_j / self._count, busy_s / self._count, energy_j / busy_s)

    def _metered(self, work: Any, synchronize: Any) -> tuple[float, float, float]:
        """Joules of the whole window, its seconds, and those in which work ran.

        Raises:
            HarnessError: The counter could not be read.
        """
        with metered(self._opened.sources, self._clock, synchronize) as window:
            work(window)
        readings = window.readings
        start_j, end_j = readings.edges_j[self._lead.info.id]
        if start_j is None or end_j is None or end_j < start_j or readings.aligned_source is None:
            raise HarnessError(
                "The energy counter could not be followed through a window.", "; ".join(readings.failures)
            )
        return end_j - start_j, readings.duration_s, readings.busy_s

    def _run(self, name: str, index: int) -> None:
        prepared = self._batches[name]
        self._engines[name].run(prepared[index % len(prepared)])
        self._engines[name].synchronize()

    def _synchronize(self) -> None:
        for engine in self._engines.values():
            engine.synchronize()


def ratios(windows: Sequence[Window], other: str) -> dict[str, Any]:
    """Energy, duration and power per batch of a kind over those of random weights, each with a 95 % interval.

    None for the ends of an interval: too few rounds for one.
    """
    found: dict[str, Any] = {"other": other, "baseline": "random"}
    for quantity in ("energy_j", "busy_s", "power_w"):
        logs = []
        for number in sorted({window.round for window in windows}):
            of = {window.kind: getattr(window, quantity) for window in windows if window.round == number}
            logs.append(math.log(of[other] / of["random"]))
        mean, *ends = mean_interval(logs)
        low, high = (math.exp(end) if math.isfinite(end) else None for end in ends)
        found[quantity.rpartition("_")[0]] = {"ratio": math.exp(mean), "low": low, "high": high}
    return found


if __name__ == "__main__":
    main()
