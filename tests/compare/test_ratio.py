"""What cancels, what does not, and how wide the rest makes a ratio: worked by hand, then against drawn truth."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import pytest
from compare_records import OTHER_BOARD, record_of
from fakes import source_info
from hypothesis import given
from hypothesis import strategies as st

from harness.compare.base import Meter, Term
from harness.compare.comparison import compare_runs
from harness.compare.ratio import LogRatio, Spread, log_ratio, shared_terms
from harness.compare.sides import side_of
from harness.measure.served import Attempt, account
from harness.measure.summary import summarize
from harness.records import RunRecord, UncertaintyTerm
from harness.serving import ServerOptions

SCRIPTS = str(Path(__file__).resolve().parents[2] / "scripts")


def ratio_of(baseline: RunRecord, other: RunRecord, cancels: bool = True) -> LogRatio:
    return log_ratio(side_of(baseline, "gpu", "any"), side_of(other, "gpu", "any"), cancels)


def terms(ratio: LogRatio) -> dict[str, float]:
    return {term.name: term.relative_u for term in ratio.shared}


def test_on_one_board_the_gain_cancels_and_of_the_offset_what_the_powers_leave():
    # 290 W and 580 W: 0.5 W x (1/290 - 1/580)
    ratio = ratio_of(record_of([29.0] * 5), record_of([58.0] * 5, "b"))
    assert ratio.value == pytest.approx(math.log(2))
    assert terms(ratio)["sensor gain"] == pytest.approx(0, abs=1e-12)
    assert terms(ratio)["sensor offset"] == pytest.approx(0.5 / 580)
    assert terms(ratio_of(record_of([29.0] * 5), record_of([29.0] * 5, "b")))["sensor offset"] == pytest.approx(0)


def test_on_two_boards_nothing_cancels():
    ratio = ratio_of(record_of([29.0] * 5), record_of([58.0] * 5, "b", sources=(OTHER_BOARD,)))
    assert terms(ratio)["sensor gain"] == pytest.approx(math.hypot(0.01, 0.01))
    assert terms(ratio)["sensor offset"] == pytest.approx(math.hypot(0.5 / 290, 0.5 / 580))


def test_the_first_package_of_another_machine_is_another_one():
    def run(model: str, gpu: str) -> RunRecord:
        cpu = source_info(id="rapl:package-0", kind="cpu", scope="node", gain_relative_u=0.03, runs_model=False)
        board = source_info(id=gpu)
        record = record_of([29.0] * 5, model, sources=(board, cpu))
        windows = tuple(
            window.model_copy(
                update={"sources": (*window.sources, window.sources[0].model_copy(update={"source_id": cpu.id}))}
            )
            for window in record.measurements
        )
        summary = summarize(windows, record.sources, None, 0.02)
        return record.model_copy(update={"measurements": windows, "summary": summary})

    def gain(baseline: RunRecord, other: RunRecord) -> tuple[float, str]:
        told = compare_runs([baseline, other], boundary="node").comparisons[0]
        return {term.name: term.relative_u for term in told.budget}["sensor gain"], told.cancels

    # Half the energy is the CPU's: 0.5 x 1 % and 0.5 x 3 % on either side, added as boards of one side are.
    apart = gain(run("a", "GPU-0"), run("b", "GPU-1"))
    assert apart == (pytest.approx(math.hypot(0.02, 0.02)), "nothing common cancels: different boards")
    together, told = gain(run("a", "GPU-0"), run("b", "GPU-0"))
    assert together == pytest.approx(0, abs=1e-12)
    assert told.startswith("the gain of the same board cancels")


def test_boards_of_one_side_alone_stay_in_doubt():
    def meter(identity: str, energy_fraction: float) -> Meter:
        return Meter(
            identity=identity,
            device=identity,
            gain_relative_u=0.01,
            offset_u_w=0.5,
            energy_fraction=energy_fraction,
            offset_per_w=0.002,
        )

    # On the first board alone, then half of it there and half on a second one; both count their offset in full.
    gain, offset = shared_terms([meter("0", 1.0)], [meter("0", 0.5), meter("1", 0.5)], cancels=True)
    assert gain.relative_u == pytest.approx(math.hypot(0.005, 0.005))
    assert offset.relative_u == pytest.approx(0.001)
    # Of two boards on either side nothing is left where each does the same share.
    gain, _ = shared_terms([meter("0", 0.5), meter("1", 0.5)], [meter("1", 0.5), meter("0", 0.5)], cancels=True)
    assert gain.relative_u == 0
    gain, _ = shared_terms([meter("0", 0.5), meter("1", 0.5)], [meter("2", 0.5), meter("3", 0.5)], cancels=True)
    assert gain.relative_u == pytest.approx(math.hypot(0.01, 0.01))


@pytest.mark.parametrize("change", [{"driver": "550"}, {"gain": 1.02}, {"sensor_profile": "b"}, {"offset_u_w": 0.4}])
def test_the_same_board_read_otherwise_does_not_cancel(change):
    other = record_of([29.0] * 5, "b", sources=(source_info(**change),))
    assert terms(ratio_of(record_of([29.0] * 5), other))["sensor gain"] == pytest.approx(math.hypot(0.01, 0.01))
    told = compare_runs([record_of([29.0] * 5), other]).comparisons[0].cancels
    assert told == "nothing common cancels: the same board, but another driver, sensor profile, calibration or method"


def test_what_all_windows_of_a_run_share_is_never_averaged():
    lag = UncertaintyTerm(name="lag", standard_uncertainty_j=29.0, common=False, averages=False, reduced_by="any")
    ratio = ratio_of(record_of([29.0] * 5, budget=(lag,)), record_of([29.0] * 50, "b", budget=(lag,)))
    assert terms(ratio)["same in all windows of a run"] == pytest.approx(math.hypot(0.01, 0.01))


def test_unpaired_windows_follow_welch():
    # Means 10 and 20, standard errors 0.5 (n 4: 9, 9, 11, 11 have sd 1.1547) and 0.4472 (n 5: sd 1).
    ratio = ratio_of(record_of([9.0, 9.0, 11.0, 11.0]), record_of([19.0, 19.0, 20.0, 21.0, 21.0], "b"))
    a, b = 1.1547005 / 2 / 10, 1 / math.sqrt(5) / 20
    assert ratio.spread.method == "unpaired"
    assert ratio.spread.scatter_u == pytest.approx(math.hypot(a, b), rel=1e-6)
    degrees = (a**2 + b**2) ** 2 / (a**4 / 3 + b**4 / 4)
    assert ratio.spread.degrees == pytest.approx(degrees)
    assert int(degrees) == 3
    assert ratio.half(0.95) == pytest.approx(
        math.hypot(3.182446 * math.hypot(a, b), 1.959964 * ratio.shared_u), rel=1e-5
    )


def test_windows_on_the_same_inputs_are_paired_and_their_common_scatter_cancels():
    fed = [500, 600, 700, 800, 900]
    dear = [9.0, 9.5, 10.0, 10.5, 11.0]
    baseline, other = record_of(dear, fed=fed), record_of([2 * energy_j for energy_j in dear], "b", fed=fed)
    paired = ratio_of(baseline, other)
    assert (paired.spread.method, paired.spread.degrees) == ("paired", 4)
    assert paired.spread.scatter_u == pytest.approx(0, abs=1e-12)
    differently_fed = record_of([2 * energy_j for energy_j in dear], "b", fed=[500, 600, 700, 800, 901])
    assert ratio_of(baseline, differently_fed).spread.method == "unpaired"
    other_prompts = record_of(dear, "b", fed=fed, prompts={"count": 7})
    assert ratio_of(baseline, other_prompts).spread.method == "unpaired"
    untold = [untold_input(record) for record in (baseline, other)]
    assert {window.input_tokens for window in side_of(untold[0], "gpu", "any").windows} == {None}
    assert ratio_of(*untold).spread.method == "unpaired"


def untold_input(record: RunRecord) -> RunRecord:
    """Of a server that told the input of some answers only, as it was stored before: with the sum of those it told."""
    options = ServerOptions(base_url="http://127.0.0.1:1", concurrency=1)
    attempts = [Attempt(0.0, 0.0, pieces_s=[0.5], ended_s=0.5, input_tokens=told) for told in (None, 7)]
    served = account(attempts, (), 0.0, 1.0, options, 1).served
    windows = tuple(window.model_copy(update={"served": served}) for window in record.measurements)
    return record.model_copy(update={"measurements": windows})


def plain(value: float, u: float, degrees: float, shared: float = 0.0) -> LogRatio:
    spread = Spread("unpaired", u, degrees, 0.0, (u**2 * 5 / 2, u**2 * 5 / 2), 0.0, (5, 5))
    term = Term(name="sensor gain", relative_u=shared, averages=False, counted=True, reduced_by="any")
    return LogRatio(value, spread, (term,))


def test_p_values_are_those_of_the_t_table():
    assert plain(0.02776445, 0.01, 4).p_different() == pytest.approx(0.05, rel=1e-5)
    assert plain(0.04604095, 0.01, 4).p_different() == pytest.approx(0.01, rel=1e-5)
    assert plain(0.0, 0.01, 4).p_different() == 1.0
    # TOST: ln 1.05 - ln 1.02 = 0.028987 is 2.1318 standard errors (5 % one-sided at 4 degrees) of 0.013598.
    assert plain(math.log(1.02), math.log(1.05 / 1.02) / 2.131847, 4).p_equivalent(0.05) == pytest.approx(
        0.05, rel=1e-5
    )
    assert plain(0.06, 0.001, 4).p_equivalent(0.05) == 1.0


@given(st.floats(0.001, 1), st.floats(0, 0.1), st.floats(0, 0.1), st.integers(1, 300))
def test_a_p_value_is_one_less_the_confidence_that_just_reaches(value, u, shared, degrees):
    ratio = plain(value, u, degrees, shared)
    p = ratio.p_different()
    if 1e-6 < p < 0.999:
        assert ratio.half(1 - p) == pytest.approx(value, rel=1e-3)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("bench_compare")


@pytest.mark.parametrize(("paired", "same_board"), [(False, True), (True, True), (False, False)])
def test_the_interval_covers_the_drawn_truth(bench, paired, same_board):
    outcomes = [bench.pair(7, number, "any", paired, same_board) for number in range(36)]
    assert sum(each.covered for each in outcomes) >= 31  # at 95 %: fewer in 1 of 100 rows; the script draws thousands


def test_the_bench_counts_what_is_false(bench):
    found, tables = bench.groups(1, 12, boards=0)
    assert len(found) == 12
    assert all(bench.summary(outcomes)["comparisons"] == 1 for outcomes in found.values())
    assert set(tables.values()) <= {0.0, 1.0}
    told = found["paired, one board, any"][0].told
    assert bench.Outcome(told.model_copy(update={"verdict": "less"}), 1.0).false_difference
    assert not bench.Outcome(told.model_copy(update={"verdict": "less"}), 0.9).false_difference
    assert bench.Outcome(told.model_copy(update={"within_margin": True}), 1.05).false_equivalence
    assert not bench.Outcome(told.model_copy(update={"within_margin": True}), 1.04).false_equivalence
