"""What a precision costs: time on the GPU until the interval is ±1, 2, 5 %, beside the study's fixed protocol.

    python scripts/bench_precision.py [--boards 100] [--json] [--out results/precision]

Everything here is simulated: a virtual A100 (harness/simulation), an engine with assumed costs, on a virtual clock. Two
workloads, both at batch 1 as in the study: text (10 new tokens) and images (50 steps, 512 x 512).

- harness: a whole `Session` with the default configuration and the given target, idle, warm-up, null windows and all.
- study: 10 runs of 1,000 inferences each, the counter read before and after each run (Luccioni, Jernite, Strubell,
  "Power Hungry Processing", 2024, section 3), 30 s of idle between them to tell them apart; no warm-up, no idle
  subtracted, Student's t over the 10 runs.

Both are judged on boards with a gain and an offset of their own. "covers the sensor's truth" asks whether the interval
of the repeats (type A, which the target is about) holds what a perfect sampling of that board's sensor would have said;
"covers the truth" whether the stated interval, with the unknown gain and offset in it, holds the true energy; the study
states none of the latter, so only its scatter can be asked.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from harness import __version__
from harness.engines.simulated import SimulatedEngine
from harness.measure.session import Session
from harness.measure.summary import summarize
from harness.power.sampler import VirtualSampler
from harness.run.sources import OpenedSources, opened_sources
from harness.run.worker import EngineWorkload
from harness.simulated_node import SimulatedNodeSpec
from harness.specs import ImageOptions, ModelSpec, RunSpec, SourcesSpec, TextOptions
from harness.stats import repeatability
from harness.tasks.base import endless_batches
from harness.tasks.prompts import load_requests

TARGETS = (0.01, 0.02, 0.05)
STUDY_RUNS, STUDY_INFERENCES, STUDY_PAUSE_S = 10, 1000, 30.0


@dataclass(frozen=True)
class Outcome:
    """One board, one protocol. Energies in joules per generation."""

    seconds: float
    relative_halfwidth: float
    covers_sensor_truth: bool
    covers_truth: bool
    windows: int


def spec_of(workload: str, seed: int, target: float) -> RunSpec:
    """One run on its own board; the measuring is the default but for the target."""
    options = {"text": TextOptions(new_tokens=10)} if workload == "text-generation" else {"image": ImageOptions()}
    return RunSpec.model_validate(
        {
            "task": workload,
            "engine": "simulated",
            "model": ModelSpec(id="assumed/model"),
            **options,
            "batch_size": 1,
            "seed": seed,
            "sources": SourcesSpec(kind="simulated", node=SimulatedNodeSpec(clock="virtual", seed=seed)),
            "measure": {"target_relative_halfwidth": target, "max_repeats": 100},
        }
    )


def workload_of(spec: RunSpec, opened: OpenedSources) -> EngineWorkload:
    """The simulated engine on the opened node, fed with the built-in prompts."""
    assert opened.node is not None
    requests = load_requests(spec.prompts, spec.task)
    return EngineWorkload(SimulatedEngine(spec, opened.node, (0,)), endless_batches(requests, 1, spec.seed))


def by_harness(workload: str, target: float, seed: int) -> Outcome:
    """A default session with this target on the board of this seed."""
    spec = spec_of(workload, seed, target)
    with opened_sources(spec.sources, None) as opened:
        assert opened.node is not None
        began_s = opened.clock.now_s()
        session = Session(
            sources=opened.sources,
            sampler=VirtualSampler(opened.sources, opened.clock, spec.measure.sample_period_s),
            clock=opened.clock,
            spec=spec.measure,
            workload=workload_of(spec, opened),
            seed=seed,
            batch_size=1,
            truth=opened.truth,
        )
        result = session.run()
        infos = tuple(source.info for source in opened.sources)
        summary = summarize(result.measurements, infos, "simulated", target)
        board = opened.node.gpus[0]
        assert summary.true_gpu_energy_j is not None
        seen_j = board.gain * summary.true_gpu_energy_j + board.offset_w * summary.duration_s
        scatter, full = summary.gpu_repeatability_j, summary.gpu_energy_j
        return Outcome(
            seconds=opened.clock.now_s() - began_s,
            relative_halfwidth=scatter.half_width / scatter.value,
            covers_sensor_truth=scatter.low <= seen_j <= scatter.high,
            covers_truth=full.low <= summary.true_gpu_energy_j <= full.high,
            windows=summary.windows,
        )


def by_study(workload: str, seed: int) -> Outcome:
    """Ten runs of a thousand inferences, the counter read around each."""
    spec = spec_of(workload, seed, 0.02)
    with opened_sources(spec.sources, None) as opened:
        assert opened.node is not None
        clock, gpu, board = opened.clock, opened.sources[0], opened.node.gpus[0]
        work = workload_of(spec, opened)
        read_j: list[float] = []
        seen_j: list[float] = []
        true_j: list[float] = []
        busy_s = 0.0
        for _ in range(STUDY_RUNS):
            clock.sleep_s(STUDY_PAUSE_S)
            start_s, before_j = clock.now_s(), gpu.read_energy_j()
            for batch in work.prepare(STUDY_INFERENCES):
                work.run(batch)
            end_s, after_j = clock.now_s(), gpu.read_energy_j()
            assert before_j is not None
            assert after_j is not None
            busy_s += end_s - start_s
            truth_j = board.true_energy_j(start_s, end_s)
            read_j.append((after_j - before_j) / STUDY_INFERENCES)
            true_j.append(truth_j / STUDY_INFERENCES)
            seen_j.append((board.gain * truth_j + board.offset_w * (end_s - start_s)) / STUDY_INFERENCES)
        interval = repeatability(read_j)
        return Outcome(
            seconds=busy_s,
            relative_halfwidth=interval.half_width / interval.value,
            covers_sensor_truth=interval.low <= statistics.fmean(seen_j) <= interval.high,
            covers_truth=interval.low <= statistics.fmean(true_j) <= interval.high,
            windows=STUDY_RUNS,
        )


def row(workload: str, protocol: str, target: float | None, outcomes: Sequence[Outcome], study_s: float) -> dict:
    """Medians and shares over the boards."""
    seconds = statistics.median(outcome.seconds for outcome in outcomes)
    halfwidths = [outcome.relative_halfwidth for outcome in outcomes]
    return {
        "workload": workload,
        "protocol": protocol,
        "target": target,
        "boards": len(outcomes),
        "gpu_seconds": round(seconds, 1),
        "fraction_of_study": round(seconds / study_s, 4),
        "median_relative_halfwidth": round(statistics.median(halfwidths), 5),
        "target_reached": None if target is None else sum(half <= target for half in halfwidths) / len(outcomes),
        "covers_sensor_truth": sum(outcome.covers_sensor_truth for outcome in outcomes) / len(outcomes),
        "covers_truth": sum(outcome.covers_truth for outcome in outcomes) / len(outcomes),
        "median_windows": statistics.median(outcome.windows for outcome in outcomes),
    }


def table(rows: Sequence[dict]) -> str:
    """Markdown."""
    head = (
        "| workload | protocol | GPU-seconds (median) | of the study's | ± reached (median) | windows "
        "| covers the sensor's truth | covers the truth |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    )
    lines = []
    for r in rows:
        name = r["protocol"] if r["target"] is None else f"{r['protocol']}, ±{r['target']:.0%}"
        lines.append(
            f"| {r['workload']} | {name} | {r['gpu_seconds']:g} | {r['fraction_of_study']:.1%} "
            f"| {r['median_relative_halfwidth']:.2%} | {r['median_windows']:g} "
            f"| {r['covers_sensor_truth']:.1%} | {r['covers_truth']:.1%} |"
        )
    return head + "\n".join(lines) + "\n"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--boards", type=int, default=100, help="simulated boards, one seed each")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="folder for precision.json and precision.md")
    options = parser.parse_args()
    seeds = range(options.boards)
    rows = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for workload in ("text-generation", "text-to-image"):
            study = list(pool.map(partial(by_study, workload), seeds))
            study_s = statistics.median(outcome.seconds for outcome in study)
            rows.append(row(workload, "study: 10 x 1,000", None, study, study_s))
            for target in TARGETS:
                print(f"{workload}, ±{target:.0%} ...", file=sys.stderr)
                ours = list(pool.map(partial(by_harness, workload, target), seeds))
                rows.append(row(workload, "harness", target, ours, study_s))
    document = {
        "what": "simulated: GPU-seconds to a precision on a virtual A100",
        "command": f"python scripts/bench_precision.py --boards {options.boards}",
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "harness": __version__,
        "python": platform.python_version(),
        "rows": rows,
    }
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "precision.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        (options.out / "precision.md").write_text(
            f"# Cost of precision (simulated)\n\n`{document['command']}`, {document['date_utc']}.\n\n{table(rows)}",
            encoding="utf-8",
        )
    print(json.dumps(document, indent=1) if options.json else table(rows))


if __name__ == "__main__":
    main()
