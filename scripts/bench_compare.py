"""How often the 95 % interval of `harness compare` covers the true ratio, and how often its verdicts are false.

    python scripts/bench_compare.py [--pairs 4000] [--boards 30] [--seed 1] [--json]

Drawn records (scripts/_bench_compare_world.py), paired and unpaired, on one board and on two: true ratios of exactly 1,
exactly the margin, and anything between 1/3 and 3; and tables of five against a baseline. `--boards` adds pairs of runs
that went through the harness itself on virtual A100s with sensor errors of their own, energy known exactly; on two
boards also as if on one, by calibrations of both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _bench_compare_world import runs

from harness.compare.base import BoardLoad, Compared
from harness.compare.boards import board_load
from harness.compare.comparison import MARGIN, compare_runs, compare_sides
from harness.compare.sides import side_of
from harness.records import RunRecord
from harness.run.calibration import local_calibrations
from harness.run.worker import execute
from harness.specs import RunSpec

RATIOS = ("equal", "margin", "any")
IDLE_W = (42.0, 62.0)
TABLE = 5  # comparisons in one table


@dataclass(frozen=True)
class Outcome:
    """One comparison and its truth."""

    told: Compared
    truth: float

    @property
    def covered(self) -> bool:
        return (
            self.told.low is not None and self.told.high is not None and self.told.low <= self.truth <= self.told.high
        )

    @property
    def half_width(self) -> float:
        """Of the log of the ratio."""
        assert self.told.low is not None
        assert self.told.high is not None
        return math.log(self.told.high / self.told.low) / 2

    @property
    def false_difference(self) -> bool:
        """Less where it is not, or more where it is not."""
        return (self.told.verdict == "less" and self.truth >= 1) or (self.told.verdict == "more" and self.truth <= 1)

    @property
    def false_equivalence(self) -> bool:
        """Within the margin where the truth is at it or beyond."""
        return self.told.within_margin and abs(math.log(self.truth)) >= math.log1p(MARGIN) - 1e-12


def true_ratio(rng: np.random.Generator, kind: str) -> float:
    """The ratio that is to be found."""
    if kind == "equal":
        return 1.0
    if kind == "margin":
        return float((1 + MARGIN) ** rng.choice([-1, 1]))
    return float(np.exp(rng.uniform(-np.log(3), np.log(3))))


def pair(seed: int, number: int, kind: str, paired: bool, same_board: bool) -> Outcome:
    """One drawn pair."""
    rng = np.random.default_rng([seed, number, RATIOS.index(kind), paired, same_board])
    truth = true_ratio(rng, kind)
    (told,) = compare_runs(runs(rng, [truth], paired, same_board)).comparisons
    assert told.method == ("paired" if paired else "unpaired")
    return Outcome(told, truth)


def table(seed: int, number: int, same_board: bool) -> list[Outcome]:
    """Five equal ones against a baseline: any verdict of a difference is false."""
    rng = np.random.default_rng([seed, number, 99, same_board])
    told = compare_runs(runs(rng, [1.0] * TABLE, paired=False, same_board=same_board)).comparisons
    return [Outcome(each, 1.0) for each in told]


def through_the_harness(seed: int, boards: int) -> Iterator[tuple[str, Outcome]]:
    """Runs on virtual boards: batches of 2, 4 and 16 on each, compared on one board and with the next one.

    A third as many boards once more, whose idle powers differ too: drawn from 42 to 62 W.
    """
    with tempfile.TemporaryDirectory() as folder:
        alike = _boards([(seed + index, None) for index in range(boards)], Path(folder))
        drawn = np.random.default_rng([seed, 7]).uniform(*IDLE_W, boards // 3 if boards >= 6 else 0)  # two at least
        apart = _boards([(seed + 1000 + index, float(idle_w)) for index, idle_w in enumerate(drawn)], Path(folder))
    for row, calibrations, following, its in alike:
        for baseline, other in itertools.combinations(row, 2):
            yield "virtual A100s, one board", _of_records(baseline, other)
        for mine, theirs, its_here in zip(row, following[1:], row[1:], strict=False):
            yield "virtual A100s, two boards", _of_records(mine, theirs)
            yield "virtual A100s, as if on one", _as_on_one_board(mine, theirs, its_here, (calibrations, its))
    for row, calibrations, following, its in apart:
        for mine, theirs, its_here in zip(row, following[1:], row[1:], strict=False):
            told = _as_on_one_board(mine, theirs, its_here, (calibrations, its))
            yield "  whose idle powers differ too", told


Loads = tuple[BoardLoad, ...]


def _boards(
    made: list[tuple[int, float | None]], folder: Path
) -> list[tuple[list[RunRecord], Loads, list[RunRecord], Loads]]:
    """Runs and calibrations of each board, and those of the next one."""
    rows = [[_virtual(seed, idle_w, size, folder) for size in (2, 4, 16)] for seed, idle_w in made]
    loads = [_calibrations(row[0].spec, folder) for row in rows]
    return [
        (row, calibrations, rows[(index + 1) % len(rows)], loads[(index + 1) % len(rows)])
        for index, (row, calibrations) in enumerate(zip(rows, loads, strict=True))
    ]


def _virtual(seed: int, idle_w: float | None, batch_size: int, folder: Path) -> RunRecord:
    spec = RunSpec.model_validate(
        {
            "task": "text-generation",
            "model": {"id": "pretend-text"},
            "engine": "simulated",
            "text": {"new_tokens": 32},
            "batch_size": batch_size,
            "sources": {"kind": "simulated", "node": {"clock": "virtual", "seed": seed, "idle_w": idle_w}},
            "measure": {"warm_up_max_s": 60, "min_repeats": 5, "max_repeats": 8},
        }
    )
    return execute(spec, "bench", folder / f"{seed}-{batch_size}", lambda progress: None)


def _calibrations(spec: RunSpec, folder: Path) -> Loads:
    """What the fixed loads take on the board of a run."""
    found = []
    for each in local_calibrations([spec], {spec.sources: spec.sources.gpus}, f"bench {spec.sources.node}"):
        record = execute(each, "bench", folder / each.run_id, lambda progress: None)
        load = board_load(side_of(record, "gpu", "bench"), each.model.id)
        assert load is not None
        found.append(load)
    return tuple(found)


def _as_on_one_board(
    mine: RunRecord, theirs: RunRecord, its_here: RunRecord, calibrations: tuple[Loads, Loads]
) -> Outcome:
    """Two boards with calibrations; the truth is what the other run truly took on the first board."""
    sides = [
        side_of(record, "gpu", "bench").model_copy(update={"calibrations": loads})
        for record, loads in zip((mine, theirs), calibrations, strict=True)
    ]
    (told,) = compare_sides([sides], "gpu", one_board=True).comparisons
    return Outcome(told, _true_j(its_here) / _true_j(mine))


def _true_j(record: RunRecord) -> float:
    assert record.summary is not None
    assert record.summary.true_gpu_energy_j is not None
    return record.summary.true_gpu_energy_j


def _of_records(baseline: RunRecord, other: RunRecord) -> Outcome:
    (told,) = compare_runs([baseline, other]).comparisons
    return Outcome(told, _true_j(other) / _true_j(baseline))


# --- summary ---------------------------------------------------------------------------------------------


def summary(outcomes: list[Outcome]) -> dict[str, float | int]:
    """Coverage and false verdicts of a group."""
    count = len(outcomes)
    return {
        "comparisons": count,
        "coverage": round(sum(each.covered for each in outcomes) / count, 4),
        "median_half_width": round(statistics.median(each.half_width for each in outcomes), 4),
        "false_difference": round(sum(each.false_difference for each in outcomes) / count, 4),
        "false_equivalence": round(sum(each.false_equivalence for each in outcomes) / count, 4),
        "cannot_tell": round(sum(each.told.verdict == "cannot tell" for each in outcomes) / count, 4),
    }


def groups(seed: int, pairs: int, boards: int) -> tuple[dict[str, list[Outcome]], dict[str, float]]:
    """Outcomes by group, and for tables the rate of any false difference in one."""
    found: dict[str, list[Outcome]] = {}
    for paired, same_board, kind in itertools.product((False, True), (True, False), RATIOS):
        name = f"{'paired' if paired else 'unpaired'}, {'one board' if same_board else 'two boards'}, {kind}"
        each = pairs // (4 * len(RATIOS))
        found[name] = [pair(seed, number, kind, paired, same_board) for number in range(each)]
    for name, outcome in through_the_harness(seed, boards) if boards else ():
        found.setdefault(name, []).append(outcome)
    tables = {}
    for same_board in (True, False):
        rows = [table(seed, number, same_board) for number in range(max(1, pairs // 10))]
        name = f"any false difference in a table of {TABLE}, {'one board' if same_board else 'different boards'}"
        tables[name] = round(sum(any(each.false_difference for each in row) for row in rows) / len(rows), 4)
    return found, tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4000, help="drawn pairs in all; a tenth as many tables")
    parser.add_argument("--boards", type=int, default=30, help="virtual boards that runs go through the harness on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found, tables = groups(arguments.seed, arguments.pairs, arguments.boards)
    rows = {name: summary(outcomes) for name, outcomes in found.items()}
    drawn = [each for name, outcomes in found.items() if "virtual" not in name for each in outcomes]
    rows["all drawn"] = summary(drawn)
    if arguments.json:
        content = {"simulated": True, "seed": arguments.seed, "margin": MARGIN, "groups": rows, "tables": tables}
        print(json.dumps(content, indent=2))
        return
    print(f"{'(simulated)':34}{'pairs':>7}{'covered':>9}{'±, median':>11}{'false <>':>10}{'false =':>9}{'cannot':>8}")
    for name, row in rows.items():
        print(
            f"{name:34}{row['comparisons']:>7}{row['coverage']:>9.1%}{row['median_half_width']:>11.2%}"
            f"{row['false_difference']:>10.1%}{row['false_equivalence']:>9.1%}{row['cannot_tell']:>8.1%}"
        )
    for name, rate in tables.items():
        print(f"{name}: {rate:.1%}")


if __name__ == "__main__":
    main()
