"""What the harness itself costs: its start, its sampler, and a campaign without GPU work.

    .venv/bin/python scripts/bench_overhead.py [--json] [--quick]

Speeds are compared within one run, in interleaved turns, and given as ratios: absolute times depend on the machine.
Where a GPU is found, the sampler reads it; elsewhere it reads a simulated A100, through the same code.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from harness.clock import RealClock
from harness.engines.simulated import load_gpus
from harness.errors import HarnessError
from harness.power.base import Reading
from harness.power.host import CodeCarbonMeter
from harness.power.sampler import ProcessSampler, SourceFactory
from harness.run.environment import describe_environment
from harness.run.sources import OpenedSources, opened_sources
from harness.simulated_node import SimulatedNodeSpec
from harness.specs import ModelSpec, RunSpec, SourcesSpec, TextOptions
from harness.tasks.base import endless_batches
from harness.tasks.prompts import load_requests

BATCHES_PER_TURN = 4

CAMPAIGN = """\
campaign: bench
defaults:
  sources: {{kind: simulated, node: {{clock: virtual}}}}
  engine: simulated
  task: text-generation
  measure: {{window_s: 3, null_window_s: 1, idle_s: 2, warm_up_max_s: 10, min_repeats: 5, max_repeats: 5}}
runs:
  - model: pretend
    seed: {seeds}
"""


def main() -> None:
    """Run every part and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a few turns of everything, to see that it works")
    arguments = parser.parse_args()
    turns = 3 if arguments.quick else 20
    result: dict[str, Any] = {"start": bench_start(turns)}
    result |= bench_sampler(seconds=4 if arguments.quick else 30, turns=turns * 8)
    result["campaign"] = bench_campaign(6 if arguments.quick else 88)
    environment = describe_environment(None)
    result["environment"] = {
        "cpu": environment.cpu_model,
        "cpus": environment.cpu_count,
        "python": environment.python,
        "commit": environment.git_commit,
        "packages": environment.packages,
    }
    print(json.dumps(result, indent=2) if arguments.json else table(result))


# --- start --------------------------------------------------------------------------------------------


def bench_start(turns: int) -> dict[str, float]:
    """Median seconds of `python -c pass` and of `harness --help`, taken in turns."""
    commands = {"python": ["-c", "pass"], "help": ["-m", "harness.cli.main", "--help"]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(turns):
        for name, command in commands.items():
            times[name].append(timed(partial(quiet, [sys.executable, *command])))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "python_s": medians["python"],
        "help_s": medians["help"],
        "difference_s": medians["help"] - medians["python"],
    }


# --- sampler ------------------------------------------------------------------------------------------


def bench_sampler(seconds: float, turns: int) -> dict[str, Any]:
    """The sampler's share of a core and memory, and how much a workload slows beside it and beside CodeCarbon.

    A simulated GPU is computed in the sampler's process, which a real one is not: the sampler is measured a second time
    with a source that answers at once, for its own share.
    """
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as sources:
        if sources.node is not None:
            load_gpus(sources.node, (0,), 0.5)
        sampler = sampler_share(sources.sampler_factory, Path(folder) / "samples.bin", seconds)
        alone = sampler_share(instant_sources, Path(folder) / "instant.bin", seconds)
        sampler["own_core_fraction"] = alone["core_fraction"]
        sampler["source"] = sources.sources[0].info.device_name
        sampler["provenance"] = sources.sources[0].info.provenance
        return {"sampler": sampler, "slowdown": bench_slowdown(sources, Path(folder), turns)}


def sampler_share(factory: SourceFactory, path: Path, seconds: float) -> dict[str, Any]:
    """Processor share, memory and missed deadlines of one sampler process over some seconds."""
    sampler = ProcessSampler(factory, ("source",), path)
    sampler.start()
    assert sampler.pid is not None
    helper = psutil.Process(sampler.pid)
    time.sleep(1)
    used_s, started_s = cpu_s(helper), time.monotonic()
    time.sleep(seconds)
    share = (cpu_s(helper) - used_s) / (time.monotonic() - started_s)
    memory_bytes = helper.memory_info().rss
    trace = sampler.stop()
    return {
        "period_s": trace.period_s,
        "core_fraction": share,
        "resident_bytes": memory_bytes,
        "samples": len(trace.rows),
        "missed_deadlines": trace.missed_deadlines,
    }


class InstantSource:
    """Answers 100 W at once: what is left is the sampler's own work."""

    def read(self, slow: bool = True) -> Reading:
        """100 W, now."""
        return Reading(t_s=time.monotonic(), power_w=100.0)

    def close(self) -> None:
        """Nothing to release."""


def instant_sources() -> Any:
    """The factory that the sampler process calls."""
    return (InstantSource(),)


def bench_slowdown(sources: OpenedSources, folder: Path, turns: int) -> dict[str, Any]:
    """Time of the same batches alone, beside our sampler, and beside CodeCarbon at 1 s: ratios with 95 % intervals.

    One turn runs all three, in rotating order, each for a fraction of a second, so that what the machine does otherwise
    falls on all alike; the ratio of a turn is to the same turn's time alone. The sampler is paused in between.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from harness.engines.transformers import TransformersEngine

    spec = RunSpec(
        task="text-generation",
        model=ModelSpec(id="tiny-gpt2", weights="random"),
        engine="transformers",
        text=TextOptions(new_tokens=10),
        batch_size=8,
        device="cpu",
        dtype="float32",
    )
    engine = TransformersEngine(spec)
    engine.load()
    batches = endless_batches(load_requests(spec.prompts, spec.task), spec.batch_size, spec.seed)
    prepared = [engine.prepare(next(batches)) for _ in range(BATCHES_PER_TURN)]

    def work() -> None:
        for batch in prepared:
            engine.run(batch)
        engine.synchronize()

    codecarbon = CodeCarbonMeter(len(sources.sources))
    sampler = ProcessSampler(sources.sampler_factory, ("source",), folder / "turns.bin")
    sampler.start()
    assert sampler.pid is not None
    helper = psutil.Process(sampler.pid)
    helper.suspend()

    def beside_sampler() -> float:
        helper.resume()
        took_s = timed(work)
        helper.suspend()
        return took_s

    def beside_codecarbon() -> float:
        codecarbon.start()
        took_s = timed(work)
        codecarbon.stop()
        return took_s

    ways: dict[str, Callable[[], float]] = {
        "alone": partial(timed, work),
        "sampler": beside_sampler,
        "codecarbon": beside_codecarbon,
    }
    work()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns):
        names = list(ways)
        for name in names[turn % 3 :] + names[: turn % 3]:
            times[name].append(ways[name]())
    helper.resume()
    sampler.stop()
    codecarbon.close()
    engine.close()
    result: dict[str, Any] = {"turns": turns, "alone_s": statistics.median(times["alone"])}
    for name in ("sampler", "codecarbon"):
        # Logarithms, so that a slow turn above and one below weigh the same.
        logs = np.log(np.array(times[name]) / np.array(times["alone"]))
        value, low, high = blocked_median(logs)
        result[name] = {"ratio": math.exp(value), "low": math.exp(low), "high": math.exp(high)}
        result[name]["mean_ratio"] = math.exp(float(np.mean(logs)))
    return result


def blocked_median(values: Any, block: int = 20, resamples: int = 4000) -> tuple[float, float, float]:
    """Median with a 95 % bootstrap interval over whole blocks of turns.

    Neighbouring turns share what the machine does meanwhile, so blocks of them are drawn, not turns; and a turn in
    which the machine was taken away for a while says nothing about the sampler, hence the median.
    """
    draws = np.random.default_rng(0)
    blocks = np.array_split(values, max(2, len(values) // block))
    medians = [
        np.median(np.concatenate([blocks[index] for index in draws.integers(0, len(blocks), len(blocks))]))
        for _ in range(resamples)
    ]
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(np.median(values)), float(low), float(high)


def opened(folder: Path) -> Any:
    """The machine's GPUs, or a simulated one where there are none."""
    try:
        with opened_sources(SourcesSpec(), None):
            return opened_sources(SourcesSpec(), None)
    except HarnessError:
        return opened_sources(SourcesSpec(kind="simulated", node=SimulatedNodeSpec()), folder)


# --- campaign -----------------------------------------------------------------------------------------


def bench_campaign(runs: int) -> dict[str, float]:
    """Seconds for a campaign of simulated runs on the virtual clock: a process each, and all in one process."""
    seconds = {}
    for name, extra in (("process_each", []), ("in_process", ["--in-process"])):
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "bench.yaml"
            config.write_text(CAMPAIGN.format(seeds=list(range(runs))), encoding="utf-8")
            command = [
                sys.executable,
                "-m",
                "harness.cli.main",
                "run",
                str(config),
                "--results",
                folder,
                "--json",
                *extra,
            ]
            seconds[name] = timed(partial(quiet, command))
    return {
        "runs": runs,
        "process_each_s": seconds["process_each"],
        "in_process_s": seconds["in_process"],
        "process_start_s_per_run": (seconds["process_each"] - seconds["in_process"]) / runs,
    }


# --- small things -------------------------------------------------------------------------------------


def quiet(command: list[str]) -> None:
    """Run a command to its end; its failure is ours."""
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def timed(work: Callable[[], None]) -> float:
    """Seconds that `work` takes."""
    started_s = RealClock().now_s()
    work()
    return RealClock().now_s() - started_s


def cpu_s(process: psutil.Process) -> float:
    """Processor seconds used so far, all threads."""
    used = process.cpu_times()
    return float(used.user + used.system)


def table(result: dict[str, Any]) -> str:
    """Lines for people."""
    start, sampler, slow, campaign = (result[key] for key in ("start", "sampler", "slowdown", "campaign"))

    def slowed(name: str) -> str:
        ratio = slow[name]
        return f"{ratio['ratio'] - 1:+.2%} (95 %: {ratio['low'] - 1:+.2%} to {ratio['high'] - 1:+.2%})"

    by_hand = metadata.version("codecarbon")
    return "\n".join(
        [
            f"harness --help        {start['help_s']:.3f} s, python -c pass {start['python_s']:.3f} s: "
            f"{start['difference_s']:.3f} s more",
            f"sampler at {sampler['period_s'] * 1000:.0f} ms      {sampler['core_fraction']:.2%} of one core, "
            f"{sampler['resident_bytes'] / 1e6:.0f} MB, {sampler['missed_deadlines']} of {sampler['samples']} late "
            f"({sampler['source']}, {sampler['provenance']}); its own part {sampler['own_core_fraction']:.2%}",
            f"workload beside it    {slowed('sampler')}, {slow['turns']} turns of {slow['alone_s']:.2f} s",
            f"beside CodeCarbon     {slowed('codecarbon')}, version {by_hand}, at 1 s",
            f"{campaign['runs']} simulated runs     {campaign['process_each_s']:.1f} s with a process each, "
            f"{campaign['in_process_s']:.1f} s in one: a process costs {campaign['process_start_s_per_run']:.2f} s",
        ]
    )


if __name__ == "__main__":
    # Under its own name and on the path of child processes, so that the sampler process can find the factory by it.
    folder = str(Path(__file__).parent.resolve())
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    importlib.import_module("bench_overhead").main()
