"""What a cluster costs: dispatch per run, virtual nodes, and a plan of thousands of runs, in time and memory.

    .venv/bin/python scripts/bench_scale.py [--runs 10000] [--pairs 20] [--json]

Needs the extra [ray]. The nodes are virtual: processes of this machine, with simulated GPUs.

- dispatch: the same simulated runs by turns in a subprocess here and on a cluster of one node. The difference is what
  the cluster adds to a run.
- nodes, plan: the runs are not made: the node's part answers at once with the files of one finished simulated run. All
  else is real: scheduler, placement, streaming, writing, manifest. It is what the driver can keep up with.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from harness.measure.base import Progress
from harness.records import RunRecord
from harness.run.config import Plan, load_plan
from harness.run.environment import describe_environment
from harness.run.executors import Executor, SubprocessExecutor
from harness.run.ray import RayExecutor
from harness.run.retries import Attempt
from harness.run.runner import pending, run_campaign
from harness.run.worker import WorkerTask
from harness.specs import RunSpec
from harness.store.files import RECORD

GPUS_PER_NODE = 2
NODES = (1, 2, 4)
CAMPAIGN = """\
campaign: scale
defaults:
  sources: {{kind: simulated, node: {{clock: virtual, steady: true}}}}
  engine: simulated
  task: text-generation
  measure:
    {{window_s: 0.2, null_window_s: 0.1, idle_s: 0.2, settle_s: 0, warm_up_max_s: 0, min_repeats: 2, max_repeats: 2}}
runs:
  - model: pretend
    seed: {seeds}
"""


class Silent:
    """A listener that says nothing."""

    def run_started(self, index: int, total: int, attempt: Attempt) -> None:
        pass

    def run_progress(self, spec: RunSpec, progress: Progress) -> None:
        pass

    def run_finished(self, record: RunRecord, again: bool) -> None:
        pass


def main() -> None:
    """Measure every part; print lines, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--runs-per-node", type=int, default=150)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), options.runs, options.pairs, options.runs_per_node)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for name, content in found.items():
            print(f"{name}: {json.dumps(content)}")


def measured(folder: Path, runs: int, pairs: int, runs_per_node: int) -> dict[str, Any]:
    environment = describe_environment(None)
    found: dict[str, Any] = {
        "cpu": f"{environment.cpu_count} x {environment.cpu_model}",
        "ray": ray.__version__,
        "gpus_per_node": GPUS_PER_NODE,
        "load_average": os.getloadavg()[0],
    }
    with virtual_nodes(1) as executor:
        found["dispatch"], files = dispatch(executor, plan_of(pairs, folder), folder)
    found["nodes"] = []
    for count in NODES:
        with virtual_nodes(count, files) as executor:
            plan = plan_of(runs_per_node * count, folder)
            found["nodes"].append({"nodes": count, **campaign(executor, plan, folder / f"nodes-{count}")})
            if count == NODES[-1]:
                large = plan_of(runs, folder)
                found["plan"] = {"nodes": count, **campaign(executor, large, folder / "plan")}
                found["plan"]["find_nothing_left_s"] = timed(partial(pending, large, folder / "plan"))
    return found


def plan_of(runs: int, folder: Path) -> Plan:
    path = folder / "scale.yaml"
    path.write_text(CAMPAIGN.format(seeds=list(range(runs))))
    return load_plan(path)


@contextmanager
def virtual_nodes(count: int, files: dict[str, bytes] | None = None) -> Iterator[RayExecutor]:
    """An executor on so many nodes; with `files`, they answer at once with those of a finished run."""
    cluster = Cluster()
    try:
        for index in range(count):
            given = {"include_dashboard": False} if index == 0 else {}
            cluster.add_node(num_cpus=GPUS_PER_NODE, num_gpus=GPUS_PER_NODE, **given)
        cluster.wait_for_nodes()
        with closing(RayExecutor(cluster.address)) as executor:
            if files is not None:
                executor._task = ray.remote(num_cpus=0, max_retries=0, max_calls=0, num_returns="streaming")(
                    answering(files)
                )
            yield executor
    finally:
        cluster.shutdown()


def answering(files: dict[str, bytes]) -> Any:
    content = json.loads(files[RECORD])

    def answered(task: str) -> Iterator[tuple[str, Any]]:
        """Travels whole, with the files in it; the record is that of the run that was asked for."""
        yield "node", (ray.get_runtime_context().get_node_id(), None, None)  # it was asked when the executor joined
        work = WorkerTask.model_validate_json(task)
        record = content | {"run_id": work.spec.run_id, "spec": json.loads(task)["spec"]}
        yield "files", files | {RECORD: json.dumps(record).encode()}

    return answered


def dispatch(executor: RayExecutor, plan: Plan, folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The same runs by turns, so that the machine's other work falls on both alike."""
    here_s, there_s = [], []
    scratch = folder / "run"
    with closing(SubprocessExecutor()) as local:
        for made in (local, executor):  # their processes start
            made_once(made, plan.specs[0], scratch)
        for spec in plan.specs:
            here_s.append(timed(partial(made_once, local, spec, scratch)))
            there_s.append(timed(partial(made_once, executor, spec, scratch)))
    files = {path.name: path.read_bytes() for path in scratch.iterdir()}
    more_s = [there - here for there, here in zip(there_s, here_s, strict=True)]
    quartiles = statistics.quantiles(more_s, n=4)
    return {
        "pairs": len(more_s),
        "subprocess_s": statistics.median(here_s),
        "cluster_s": statistics.median(there_s),
        "cluster_adds_s": statistics.median(more_s),
        "cluster_adds_quartiles_s": [quartiles[0], quartiles[2]],
        "files_bytes": sum(map(len, files.values())),
    }, files


def made_once(executor: Executor, spec: RunSpec, scratch: Path) -> None:
    scratch.mkdir(exist_ok=True)
    for left in scratch.iterdir():
        left.unlink()
    record = executor.run(spec, "scale", scratch, lambda progress: None)
    assert record.status == "complete", record.failure


def campaign(executor: RayExecutor, plan: Plan, results: Path) -> dict[str, Any]:
    """A whole campaign of answered runs."""
    memory_bytes, cpu_s = peak_bytes(), time.process_time()
    lanes = executor.lanes(plan.specs)
    duration_s = timed(lambda: kept(run_campaign(plan, results, executor, Silent(), lanes).complete, plan.specs))
    runs = len(plan.specs)
    return {
        "runs": runs,
        "at_once": lanes.at_once,
        "duration_s": duration_s,
        "per_run_s": duration_s / runs,
        "driver_cpu_per_run_s": (time.process_time() - cpu_s) / runs,
        "driver_peak_bytes": peak_bytes(),
        "driver_peak_growth_bytes": peak_bytes() - memory_bytes,
    }


def kept(complete: Sequence[RunRecord], specs: Sequence[RunSpec]) -> None:
    assert {record.run_id for record in complete} == {spec.run_id for spec in specs}


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(work: Any) -> float:
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


if __name__ == "__main__":
    main()
