"""What the meter costs the work it meters: throughput with it off and on, in turns. A process of its own.

    python scripts/_measure_gpu_overhead.py --seconds 40 --out overhead.json [--simulated] [--gpu 0]

Off: batches, one after the other, each waited for. On: the same batches as `harness run` meters them, inside a window
whose edges lie before and after, with the sampler's process beside it. A pair of turns makes one ratio; their order
alternates, so that a drift of the board falls on both. On a simulated GPU the engine only lets time pass: there the
figure says what the meter's process and edges cost a program that waits, as one that waits for a GPU does.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _measure_gpu_plan import ONE_B, SIMULATED_GPU
from bench_overhead import blocked_median, cpu_s

from harness.errors import HarnessError
from harness.measure.window import metered
from harness.power.sampler import ProcessSampler
from harness.run.engine_choice import engine_of
from harness.run.sources import OpenedSources, opened_sources
from harness.specs import RunSpec, SourcesSpec
from harness.tasks.base import endless_batches
from harness.tasks.prompts import load_requests

TURN_S = 0.4  # work in one turn: long beside its edges, short beside what drifts
FEWEST_PAIRS, MOST_PAIRS = 6, 100
SIMULATED_TURN_S = 0.15  # nothing drifts
RHYTHM_S = 0.06  # three samples: a sampler that was paused first takes up its beat


def main() -> None:
    """Measure what fits, and write after each workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--gpu", default="0")
    given = parser.parse_args()
    gpu = int(given.gpu) if given.gpu.isdecimal() else given.gpu
    signal.signal(signal.SIGTERM, interrupt)  # asked to end: the sampler must not stay behind, least of all paused
    end_s = time.monotonic() + given.seconds
    result: dict[str, Any] = {}
    workloads = specs(given.simulated, gpu)
    for index, (name, spec) in enumerate(workloads.items()):
        share_s = (end_s - time.monotonic()) / (len(workloads) - index)
        try:
            result[name] = paired(spec, time.monotonic() + share_s)
        except HarnessError as error:
            result[name] = {"left_out": error.message}
        given.out.write_text(json.dumps(result, indent=2), encoding="utf-8")


def interrupt(*_: object) -> None:
    """End as a Ctrl-C does."""
    raise KeyboardInterrupt


def specs(simulated: bool, gpu: int | str) -> dict[str, RunSpec]:
    """The two workloads, by what they make."""
    text: dict[str, Any] = {"task": "text-generation", "engine": "transformers", "batch_size": 8}
    image: dict[str, Any] = {"task": "text-to-image", "engine": "diffusers"}
    text |= {"model": {"id": ONE_B, "weights": "random"}, "text": {"new_tokens": 16}}
    image |= {"model": {"id": "sd-1.5", "weights": "random"}, "image": {"steps": 10}}
    how = {"device": "cuda", "dtype": "bfloat16", "sources": SourcesSpec(gpus=(gpu,)).model_dump()}
    if simulated:
        node = {"gpu": SIMULATED_GPU, "clock": "real"}
        how = {"engine": "simulated", "device": "cpu", "sources": {"kind": "simulated", "node": node}}
        image |= {"image": {"steps": 10, "height": 256, "width": 256}}
    return {"tokens": RunSpec.model_validate(text | how), "images": RunSpec.model_validate(image | how)}


def paired(spec: RunSpec, end_s: float) -> dict[str, Any]:
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
            turns.helper.suspend()
            turns.prepare()
            most = FEWEST_PAIRS if spec.engine == "simulated" else MOST_PAIRS
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
        self.pair_s = 0.0
        self._edge_s = 0.1
        self._beside_s = self._sampler_s = 0.0

    def prepare(self) -> None:
        """Warm up, and take as many batches as make a turn."""
        batches = endless_batches(load_requests(self.spec.prompts, self.spec.task), self.spec.batch_size, 0)
        self.batches = [self.engine.prepare(next(batches)) for _ in range(2)]
        self._worked_s()
        batch_s = self._worked_s() / 2
        turn_s = SIMULATED_TURN_S if self.spec.engine == "simulated" else TURN_S
        self.batches = [self.engine.prepare(next(batches)) for _ in range(max(2, math.ceil(turn_s / batch_s)))]

    def pair(self) -> None:
        """One turn off and one on; which comes first alternates."""
        start_s = time.monotonic()
        if len(self.off_s) % 2:
            self.on_s.append(self._on())
            self.off_s.append(self._off())
        else:
            self.off_s.append(self._off())
            self.on_s.append(self._on())
        self.pair_s = time.monotonic() - start_s

    def another_fits(self, end_s: float) -> bool:
        """Whether there is time for a pair like the last one."""
        return time.monotonic() + self.pair_s < end_s

    def _off(self) -> float:
        time.sleep(RHYTHM_S + self._edge_s)  # as long a rest as the meter's edge gives
        return self._worked_s()

    def _worked_s(self) -> float:
        self.engine.synchronize()
        start_s = time.monotonic()
        for batch in self.batches:
            self.work = self.engine.run(batch)
            self.engine.synchronize()
        return time.monotonic() - start_s

    def _on(self) -> float:
        used_s, start_s = cpu_s(self.helper), time.monotonic()
        self.helper.resume()
        time.sleep(RHYTHM_S)
        edge_from_s = time.monotonic()
        with metered(self.opened.sources, self.opened.clock, self.engine.synchronize, True) as window:
            self._edge_s = time.monotonic() - edge_from_s
            for batch in self.batches:
                with window.busy():
                    self.engine.run(batch)
                    self.engine.synchronize()
        self.helper.suspend()
        self._beside_s += time.monotonic() - start_s
        self._sampler_s += cpu_s(self.helper) - used_s
        return window.spans_s[-1][1] - window.spans_s[0][0]

    def result(self) -> dict[str, Any]:
        """Throughputs, and the share of it that the meter costs: 1 less on over off, with its 95 % interval."""
        made = self.work.output_tokens or self.work.images
        made *= len(self.batches)
        value, low, high = blocked_median(np.log(np.array(self.off_s) / np.array(self.on_s)), block=2)
        return {
            "model": self.spec.model.id,
            "batch_size": self.spec.batch_size,
            "engine": self.spec.engine,
            "power": self.opened.sources[0].info.provenance,
            "pairs": len(self.off_s),
            "turn_s": statistics.median(self.off_s),
            "off_per_s": made / statistics.median(self.off_s),
            "on_per_s": made / statistics.median(self.on_s),
            "cost_fraction": 1 - math.exp(value),
            "cost_low": 1 - math.exp(high),
            "cost_high": 1 - math.exp(low),
            "confidence": 0.95,
            "method": "median of log ratios of pairs, bootstrap over blocks of two pairs",
            "sampler_core_fraction": self._sampler_s / self._beside_s,
            "sampler_period_s": self.spec.measure.sample_period_s,
        }


if __name__ == "__main__":
    main()
