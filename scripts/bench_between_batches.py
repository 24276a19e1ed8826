"""The harness's own share between two batches of a window: everything but the engine.

    .venv/bin/python scripts/bench_between_batches.py [--json] [--batches 300]

A workload notes when a batch and its synchronize() begin and end; what lies between the end of one and the beginning of
the next is the harness's. The same workload in a bare loop, in turns with the session's windows, is what it is compared
with. Sampler and sources are as in a run: those of the first GPU where there is one, else of a simulated A100, read
through the same code. Random delays are off: they are waiting by intent, not cost.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.measure.session import Session
from harness.records import WorkCounts
from harness.run.sources import opened_sources
from harness.simulated_node import SimulatedNodeSpec
from harness.specs import MeasureSpec, SourcesSpec

BATCH_S = 0.004


@dataclass
class NotedWorkload:
    """Batches that take BATCH_S on the host, and when each began and had ended.

    `firsts`: places of batches before which others were prepared, between windows and blocks of the warm-up.
    """

    spans_s: list[tuple[float, float]] = field(default_factory=list)
    firsts: set[int] = field(default_factory=set)

    def prepare(self, batch_count: int) -> Sequence[Any]:
        self.firsts.add(len(self.spans_s))
        return range(batch_count)

    def run(self, batch: Any) -> WorkCounts:
        started_s = time.perf_counter()
        time.sleep(BATCH_S)
        self.spans_s.append((started_s, time.perf_counter()))
        return WorkCounts(requests=1)

    def synchronize(self) -> None:
        if self.spans_s:
            self.spans_s[-1] = (self.spans_s[-1][0], time.perf_counter())

    def between_s(self) -> list[float]:
        """Time between batches that follow each other in one window."""
        pairs = enumerate(itertools.pairwise(self.spans_s), start=1)
        return [after[0] - before[1] for place, (before, after) in pairs if place not in self.firsts]


def in_windows(batches: int) -> tuple[list[float], str]:
    """Gaps inside a session's windows, and whose sensors were read."""
    workload = NotedWorkload()
    measure = MeasureSpec(
        window_s=batches * BATCH_S,
        null_window_s=1.0,
        idle_s=0.5,
        settle_s=0.0,
        warm_up_block_s=0.5,
        warm_up_max_s=1.0,
        min_repeats=3,
        max_repeats=3,
        random_delays="never",
    )
    with tempfile.TemporaryDirectory() as scratch:
        try:
            spec, whose = SourcesSpec(), "the first GPU"
            with opened_sources(spec, None):
                pass
        except HarnessError:
            spec, whose = SourcesSpec(kind="simulated", node=SimulatedNodeSpec(steady=True)), "a simulated A100"
        with opened_sources(spec, Path(scratch)) as opened:
            Session(
                sources=opened.sources,
                sampler=opened.sampler(Path(scratch) / "samples.bin", measure.sample_period_s),
                clock=opened.clock,
                spec=measure,
                workload=workload,
                seed=0,
                batch_size=1,
                truth=opened.truth,
            ).run()
    return workload.between_s(), whose


def in_a_bare_loop(batches: int) -> list[float]:
    workload = NotedWorkload()
    for batch in workload.prepare(3 * batches):
        workload.run(batch)
        workload.synchronize()
    return workload.between_s()


def described(gaps_s: Sequence[float]) -> dict[str, float]:
    ordered = sorted(gaps_s)
    return {
        "gaps": len(ordered),
        "median_s": statistics.median(ordered),
        "p99_s": ordered[int(0.99 * (len(ordered) - 1))],
        "largest_s": ordered[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--batches", type=int, default=300, help="per window")
    arguments = parser.parse_args()
    bare_before = in_a_bare_loop(arguments.batches)
    session, whose = in_windows(arguments.batches)
    bare = described(bare_before + in_a_bare_loop(arguments.batches))
    ours = described(session)
    document = {"sources": whose, "harness": ours, "bare_loop": bare, "limit_s": 0.001}
    if arguments.json:
        print(json.dumps(document, indent=2))
        return
    print(f"Between two batches of a window, sensors of {whose}:")
    for name, found in (("the harness", ours), ("a bare loop", bare)):
        print(
            f"  {name}: median {found['median_s'] * 1e6:.1f} us, 99 % below {found['p99_s'] * 1e6:.1f} us, largest "
            f"{found['largest_s'] * 1e6:.0f} us ({found['gaps']:.0f} gaps)"
        )
    print(f"  asked for: below 1 ms; median {'met' if ours['median_s'] < 0.001 else 'not met'}")


if __name__ == "__main__":
    main()
