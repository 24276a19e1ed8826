"""scripts/bench_accuracy.py: its loads fill their windows exactly, its figures are right, and it runs."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = str(ROOT / "scripts")


@pytest.fixture(scope="module", autouse=True)
def scripts_on_path():
    sys.path.insert(0, SCRIPTS)
    yield
    sys.path.remove(SCRIPTS)


def world():
    import _bench_accuracy_world

    return _bench_accuracy_world


@given(name=st.sampled_from(["steady", "llm-decode", "diffusion", "serving", "beat", "beat-inside"]),
       window_s=st.floats(0.05, 12.0), seed=st.integers(0, 50))  # fmt: skip
def test_batches_fill_a_window_exactly_and_loads_stay_in_range(name, window_s, seed):
    work = world().Work(world().Cell(name, "sensor", window_s, 0, seed))
    for _ in range(2):
        steps = [step for batch in work.window() for step in batch]
        assert math.fsum(duration_s for duration_s, _ in steps) == pytest.approx(window_s, abs=1e-6)
        assert all(duration_s > 0 and 0 <= load <= 1 for duration_s, load in steps)


def test_a_batch_is_cut_within_a_step():
    batch, took_s = world().cut(((1.0, 0.9), (2.0, 0.5)), 1.5)
    assert batch == ((1.0, 0.9), (0.5, 0.5))
    assert took_s == 1.5


@given(st.integers(0, 200))
def test_beating_bursts_come_within_one_per_cent_of_a_multiple_of_the_period(seed):
    (high_s, _), (low_s, _) = next(world().bursts(random.Random(seed), 0.1))
    assert min(abs((high_s + low_s) / (0.1 * k) - 1) for k in (1, 2, 3)) <= 0.01


def test_requests_are_served_one_by_one_and_none_is_lost():
    batches = world().serving(random.Random(5), 0.1)
    steps = [step for _ in range(400) for step in next(batches)]
    busy_s = math.fsum(duration_s for duration_s, load in steps if load > 0.02)
    # 0.3 to 0.7 of the time by the arrivals' rate; over 400 s, some thousands of requests, within a tenth of that.
    rng = random.Random(5)
    service_s, _ = rng.uniform(0.02, 0.2), rng.uniform(0.5, 0.9)
    offered = rng.uniform(0.3, 0.7)
    assert service_s < 0.2
    assert busy_s / 400 == pytest.approx(offered, rel=0.1)


def window(true_j: float, said_j: float, u_j: float, **changes) -> dict:
    return {
        "true_j": true_j,
        "said_j": said_j,
        "u_j": u_j,
        "calibrated_j": true_j,
        "calibrated_u_j": u_j,
        "busy_s": 1.0,
        "window_s": 1.5,
        "rejected": [],
        "caveats": [],
        "largest": "gaps",
    } | changes


def test_figures_worked_by_hand():
    from _bench_accuracy_report import figures

    ours = [window(100, 101, 1), window(100, 97, 1), window(100, 90, 2), window(100, 100, 1)]
    warned = window(100, 90, 2, caveats=["lock-in"])
    refused = {"rejected": ["too-short"], "caveats": ["too-short"], "busy_s": 1.0, "window_s": 1.5}
    found = figures({"harness": [ours, [refused]], "zeus": [[{"true_j": 50.0, "said_j": 60.0}], []]})
    # Errors 1, 3, 10 and 0 %: median 2 %; 3 J at 1 J and 10 J at 2 J lie outside 1.96 u, the latter beyond twice that.
    assert found["harness"]["median"] == pytest.approx(0.02)
    assert found["harness"]["coverage"] == 0.5
    assert found["harness"]["missed_by_twice"] == 0.25
    assert found["harness"]["missed_silently"] == 1
    assert found["harness_calibrated"]["coverage"] == 1.0
    assert found["without_figure"] == pytest.approx(0.2)
    assert found["why"] == {"too-short": 1}
    assert found["zeus"] == {"n": 1, "median": 0.2, "p95": 0.2}
    assert figures({"harness": [[warned]]})["harness"]["missed_silently"] == 0


def test_ratio_is_to_the_better_peer_with_an_interval_over_boards():
    from _bench_accuracy_report import figures

    def boards(*errors: float) -> list[list[dict]]:
        return [[window(100.0, 100 * (1 + error), 1)] for error in errors]

    def ratio(ours: list[list[dict]]) -> list[float] | None:
        found = figures({"harness": ours, "zeus": boards(0.4, 0.4), "codecarbon": boards(-0.2, -0.2)})
        return found["p95_ratios"]["harness"]

    assert ratio(boards(0.03, 0.03)) == pytest.approx([0.15, 0.15, 0.15])
    # Two boards that differ: both, or one of them twice, may be drawn.
    assert ratio(boards(0.03, 0.05)) == pytest.approx([0.245, 0.15, 0.25])
    assert ratio([[window(100, 100, 1, rejected=["too-short"])]] * 2) is None


def test_method_is_compared_apart_from_the_gain_that_all_tools_share():
    from _bench_accuracy_report import figures

    # A gain of 1.05 everywhere; apart from it we are 1 % off and the peer 4 %.
    ours = [[window(100.0, 106.05, 1, method_j=101.0)]]
    found = figures({"harness": ours, "zeus": [[{"true_j": 100.0, "said_j": 109.2, "method_j": 104.0}]]})
    assert found["p95_ratios"]["harness"] == pytest.approx([0.658] * 3, abs=0.001)
    assert found["p95_ratios"]["harness_method"] == pytest.approx([0.25] * 3)
    assert found["p95_ratios"]["harness_calibrated"] == [0, 0, 0]


def test_the_recorded_beat_is_over_within_ten_seconds_and_the_drawn_ones_are_not():
    # 5050_A100: bursts of 104.34 ms against 101.2 ms meet every 0.10434 * 0.1012 / 0.00314 = 3.36 s.
    recorded_s = world().RECORDED_BEAT_S
    assert recorded_s == pytest.approx(3.36, abs=0.01)
    assert world().beat_s(0.101, 0.1) == pytest.approx(10.1)
    assert world().BURSTS_BEAT_S >= 10


def test_verdict_pools_what_was_stated_and_leaves_out_what_was_not():
    from _bench_accuracy_report import verdicts

    def cell(load: str, ratio: list[float] | None) -> dict:
        ours = {"n": 5 if ratio else 0, "coverage": 0.8 if ratio else None, "missed_silently": 2}
        shared = {"load": load, "counter": "sensor", "window_s": 10.0, "zeus": {"n": 5, "p95": 0.2}}
        return shared | {"harness": ours, "harness_calibrated": ours, "p95_ratios": {"harness": ratio}}

    found = verdicts([cell("beat", [0.15, 0.1, 0.3]), cell("steady", None)])
    assert found["p95_ratio_at_10_s"]["beating"][0]["harness"] == [0.15, 0.1, 0.3]
    assert found["p95_ratio_at_10_s"]["others"][0]["harness"] is None
    assert found["coverage"]["harness, sensor counter"] == {
        "all": 0.8,
        "windows": 5,
        "by_load": {"beat": 0.8, "steady": None},
    }
    assert found["missed_silently"]["harness"] == 4


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "bench_accuracy.py"), "--no-zeus", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_benchmark_runs_small_and_prints_one_json_document(tmp_path):
    done = run("--windows", "5", "--loads", "beat", "--lengths", "0.2", "10", "--counters", "sensor",
               "--json", "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert json.loads((tmp_path / "accuracy.json").read_text()) == result
    short, long = result["cells"]
    # 0.2 s is less than three of the A100's periods of 0.1 s: no joules are stated.
    assert (short["without_figure"], short["why"], short["harness"]["p95"]) == (1.0, {"too-short": 5}, None)
    assert long["harness"]["n"] == 5
    # A board is off by up to three of its standard deviations, 8.7 % and 5.2 W; a calibrated one by far less.
    assert 0 < long["harness"]["p95"] < 0.15
    assert 0 < long["harness_calibrated"]["p95"] < 0.05
    page = (tmp_path / "README.md").read_text()
    assert "| beat | 10 |" in page
    assert "Zeus: left out" in page
    if "codecarbon" in long:
        assert long["codecarbon"]["n"] == 5
    else:
        assert "could not be had" in result["tools"]["CodeCarbon"]


@pytest.mark.parametrize("wrong", [("--windows", "4"), ("--lengths", "0"), ("--loads", "nothing"), ("--jobs", "0")])
def test_wrong_option_is_refused(wrong):
    done = run(*wrong)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
