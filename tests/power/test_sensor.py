"""The sensor model against answers worked out by hand and against slow, plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.power.profiles import SensorProfile
from harness.power.sensor import BoxcarResponse, FirstOrderResponse, kernel_response, quantised, simulate_readings


def sensor(**given) -> SensorProfile:
    content = {"name": "test", "kernel": "boxcar", "period_s": 0.1, "window_s": 0.1, "resolution_w": 0} | given
    return SensorProfile(**content)


# 100 W until 1 s, then a straight line to 200 W at 3 s, then 200 W.
RAMP_S, RAMP_W = np.array([0.0, 1.0, 3.0, 5.0]), np.array([100.0, 100.0, 200.0, 200.0])


def test_boxcar_is_the_mean_of_its_window():
    at = BoxcarResponse(RAMP_S, RAMP_W).at
    assert at(np.array([1.0, 3.0, 5.0]), 1.0) == pytest.approx([100.0, 175.0, 200.0])
    assert at(np.array([2.0]), 2.0) == pytest.approx([112.5])  # 100 for 1 s, then 125 on average for 1 s


def test_boxcar_holds_the_ends_of_the_truth():
    at = BoxcarResponse(RAMP_S, RAMP_W).at
    assert at(np.array([-3.0, 0.5, 9.0, 5.5]), 2.0) == pytest.approx([100.0, 100.0, 200.0, 200.0])
    assert BoxcarResponse(np.array([1.0]), np.array([70.0])).at(np.array([0.0, 3.0]), 0.5) == pytest.approx([70, 70])


def test_first_order_answers_a_step_with_one_exponential():
    t_s, power_w = np.array([0.0, 1.0, 1.0 + 1e-9, 2.0]), np.array([50.0, 50.0, 250.0, 250.0])
    answer_w = FirstOrderResponse(t_s, power_w, 0.0125).at(np.array([0.5, 1.0125, 1.025, 1.125]))
    expected_w = [50.0, 250 - 200 * math.exp(-1), 250 - 200 * math.exp(-2), 250 - 200 * math.exp(-10)]
    assert answer_w == pytest.approx(expected_w, abs=1e-4)


def test_first_order_stays_behind_a_ramp_by_slope_times_tau():
    # After t of a ramp of 50 W/s the lag is 50 tau (1 - exp(-t/tau)).
    answer_w = FirstOrderResponse(RAMP_S, RAMP_W, 0.25).at(np.array([1.5, 3.0, 4.0]))
    lag_w = 50 * 0.25 * (1 - math.exp(-8))
    expected_w = [125 - 12.5 * (1 - math.exp(-2)), 200 - lag_w, 200 - lag_w * math.exp(-4)]
    assert answer_w == pytest.approx(expected_w, abs=1e-9)


def test_first_order_holds_the_ends_of_the_truth():
    response = FirstOrderResponse(RAMP_S, RAMP_W, 0.25)
    assert response.at(np.array([-4.0, 0.0, 50.0])) == pytest.approx([100.0, 100.0, 200.0])
    assert FirstOrderResponse(np.array([1.0]), np.array([70.0]), 0.1).at(np.array([0.0, 3.0])) == pytest.approx(
        [70, 70]
    )


rising = st.lists(st.floats(1e-4, 0.5), min_size=1, max_size=30)
powers = st.floats(0, 700)


def slow_boxcar(t_s, power_w, at_s, width_s):
    fine_s = np.unique(
        np.concatenate([np.linspace(at_s - width_s, at_s, 2001), t_s[(t_s > at_s - width_s) & (t_s < at_s)]])
    )
    fine_w = np.interp(fine_s, t_s, power_w)
    return float(np.sum((fine_w[1:] + fine_w[:-1]) / 2 * np.diff(fine_s)) / width_s)


def slow_first_order(t_s, power_w, at_s, tau_s):
    """Step by step, by the closed answer to a ramp."""
    inner = t_s[(t_s > t_s[0]) & (t_s < at_s)]
    times = np.concatenate([[t_s[0]], inner, [at_s]])
    level_w = power_w[0]
    for start_s, end_s in itertools.pairwise(times):
        start_w, end_w = np.interp([start_s, end_s], t_s, power_w)
        h_s = end_s - start_s
        slope = (end_w - start_w) / h_s if h_s > 0 else 0.0
        level_w = end_w - slope * tau_s + (level_w - start_w + slope * tau_s) * math.exp(-h_s / tau_s)
    return level_w


@given(rising, st.data(), st.floats(1e-3, 3))
def test_boxcar_agrees_with_a_fine_integral(steps_s, data, width_s):
    t_s = np.concatenate([[0.0], np.cumsum(steps_s)])
    power_w = np.array(data.draw(st.lists(powers, min_size=len(t_s), max_size=len(t_s))))
    at_s = data.draw(st.floats(-1, float(t_s[-1]) + 1))
    assert BoxcarResponse(t_s, power_w).at(np.array([at_s]), width_s)[0] == pytest.approx(
        slow_boxcar(t_s, power_w, at_s, width_s), abs=1e-6
    )


@given(rising, st.data(), st.floats(1e-5, 3))
def test_first_order_agrees_with_a_step_by_step_loop(steps_s, data, tau_s):
    t_s = np.concatenate([[0.0], np.cumsum(steps_s)])
    power_w = np.array(data.draw(st.lists(powers, min_size=len(t_s), max_size=len(t_s))))
    at_s = data.draw(st.floats(0, float(t_s[-1]) + 1))
    assert FirstOrderResponse(t_s, power_w, tau_s).at(np.array([at_s]))[0] == pytest.approx(
        slow_first_order(t_s, power_w, at_s, tau_s), abs=1e-6
    )


@given(st.floats(1e-4, 1), st.sampled_from(["boxcar", "first_order"]), st.integers(0, 2**32 - 1))
def test_response_stays_between_the_least_and_the_most_power(window_s, kernel, seed):
    rng = np.random.default_rng(seed)
    t_s = np.cumsum(rng.uniform(1e-4, 0.01, 500))
    power_w = rng.uniform(20, 400, 500)
    answer_w = kernel_response(t_s, power_w, rng.uniform(-1, t_s[-1] + 1, 200), kernel, window_s)
    assert answer_w.min() >= power_w.min() - 1e-6
    assert answer_w.max() <= power_w.max() + 1e-6


def test_long_trace_with_a_short_time_constant_crosses_many_blocks_without_loss():
    t_s = np.arange(0, 20, 2e-4)
    power_w = 200 + 100 * np.sin(2 * math.pi * 3 * t_s)
    tau_s, omega = 0.001, 2 * math.pi * 3
    expected_w = 200 + 100 / math.hypot(1, omega * tau_s) * np.sin(omega * t_s - math.atan(omega * tau_s))
    assert FirstOrderResponse(t_s, power_w, tau_s).at(t_s)[1000:] == pytest.approx(expected_w[1000:], abs=2e-4)
    # 0.18 mW is what a straight line between samples leaves out: 100 W * omega^2 * (0.2 ms)^2 / 8


# --- readings ---


def test_readings_come_on_the_phase_with_the_one_in_force_first():
    readings = simulate_readings(RAMP_S, RAMP_W, sensor(period_s=1.0, window_s=1.0), phase_s=0.25)
    assert readings.t_s.tolist() == [-0.75, 0.25, 1.25, 2.25, 3.25, 4.25]
    # [0.25, 1.25]: 0.75 s at 100, then 0.25 s at 106.25 on average
    assert readings.power_w[:3] == pytest.approx([100.0, 100.0, 101.5625])
    assert readings.at(np.array([0.0, 0.25, 1.3])) == pytest.approx([100.0, 100.0, 101.5625])


def test_delay_shows_the_past():
    late = simulate_readings(RAMP_S, RAMP_W, sensor(period_s=1.0, window_s=1.0, delay_s=0.5), phase_s=0.5)
    prompt = simulate_readings(RAMP_S, RAMP_W, sensor(period_s=1.0, window_s=1.0), phase_s=0.0)
    shown = {round(t_s + 0.5, 6): w for t_s, w in zip(prompt.t_s, prompt.power_w, strict=True)}
    assert all(shown.get(round(t_s, 6), w) == pytest.approx(w) for t_s, w in zip(late.t_s, late.power_w, strict=True))
    assert late.at(np.array([3.5]))[0] == pytest.approx(175.0)  # mean over [2, 3]


def test_running_mean_of_ten_boxcars_that_touch_is_one_boxcar_ten_times_as_wide():
    rng = np.random.default_rng(1)
    t_s = np.arange(0, 5, 0.001)
    power_w = rng.uniform(50, 350, len(t_s))
    mean = simulate_readings(t_s, power_w, sensor(mean_of=10))
    wide = simulate_readings(t_s, power_w, sensor(window_s=1.0))
    assert mean.t_s == pytest.approx(wide.t_s)
    assert mean.power_w == pytest.approx(wide.power_w, abs=1e-9)


def test_gain_offset_and_resolution_come_after_the_kernel():
    readings = simulate_readings(RAMP_S, RAMP_W, sensor(gain=0.95, offset_w=-2.0, resolution_w=0.5))
    assert readings.power_w[0] == 93.0  # 0.95 * 100 - 2
    assert readings.power_w[-1] == 188.0
    assert set(np.round(readings.power_w * 2) - readings.power_w * 2) == {0.0}
    assert quantised(np.array([1.234]), 0.0).tolist() == [1.234]


@settings(max_examples=50)
@given(st.floats(0.005, 1), st.floats(0.005, 1.5), st.floats(-2, 2), st.integers(1, 12))
def test_steady_power_reads_steady_whatever_the_sensor(period_s, window_s, phase_s, mean_of):
    for kernel in ("boxcar", "first_order"):
        profile = sensor(kernel=kernel, period_s=period_s, window_s=window_s, mean_of=mean_of, gain=0.9, offset_w=5)
        readings = simulate_readings(np.array([0.0, 1.0, 4.0]), np.full(3, 200.0), profile, phase_s)
        assert readings.power_w == pytest.approx(185.0)
        assert readings.t_s[0] <= 0.0 < readings.t_s[0] + period_s * (1 + 1e-9)
        assert readings.t_s[-1] <= 4.0 + 1e-9
