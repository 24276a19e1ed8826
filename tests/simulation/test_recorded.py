"""Recorded power played again: worked by hand, and against brute force."""

from __future__ import annotations

import math
from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import VirtualClock
from harness.errors import UserInputError
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.simulation.profiles import board
from harness.simulation.recorded import RecordedPowerModel, Recording

A100 = board("A100-SXM4-80GB")
TAU_S = A100.sensor.tau_s  # 12.5 ms
# 100 W for 2 s, 300 W for 1 s: 500 J in a round of 3 s.
TWO_STEPS = Recording((0.0, 2.0, 3.0), (100.0, 300.0))


def playing(recording: Recording = TWO_STEPS, position_s: float = 0.0) -> RecordedPowerModel:
    model = RecordedPowerModel(A100, recording, idle_w=60.0, start_s=0.0, position_s=position_s)
    model.set_load(10.0, 1.0)
    return model


def test_ten_seconds_of_rest_and_seven_of_two_steps_worked_by_hand():
    model = playing()
    # Two rounds (1000 J) and 1 s of 100 W, after 10 s at 60 W.
    assert model.energy_j(17.0) == pytest.approx(600 + 1000 + 100)
    assert [model.power_w(t_s) for t_s in (9.99, 10.0, 11.99, 12.0, 12.99, 13.0)] == [60, 100, 100, 300, 300, 100]


def test_recording_goes_on_where_it_was_stopped():
    model = playing()
    model.set_load(12.5, 0.0)
    model.set_load(20.0, 1.0)
    assert model.power_w(15.0) == 60.0
    assert model.power_w(20.49) == 300.0  # the second half of the 300 W
    assert model.power_w(20.51) == 100.0
    assert model.energy_j(21.0) - model.energy_j(12.5) == pytest.approx(7.5 * 60 + 0.5 * 300 + 0.5 * 100)


def test_half_a_load_draws_half_of_what_was_recorded_above_idle():
    model = RecordedPowerModel(A100, TWO_STEPS, idle_w=60.0, start_s=0.0)
    model.set_load(0.0, 0.5)
    assert model.power_w(1.0) == pytest.approx(60 + 0.5 * 40)
    assert model.energy_j(3.0) == pytest.approx(0.5 * 500 + 0.5 * 180)


def test_sensor_response_to_a_step_rises_by_its_time_constant():
    model = playing()
    # At rest it shows 60 W; one time constant into 100 W, 1 - 1/e of the step.
    assert model.first_order_w(10.0) == pytest.approx(60.0)
    assert model.first_order_w(10.0 + TAU_S) == pytest.approx(100 - 40 / math.e)
    assert model.first_order_w(11.9) == pytest.approx(100.0, abs=1e-9)
    model.set_load(11.9, 0.0)
    assert model.first_order_w(11.9 + 2 * TAU_S) == pytest.approx(60 + 40 / math.e**2)


@given(
    steps=st.lists(st.tuples(st.floats(0.001, 0.2), st.floats(20, 500)), min_size=1, max_size=8),
    position_s=st.floats(0, 3),
    played_s=st.floats(0.01, 1.5),
    rests_s=st.lists(st.floats(0.001, 0.1), max_size=3),
)
def test_energy_and_response_are_those_of_a_fine_simulation(steps, position_s, played_s, rests_s):
    edges_s = np.concatenate([[0.0], np.cumsum([duration_s for duration_s, _ in steps])])
    recording = Recording(tuple(map(float, edges_s)), tuple(watts for _, watts in steps))
    model = RecordedPowerModel(A100, recording, idle_w=60.0, start_s=0.0, position_s=position_s)
    # The same, as a list of (duration, watts): pieces of play, each cut where the power changes, and rests between.
    pieces, at_s, now_s = [], position_s, 0.0
    for rest_s in [0.0, *rests_s]:
        model.set_load(now_s, 0.0)
        pieces.append((rest_s, 60.0))
        now_s += rest_s
        model.set_load(now_s, 1.0)
        left_s = played_s
        while left_s > 1e-12:
            within_s = math.fmod(at_s, recording.duration_s)
            index = min(bisect_right(recording.edges_s, within_s) - 1, len(steps) - 1)
            piece_s = min(left_s, max(recording.edges_s[index + 1] - within_s, 1e-9))
            pieces.append((piece_s, recording.watts[index]))
            at_s, left_s = at_s + piece_s, left_s - piece_s
        now_s += played_s
    energy_j = math.fsum(duration_s * watts for duration_s, watts in pieces)
    shown_w = 60.0
    for duration_s, watts in pieces:
        shown_w = watts + (shown_w - watts) * math.exp(-duration_s / TAU_S)
    assert model.energy_j(now_s) == pytest.approx(energy_j, rel=1e-6)
    # An edge is hit within a nanosecond or so by both; the response forgets it.
    assert model.first_order_w(now_s) == pytest.approx(shown_w, abs=0.01)


@given(st.lists(st.floats(20, 500), min_size=2, max_size=30), st.floats(0.01, 0.9), st.floats(1.0, 40.0))
def test_energy_does_not_fall_and_its_slope_is_the_power(watts, first_s, at_s):
    recording = Recording.cut([0.1 * k for k in range(len(watts))], watts, 0.1 * first_s, 0.1 * (len(watts) - 1))
    model = playing(recording)
    step_s = 1e-6
    low_w, high_w = sorted((model.power_w(10 + at_s), model.power_w(10 + at_s + step_s)))
    slope_w = (model.energy_j(10 + at_s + step_s) - model.energy_j(10 + at_s)) / step_s
    assert low_w - 0.01 <= slope_w <= high_w + 0.01


def test_response_of_an_endless_recording_repeats_every_round():
    recording = Recording((0.0, 0.01, 0.03), (400.0, 60.0))
    shown_w = recording.responses_w(TAU_S)
    assert shown_w[-1] == pytest.approx(shown_w[0])
    # Worked by hand: y0 = B + (A + (y0 - A) a - B) b with a = exp(-0.8), b = exp(-1.6), A = 400, B = 60.
    a, b = math.exp(-0.8), math.exp(-1.6)
    assert shown_w[0] == pytest.approx((60 + (400 * (1 - a) - 60) * b) / (1 - a * b))


def test_a_round_may_be_cut_between_two_samples():
    recording = Recording.cut([-1.0, 0.0, 1.0, 2.0], [10.0, 20.0, 30.0, 40.0], -0.5, 1.25)
    assert recording.edges_s == (0.0, 0.5, 1.5, 1.75)
    assert recording.watts == (10.0, 20.0, 30.0)
    assert recording.energy_j(1.75) == pytest.approx(5 + 20 + 7.5)


@pytest.mark.parametrize(
    ("t_s", "watts", "span", "said"),
    [
        ([0.0, 1.0], [1.0, 2.0, 3.0], (0, 1), "as many times as values"),
        ([0.0], [1.0], (0, 1), "two at least"),
        ([0.0, 1.0, 1.0], [1.0, 2.0, 3.0], (0, 1), "do not rise"),
        ([0.0, 1.0], [1.0, math.nan], (0, 1), "not numbers"),
        ([0.0, 1.0], [1.0, 2.0], (-1, 1), "covers 0.000 to 1.000 s"),
        ([0.0, 1.0], [1.0, 2.0], (0.5, 0.5), "not 0.500 to 0.500 s"),
    ],
)
def test_bad_recording_is_refused_in_one_sentence(t_s, watts, span, said):
    with pytest.raises(UserInputError, match=said) as raised:
        Recording.cut(t_s, watts, *span)
    assert raised.value.hint


def test_a_board_warms_by_the_mean_power_of_its_recording():
    model = playing(Recording((0.0, 1.0), (230.0,)))
    # 230 W is 170 W above idle: half of the A100's range from 60 to 400 W.
    assert model.warmth(10.0) == 0.0
    assert model.warmth(10.0 + A100.thermal_tau_s) == pytest.approx(0.5 * (1 - 1 / math.e))
    assert model.warmth(1000.0) == pytest.approx(0.5)


def test_a_planned_load_can_be_taken_back():
    model = playing()
    model.set_load(11.0, 0.0)
    model.forget_after(10.5)
    assert model.power_w(12.5) == 300.0
    assert model.utilisation(12.5) == 1.0


def test_loads_out_of_order_or_out_of_range_are_refused():
    model = playing()
    with pytest.raises(ValueError, match="in order"):
        model.set_load(9.0, 0.0)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        model.set_load(11.0, 1.5)


def test_simulated_board_publishes_and_counts_what_the_recording_draws():
    clock = VirtualClock(0.0)
    recording = Recording((0.0, 100.0), (200.0,))  # a steady 200 W
    model = RecordedPowerModel(A100, recording, idle_w=60.0, start_s=0.0)
    node = SimulatedNode(NodeState("A100-SXM4-80GB", 1, 7, "truth", 0.0, None), clock, [model])
    gpu = node.gpus[0]
    clock.sleep_s(5.0)
    node.set_load(0, 1.0)
    clock.sleep_s(10.0)
    assert gpu.true_energy_j(5.0, 15.0) == pytest.approx(2000.0)
    assert gpu.power_w(clock.now_s()) == pytest.approx(gpu.gain * 200 + gpu.offset_w, abs=0.001)
    # Both counts end at an update of the sensor: whole periods of 200 W, to a counter step.
    counted_j = gpu.counter_j(14.9) - gpu.counter_j(9.9)
    periods = counted_j / 200 / gpu.profile.sensor.period_s
    assert periods == pytest.approx(round(periods), abs=0.02)
    assert round(periods) in (49, 50)
