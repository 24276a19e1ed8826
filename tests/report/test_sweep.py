"""The best batch size under a latency limit, and whether it can be told from the next."""

from __future__ import annotations

import math

import pytest
from fakes import source_info
from phase_records import record_of_batch

from harness.cli.sweep import best_sentence
from harness.errors import UserInputError
from harness.measure.alike import setting
from harness.report.sweep import sweeps_of


def run(batch: int, energy_j: float, batch_s: float, **changes):
    """Energy of one generation."""
    return record_of_batch(energy_j * batch, batch, batch_s=batch_s, **changes)


THREE = [run(1, 10.0, 1.0), run(8, 3.0, 2.0), run(32, 2.0, 6.0)]


def test_energy_latency_and_best_are_those_of_the_runs():
    (sweep,) = sweeps_of(THREE[::-1])
    assert [(point.batch_size, point.latency_s) for point in sweep.points] == [
        (1, pytest.approx(1.0)),
        (8, pytest.approx(2.0)),
        (32, pytest.approx(6.0)),
    ]
    assert [point.energy_j.value for point in sweep.points] == pytest.approx([10.0, 3.0, 2.0])
    assert sweep.best is not None
    assert (sweep.best.batch_size, sweep.best.second_batch_size, sweep.best.told_apart) == (32, 8, True)
    assert sweep.simulated


def test_limit_leaves_out_slower_batches():
    (sweep,) = sweeps_of(THREE, 2.5)
    assert [point.within_limit for point in sweep.points] == [True, True, False]
    assert sweep.best is not None
    assert (sweep.best.batch_size, sweep.best.second_batch_size) == (8, 1)
    (sweep,) = sweeps_of(THREE, 1.5)
    assert sweep.best is not None
    assert (sweep.best.batch_size, sweep.best.second_batch_size, sweep.best.told_apart) == (1, None, None)


def test_difference_keeps_only_what_does_not_cancel_on_one_board():
    # 1 % of gain in both: 1 % of the difference. Offset 0.5 W over 1 s and 2 s / 8 per generation: 0.375 J.
    (sweep,) = sweeps_of([run(1, 3.01, 1.0, scatter=1e-6), run(8, 3.0, 2.0, scatter=1e-6)])
    assert sweep.best is not None
    assert sweep.best.difference_j is not None
    assert sweep.best.difference_j.value == pytest.approx(0.01)
    assert sweep.best.difference_j.standard_uncertainty == pytest.approx(math.hypot(0.0001, 0.375), rel=1e-3)
    assert sweep.best.told_apart is False
    exact = (source_info(offset_u_w=0.0),)
    (sweep,) = sweeps_of([run(b, j, 1.0, scatter=1e-6, sources=exact) for b, j in ((1, 3.01), (8, 3.0))])
    assert sweep.best is not None
    assert sweep.best.told_apart is True  # a gain of 1 % moves both alike


def test_lengths_models_and_dtypes_are_sweeps_of_their_own():
    runs = [
        *THREE,
        run(1, 5.0, 1.0, new_tokens=99),
        run(8, 4.0, 1.0, new_tokens=99),
        run(16, 1.0, 1.0, dtype="float32"),
    ]
    assert [len(sweep.points) for sweep in sweeps_of(runs)] == [3, 2]


def test_a_model_without_a_point_under_the_limit_has_no_best():
    others = [run(b, 4.0, 0.1, model={"id": "fast"}) for b in (1, 2)]
    slow, fast = sweeps_of([*THREE, *others], 0.5)
    assert slow.best is None
    assert fast.best is not None


@pytest.mark.parametrize("limit_s", [0.0, -1.0, math.nan, math.inf])
def test_a_limit_that_is_no_time_is_refused(limit_s):
    with pytest.raises(UserInputError, match="must be a number of seconds above 0"):
        sweeps_of(THREE, limit_s)


def test_a_limit_that_nothing_meets_names_the_fastest():
    with pytest.raises(UserInputError, match=r"No batch size meets a latency of 0\.5 s: the fastest batch took 1 s"):
        sweeps_of(THREE, 0.5)


@pytest.mark.parametrize("runs", [[], THREE[:1], [THREE[0], run(8, 3.0, 2.0, dtype="float32")]])
def test_runs_that_do_not_vary_in_batch_size_are_no_sweep(runs):
    with pytest.raises(UserInputError, match="Nothing varies in batch size"):
        sweeps_of(runs)


def served(in_flight: int, energy_j: float, **changes):
    server = {"base_url": "http://127.0.0.1:8000", "concurrency": in_flight, **changes}
    return record_of_batch(energy_j, 1, batch_s=0.5, engine="openai", server=server)


def test_a_server_is_swept_over_the_requests_in_flight():
    at_random = {"concurrency": None, "request_rate_hz": 3.0}
    (sweep,) = sweeps_of([served(16, 2.0), served(1, 9.0), served(4, 3.0), served(1, 5.0, **at_random)])
    assert sweep.served
    assert [point.batch_size for point in sweep.points] == [1, 4, 16]
    # Without times of its own answers: so many in flight, of which one ends every 0.5 s, take so long (Little's law).
    assert [point.latency_s for point in sweep.points] == pytest.approx([0.5, 2.0, 8.0])
    assert sweep.best is not None
    assert (sweep.best.batch_size, sweep.best.told_apart) == (16, True)
    assert "Least energy per generation: in flight 16" in best_sentence(sweep)
    with pytest.raises(UserInputError, match="Nothing varies in batch size"):
        sweeps_of([served(1, 9.0), served(4, 3.0, api="chat")])


def test_beams_chat_and_template_are_a_setting_of_their_own():
    texts = [{"new_tokens": 10}, {"new_tokens": 10, "beams": 4}, {"new_tokens": 10, "chat": True}]
    settings = [setting(record_of_batch(1.0, text=text)) for text in texts]
    assert settings[0] == setting(record_of_batch(1.0))
    assert len({str(each) for each in settings}) == 3
