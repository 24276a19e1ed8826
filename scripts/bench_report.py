"""How long thousands of records take: to read, to index, to rank, and on a page. The records are generated, simulated.

    .venv/bin/python scripts/bench_report.py [--records 10000] [--folder DIR] [--json FILE]

Every figure is of a process of its own, its start and its imports included, except those named "alone". Times depend on
the machine and on what else it does: the load average before and after stands beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from _bench_report_records import RUNS_PER_CAMPAIGN, write_records

from harness.cli.options import editions
from harness.clock import RealClock
from harness.report.ranking import per_kwh
from harness.report.stored import ranking, stored_ratings, stored_runs
from harness.run.environment import describe_environment
from harness.store.index import NAME

CLOCK = RealClock()
READ_ALL = (
    "import sys; from pathlib import Path; from harness.store.files import find_runs; find_runs([Path(sys.argv[1])])"
)


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="keep the generated records here, and use those that are here")
    parser.add_argument("--turns", type=int, default=5, help="of what can be repeated; the median is told")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not (folder / "results").exists():
            write_records(folder / "results", options.records)
        result = measure(folder / "results", Path(scratch), options.turns)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result))


def measure(results: Path, scratch: Path, turns: int) -> dict[str, Any]:
    """Every figure, in the order in which a user would meet them."""
    before = os.getloadavg()
    show = ["show", "--results", str(results)]
    page, small = scratch / "all.html", scratch / "campaign.html"
    forget(results)
    found: dict[str, Any] = {"records": sum(1 for _ in results.glob("*/*/record.json")), "provenance": "simulated"}
    found["read_all"] = process([sys.executable, "-c", READ_ALL, str(results)])
    found["first_index_and_show"] = harness(show)
    found["index_bytes"] = sum(file.stat().st_size for file in results.glob(NAME.format("*")))
    found["show"] = median([harness(show) for _ in range(turns)])
    alone = [timed(partial(rank, results)) for _ in range(turns)]
    found["ranking_alone"] = median(alone)
    found["report"] = median([harness(["report", "--results", str(results), "--out", str(page)]) for _ in range(3)])
    found["report"]["page_bytes"] = page.stat().st_size
    campaign = ["report", "generated-00", "--results", str(results), "--out", str(small)]
    found["report_of_a_campaign"] = median([harness(campaign) for _ in range(3)])
    found["report_of_a_campaign"] |= {"runs": RUNS_PER_CAMPAIGN, "page_bytes": small.stat().st_size}
    environment = describe_environment(None)
    found["environment"] = {
        "cpu": environment.cpu_model,
        "cpus": environment.cpu_count,
        "memory_bytes": environment.memory_bytes,
        "load_average_before": before,
        "load_average_after": os.getloadavg(),
        "python": environment.python,
        "commit": environment.git_commit,
        "packages": environment.packages,
    }
    return found


def forget(results: Path) -> None:
    """Remove the index, as on the first day."""
    for file in results.glob(NAME.format("*")):
        file.unlink()


def rank(results: Path) -> None:
    """The question that the terminal's ranking asks, without a process and its imports."""
    one_kwh = per_kwh(editions(None, None, None))
    stored = stored_runs([results])
    stored_ratings(stored)
    ranking(stored, one_kwh, best=20, worst=5)


def harness(arguments: list[str]) -> dict[str, float]:
    """A command's time and memory."""
    return process([sys.executable, "-m", "harness.cli.main", *arguments])


def process(command: list[str]) -> dict[str, float]:
    """Wall time, processor time and the most memory of one process."""
    started_s = CLOCK.now_s()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall_s = CLOCK.now_s() - started_s
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} failed.")
    return {
        "wall_s": wall_s,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "peak_memory_bytes": usage.ru_maxrss * 1024,
    }


def timed(work: partial[None]) -> dict[str, float]:
    """Wall and processor time of something in this process."""
    started_s, before_s = CLOCK.now_s(), time.process_time()
    work()
    return {"wall_s": CLOCK.now_s() - started_s, "processor_s": time.process_time() - before_s}


def median(figures: list[dict[str, float]]) -> dict[str, Any]:
    """Of each figure the median, and the range of the wall time."""
    walls = [each["wall_s"] for each in figures]
    return {name: statistics.median(each[name] for each in figures) for name in figures[0]} | {
        "wall_range_s": [min(walls), max(walls)],
        "turns": len(figures),
    }


def table(result: dict[str, Any]) -> str:
    """A line for each figure."""
    lines = [
        f"{result['records']:,} generated records ({result['provenance']}), index {result['index_bytes'] / 1e6:.1f} MB"
    ]
    for name, label in (
        ("read_all", "read every record"),
        ("first_index_and_show", "harness show, first time"),
        ("show", "harness show, after that"),
        ("report", "harness report, all runs"),
        ("report_of_a_campaign", f"harness report, {RUNS_PER_CAMPAIGN} runs"),
    ):
        each = result[name]
        size = f", page {each['page_bytes'] / 1e6:.2f} MB" if "page_bytes" in each else ""
        lines.append(
            f"{label:26}{each['wall_s']:7.2f} s, processor {each['processor_s']:.2f} s, "
            f"{each['peak_memory_bytes'] / 1e6:.0f} MB{size}"
        )
    alone = result["ranking_alone"]
    low, high = alone["wall_range_s"]
    lines.append(
        f"{'the ranking alone':26}{alone['wall_s']:7.2f} s ({low:.2f} to {high:.2f}), "
        f"processor {alone['processor_s']:.2f} s"
    )
    load = result["environment"]["load_average_before"][0], result["environment"]["load_average_after"][0]
    lines.append(
        f"{result['environment']['cpus']} x {result['environment']['cpu']}, load {load[0]:.1f} to {load[1]:.1f}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
