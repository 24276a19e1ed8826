"""What undersampling leaves open, on series whose answer is known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.undersampled import (
    Levels,
    correlation,
    effective_readings,
    levels,
    repeats,
    rhythm,
    sharp_steps,
    stretches,
    window_doubt,
)

IDLE, BUSY = [60.0] * 10, [200.0] * 12


def test_a_load_that_starts_and_ends_makes_two_sharp_steps():
    assert sharp_steps(np.array(IDLE + BUSY + IDLE), 0.75) == [10, 22]


def test_a_step_caught_halfway_by_one_reading_is_one_step_beside_it():
    assert sharp_steps(np.array([*IDLE, 150.0, *BUSY]), 0.75) == [10]  # nearer to 200 W: the first of the new stretch
    assert sharp_steps(np.array([*IDLE, 110.0, *BUSY]), 0.75) == [11]


def test_a_slow_beat_has_no_sharp_steps():
    assert sharp_steps(130 + 70 * np.sin(np.arange(100) * 2 * np.pi / 33), 0.75) == []


def test_plateaus_must_be_longer_the_less_a_sensor_sees():
    readings_w = np.array([60.0] * 9 + [200.0] * 9)
    assert sharp_steps(readings_w, 0.8) == [9]  # plateaus of ceil(1.5 / 0.2) = 8
    assert sharp_steps(readings_w, 0.9) == []  # of 15


def test_a_window_touches_only_its_own_stretches():
    (first, second) = stretches(np.array(IDLE + BUSY + IDLE), (8, 20), 0.75)
    assert (first.first, first.last, first.inner_first, first.inner_last) == (0, 10, 8, 10)
    assert (second.first, second.last, second.inner_first, second.inner_last) == (10, 22, 10, 20)


def test_correlation_of_an_alternating_series_is_minus_one_and_plus_one():
    readings_w = np.array([100.0, 200.0] * 20)
    assert correlation(readings_w, 1) == pytest.approx(-39 / 40)  # 39 pairs of opposite signs over 40 values
    assert correlation(readings_w, 2) == pytest.approx(38 / 40)
    assert correlation(np.full(5, 100.0), 1) == 0.0


def test_readings_that_repeat_in_threes_are_worth_about_three_however_many_there_are():
    readings_w = np.array([100.0, 100.0, 300.0] * 40)
    # Lags 3, 6, ..., 30 correlate by 1 - lag / 120: 1 + 2 (10 - 165 / 120) = 18.25, and 120 / 18.25 = 6.6.
    assert effective_readings(readings_w) == pytest.approx(120 / 18.25, rel=1e-6)
    assert repeats(readings_w, 2) == []
    assert rhythm(readings_w).pattern == 3


def test_independent_readings_keep_most_of_their_worth():
    readings_w = np.random.default_rng(4).normal(200, 30, 200)
    assert 100 < effective_readings(readings_w) <= 200
    assert rhythm(readings_w) is None


def test_a_slow_beat_is_named_with_its_length():
    found = rhythm(130 + 70 * np.sin(np.arange(100) * 2 * np.pi / 33))
    assert found.pattern == 1
    assert found.beat_readings == pytest.approx(33, rel=0.08)
    assert found.swing_w == pytest.approx(140, abs=1)


def test_a_warming_board_is_no_beat():
    assert rhythm(np.linspace(183, 190, 60)) is None


def test_levels_are_those_seen_at_rest_and_at_work():
    assert levels(np.array([55.0, 210.0, 200.0]), np.array([200.0])) == Levels(55.0, 210.0, True)


def test_levels_of_a_recording_with_one_level_are_nothing_and_twice_the_mean_or_the_limit():
    readings_w = np.array([198.0, 202.0])
    assert levels(readings_w, readings_w) == Levels(0.0, 400.0, False)
    assert levels(readings_w, readings_w, 250.0) == Levels(0.0, 250.0, False)


def doubt(readings_w, inside, kappa, around):
    weights_s = np.full(inside[1] - inside[0], 0.1)
    return window_doubt(np.array(readings_w), weights_s, inside, 0.1, kappa, around)


def test_steady_readings_leave_open_what_fewer_than_three_in_n_would_hide():
    found = doubt(IDLE + BUSY, (12, 22), 0.75, Levels(60.0, 200.0, True))
    assert found.scatter_u_w == 0
    # The busy stretch holds 12 readings: with 95 % a state seen in none of them lasts at most 1 - 0.05^(1/13) = 20.6 %.
    assert found.unseen_down_w == pytest.approx(0.75 * (1 - 0.05 ** (1 / 13)) * 140)
    assert found.unseen_up_w == 0
    assert found.unseen_u_w == pytest.approx(0.75 * 140 / 14)
    assert found.low_w == pytest.approx(0.25 * 200 + 0.75 * 60)
    assert found.high_w == pytest.approx(200)
    assert found.steady


def test_a_sensor_that_sees_everything_leaves_nothing_open():
    readings_w = np.random.default_rng(1).normal(200, 40, 50)
    found = doubt(readings_w, (10, 40), 0.0, Levels(0.0, 400.0, False))
    assert (found.scatter_u_w, found.unseen_u_w, found.unseen_down_w, found.steps_u_w) == (0, 0, 0, 0)
    assert found.low_w == pytest.approx(found.high_w)


def test_a_step_lies_anywhere_in_the_unseen_part_of_a_period():
    found = doubt(IDLE + BUSY, (5, 17), 0.75, Levels(60.0, 200.0, True))
    assert found.steps_u_w == pytest.approx(0.75 * 0.1 * 140 / math.sqrt(12) / 1.2)


def test_a_short_window_in_a_beat_borrows_the_spread_of_the_whole_beat():
    readings_w = 130 + 70 * np.sin(np.arange(100) * 2 * np.pi / 33)
    crest = (6, 12)
    found = doubt(readings_w, crest, 0.75, Levels(60.0, 200.0, True))
    inner_w = readings_w[6:12]
    assert np.std(inner_w, ddof=1) < 6  # alone, the window looks steady
    assert found.n_effective < 2
    assert inner_w.mean() - found.scatter_half_w < 130  # the beat's mean is within reach
    assert found.rhythm is not None


@given(
    st.lists(st.floats(20, 500), min_size=5, max_size=80),
    st.floats(0.0, 0.95),
    st.data(),
)
def test_every_doubt_is_finite_not_negative_and_within_the_levels(values, kappa, data):
    readings_w = np.array(values)
    first = data.draw(st.integers(0, len(values) - 2))
    last = data.draw(st.integers(first + 1, len(values)))
    around = levels(readings_w, readings_w[first:last])
    found = doubt(values, (first, last), kappa, around)
    mean_w = float(readings_w[first:last].mean())
    for value in (found.scatter_u_w, found.scatter_half_w, found.unseen_u_w, found.unseen_down_w, found.steps_u_w):
        assert 0 <= value < math.inf
    assert around.low_w - 1e-9 <= found.low_w <= mean_w + 1e-9
    assert mean_w - 1e-9 <= found.high_w <= around.high_w + 1e-9
    assert 1 <= found.n_effective <= 4 * len(values) + 4
