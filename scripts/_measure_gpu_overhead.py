"""What the meter costs the work it meters: throughput with it off and on, in turns. A process of its own.

    python scripts/_measure_gpu_overhead.py --seconds 40 --out overhead.json [--simulated] [--gpu 0]

Batches follow each other without a pause, each waited for. The sampler's process is stopped (SIGSTOP) and goes on
(SIGCONT) every few tenths of a second; a turn without and a turn with it make a pair, and which comes first alternates,
so that a drift of the board falls on both. There are no windows here: their edges lie before and after the work, and
cost time, not throughput. What one window's edges take is told apart.

On a simulated GPU the engine only lets time pass: there the figure is what the sampler costs a program that waits.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from _measure_gpu_bench import Asked, asked, mean_interval, median_interval
from _measure_gpu_plan import ONE_B
from bench_overhead import cpu_s

from harness.errors import HarnessError
from harness.measure.window import metered
from harness.power.sampler import ProcessSampler
from harness.run.engine_choice import engine_of
from harness.run.sources import OpenedSources, opened_sources
from harness.specs import RunSpec
from harness.tasks.base import endless_batches
from harness.tasks.prompts import load_requests

TURN_S = 0.15  # of work: seven samples of the sampler, and many pairs
FEWEST_PAIRS, SIMULATED_PAIRS = 6, 12
WARM_UP_BATCHES = 3  # the first ones choose kernels
EDGES = 5
GOAL = 0.001  # what the meter is to cost at most, of the throughput


def main() -> None:
    """Measure what fits, and write after each workload."""
    given = asked(__doc__)
    end_s = time.monotonic() + given.seconds
    result: dict[str, Any] = {}
    workloads = specs(given)
    for index, (name, spec) in enumerate(workloads.items()):
        share_s = (end_s - time.monotonic()) / (len(workloads) - index)
        most = SIMULATED_PAIRS if given.simulated and not given.rehearsed else math.inf
        try:
            result[name] = paired(spec, time.monotonic() + share_s, most)
        except HarnessError as error:
            result[name] = {"left_out": error.message}
        given.write(result)


def specs(given: Asked) -> dict[str, RunSpec]:
    """The two workloads, by what they make: batches shorter than a turn."""
    text: dict[str, Any] = {"task": "text-generation", "engine": "transformers", "batch_size": 8}
    image: dict[str, Any] = {"task": "text-to-image", "engine": "diffusers"}
    text |= {"model": {"id": ONE_B, "weights": "random"}, "text": {"new_tokens": 4}}
    image |= {"model": {"id": "sd-1.5", "weights": "random"}, "image": {"steps": 4}}
    if given.simulated:
        image |= {"image": {"steps": 4, "height": 256, "width": 256}}
    how = given.how("real")
    return {"tokens": RunSpec.model_validate(text | how), "images": RunSpec.model_validate(image | how)}


def paired(spec: RunSpec, end_s: float, most: float) -> dict[str, Any]:
    """Ratio of throughputs with its interval, from pairs of turns until the time is up, but at least a few."""
    with tempfile.TemporaryDirectory() as folder, opened_sources(spec.sources, Path(folder)) as opened:
        engine = engine_of(spec, opened, Path(folder))
        engine.load()
        sampler = opened.sampler(Path(folder) / "samples.bin", spec.measure.sample_period_s)
        assert isinstance(sampler, ProcessSampler)
        sampler.start()
        assert sampler.pid is not None
        turns = Turns(spec, opened, engine, psutil.Process(sampler.pid))
        try:
            turns.prepare()
            while len(turns.off_s) < FEWEST_PAIRS or (len(turns.off_s) < most and turns.another_fits(end_s)):
                turns.pair()
        finally:
            turns.helper.resume()
            sampler.stop()
            engine.close()
        return turns.result()


class Turns:
    """Pairs of turns on one engine, and what they took."""

    def __init__(self, spec: RunSpec, opened: OpenedSources, engine: Any, helper: psutil.Process) -> None:
        self.spec, self.opened, self.engine, self.helper = spec, opened, engine, helper
        self.off_s: list[float] = []
        self.on_s: list[float] = []
        self.edges_s: list[float] = []
        self.pair_s = 0.0
        self._sampler_s = self._used_before_s = 0.0

    def prepare(self) -> None:
        """Warm up, see what a window's edges take, and how many batches make a turn."""
        batches = endless_batches(load_requests(self.spec.prompts, self.spec.task), self.spec.batch_size, 0)
        self.batches = [self.engine.prepare(next(batches)) for _ in range(WARM_UP_BATCHES)]
        self._worked_s()
        batch_s = self._worked_s() / len(self.batches)
        self.batches = [self.engine.prepare(next(batches)) for _ in range(max(1, round(TURN_S / batch_s)))]
        for _ in range(EDGES):
            start_s = time.monotonic()
            with metered(self.opened.sources, self.opened.clock, self.engine.synchronize, True):
                pass
            self.edges_s.append(time.monotonic() - start_s)
        self._worked_s()
        self.helper.suspend()
        self._used_before_s = cpu_s(self.helper)

    def pair(self) -> None:
        """One turn off and one on; which comes first alternates."""
        start_s = time.monotonic()
        for on in (True, False) if len(self.off_s) % 2 else (False, True):
            (self.on_s if on else self.off_s).append(self._turn_s(on))
        self.helper.suspend()
        self._sampler_s = cpu_s(self.helper) - self._used_before_s  # it uses none while it is stopped
        self.pair_s = time.monotonic() - start_s

    def another_fits(self, end_s: float) -> bool:
        """Whether there is time for a pair like the last one."""
        return time.monotonic() + self.pair_s < end_s

    def _turn_s(self, on: bool) -> float:
        """A turn; the signal to the sampler is not counted: no user of the meter sends it."""
        self.helper.resume() if on else self.helper.suspend()
        return self._worked_s()

    def _worked_s(self) -> float:
        start_s = time.monotonic()
        for batch in self.batches:
            self.work = self.engine.run(batch)
            self.engine.synchronize()
        return time.monotonic() - start_s

    def result(self) -> dict[str, Any]:
        """Throughputs, and the share that the sampler costs: 1 less on over off, with its 95 % interval."""
        made = (self.work.output_tokens or self.work.images) * len(self.batches)
        logs = [math.log(off_s / on_s) for off_s, on_s in zip(self.off_s, self.on_s, strict=True)]
        cost, low, high = (1 - math.exp(value) for value in _turned(mean_interval(logs)))
        typical, typical_low, typical_high = (1 - math.exp(value) for value in _turned(median_interval(logs)))
        resolved = (high - low) / 2
        return {
            "model": self.spec.model.id,
            "batch_size": self.spec.batch_size,
            "engine": self.spec.engine,
            "power": self.opened.sources[0].info.provenance,
            "pairs": len(logs),
            "turn_s": statistics.median(self.off_s),
            "off_per_s": made * len(self.off_s) / math.fsum(self.off_s),
            "on_per_s": made * len(self.on_s) / math.fsum(self.on_s),
            "cost_fraction": cost,
            "cost_low": low,
            "cost_high": high,
            "resolvable_fraction": resolved,
            "below_goal": high < GOAL,
            "goal_fraction": GOAL,
            "typical_fraction": typical,
            "typical_low": typical_low,
            "typical_high": typical_high,
            "confidence": 0.95,
            "method": "mean of log ratios of pairs, Student's t; typical: their median, sign test",
            "sampler_core_fraction": self._sampler_s / math.fsum(self.on_s),
            "sampler_period_s": self.spec.measure.sample_period_s,
            "window_edges_s": statistics.median(self.edges_s),
        }


def _turned(estimate: tuple[float, float, float]) -> tuple[float, float, float]:
    """Low and high change places: what is lost is one less the ratio."""
    value, low, high = estimate
    return value, high, low


if __name__ == "__main__":
    main()
