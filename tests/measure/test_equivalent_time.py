"""Batches that repeat, sampled here and there: means worked by hand, and loads whose mean is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.equivalent_time import cycle_mean


def sampled(power_w, starts_s, end_s, period_s=0.1, first_s=0.0):
    """Readings of a power that depends on the time since the start of the batch alone."""
    at_s = np.arange(first_s, end_s + period_s, period_s)
    since_s = at_s - starts_s[np.clip(np.searchsorted(starts_s, at_s, side="right") - 1, 0, None)]
    return at_s, power_w(since_s)


def test_weights_worked_by_hand():
    # Two batches of 1 s, read at 0.0, 0.4, 0.8 of the first and at 0.2, 0.6 of the second, twice over.
    starts_s = np.array([0.0, 1.0, 2.0, 3.0])
    at_s = np.arange(0.0, 4.0, 0.4)
    readings_w = np.where(at_s % 2 == 0, 200.0, 100.0)  # 200 W in the first tenth of a batch, as the readings have it
    found = cycle_mean(starts_s, 4.0, at_s, readings_w)
    assert found is not None
    # In order: 0, 0, 0.2, 0.2, 0.4, 0.4, ... : the two at 0 stand for 0 to 0 and 0 to 0.1 of each of the four batches.
    assert found.power_w == pytest.approx((0.1 * 200 + 0.9 * 100) / 1.0)
    assert found.plain_w == pytest.approx((2 * 200 + 8 * 100) / 10)


def test_pauses_of_unequal_length_count_as_long_as_they_were():
    # 300 W for 1 s, then 100 W for 0.1 or 0.3 s: in 10 batches 3,000 J and 200 J over 12 s.
    lengths_s = np.tile([1.1, 1.3], 5)
    starts_s = np.concatenate([[0.0], np.cumsum(lengths_s)[:-1]])
    found = cycle_mean(starts_s, 12.0, *sampled(lambda t: np.where(t < 1.0, 300.0, 100.0), starts_s, 12.0, 0.013))
    assert found is not None
    assert found.power_w == pytest.approx(3200 / 12, abs=0.3)


@given(st.floats(0.0, 1.0), st.floats(0.003, 0.2), st.floats(0.2, 0.8))
def test_beat_inside_a_batch_is_weighed_out(phase, detuning, duty):
    # Bursts of nearly the period of 0.1 s, ten to a batch, ten batches whose starts step round it by the golden ratio.
    cycle_s = 0.1 * (1 + detuning)
    length_s = 10 * cycle_s
    steps = (phase + 0.381966 * np.arange(10)) % 1.0
    starts_s = np.arange(10) * (length_s + 0.1)
    starts_s = starts_s + ((steps - starts_s / 0.1) % 1.0) * 0.1
    end_s = float(starts_s[-1] + length_s)
    at_s = np.arange(0.0, end_s, 0.1)

    def power_w(t_s):
        since_s = t_s - starts_s[np.clip(np.searchsorted(starts_s, t_s, side="right") - 1, 0, None)]
        return np.where((since_s < length_s) & (since_s % cycle_s < duty * cycle_s), 300.0, 100.0)

    found = cycle_mean(starts_s, end_s, at_s, power_w(at_s))
    assert found is not None
    fine_s = np.arange(starts_s[0], end_s, 1e-4)
    assert abs(found.power_w - power_w(fine_s).mean()) < 2.5 * found.u_w


def test_noise_that_does_not_repeat_is_as_doubtful_as_its_scatter():
    rng = np.random.default_rng(0)
    starts_s = np.arange(10) * 1.0381966
    at_s = np.arange(0.0, 10.38, 0.1)
    found = [cycle_mean(starts_s, 10.38, at_s, 200 + rng.normal(0, 20, len(at_s))) for _ in range(300)]
    means_w = np.array([mean.power_w for mean in found if mean])
    # Uneven cells cost up to a fourth beside 20 / sqrt(104); 300 draws know it to 4 %.
    assert 0.9 < float(np.std(means_w)) / (20 / math.sqrt(104)) < 1.3
    assert float(np.median([mean.u_w for mean in found if mean])) == pytest.approx(float(np.std(means_w)), rel=0.25)


def test_what_sticks_together_in_time_is_worth_less():
    rng = np.random.default_rng(1)
    starts_s = np.arange(10) * 1.0381966
    at_s = np.arange(0.0, 10.38, 0.1)
    blocks = np.repeat(rng.normal(0, 20, 11), 10)[: len(at_s)]  # a second of each draw: ten of them, not a hundred
    found = cycle_mean(starts_s, 10.38, at_s, 200 + blocks)
    assert found is not None
    assert found.u_w > 0.6 * float(np.std(blocks)) / math.sqrt(10)


def test_too_few_readings_say_nothing():
    assert cycle_mean(np.array([0.0, 0.5]), 0.9, np.arange(0, 0.9, 0.1), np.full(9, 100.0)) is None
