"""Runs every config of configs/study with --replay, and prints tables 2 and 3 as the pipeline returns them.

Exit code 0: every mean of Table 2 agrees with the study's, from its data and as printed, within its 95 % interval;
1: one does not, or a run failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.clock import RealClock
from harness.records import RunRecord
from harness.store.files import find_runs
from harness.study.catalog import TASKS
from harness.study.replay import SUFFIX, ReplayedMean, replayed_means

CONFIGS = Path(__file__).parent.parent / "configs" / "study"


def main() -> int:
    """Replay, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all campaigns")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="configs at once")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    options = parser.parse_args()
    clock = RealClock()
    started_s = clock.now_s()
    with ThreadPoolExecutor(max(1, options.workers)) as pool:
        codes = list(pool.map(lambda task: replay(task, options.results), TASKS))
    records = replayed_records(options.results)
    means = replayed_means(records)
    if options.json:
        print(
            json.dumps({"runs": len(records), "replayed": [mean.model_dump(mode="json") for mean in means]}, indent=2)
        )
    else:
        show(means, len(records), clock.now_s() - started_s)
    return 0 if not any(codes) and table2_agrees(means) else 1


def replay(task: str, results: Path) -> int:
    """One config, in a process of its own; its exit code."""
    config = CONFIGS / f"{task}.yaml"
    arguments = ["run", str(config), "--replay", "--in-process", "--results", str(results), "--json"]
    done = subprocess.run([sys.executable, "-m", "harness.cli.main", *arguments], capture_output=True, text=True)
    print(f"{task}: exit code {done.returncode}", file=sys.stderr)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
    return done.returncode


def replayed_records(results: Path) -> list[RunRecord]:
    """What the ten campaigns left."""
    folders = [folder for task in TASKS if (folder := results / f"study-{task}{SUFFIX}").exists()]
    return [run.record for run in find_runs(folders)] if folders else []


def table2_agrees(means: list[ReplayedMean]) -> bool:
    """Ten tasks, complete, each agreeing with the data and with the paper."""
    table2 = [mean for mean in means if mean.table == "2"]
    return len(table2) == len(TASKS) and all(mean.agrees and mean.published_agrees for mean in table2)


def show(means: list[ReplayedMean], runs: int, duration_s: float) -> None:
    """Tables, and how many pairs agree."""
    from harness.cli.replay_tables import print_replayed
    from harness.cli.tables import console

    out = console()
    print_replayed(means, out)
    names = ("cells_agreeing", "cells_agreeing_active_gpu", "cells")
    node, active, pairs = (sum(getattr(mean, name) for mean in means) for name in names)
    out.print(
        f"Of {pairs} pairs of model and dataset {active} agree within their own 95 % interval for the active GPU, "
        f"{node} for the node, whose interval adds up gain errors that here are independent.\n{runs} replayed runs, "
        f"{duration_s:.0f} s.",
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
