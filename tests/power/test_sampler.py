"""Samples on the virtual clock to the tick, and from a helper process on the real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from fakes import FakeSource, source_info

from harness.clock import RealClock, VirtualClock
from harness.errors import SourceUnavailable
from harness.power.sampler import SLOW_EVERY, ProcessSampler, VirtualSampler
from harness.power.trace import COLUMNS
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.simulation.nvml import open_simulated_sources

PATIENCE_S = 30.0  # far more than anything here takes: only so that a failure ends


def wait_until(happened) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.01)


# --- on the virtual clock ---


def test_virtual_samples_fall_exactly_on_multiples_of_the_period():
    clock = VirtualClock(10.0)
    sampler = VirtualSampler([FakeSource(clock)], clock, period_s=0.25)
    sampler.start()
    for pause_s in (0.1, 0.3, 1.0, 0.05, 0.55):  # two seconds in all
        clock.sleep_s(pause_s)
    t_s = sampler.stop().column("t_s", "GPU-0")
    assert t_s.tolist() == [10.0, 10.25, 10.5, 10.75, 11.0, 11.25, 11.5, 11.75, 12.0]


def test_virtual_samples_see_the_power_of_their_instant():
    clock = VirtualClock(0.0)
    source = FakeSource(clock)
    sampler = VirtualSampler([source], clock, period_s=0.25)
    sampler.start()
    clock.sleep_s(0.6)
    source.draw(300.0)
    clock.sleep_s(0.6)
    assert sampler.stop().column("power_w", "GPU-0").tolist() == [100.0, 100.0, 100.0, 300.0, 300.0]


def test_virtual_sampler_takes_nothing_before_start_and_after_stop():
    clock = VirtualClock(0.0)
    sampler = VirtualSampler([FakeSource(clock)], clock)
    clock.sleep_s(1.0)
    assert len(sampler.trace().rows) == 0
    sampler.start()
    clock.sleep_s(0.1)
    taken = len(sampler.stop().rows)
    clock.sleep_s(1.0)
    assert len(sampler.trace().rows) == taken == 6


def test_slow_values_are_read_on_every_tenth_sample():
    clock = VirtualClock(0.0)
    sampler = VirtualSampler([FakeSource(clock)], clock)
    sampler.start()
    clock.sleep_s(1.01)
    trace = sampler.stop()
    read = ~np.isnan(trace.column("temperature_c", "GPU-0"))
    assert np.flatnonzero(read).tolist() == list(range(0, 51, SLOW_EVERY))
    assert not np.isnan(trace.column("power_w", "GPU-0")).any()


def test_virtual_sampler_leaves_out_what_could_not_be_read_and_counts_it():
    clock = VirtualClock(0.0)
    source = FakeSource(clock)
    read = source.read

    def lost_between(slow: bool = True):
        if 0.3 <= clock.now_s() < 0.5:
            raise SourceUnavailable("The board does not answer.", "Look at it.")
        return read(slow)

    source.read = lost_between
    sampler = VirtualSampler([source], clock, period_s=0.125)
    sampler.start()
    clock.sleep_s(1.0)
    trace = sampler.stop()
    assert list(trace.column("t_s", "GPU-0")) == [0.0, 0.125, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0]
    assert trace.missed_deadlines == 1  # at 0.375 s


def test_sources_are_sampled_together_and_kept_apart():
    clock = VirtualClock(0.0)
    sources = [
        FakeSource(clock, idle_w=100.0),
        FakeSource(clock, source_info(id="GPU-1"), idle_w=70.0),
        FakeSource(clock, source_info(id="cpu"), has_power=False),
    ]
    sampler = VirtualSampler(sources, clock)
    sampler.start()
    clock.sleep_s(0.1)
    trace = sampler.stop()
    assert trace.column("t_s", "GPU-0").tolist() == trace.column("t_s", "GPU-1").tolist()
    assert set(trace.column("power_w", "GPU-1")) == {70.0}
    assert len(trace.power("cpu")[0]) == 0  # what is not read is not zero
    assert np.isnan(trace.column("power_w", "cpu")).all()
    assert trace.missed_deadlines == 0


# --- the trace ---


def test_stretch_of_a_trace_includes_its_edges():
    clock = VirtualClock(0.0)
    sampler = VirtualSampler([FakeSource(clock)], clock, period_s=0.5)
    sampler.start()
    clock.sleep_s(3.0)
    part = sampler.stop().between(1.0, 2.0)
    assert part.column("t_s", "GPU-0").tolist() == [1.0, 1.5, 2.0]
    assert len(part.between(5.0, 6.0).rows) == 0


# --- from a helper process ---


@dataclass
class Helper:
    """A simulated node on the real clock, and a sampler for it in a process of its own."""

    node: SimulatedNode
    sampler: ProcessSampler
    path: Path

    @property
    def uuid(self) -> str:
        return self.node.gpus[0].uuid


def state_at(folder: Path) -> NodeState:
    return NodeState(
        gpu="A100-SXM4-80GB",
        gpu_count=1,
        seed=5,
        counter="sensor",
        start_s=RealClock().now_s(),
        load_path=folder / "load.bin",
    )


@pytest.fixture
def helper(tmp_path) -> Iterator[Helper]:
    state = state_at(tmp_path)
    node = SimulatedNode(state, RealClock())
    uuids = (node.gpus[0].uuid,)
    path = tmp_path / "samples.bin"
    sampler = ProcessSampler(partial(open_simulated_sources, state, uuids), uuids, path, 0.01)
    sampler.start()
    yield Helper(node, sampler, path)
    sampler.stop()


def test_helper_sees_what_the_worker_does_to_the_board(helper):
    for utilisation in (0.5, 0.0, 1.0, 0.3, 0.0):
        helper.node.set_load(0, utilisation)
        time.sleep(0.15)
    trace = helper.sampler.stop()
    t_s, power_w = trace.power(helper.uuid)
    board = helper.node.gpus[0]
    assert len(np.unique(power_w)) >= 4
    # The stamp is the middle of a call, so a reading published meanwhile is the one before or after.
    published = [{round(board.power_w(t + shift), 3) for shift in (-0.09, 0.0, 0.09)} for t in t_s]
    assert all(round(float(power), 3) in near for power, near in zip(power_w, published, strict=True))
    exact = np.array([board.power_w(float(t)) for t in t_s])
    assert np.mean(np.abs(power_w - exact) < 0.001) > 0.9
    energy_j = trace.column("energy_j", helper.uuid)
    energy_j = energy_j[~np.isnan(energy_j)]  # on slow samples only
    assert (np.diff(energy_j) >= 0).all()
    assert energy_j[-1] > energy_j[0]


def test_stopped_helper_tells_what_it_missed_and_ends(helper):
    pid = helper.sampler.pid
    assert pid is not None
    assert psutil.pid_exists(pid)
    wait_until(lambda: len(helper.sampler.trace().rows) > 20)
    trace = helper.sampler.stop()
    assert trace.missed_deadlines is not None
    assert trace.missed_deadlines >= 0
    assert helper.sampler.pid is None
    assert not psutil.pid_exists(pid)
    t_s = trace.column("t_s", helper.uuid)
    assert (np.diff(t_s) > 0).all()
    # Every period is either sampled or counted as missed (one may be under way at either end).
    ticks = (t_s[-1] - t_s[0]) / 0.01
    assert len(t_s) - 1 + trace.missed_deadlines == pytest.approx(ticks, abs=3)


def test_asking_for_the_trace_brings_the_samples_up_to_now(helper):
    asked_s = RealClock().now_s()
    wait_until(lambda: len(rows := helper.sampler.trace().rows) and rows[-1, 0] > asked_s)


def test_stopping_twice_is_harmless(helper):
    wait_until(lambda: len(helper.sampler.trace().rows) > 2)
    first, second = helper.sampler.stop(), helper.sampler.stop()
    np.testing.assert_array_equal(first.rows, second.rows)
    assert first.missed_deadlines == second.missed_deadlines


def test_killed_helper_leaves_its_trace_and_no_word_of_what_it_missed(helper):
    wait_until(lambda: len(helper.sampler.trace().rows) > 5)
    flushed = len(helper.sampler.trace().rows)
    os.kill(helper.sampler.pid, signal.SIGKILL)
    wait_until(lambda: len(helper.sampler.trace().rows) >= flushed)  # asking a dead helper does not block
    trace = helper.sampler.stop()
    assert len(trace.rows) >= flushed
    assert trace.missed_deadlines is None


PARENT = """
import os, sys
from functools import partial
from pathlib import Path
from harness.power.sampler import ProcessSampler
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.simulation.nvml import open_simulated_sources
state = NodeState("A100-SXM4-80GB", 1, 5, "sensor", float(sys.argv[2]), Path(sys.argv[1]) / "load.bin")
uuids = (SimulatedNode(state).gpus[0].uuid,)
sampler = ProcessSampler(partial(open_simulated_sources, state, uuids), uuids, Path(sys.argv[1]) / "samples.bin")
sampler.start()
print(sampler.pid, flush=True)
os._exit(9)
"""


def test_helper_ends_when_its_parent_is_gone(tmp_path):
    arguments = [sys.executable, "-c", PARENT, str(tmp_path), str(RealClock().now_s())]
    parent = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=False, timeout=PATIENCE_S)
    assert parent.returncode == 9

    def gone() -> bool:
        try:
            return psutil.Process(int(parent.stdout)).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    wait_until(gone)


def helper_without_its_board(tmp_path) -> ProcessSampler:
    factory = partial(open_simulated_sources, state_at(tmp_path), ("GPU-that-is-not-there",))
    return ProcessSampler(factory, ("GPU-0",), tmp_path / "samples.bin")


def test_helper_that_cannot_open_its_sources_is_an_error(tmp_path):
    sampler = helper_without_its_board(tmp_path)
    with pytest.raises(SourceUnavailable, match="power sampler did not start"):
        sampler.start()
    assert len(sampler.stop().rows) == 0


def test_error_of_the_helper_is_passed_on(tmp_path):
    with pytest.raises(SourceUnavailable, match="GPU-that-is-not-there"):
        helper_without_its_board(tmp_path).start()


def test_sampler_that_never_started_has_an_empty_trace(tmp_path):
    sampler = ProcessSampler(lambda: [], ("GPU-0",), tmp_path / "none.bin")
    trace = sampler.stop()
    assert trace.rows.shape == (0, len(COLUMNS))
    assert trace.missed_deadlines is None


@pytest.mark.parametrize("extra_bytes", [0, 1, 8, 71])
def test_row_that_was_cut_off_is_left_out(tmp_path, extra_bytes):
    path = tmp_path / "samples.bin"
    rows = np.arange(3 * len(COLUMNS), dtype=np.float64).reshape(3, -1)
    path.write_bytes(rows.tobytes() + bytes(extra_bytes))
    sampler = ProcessSampler(lambda: [], ("GPU-0",), path)
    assert sampler.trace().rows.tolist() == rows.tolist()
