"""Joules from samples and from counter edges, against sums worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import measurement_of, source_energy_of
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MeasurementInvalid
from harness.measure.energy import busy_energy_j, counter_energy, idle_share_j, integrate_power, published_readings

# A ramp from 0 W at 0 s to 100 W at 2 s, then flat until 5 s.
RAMP_S = np.array([0.0, 2.0, 5.0])
RAMP_W = np.array([0.0, 100.0, 100.0])


@st.composite
def traces(draw):
    """Rising times and powers, and three instants within."""
    steps = draw(st.lists(st.floats(min_value=0.001, max_value=1.0), min_size=1, max_size=30))
    t_s = np.cumsum([draw(st.floats(min_value=-1e4, max_value=1e5)), *steps])
    power = st.floats(min_value=0.0, max_value=1000.0)
    power_w = np.array(draw(st.lists(power, min_size=len(t_s), max_size=len(t_s))))
    inside = st.floats(min_value=0.0, max_value=1.0)
    instants = sorted(float(t_s[0] + (t_s[-1] - t_s[0]) * draw(inside)) for _ in range(3))
    return t_s, power_w, [min(max(t, t_s[0]), t_s[-1]) for t in instants]


# --- the integral ---


def test_hundred_watts_for_two_seconds_are_two_hundred_joules():
    t_s = np.arange(0.0, 3.0, 0.02)
    assert integrate_power(t_s, np.full(len(t_s), 100.0), 0.5, 2.5) == pytest.approx(200.0, rel=1e-12)


def test_window_may_begin_at_zero():
    assert integrate_power(np.array([0.0, 1.0]), np.array([100.0, 100.0]), 0.0, 1.0) == 100.0


@pytest.mark.parametrize(
    ("start_s", "end_s", "energy_j"),
    [
        (0.0, 2.0, 100.0),  # the triangle
        (0.0, 5.0, 400.0),
        (1.0, 2.0, 75.0),  # edges between samples are interpolated: from 50 W to 100 W
        (1.0, 3.0, 175.0),
        (2.5, 3.0, 50.0),
        (4.0, 4.0, 0.0),
    ],
)
def test_ramp_worked_by_hand(start_s, end_s, energy_j):
    assert integrate_power(RAMP_S, RAMP_W, start_s, end_s) == pytest.approx(energy_j, rel=1e-12)


@given(traces())
def test_two_parts_of_a_window_add_up_to_the_whole(trace):
    t_s, power_w, (start_s, middle_s, end_s) = trace
    parts = integrate_power(t_s, power_w, start_s, middle_s) + integrate_power(t_s, power_w, middle_s, end_s)
    assert parts == pytest.approx(integrate_power(t_s, power_w, start_s, end_s), rel=1e-6, abs=1e-6)


@given(traces())
def test_energy_lies_between_the_lowest_and_the_highest_power(trace):
    t_s, power_w, (start_s, _, end_s) = trace
    energy_j = integrate_power(t_s, power_w, start_s, end_s)
    slack = 1e-6 * (1 + abs(energy_j))
    assert power_w.min() * (end_s - start_s) - slack <= energy_j <= power_w.max() * (end_s - start_s) + slack


@given(traces(), st.integers(min_value=0, max_value=28))
def test_a_sample_on_the_line_between_its_neighbours_changes_nothing(trace, index):
    t_s, power_w, (start_s, _, end_s) = trace
    index %= len(t_s) - 1
    between_s = (t_s[index] + t_s[index + 1]) / 2
    finer_s = np.insert(t_s, index + 1, between_s)
    finer_w = np.insert(power_w, index + 1, np.interp(between_s, t_s, power_w))
    coarse_j = integrate_power(t_s, power_w, start_s, end_s)
    assert integrate_power(finer_s, finer_w, start_s, end_s) == pytest.approx(coarse_j, rel=1e-6, abs=1e-6)


@given(traces(), st.floats(min_value=0.1, max_value=10.0))
def test_twice_the_power_is_twice_the_energy(trace, factor):
    t_s, power_w, (start_s, _, end_s) = trace
    single_j = integrate_power(t_s, power_w, start_s, end_s)
    assert integrate_power(t_s, power_w * factor, start_s, end_s) == pytest.approx(single_j * factor, rel=1e-9)


@pytest.mark.parametrize(("start_s", "end_s"), [(-0.001, 1.0), (4.0, 5.001), (6.0, 7.0), (-3.0, -2.0)])
def test_uncovered_window_has_no_energy(start_s, end_s):
    with pytest.raises(MeasurementInvalid, match=r"covers 0\.000 to 5\.000 s"):
        integrate_power(RAMP_S, RAMP_W, start_s, end_s)


@pytest.mark.parametrize("count", [0, 1])
def test_empty_trace_has_no_energy(count):
    with pytest.raises(MeasurementInvalid, match="power trace covers"):
        integrate_power(RAMP_S[:count], RAMP_W[:count], 0.0, 0.0)


# --- the counter ---


def test_counter_difference_is_the_energy():
    assert counter_energy(1_000_000.0, 1_000_200.0) == 200.0


def test_counter_that_does_not_move_reads_zero():
    assert counter_energy(5.0, 5.0) == 0.0


def test_decreasing_counter_voids_the_window():
    with pytest.raises(MeasurementInvalid, match=r"went backwards, from 200\.000 J to 3\.000 J"):
        counter_energy(200.0, 3.0)


# --- shares ---


def test_gross_energy_leaves_the_gaps_out():
    assert busy_energy_j(source_energy_of(energy_j=3000.0, gap_energy_j=100.0)) == 2900.0


def test_idle_share_counts_busy_time_only():
    window = measurement_of(busy_s=10.0, end_s=30.0)
    assert idle_share_j(window, source_energy_of(idle_power_w=50.0)) == 500.0


# --- one value per sensor period ---


def test_each_reading_counts_once_however_often_it_is_polled():
    t_s = 10.0 + np.arange(80) / 64  # ten periods of an eighth of a second, eight polls each
    power_w = np.repeat(np.arange(10.0), 8)
    assert published_readings(t_s, power_w, 1 / 8).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_no_polls_are_no_readings():
    assert len(published_readings(np.array([]), np.array([]), 0.1)) == 0


def test_polls_slower_than_the_sensor_are_all_kept():
    t_s = np.arange(8) * 0.25
    assert published_readings(t_s, t_s, 0.1).tolist() == t_s.tolist()


@given(
    st.lists(st.floats(min_value=0.001, max_value=0.5), min_size=1, max_size=60), st.floats(min_value=0.02, max_value=1)
)
def test_there_are_never_more_readings_than_periods(gaps_s, period_s):
    t_s = np.cumsum(gaps_s)
    kept = published_readings(t_s, np.arange(len(t_s), dtype=float), period_s)
    assert 1 <= len(kept) <= int((t_s[-1] - t_s[0]) / period_s) + 1
    assert kept[-1] == len(t_s) - 1
    assert (np.diff(kept) > 0).all()
