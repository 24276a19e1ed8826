"""An energy counter's step and its mean power between two increments, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.counter import adds_up_readings, counter_rate, counter_step_j


def test_step_is_what_divides_every_increment():
    increments_j = [6.0, 9.0, 15.0, 21.0, 6.0, 9.0, 15.0, 21.0, 6.0, 9.0]
    assert counter_step_j(1e6 + np.cumsum([0.0, *increments_j])) == pytest.approx(3.0)


def test_step_of_a_counter_in_millijoules_is_one_millijoule():
    increments_j = [6.001, 6.003, 6.004] * 4
    assert counter_step_j(np.cumsum([123.456, *increments_j])) == pytest.approx(0.001)


@given(
    step_mj=st.integers(1, 20_000),
    multiples=st.lists(st.integers(0, 50), min_size=12, max_size=60),
    start_mj=st.integers(0, 10**11),
    repeats=st.integers(1, 3),
)
def test_step_times_any_multiples_is_found_again(step_mj, multiples, start_mj, repeats):
    moved = [each for each in multiples if each]
    values_j = np.repeat((start_mj + np.cumsum([0, *multiples]) * step_mj) / 1000, repeats)
    found = counter_step_j(values_j)
    if len(moved) < 10 or len(set(moved)) < 2:
        assert found is None
    else:
        assert found == pytest.approx(step_mj * math.gcd(*moved) / 1000)


def test_increments_of_one_size_or_too_few_tell_no_step():
    assert counter_step_j(np.arange(20) * 0.5) is None
    assert counter_step_j(np.array([0.0, 1.0, 3.0, 4.0])) is None


def test_looks_that_read_nothing_are_left_out():
    values_j = np.array([0.0, np.nan, 2.0, 5.0, 7.0, np.nan, 10.0, 12.0, 15.0, 17.0, 20.0, 22.0, 25.0, 27.0])
    assert counter_step_j(values_j) == pytest.approx(1.0)


# Looks every 10 ms at a counter that gains 20 J every 100 ms: 200 W.
LOOKS_S = np.arange(0.0, 2.005, 0.01)
COUNTED_J = 1000.0 + 20.0 * np.floor(LOOKS_S / 0.1 + 1e-6)


def test_rate_is_the_difference_between_first_and_last_increment_over_their_times():
    rate = counter_rate(LOOKS_S, COUNTED_J, 0.25, 1.75, step_j=0.001)
    assert rate is not None
    assert (rate.start_s, rate.end_s) == (pytest.approx(0.295), pytest.approx(1.695))
    assert rate.power_w == pytest.approx(200.0)
    # Two looks of 10 ms, rectangular, at 200 W over 1.4 s: 200 * 0.01 * sqrt(2 / 12) / 1.4, and no step to speak of.
    assert rate.u_w == pytest.approx(200 * 0.01 * math.sqrt(2 / 12) / 1.4, rel=1e-4)


def test_a_coarse_step_widens_the_rate():
    rate = counter_rate(LOOKS_S, COUNTED_J, 0.25, 1.75, step_j=20.0)
    assert rate is not None
    assert rate.u_w == pytest.approx(math.hypot(2.0, 20.0) * math.sqrt(2 / 12) / 1.4, rel=1e-4)


def test_a_counter_that_goes_backwards_or_stands_still_gives_no_rate():
    assert counter_rate(LOOKS_S, np.where(LOOKS_S > 1.0, COUNTED_J - 500, COUNTED_J), 0.0, 2.0, 0.001) is None
    assert counter_rate(LOOKS_S, np.full_like(LOOKS_S, 7.0), 0.0, 2.0, 0.001) is None
    assert counter_rate(LOOKS_S, np.full_like(LOOKS_S, np.nan), 0.0, 2.0, 0.001) is None


# --- what it counts ---

PUBLISHED_S = np.arange(1, 101) * 0.1
SLOW_LOOKS_S = np.arange(1, 52) * 0.2 + 0.01  # every second reading


def looked_at(counts_j):
    """The counter at each look: all that was counted at the publications before."""
    return (
        1000.0 + np.concatenate([[0.0], np.cumsum(counts_j)])[np.searchsorted(PUBLISHED_S, SLOW_LOOKS_S, side="right")]
    )


@given(st.integers(0, 99), st.floats(0.9, 1.1), st.floats(-1.0, 1.0))
def test_counter_that_adds_up_readings_is_recognised_whatever_its_gain_and_offset(seed, gain, offset_j):
    readings_w = np.random.default_rng(seed).uniform(100, 300, 100)
    counts_j = np.round(gain * readings_w * 0.1 + offset_j, 3)
    assert adds_up_readings(PUBLISHED_S, readings_w, SLOW_LOOKS_S, looked_at(counts_j))


@given(st.integers(0, 99))
def test_counter_that_shows_what_readings_miss_is_another(seed):
    true_w = np.random.default_rng(seed).uniform(100, 300, (100, 4))  # four parts of a period; the sensor sees the last
    assert not adds_up_readings(PUBLISHED_S, true_w[:, 3], SLOW_LOOKS_S, looked_at(true_w.mean(axis=1) * 0.1))


def test_looks_at_the_time_of_a_publication_are_passed_over():
    readings_w = np.random.default_rng(1).uniform(100, 300, 100)
    looks_s = SLOW_LOOKS_S.copy()
    looks_s[20] -= 0.012  # 2 ms before the publication: the counter has moved already
    assert adds_up_readings(PUBLISHED_S, readings_w, looks_s, looked_at(readings_w * 0.1))
    looks_s[20] -= 0.010  # so long before, it can not have
    assert not adds_up_readings(PUBLISHED_S, readings_w, looks_s, looked_at(readings_w * 0.1))


def test_counter_that_moves_at_other_times_is_another():
    readings_w = np.random.default_rng(0).uniform(100, 300, 100)
    assert not adds_up_readings(PUBLISHED_S - 0.1, readings_w, SLOW_LOOKS_S, looked_at(readings_w * 0.1))


def test_too_few_looks_or_increments_that_are_all_alike_say_no():
    readings_w = np.linspace(100, 300, 100)
    looks_j = looked_at(readings_w * 0.1)
    assert adds_up_readings(PUBLISHED_S, readings_w, SLOW_LOOKS_S[:11], looks_j[:11])
    assert not adds_up_readings(PUBLISHED_S, readings_w, SLOW_LOOKS_S[:10], looks_j[:10])
    assert not adds_up_readings(PUBLISHED_S, np.full(100, 200.0), SLOW_LOOKS_S[:50], looked_at(np.full(100, 20.0))[:50])
    assert not adds_up_readings(PUBLISHED_S, readings_w, SLOW_LOOKS_S, np.full(51, np.nan))
    assert not adds_up_readings(PUBLISHED_S[:0], readings_w[:0], SLOW_LOOKS_S, looks_j)


def test_looks_that_are_missing_hide_nothing():
    readings_w = np.random.default_rng(3).uniform(100, 300, 100)
    looks_j = looked_at(readings_w * 0.1)
    looks_j[[7, 8, 30]] = np.nan
    assert adds_up_readings(PUBLISHED_S, readings_w, SLOW_LOOKS_S, looks_j)
