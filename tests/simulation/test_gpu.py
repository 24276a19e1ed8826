"""What a simulated board's driver shows, against its own truth."""

from __future__ import annotations

import itertools
import math
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.clock import VirtualClock
from harness.errors import HarnessError
from harness.simulation.gpu import (
    FOREIGN_PID,
    PUBLICATION_DELAY_S,
    NodeState,
    SimulatedGpu,
    SimulatedNode,
)
from harness.simulation.load import FileLoadLog, MemoryLoadLog

STATE = NodeState("RTX-3090", 1, seed=4, counter="sensor", start_s=1000.0, load_path=None)

histories = st.lists(
    st.tuples(st.floats(min_value=0.0, max_value=0.7), st.floats(min_value=0.0, max_value=1.0)), min_size=1, max_size=6
)


def node_of(calibrated: bool = False, **changes) -> SimulatedNode:
    node = SimulatedNode(replace(STATE, **changes), VirtualClock(1000.0))
    if calibrated:
        for gpu in node.gpus:
            gpu.gain, gpu.offset_w = 1.0, 0.0
    return node


def play(node: SimulatedNode, history) -> SimulatedGpu:
    """Let the first board go through these (wait, load) steps, and one second more."""
    for wait_s, utilisation in history:
        node.clock.sleep_s(wait_s)
        node.set_load(0, utilisation)
    node.clock.sleep_s(1.0)
    return node.gpus[0]


def publications(gpu: SimulatedGpu, start_s: float, end_s: float) -> list[float]:
    """When the board's reading changed, found by looking every millisecond, then by halving."""
    found = []
    count = round((end_s - start_s) * 1000)
    for index in range(count):
        before_s, after_s = start_s + index / 1000, start_s + (index + 1) / 1000
        if gpu.power_w(before_s) == gpu.power_w(after_s):
            continue
        for _ in range(30):
            middle_s = (before_s + after_s) / 2
            if gpu.power_w(middle_s) == gpu.power_w(before_s):
                before_s = middle_s
            else:
                after_s = middle_s
        found.append(after_s)
    return found


# --- the sensor ---


def test_reading_is_renewed_once_a_period():
    gpu = play(node_of(gpu="A100-SXM4-80GB"), [(0.0, 0.8), (3.0, 0.8)])
    times = publications(gpu, 1001.0, 1003.0)
    assert len(times) in (19, 20)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([0.1012] * len(gaps), abs=1e-6)


def test_boxcar_reading_is_the_mean_of_the_last_period():
    gpu = play(node_of(calibrated=True), [(0.5, 0.9), (0.733, 0.0), (0.4, 0.5)])
    for seen_s in publications(gpu, 1000.4, 1002.5):
        end_s = seen_s - PUBLICATION_DELAY_S
        mean_w = gpu.true_energy_j(end_s - 0.1, end_s) / 0.1
        assert gpu.power_w(seen_s) == pytest.approx(mean_w, abs=0.0006)  # rounded to a milliwatt


def test_first_order_reading_remembers_an_eightieth_of_a_second():
    node = node_of(calibrated=True, gpu="A100-SXM4-80GB")
    gpu = play(node, [(0.5, 0.9)])
    tau_s, step_s = 0.0125, 1e-4
    for seen_s in publications(gpu, 1000.4, 1001.4):
        now_s = seen_s - PUBLICATION_DELAY_S
        filtered_w = 60.0
        for index in range(round((now_s - 1000.4) / step_s)):  # Euler's method, 0.1 ms
            filtered_w += (gpu.true_power_w(1000.4 + index * step_s) - filtered_w) * step_s / tau_s
        assert gpu.power_w(seen_s) == pytest.approx(filtered_w, rel=0.01)


@settings(max_examples=20)
@given(histories, st.integers(min_value=0, max_value=50))
def test_gain_and_offset_are_all_that_parts_reading_from_truth(history, seed):
    true = play(node_of(calibrated=True, seed=seed), history)
    shown = play(node_of(seed=seed), history)
    for index in range(12):
        t_s = 1000.15 + index * 0.1
        expected_w = max(0.0, shown.gain * true.power_w(t_s) + shown.offset_w)
        assert shown.power_w(t_s) == pytest.approx(expected_w, abs=0.0011)
    assert shown.true_energy_j(1000.0, 1001.0) == true.true_energy_j(1000.0, 1001.0)


def test_boards_differ_as_much_as_nvml_says_of_itself_and_some_by_more():
    boards = [SimulatedNode(replace(STATE, seed=seed, gpu_count=8)).gpus for seed in range(250)]
    gains = np.array([gpu.gain for gpus in boards for gpu in gpus])
    offsets_w = np.array([gpu.offset_w for gpus in boards for gpu in gpus])
    # A normal distribution cut at 3 sd keeps 0.9866 of its sd; 2,000 draws know that to 1.6 %.
    assert np.std(gains) == pytest.approx(0.9866 * 0.02887, rel=0.06)
    assert np.std(offsets_w) == pytest.approx(0.9866 * 1.7321, rel=0.06)
    assert np.mean(gains) == pytest.approx(1.0, abs=0.0025)
    assert np.mean(offsets_w) == pytest.approx(0.0, abs=0.15)
    # ±5 % are 1.732 sd: of a normal distribution cut at 3 sd, 8.1 % lie beyond.
    assert np.mean(np.abs(gains - 1) > 0.05) == pytest.approx(0.081, abs=0.025)
    assert np.max(np.abs(gains - 1)) <= 3 * 0.028868
    assert np.max(np.abs(offsets_w)) <= 3 * 1.732051
    assert abs(np.corrcoef(gains, offsets_w)[0, 1]) < 0.1


def test_average_field_is_the_mean_of_the_last_second():
    gpu = play(node_of(), [(0.5, 0.9), (2.0, 0.1)])
    now_s = gpu_now = 1003.2
    readings_w = [gpu.power_w(now_s - index * 0.1) for index in range(10)]
    assert gpu.average_power_w(gpu_now) == pytest.approx(sum(readings_w) / 10, rel=1e-9)


def test_average_field_of_a_new_board_has_only_what_there_is():
    gpu = node_of(calibrated=True).gpus[0]
    assert gpu.average_power_w(1000.0) == pytest.approx(30.0)


# --- the counter ---


@pytest.mark.parametrize("counter", ["sensor", "truth"])
def test_counter_moves_when_the_reading_is_renewed(counter):
    gpu = play(node_of(counter=counter), [(0.0, 0.9), (2.0, 0.9)])
    for seen_s in publications(gpu, 1000.5, 1002.0):
        # Before the change for a whole period, and after it for a whole period, nothing moves.
        assert gpu.counter_j(seen_s - 0.0999) == gpu.counter_j(seen_s - 1e-6)
        assert gpu.counter_j(seen_s + 1e-6) == gpu.counter_j(seen_s + 0.0999)
        assert gpu.counter_j(seen_s + 1e-6) > gpu.counter_j(seen_s - 1e-6)


def test_sensor_counter_adds_up_the_readings():
    gpu = play(node_of(gpu="A100-SXM4-80GB"), [(0.0, 0.9), (2.0, 0.9)])
    times = publications(gpu, 1000.5, 1002.5)
    added_j = sum(gpu.power_w(seen_s) * 0.1012 for seen_s in times[1:])
    counted_j = gpu.counter_j(times[-1]) - gpu.counter_j(times[0])
    assert counted_j == pytest.approx(added_j, abs=0.0011)


def test_true_counter_knows_neither_gain_nor_offset():
    gpu = play(node_of(gpu="A100-SXM4-80GB", counter="truth", seed=9), [(0.0, 0.9), (2.0, 0.9)])
    assert abs(gpu.gain - 1) > 0.005
    times = publications(gpu, 1000.5, 1002.5)
    true_j = gpu.true_energy_j(times[0] - PUBLICATION_DELAY_S, times[-1] - PUBLICATION_DELAY_S)
    assert gpu.counter_j(times[-1]) - gpu.counter_j(times[0]) == pytest.approx(true_j, abs=0.0011)


@settings(max_examples=30)
@given(histories, st.sampled_from(["sensor", "truth"]), st.lists(st.floats(min_value=0.0, max_value=6.0), min_size=2))
def test_counter_never_falls_and_stands_on_whole_steps(history, counter, instants):
    gpu = play(node_of(counter=counter), history)
    values = [gpu.counter_j(1000.0 + t) for t in sorted(instants)]
    assert all(later >= earlier for earlier, later in itertools.pairwise(values))
    assert all(abs(value / 0.001 - round(value / 0.001)) < 1e-3 for value in values)


def test_sensor_counter_of_a_full_coverage_board_is_gain_times_truth():
    gpu = play(node_of(), [(0.5, 0.9), (0.833, 0.0), (0.6, 0.4), (2.0, 0.0)])
    times = publications(gpu, 1000.5, 1004.5)
    true_j = gpu.true_energy_j(times[0] - PUBLICATION_DELAY_S, times[-1] - PUBLICATION_DELAY_S)
    duration_s = times[-1] - times[0]
    counted_j = gpu.counter_j(times[-1]) - gpu.counter_j(times[0])
    assert counted_j == pytest.approx(gpu.gain * true_j + gpu.offset_w * duration_s, abs=0.01)


# --- the rest of what a driver shows ---


def test_clock_and_temperature_follow_the_load():
    node = node_of()
    gpu = node.gpus[0]
    assert (gpu.clock_hz(1000.0), gpu.temperature_c(1000.0), gpu.utilisation(1000.0)) == (210e6, 38.0, 0.0)
    node.set_load(0, 1.0)
    assert gpu.clock_hz(1000.5) == 1800e6
    assert gpu.temperature_c(1025.0) == pytest.approx(38 + 34 * (1 - 1 / math.e))


@pytest.mark.parametrize(
    ("conditions", "idle", "busy"), [((), 0x1, 0x0), (("throttled",), 0x1, 0x8), (("mig",), 0x1, 0x0)]
)
def test_throttle_reasons_are_those_of_nvml(conditions, idle, busy):
    node = node_of(conditions=conditions)
    assert node.gpus[0].throttle_reasons(1000.0) == idle
    node.set_load(0, 0.5)
    assert node.gpus[0].throttle_reasons(1000.0) == busy


def test_conditions_take_the_counter_or_add_a_process():
    assert node_of().gpus[0].has_counter
    assert not node_of(conditions=("no-counter",)).gpus[0].has_counter
    assert node_of(conditions=("mig",)).gpus[0].mig_enabled
    assert [pid for pid, _ in node_of().gpus[0].compute_processes(1000.0, own_pid=7)] == [7]
    foreign = node_of(conditions=("foreign-process",)).gpus[0]
    assert [pid for pid, _ in foreign.compute_processes(1000.0, own_pid=7)] == [7, FOREIGN_PID]


# --- the same board in two places ---


@settings(max_examples=30)
@given(histories, st.randoms(use_true_random=False))
def test_two_nodes_of_one_state_agree_whatever_is_asked_first(history, rng: random.Random):
    one, other = node_of(), node_of()
    first, second = play(one, history), play(other, history)
    instants = [1000.0 + index * 0.037 for index in range(100)]
    shuffled = instants.copy()
    rng.shuffle(shuffled)
    seen = {t: (second.power_w(t), second.counter_j(t), second.average_power_w(t)) for t in shuffled}
    assert [(first.power_w(t), first.counter_j(t), first.average_power_w(t)) for t in instants] == [
        seen[t] for t in instants
    ]
    assert first.uuid == second.uuid


def test_reading_in_between_does_not_change_what_comes_after():
    watched, unwatched = node_of(), node_of()
    for node in (watched, unwatched):
        for utilisation in (0.9, 0.0, 0.4):
            node.set_load(0, utilisation)
            for _ in range(50):
                node.clock.sleep_s(0.01)
                if node is watched:
                    node.gpus[0].power_w(node.clock.now_s())
    now_s = watched.clock.now_s()
    assert watched.gpus[0].counter_j(now_s) == unwatched.gpus[0].counter_j(now_s)


def test_load_written_by_one_process_is_seen_by_another(tmp_path):
    state = replace(STATE, gpu_count=2, load_path=tmp_path / "load.bin")
    worker = SimulatedNode(state, VirtualClock(1000.0))
    sampler = SimulatedNode(pickle.loads(pickle.dumps(state)), VirtualClock(1000.0))
    for utilisation in (0.9, 0.0, 0.4):
        worker.clock.sleep_s(0.3)
        worker.set_load(1, utilisation)
    worker.clock.sleep_s(0.3)
    sampler.refresh()
    now_s = worker.clock.now_s()
    for index in range(2):
        assert sampler.gpus[index].uuid == worker.gpus[index].uuid
        assert sampler.gpus[index].power_w(now_s) == worker.gpus[index].power_w(now_s)
        assert sampler.gpus[index].counter_j(now_s) == worker.gpus[index].counter_j(now_s)
        assert sampler.gpus[index].true_energy_j(1000.0, now_s) == worker.gpus[index].true_energy_j(1000.0, now_s)
    assert sampler.gpus[1].utilisation(now_s) == 0.4
    assert sampler.gpus[0].utilisation(now_s) == 0.0


def test_load_touches_its_own_board_only():
    node = node_of(gpu_count=3)
    node.set_load(2, 1.0)
    node.clock.sleep_s(1.0)
    assert [gpu.utilisation(1000.5) for gpu in node.gpus] == [0.0, 0.0, 1.0]
    assert node.gpus[0].true_energy_j(1000.0, 1001.0) == pytest.approx(30.0)


def test_boards_of_a_node_are_different_boards():
    gpus = node_of(gpu_count=8).gpus
    assert len({gpu.uuid for gpu in gpus}) == 8
    assert len({gpu.gain for gpu in gpus}) == 8
    assert node_of(seed=5).gpus[0].uuid != node_of(seed=4).gpus[0].uuid


def test_board_is_found_by_its_uuid():
    node = node_of(gpu_count=2)
    assert node.gpu_by_uuid(node.gpus[1].uuid) is node.gpus[1]
    with pytest.raises(KeyError):
        node.gpu_by_uuid("GPU-none")


# --- the load log ---

events = st.lists(
    st.tuples(
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(min_value=0, max_value=7),
        st.floats(min_value=0.0, max_value=1.0),
    ),
    max_size=20,
)


@settings(max_examples=30)
@given(events, st.integers(min_value=0, max_value=25))
def test_both_logs_keep_what_was_written(tmp_path_factory, rows, start):
    path = tmp_path_factory.mktemp("log") / "load.bin"
    memory, writer, reader = MemoryLoadLog(), FileLoadLog(path, 100), FileLoadLog(path, 100)
    for row in rows:
        memory.append(*row)
        writer.append(*row)
    expected = [tuple(map(float, row)) for row in rows[start:]]
    for log in (memory, writer, reader):
        assert [tuple(map(float, row)) for row in log.rows(start)] == expected


def test_full_log_says_what_to_do(tmp_path):
    log = FileLoadLog(tmp_path / "load.bin", capacity=2)
    log.append(0.0, 0, 1.0)
    log.append(1.0, 0, 0.0)
    with pytest.raises(HarnessError, match=r"load log is full \(2 events\)"):
        log.append(2.0, 0, 1.0)
    assert len(log.rows(0)) == 2
