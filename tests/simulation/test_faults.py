"""What a fault makes of a simulated board, against loads set by hand, sums worked out by hand and quadrature."""

from __future__ import annotations

import itertools
import math
import pickle
import random
from dataclasses import replace

import numpy as np
import pynvml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.clock import VirtualClock
from harness.simulated_node import SimulatedFault, SimulatedNodeSpec
from harness.simulation.gpu import FOREIGN_PID, PUBLICATION_DELAY_S, NodeState, SimulatedGpu, SimulatedNode
from harness.simulation.nvml import installed

START_S = 1000.0
STATE = NodeState("A100-SXM4-80GB", 1, seed=4, counter="sensor", start_s=START_S, load_path=None)
WRAP_J = 2**32 / 1000


def fault(kind, at_s, duration_s=None, value=None, gpu=0) -> SimulatedFault:
    return SimulatedFault(kind=kind, at_s=at_s, duration_s=duration_s, value=value, gpu=gpu)


def node_of(*faults, calibrated=True, **changes) -> SimulatedNode:
    node = SimulatedNode(replace(STATE, faults=faults, **changes), VirtualClock(START_S))
    if calibrated:
        for gpu in node.gpus:
            gpu.gain, gpu.offset_w = 1.0, 0.0
    return node


def play(node: SimulatedNode, history, until_s: float) -> SimulatedGpu:
    """Set these loads at these times (seconds from the start), then go on until that time."""
    for at_s, utilisation in history:
        node.clock.sleep_s(START_S + at_s - node.clock.now_s())
        node.set_load(0, utilisation)
    node.clock.sleep_s(START_S + until_s - node.clock.now_s())
    return node.gpus[0]


def shown(gpu: SimulatedGpu, t_s: float):
    return gpu.power_w(t_s), gpu.average_power_w(t_s), gpu.counter_j(t_s), gpu.utilisation(t_s)


def assert_same(one: SimulatedGpu, other: SimulatedGpu, until_s: float) -> None:
    for index in range(int(until_s / 0.05)):
        t_s = START_S + index * 0.05
        assert shown(one, t_s) == pytest.approx(shown(other, t_s), rel=1e-9, abs=0.0021)
        assert one.true_power_w(t_s) == pytest.approx(other.true_power_w(t_s), rel=1e-9)
        assert one.true_energy_j(START_S, t_s) == pytest.approx(other.true_energy_j(START_S, t_s), rel=1e-9)


# --- loads of others, and slowdowns ---


@pytest.mark.parametrize("kind", ["foreign-load", "hidden-load"])
def test_load_of_another_is_a_load_like_ours(kind):
    disturbed = play(node_of(fault(kind, 2.0, 1.0, 0.4)), [(1.0, 0.3), (1.5, 0.0), (2.5, 0.3), (3.5, 0.0)], 5.0)
    by_hand = play(node_of(), [(1.0, 0.3), (1.5, 0.0), (2.0, 0.4), (2.5, 0.7), (3.0, 0.3), (3.5, 0.0)], 5.0)
    assert_same(disturbed, by_hand, 5.0)


def test_load_of_another_cannot_drive_a_board_beyond_its_range():
    gpu = play(node_of(fault("hidden-load", 1.0, 1.0, 0.6)), [(0.5, 0.9)], 3.0)
    assert [gpu.utilisation(START_S + at_s) for at_s in (0.9, 1.0, 1.999, 2.0)] == [0.9, 1.0, 1.0, 0.9]


def test_power_rises_by_half_the_range_under_half_a_load():
    gpu = play(node_of(fault("hidden-load", 1.0, 1.0, 0.5)), [], 3.0)
    # 60 W idle, 400 W limit: 60 + 0.5 * 340 = 230 W for a second, with ripple and the first of the warming; an uplift
    # of up to 25 W follows it, 0.7 s * 25 W = 17.5 J in all.
    assert gpu.true_energy_j(START_S, START_S + 1.0) == pytest.approx(60.0)
    assert gpu.true_energy_j(START_S + 1.0, START_S + 2.0) == pytest.approx(230.0, rel=0.01)
    assert gpu.true_energy_j(START_S + 2.0, START_S + 3.0) == pytest.approx(
        60 + 17.5 * (1 - math.exp(-1 / 0.7)), abs=0.2
    )


def test_only_a_process_that_is_not_hidden_is_listed():
    faults = fault("foreign-load", 1.0, 1.0, 0.2), fault("hidden-load", 3.0, 1.0, 0.2)
    with installed(node := node_of(*faults)):
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        seen = []
        for _ in range(5):
            node.clock.sleep_s(0.5)
            pids = [process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)]
            seen.append((FOREIGN_PID in pids, pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))
            node.clock.sleep_s(0.5)
    assert seen == [(False, 0), (True, 20), (False, 0), (False, 20), (False, 0)]


@pytest.mark.parametrize(
    ("kind", "bits"), [("throttle", 0x8), ("thermal-throttle", 0x20), ("power-cap", 0x4), ("clock-step", 0x0)]
)
def test_slowdown_lowers_clock_and_load_and_gives_its_reason(kind, bits):
    gpu = play(node_of(fault(kind, 1.0, 1.0, 0.7)), [(0.5, 0.8)], 3.0)
    by_hand = play(node_of(), [(0.5, 0.8), (1.0, 0.8 * 0.7), (2.0, 0.8)], 3.0)
    assert_same(gpu, by_hand, 3.0)
    clocks_hz = [gpu.clock_hz(START_S + at_s) for at_s in (0.9, 1.0, 1.9, 2.0)]
    assert clocks_hz == pytest.approx([1410e6, 987e6, 987e6, 1410e6])
    assert [gpu.throttle_reasons(START_S + at_s) for at_s in (0.4, 0.9, 1.0, 1.9, 2.0)] == [1, 0, bits, bits, 0]


def test_slowdown_of_an_idle_board_does_not_show():
    gpu = play(node_of(fault("throttle", 0.0, None, 0.5)), [], 2.0)
    assert (gpu.clock_hz(START_S + 1), gpu.throttle_reasons(START_S + 1)) == (210e6, 0x1)
    assert gpu.true_energy_j(START_S, START_S + 2.0) == pytest.approx(120.0)


def test_slowdowns_at_once_multiply_and_keep_both_reasons():
    gpu = play(node_of(fault("throttle", 1.0, 2.0, 0.5), fault("power-cap", 2.0, 2.0, 0.5)), [(0.5, 0.8)], 5.0)
    assert [gpu.utilisation(START_S + at_s) for at_s in (0.9, 1.5, 2.5, 3.5, 4.5)] == [0.8, 0.4, 0.2, 0.4, 0.8]
    assert [gpu.throttle_reasons(START_S + at_s) for at_s in (1.5, 2.5, 3.5, 4.5)] == [0x8, 0xC, 0x4, 0x0]


instants = st.floats(min_value=0.2, max_value=4.0)  # a load set before a sensor's first reading is not in that reading
fractions = st.floats(min_value=0.05, max_value=1.0)
load_faults = st.lists(
    st.builds(
        fault,
        st.sampled_from(["foreign-load", "hidden-load", "throttle", "clock-step"]),
        instants,
        st.none() | st.floats(min_value=0.01, max_value=3.0),
        fractions,
    ),
    max_size=4,
)
own_loads = st.lists(st.tuples(instants, st.floats(min_value=0.0, max_value=1.0)), max_size=4).map(sorted)


@settings(max_examples=60)
@given(load_faults, own_loads)
def test_any_faults_are_what_their_loads_set_by_hand_would_be(faults, history):
    disturbed = play(node_of(*faults), history, 5.0)
    ends_s = [each.at_s + each.duration_s for each in faults if each.duration_s is not None]
    changes_s = sorted({0.0, *(at_s for at_s, _ in history), *(each.at_s for each in faults), *ends_s})

    def driven(at_s):
        own = next((load for begins_s, load in reversed(history) if begins_s <= at_s), 0.0)
        foreign = 0.0
        for each in faults:
            if each.at_s <= at_s and (each.duration_s is None or at_s < each.at_s + each.duration_s):
                if each.kind in ("foreign-load", "hidden-load"):
                    foreign += each.value
                else:
                    own *= each.value
        return min(1.0, own + foreign)

    by_hand = play(node_of(), [(at_s, driven(at_s)) for at_s in changes_s if at_s < 5.0], 5.0)
    for index in range(100):
        t_s = START_S + index * 0.05 + 0.01
        energies_j = disturbed.true_energy_j(START_S, t_s), by_hand.true_energy_j(START_S, t_s)
        assert energies_j[0] == pytest.approx(energies_j[1], rel=1e-6)
        assert disturbed.counter_j(t_s) == pytest.approx(by_hand.counter_j(t_s), abs=0.05)


def test_load_that_arrives_late_from_another_process_changes_what_was_planned():
    early = node_of(fault("hidden-load", 1.0, 1.0, 0.3))
    early.gpus[0].power_w(START_S + 1.2)  # as a sampler that looked before it heard of the load at 0.9 s
    early.gpus[0].set_load(START_S + 0.9, 0.5)
    early.gpus[0].set_load(START_S + 1.5, 0.0)
    by_hand = play(node_of(), [(0.9, 0.5), (1.0, 0.8), (1.5, 0.3), (2.0, 0.0)], 3.0)
    for at_s in (0.95, 1.2, 1.7, 2.5, 3.0):
        expected_j = by_hand.true_energy_j(START_S, START_S + at_s)
        assert early.gpus[0].true_energy_j(START_S, START_S + at_s) == pytest.approx(expected_j)


def test_own_loads_out_of_order_are_refused_as_on_a_sound_board():
    gpu = node_of(fault("hidden-load", 1.0, 1.0, 0.3)).gpus[0]
    gpu.set_load(START_S + 0.9, 0.5)
    with pytest.raises(ValueError, match="in order"):
        gpu.set_load(START_S + 0.8, 0.2)
    with pytest.raises(ValueError, match="utilisation"):
        gpu.set_load(START_S + 1.5, 1.3)


def test_fault_is_on_its_own_board_only():
    node = node_of(fault("hidden-load", 1.0, 1.0, 0.5, gpu=1), fault("gpu-lost", 1.0, gpu=2), gpu_count=3)
    node.clock.sleep_s(3.0)
    assert [gpu.utilisation(START_S + 1.5) for gpu in node.gpus] == [0.0, 0.5, 0.0]
    assert [gpu.faults.nvml_error(START_S + 1.5, of_sensor=False) for gpu in node.gpus] == [0, 0, 15]


# --- warming ---


def test_drift_warms_the_board_and_its_power_worked_by_hand():
    gpu = play(node_of(fault("thermal-drift", 2.0, 4.0, 10.0)), [], 10.0)
    assert [gpu.temperature_c(START_S + at_s) for at_s in (1.0, 2.0, 3.0, 6.0, 9.0)] == [30.0, 30.0, 32.5, 40.0, 40.0]
    # 2 % of 400 W between 30 and 62 °C are 0.25 W/°C: 2.5 W more in the end.
    assert gpu.true_power_w(START_S + 4.0) == pytest.approx(61.25)
    assert gpu.true_power_w(START_S + 8.0) == pytest.approx(62.5)
    assert gpu.true_energy_j(START_S + 2.0, START_S + 6.0) == pytest.approx(60 * 4 + 2.5 * 4 / 2)
    assert gpu.true_energy_j(START_S + 6.0, START_S + 10.0) == pytest.approx(62.5 * 4)


def test_drifts_add_up_and_may_go_back():
    gpu = play(node_of(fault("thermal-drift", 1.0, 1.0, 4.0), fault("thermal-drift", 3.0, 2.0, -4.0)), [], 8.0)
    temperatures_c = [gpu.temperature_c(START_S + at_s) for at_s in (1.5, 2.5, 4.0, 5.0, 7.0)]
    assert temperatures_c == pytest.approx([32.0, 34.0, 32.0, 30.0, 30.0])
    # 4 °C are 1 W: half a second of it rising, a second whole, a second of it falling.
    assert gpu.true_energy_j(START_S, START_S + 8.0) == pytest.approx(60 * 8 + 0.5 + 1.0 + 1.0)


def test_boxcar_sees_the_mean_of_a_drifting_power():
    node = node_of(fault("thermal-drift", 1.0, 2.0, 50.0), gpu="RTX-3090")
    gpu = play(node, [], 4.0)
    for index in range(30):
        t_s = START_S + 1.0 + index * 0.1
        readings_w = gpu.power_w(t_s)
        # 4 % of 350 W over 34 °C are 0.4118 W/°C, so it rises by 10.29 W/s for 2 s; a reading is the mean over 0.1 s,
        # up to 0.1 s and the delay old.
        latest_s = min(max(t_s - START_S - 1.0 - PUBLICATION_DELAY_S, 0.0), 2.0 + 0.1)
        earliest_w = 30 + 10.294 * min(max(latest_s - 0.1 - 0.05, 0.0), 2.0) - 0.6
        latest_w = 30 + 10.294 * min(latest_s, 2.0) + 0.001
        assert earliest_w <= readings_w <= latest_w


def test_first_order_sensor_follows_a_drift_by_its_time_constant():
    gpu = play(node_of(fault("thermal-drift", 0.0, 100.0, 1000.0)), [], 3.0)
    # 10 °C/s are 2.5 W/s; a first-order sensor of 12.5 ms stays 12.5 ms behind: 0.03125 W.
    times_s = [START_S + 1.0 + index * 0.001 for index in range(1000)]
    readings_w = [gpu.power_w(t_s) for t_s in times_s]
    for earlier, later, t_s in zip(readings_w, readings_w[1:], times_s[1:], strict=False):
        if later != earlier:
            measured_s = t_s - PUBLICATION_DELAY_S
            assert later == pytest.approx(gpu.true_power_w(measured_s) - 0.03125, abs=0.004)  # found to 1 ms


@settings(max_examples=30)
@given(
    st.lists(
        st.builds(
            fault,
            st.just("thermal-drift"),
            instants,
            st.floats(min_value=0.05, max_value=3.0),
            st.floats(min_value=-9, max_value=20).filter(bool),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_drifting_energy_is_the_integral_of_drifting_power(faults):
    gpu = play(node_of(*faults), [], 8.0)
    edges_s = sorted({0.0, 8.0, *(each.at_s for each in faults), *(each.at_s + each.duration_s for each in faults)})
    # Between two edges power is a straight line: its middle is its mean.
    areas_j = [
        gpu.true_power_w(START_S + (first_s + last_s) / 2) * (last_s - first_s)
        for first_s, last_s in itertools.pairwise(edges_s)
    ]
    assert gpu.true_energy_j(START_S, START_S + 8.0) == pytest.approx(sum(areas_j), rel=1e-9)


# --- the counter ---


def idle_counter(*faults, **changes) -> SimulatedGpu:
    """A 3090 at rest: exactly 3 J more every 100 ms."""
    return play(node_of(*faults, gpu="RTX-3090", **changes), [], 10.0)


def steps_of(gpu: SimulatedGpu, start_s: float, end_s: float, look_s: float = 0.01) -> list[float]:
    """By how much the counter moved, each time it was seen to move."""
    count = round((end_s - start_s) / look_s)
    values_j = [gpu.counter_j(START_S + start_s + index * look_s) for index in range(count + 1)]
    return [round(later - earlier, 3) for earlier, later in itertools.pairwise(values_j) if later != earlier]


@pytest.mark.parametrize("counter", ["sensor", "truth"])
def test_counter_that_is_reset_counts_from_zero(counter):
    gpu = idle_counter(fault("counter-reset", 2.0), counter=counter)
    assert gpu.counter_j(START_S + 1.99) > 1e6
    # Within one update after the reset it stands at the 3 J of that update, and rises as before.
    assert gpu.counter_j(START_S + 2.105) == pytest.approx(3.0, abs=0.0011)
    assert gpu.counter_j(START_S + 9.0) == pytest.approx(3.0 + 30 * 6.9, abs=3.01)
    assert set(steps_of(gpu, 3.0, 9.0)) <= {3.0, 3.001, 2.999}


@pytest.mark.parametrize("counter", ["sensor", "truth"])
def test_counter_that_is_stuck_has_caught_up_afterwards(counter):
    stuck, sound = (idle_counter(*faults, counter=counter) for faults in ([fault("counter-stuck", 2.0, 3.0)], []))
    assert len({stuck.counter_j(START_S + 2.003 + index * 0.05) for index in range(60)}) == 1
    assert stuck.counter_j(START_S + 2.003) == sound.counter_j(START_S + 2.002)
    for at_s in (1.0, 1.9, 5.2, 8.0):
        assert stuck.counter_j(START_S + at_s) == sound.counter_j(START_S + at_s)


def test_counter_stuck_for_ever_never_moves_again():
    gpu = idle_counter(fault("counter-stuck", 2.0))
    assert steps_of(gpu, 2.11, 10.0) == []
    assert len(steps_of(gpu, 0.5, 1.5)) == 10


@pytest.mark.parametrize("jump_j", [WRAP_J, -WRAP_J / 1000, 500.0, -500.0])
def test_counter_jumps_at_one_update_and_goes_on(jump_j):
    gpu, sound = idle_counter(fault("counter-jump", 2.0, value=jump_j)), idle_counter()
    assert gpu.counter_j(START_S + 1.9) == sound.counter_j(START_S + 1.9)
    for at_s in (2.103, 3.0, 9.0):
        jumped_j = gpu.counter_j(START_S + at_s) - sound.counter_j(START_S + at_s)
        assert jumped_j == pytest.approx(jump_j, abs=0.0021)


def test_counter_never_falls_below_zero_when_it_jumps_back_after_a_reset():
    gpu = idle_counter(fault("counter-reset", 1.0), fault("counter-jump", 2.0, value=-1e9))
    assert gpu.counter_j(START_S + 1.9) > 0
    assert gpu.counter_j(START_S + 5.0) == 0.0


def test_jump_before_a_reset_is_forgotten_by_it():
    faults = fault("counter-jump", 1.0, value=700.0), fault("counter-reset", 2.0)
    jumped, reset = idle_counter(*faults), idle_counter(faults[1])
    assert jumped.counter_j(START_S + 1.5) - reset.counter_j(START_S + 1.5) == pytest.approx(700.0, abs=0.0021)
    assert jumped.counter_j(START_S + 3.0) == reset.counter_j(START_S + 3.0)


def test_counter_of_a_fast_period_adds_what_the_sensor_shows():
    gpu = play(node_of(gpu="RTX-3090", counter_period_s=0.02), [(1.0, 0.5)], 3.0)
    steps_j = steps_of(gpu, 1.5, 2.5, look_s=0.001)
    assert len(steps_j) in (49, 50, 51)
    # Each step adds 20 ms of what the sensor shows, of two readings if it changed within: so sums agree, not steps.
    times_s = np.arange(1.5, 2.5, 0.0005)
    shown_w = [gpu.power_w(START_S + t_s + PUBLICATION_DELAY_S) for t_s in times_s]
    assert sum(steps_j) == pytest.approx(sum(shown_w) * 0.0005, abs=0.021 * max(shown_w))


def test_counter_stands_still_until_its_first_step():
    for seed in range(5):
        gpu = play(node_of(gpu="RTX-3090", counter_period_s=0.7, seed=seed), [], 0.02)
        first_j = gpu.counter_j(START_S + 0.02)
        gpu.power_w(START_S + 3.0)
        values_j = [gpu.counter_j(START_S + index * 0.01) for index in range(300)]
        assert values_j[2] == first_j
        assert values_j == sorted(values_j)
        assert len(set(values_j)) in (4, 5, 6)  # where it began, and after each step within 3 s


def test_counter_of_a_fast_period_is_a_period_of_the_sensor_behind_the_truth():
    gpu = play(node_of(gpu="RTX-3090", counter_period_s=0.02), [(1.0, 0.8), (3.0, 0.0)], 5.0)
    # The step up at 1.0 s is counted a tenth of a second late, and so is the step down: seen from 0.5 to 3.0 s some
    # 25.6 J (256 W * 0.1 s) are missing that have arrived by 3.3 s.
    counted_j = gpu.counter_j(START_S + 3.0) - gpu.counter_j(START_S + 0.5)
    missing_j = gpu.true_energy_j(START_S + 0.5, START_S + 3.0) - counted_j
    assert 0.05 * 256 < missing_j < 0.23 * 256
    counted_j = gpu.counter_j(START_S + 4.9) - gpu.counter_j(START_S + 0.5)
    assert counted_j == pytest.approx(gpu.true_energy_j(START_S + 0.5, START_S + 4.9), abs=0.03 * 50)


@pytest.mark.parametrize("counter", ["sensor", "truth"])
@pytest.mark.parametrize("period_s", [None, 0.02])
def test_counter_that_lags_shows_what_one_without_lag_showed_before(counter, period_s):
    history = [(0.3, 0.9), (1.1, 0.0), (1.7, 0.4)]
    lagging = play(node_of(counter=counter, counter_period_s=period_s, counter_lag_s=0.1012), history, 4.0)
    prompt = play(node_of(counter=counter, counter_period_s=period_s), history, 4.0)
    for index in range(300):
        t_s = START_S + 0.5 + index * 0.0117
        assert lagging.counter_j(t_s) == prompt.counter_j(t_s - 0.1012)


@settings(max_examples=40)
@given(
    st.sampled_from(["sensor", "truth"]),
    st.none() | st.floats(min_value=0.005, max_value=0.7),
    st.floats(min_value=0.0, max_value=0.3),
    st.lists(st.floats(min_value=0.0, max_value=6.0), min_size=2),
)
def test_sound_counter_never_falls_whatever_its_period_and_lag(counter, period_s, lag_s, at_s):
    state = {"counter": counter, "counter_period_s": period_s, "counter_lag_s": lag_s}
    gpu = play(node_of(**state), [(0.5, 0.9), (2.0, 0.1), (3.0, 1.0)], 6.0)
    values_j = [gpu.counter_j(START_S + t) for t in sorted(at_s)]
    assert all(later >= earlier for earlier, later in itertools.pairwise(values_j))


# --- the sensor ---


def test_stuck_sensor_shows_its_old_reading_and_the_counter_goes_on_with_it():
    gpu = play(node_of(fault("sensor-stuck", 1.0, 2.0), gpu="RTX-3090"), [(1.5, 0.8), (2.5, 0.0)], 5.0)
    assert {gpu.power_w(START_S + 1.1 + index * 0.1) for index in range(19)} == {30.0}
    assert set(steps_of(gpu, 1.2, 2.9)) <= {3.0, 3.001, 2.999}
    # After it the sensor shows what is there: 0.6 s after the load 20 W of uplift have fallen to some 8 W.
    assert 30.0 < gpu.power_w(START_S + 3.2) < 42.0


@pytest.mark.parametrize(("value", "code"), [(None, pynvml.NVML_ERROR_TIMEOUT), (999, pynvml.NVML_ERROR_UNKNOWN)])
def test_lost_sensor_answers_an_error_and_comes_back(value, code):
    with installed(node := node_of(fault("sensor-lost", 1.0, 1.0, value))):
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        questions = (
            lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle),
            lambda: pynvml.nvmlDeviceGetPowerUsage(handle),
            lambda: pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_POWER_INSTANT]),
            lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        )
        for question in questions:
            question()
        node.clock.sleep_s(1.5)
        for question in questions:
            with pytest.raises(pynvml.nvmlExceptionClass(code)):
                question()
        assert pynvml.nvmlDeviceGetName(handle) == "NVIDIA A100-SXM4-80GB"
        node.clock.sleep_s(0.5)
        for question in questions:
            question()


def test_lost_gpu_answers_nothing_but_that():
    with installed(node := node_of(fault("gpu-lost", 1.0))):
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        node.clock.sleep_s(5.0)
        for ask in (pynvml.nvmlDeviceGetName, pynvml.nvmlDeviceGetPowerUsage, pynvml.nvmlDeviceGetUtilizationRates):
            with pytest.raises(pynvml.NVMLError_GpuIsLost):
                ask(handle)


def test_wall_clock_jumps_while_the_monotonic_one_goes_on():
    with installed(node := node_of(fault("utc-step", 1.0, value=-3600.0))):
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)

        def stamp_us():
            return pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])[0].timestamp

        first_us, first_s = stamp_us(), node.clock.now_s()
        node.clock.sleep_s(2.0)
        assert (stamp_us() - first_us) / 1e6 == pytest.approx(2.0 - 3600.0, abs=1e-5)
        assert node.clock.now_s() - first_s == 2.0
        assert node.utc_s(START_S + 0.5) - node.utc_s(START_S) == pytest.approx(0.5, abs=1e-6)


# --- one node in two places ---

any_faults = st.lists(
    st.one_of(
        load_faults.filter(bool).map(lambda faults: faults[0]),
        st.builds(fault, st.just("thermal-drift"), instants, st.just(1.5), st.just(7.0)),
        st.builds(fault, st.sampled_from(["counter-stuck", "sensor-stuck"]), instants, st.just(0.7)),
        st.builds(fault, st.just("counter-reset"), instants),
        st.builds(fault, st.just("counter-jump"), instants, value=st.sampled_from([-300.0, WRAP_J])),
    ),
    max_size=5,
)


@settings(max_examples=40)
@given(any_faults, own_loads, st.randoms(use_true_random=False), st.none() | st.just(0.02))
def test_two_nodes_with_the_same_faults_agree_whatever_is_asked_first(faults, history, rng: random.Random, period_s):
    one = node_of(*faults, calibrated=False, counter_period_s=period_s)
    other = SimulatedNode(pickle.loads(pickle.dumps(one.state)), VirtualClock(START_S))
    first, second = play(one, history, 5.0), play(other, history, 5.0)
    times_s = [START_S + index * 0.049 for index in range(100)]
    shuffled_s = times_s.copy()
    rng.shuffle(shuffled_s)
    seen = {t_s: (*shown(second, t_s), second.temperature_c(t_s), second.clock_hz(t_s)) for t_s in shuffled_s}
    for t_s in times_s:
        assert (*shown(first, t_s), first.temperature_c(t_s), first.clock_hz(t_s)) == seen[t_s]


def test_node_without_faults_is_what_it_was():
    plain = play(SimulatedNode(STATE, VirtualClock(START_S)), [(0.5, 0.8), (2.0, 0.0)], 4.0)
    unhurt = play(node_of(fault("counter-jump", 100.0, value=5.0), calibrated=False), [(0.5, 0.8), (2.0, 0.0)], 4.0)
    assert [shown(plain, START_S + index * 0.037) for index in range(100)] == [
        shown(unhurt, START_S + index * 0.037) for index in range(100)
    ]


# --- what a config may ask for ---


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"kind": "on-fire", "at_s": 1}, "Input should be"),
        ({"kind": "foreign-load", "at_s": 1}, "needs a value above 0"),
        ({"kind": "throttle", "at_s": 1, "value": 1.2}, "needs a value above 0 and up to 1"),
        ({"kind": "hidden-load", "at_s": 1, "value": 0}, "needs a value above 0"),
        ({"kind": "counter-jump", "at_s": 1}, "needs a value: the change"),
        ({"kind": "thermal-drift", "at_s": 1, "value": 3}, "needs a duration_s"),
        ({"kind": "counter-reset", "at_s": 1, "duration_s": 2}, "has no duration_s"),
        ({"kind": "counter-stuck", "at_s": 1, "value": 2}, "has no value"),
        ({"kind": "sensor-lost", "at_s": 1, "value": 10.5}, "NVML return code"),
        ({"kind": "utc-step", "at_s": 1, "value": 2, "gpu": 1}, "whole machine"),
        ({"kind": "gpu-lost", "at_s": -1}, "greater than or equal to 0"),
        ({"kind": "gpu-lost", "at_s": 1, "duration_s": 0}, "greater than 0"),
        ({"kind": "gpu-lost", "at_s": math.nan}, "finite"),
        ({"kind": "gpu-lost", "at_s": 1, "gpu": 2}, "the node has 2"),
    ],
)
def test_impossible_faults_are_refused_with_the_reason(content, told):
    with pytest.raises(ValidationError, match=told):
        SimulatedNodeSpec.model_validate({"gpu_count": 2, "faults": [content]})
