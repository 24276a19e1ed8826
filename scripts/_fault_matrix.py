"""Prints the fault table (tests/faults/fault_table.py), runs its proofs, and kills runners at random instants."""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "faults")]

from campaigns import assert_nothing_is_lost, in_child, plan_of, run_here, spec_of, told  # noqa: E402
from fault_table import FAULTS, markdown  # noqa: E402


def kill(times: int, seed: int) -> None:
    """Kill a runner at instants drawn evenly over a campaign of three runs, each time from the start.

    A campaign that ended before its instant does not count; the next instants are drawn from the shorter time then.
    """
    chance = random.Random(seed)
    plan = plan_of(*(spec_of(model) for model in ("a", "b", "c")))
    with tempfile.TemporaryDirectory(prefix="harness-kills-") as folder:
        start_s = time.monotonic()
        assert in_child(lambda: run_here(plan, Path(folder) / "whole", Path(folder) / "whole.log")) == 0
        longest_s = time.monotonic() - start_s
        killed = late = windows = finished = 0
        while killed < times:
            name = str(killed + late)
            results, log = Path(folder) / name, Path(folder) / f"{name}.log"
            instant_s = chance.uniform(0, longest_s)
            if in_child(lambda results=results, log=log: run_here(plan, results, log), instant_s) == -signal.SIGKILL:
                killed += 1
            else:
                late += 1
                longest_s = max(instant_s, longest_s / 2)
                continue
            finished += len(told(log)[1])
            windows += assert_nothing_is_lost(plan, results, log)
            print(f"{killed} of {times} kills, {windows} windows found again", file=sys.stderr, flush=True)
    print(
        f"{times} kills inside a campaign of {len(plan.specs)} runs: {finished} finished runs all in place, {windows} "
        "windows of unfinished runs all kept, every resumed campaign complete with the same run_ids, harness validate "
        "without a finding."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true", help="run the test of every row")
    parser.add_argument("--kills", type=int, metavar="N", help="kill a runner N times at random instants")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    options = parser.parse_args()
    if options.kills is not None:
        kill(options.kills, options.seed)
        return 0
    print(markdown())
    if not options.run:
        return 0
    names = dict.fromkeys(proof.split("#")[0] for fault in FAULTS for proof in fault.proofs)
    proofs = [f"tests/{name}" for name in names]
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *proofs], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
