"""Edges of a window: where the counter moved, what the other sources said then, and what happens if it never moves."""

from __future__ import annotations

import pytest
from fakes import FakeSource, source_info
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import VirtualClock
from harness.errors import MeasurementInvalid, SourceUnavailable
from harness.measure.energy import counter_energy
from harness.measure.window import EDGE_TIMEOUT_S, POLL_S, OpenWindow, WindowReadings, metered


def nothing() -> None:
    pass


def run(sources, clock, busy_s=(1.0,), pause_s=0.0, **options) -> WindowReadings:
    """A window with stretches of 300 W on every source, 100 W between."""
    with metered(sources, clock, nothing, **options) as window:
        for duration_s in busy_s:
            with window.busy():
                for source in sources:
                    source.draw(300.0)
                clock.sleep_s(duration_s)
                for source in sources:
                    source.draw(100.0)
            clock.sleep_s(pause_s)
    return window.readings


def energy_of(readings: WindowReadings, source_id: str = "GPU-0") -> float:
    start_j, end_j = readings.edges_j[source_id]
    assert start_j is not None
    assert end_j is not None
    return counter_energy(start_j, end_j)


# --- edges on a counter that is renewed every 100 ms ---


def test_hundred_watts_for_two_seconds_are_two_hundred_joules():
    clock = VirtualClock(0.013)
    source = FakeSource(clock)
    with metered([source], clock, nothing) as window:
        clock.sleep_s(2.0 - 0.4)  # after a guard of 300 ms and up to 100 ms, the edges are found at 0.1 s and 2.1 s
    assert energy_of(window.readings) == pytest.approx(200.0, abs=1e-6)
    assert window.readings.duration_s == pytest.approx(2.0, abs=2 * POLL_S)


def test_edges_are_stamped_where_the_counter_moved():
    clock = VirtualClock(5.03)
    source = FakeSource(clock)
    readings = run([source], clock)
    # Opened at 5.03: the counter moves at 5.1; work until 6.1; two periods and a window later, at 6.4, it is 6.5.
    assert readings.start_s == pytest.approx(5.1, abs=POLL_S)
    assert readings.end_s == pytest.approx(6.5, abs=POLL_S)
    assert readings.aligned_source == "GPU-0"
    assert readings.stamp_interval_s == pytest.approx(POLL_S, rel=1e-6)
    assert energy_of(readings) == pytest.approx(300.0 * 1.0 + 100.0 * 0.4, abs=0.5)


@given(
    start_s=st.floats(min_value=0.0, max_value=1e4),
    busy_s=st.lists(st.floats(min_value=0.001, max_value=3.0), min_size=1, max_size=5),
    pause_s=st.floats(min_value=0.0, max_value=0.3),
)
def test_window_meters_exactly_the_stretch_between_its_stamps(start_s, busy_s, pause_s):
    clock = VirtualClock(start_s)
    source = FakeSource(clock)
    readings = run([source], clock, busy_s, pause_s)
    # A stamp is known to one poll; at 300 W that is 0.15 J per edge.
    assert energy_of(readings) == pytest.approx(source.true_energy_j(readings.start_s, readings.end_s), abs=0.35)
    assert readings.busy_s == pytest.approx(sum(busy_s), rel=1e-9)
    assert readings.start_s < readings.busy_spans_s[0][0]
    assert readings.busy_spans_s[-1][1] < readings.end_s


def test_window_may_start_at_zero():
    clock = VirtualClock(0.0)
    source = FakeSource(clock, source_info(counter_step_j=None))
    readings = run([source], clock)
    assert readings.start_s == 0.0
    assert readings.busy_s == 1.0
    assert readings.end_s >= 1.0


def test_device_is_synchronized_before_each_edge():
    clock = VirtualClock(0.05)
    asked_s = []
    with metered([FakeSource(clock)], clock, lambda: asked_s.append(clock.now_s())) as window:
        clock.sleep_s(1.0)
    assert len(asked_s) == 2
    assert asked_s[0] < window.readings.start_s
    assert asked_s[1] < window.readings.end_s
    assert asked_s[1] >= window.readings.start_s + 1.0 - POLL_S


# --- several sources ---


def test_others_are_read_when_the_lead_has_moved():
    clock = VirtualClock(0.05)
    idle = FakeSource(clock, source_info(id="GPU-0", runs_model=False), idle_w=40.0)
    lead = FakeSource(clock, source_info(id="GPU-1"))
    readings = run([idle, lead], clock)
    assert readings.aligned_source == "GPU-1"
    # From 0.1 to 1.5 s: 1 s at 300 W, and 0.4 s at 100 W: what run() draws, it draws on both.
    assert energy_of(readings, "GPU-1") == pytest.approx(340.0, abs=0.5)
    assert energy_of(readings, "GPU-0") == pytest.approx(340.0, abs=0.5)


def test_source_without_a_counter_has_empty_edges():
    clock = VirtualClock(0.05)
    lead = FakeSource(clock)
    meterless = FakeSource(clock, source_info(id="GPU-1", counter_step_j=None))
    readings = run([lead, meterless], clock)
    assert readings.edges_j["GPU-1"] == (None, None)
    assert readings.aligned_source == "GPU-0"


def test_lead_is_the_first_board_with_model_and_counter():
    clock = VirtualClock(0.05)
    sources = [
        FakeSource(clock, source_info(id="GPU-0", counter_step_j=None)),
        FakeSource(clock, source_info(id="GPU-1", runs_model=False)),
        FakeSource(clock, source_info(id="GPU-2")),
        FakeSource(clock, source_info(id="GPU-3")),
    ]
    assert run(sources, clock).aligned_source == "GPU-2"


def test_without_any_counter_no_edge_is_waited_for():
    clock = VirtualClock(3.0)
    source = FakeSource(clock, source_info(counter_step_j=None))
    readings = run([source], clock, busy_s=(0.5,))
    assert readings.start_s == 3.0
    # 0.1 s before the work for what the readings smear, 0.3 s after it
    assert readings.busy_spans_s[0][0] == pytest.approx(3.1)
    assert readings.end_s == pytest.approx(3.9)
    assert readings.aligned_source is None
    assert readings.stamp_interval_s is None


def test_counter_can_be_left_aside():
    clock = VirtualClock(3.03)
    readings = run([FakeSource(clock)], clock, busy_s=(0.5,), use_counter=False)
    assert (readings.start_s, readings.aligned_source) == (3.03, None)
    assert readings.end_s == pytest.approx(3.93)


# --- counters that misbehave ---


def test_stuck_counter_leaves_both_edges_unaligned():
    clock = VirtualClock(0.05)
    source = FakeSource(clock, counter_stuck_from_s=0.0)
    readings = run([source], clock)
    assert readings.aligned_source is None
    assert readings.stamp_interval_s is None
    assert energy_of(readings) == 0.0
    # Each edge was waited for until its time was up.
    assert readings.start_s == pytest.approx(0.05 + EDGE_TIMEOUT_S, abs=0.002)
    assert readings.duration_s == pytest.approx(1.0 + 0.3 + EDGE_TIMEOUT_S, abs=0.002)


def test_counter_that_sticks_during_the_work_leaves_the_window_unaligned():
    clock = VirtualClock(0.05)
    source = FakeSource(clock, counter_stuck_from_s=0.5)
    readings = run([source], clock)
    assert readings.aligned_source is None
    assert energy_of(readings) == pytest.approx(300.0 * 0.4, abs=0.5)  # from 0.1 to 0.5 s


def test_reset_in_the_middle_shows_as_a_falling_counter():
    clock = VirtualClock(0.05)
    source = FakeSource(clock, counter_zero_at_s=0.7)
    readings = run([source], clock)
    start_j, end_j = readings.edges_j["GPU-0"]
    assert start_j == pytest.approx(1_000_010.0)  # 0.1 s at 100 W
    assert end_j == pytest.approx(300.0 * 0.4 + 100.0 * 0.4, abs=0.5)  # from 0.7 to 1.1, and to the edge at 1.5 s
    with pytest.raises(MeasurementInvalid, match="backwards"):
        energy_of(readings)


# --- the open window ---


def test_open_window_has_no_readings_yet():
    with pytest.raises(MeasurementInvalid, match="not been closed"):
        _ = OpenWindow(VirtualClock()).readings


def test_failed_work_closes_no_window():
    clock = VirtualClock(0.05)
    with pytest.raises(RuntimeError), metered([FakeSource(clock)], clock, nothing) as window, window.busy():
        raise RuntimeError("out of memory")
    assert window.spans_s == []
    assert window.closed is None


# --- drivers that fail for a while ---


class Failing(FakeSource):
    """Answers nothing between two instants."""

    fails_s = (0.0, 0.0)

    def read_energy_j(self):
        if self.fails_s[0] <= self.clock.now_s() < self.fails_s[1]:
            raise SourceUnavailable("NVML timed out.", "Look at the driver.")
        return super().read_energy_j()


def test_driver_that_fails_at_an_edge_is_told_and_waited_for():
    clock = VirtualClock(0.05)
    source = Failing(clock)
    source.fails_s = (0.0, 0.5)
    readings = run([source], clock)
    assert readings.failures == ("NVML timed out.",)
    assert readings.aligned_source == "GPU-0"
    # It answers again from 0.5 s on; the counter moves next at 0.6 s.
    assert readings.start_s == pytest.approx(0.6, abs=0.002)


def test_driver_that_stays_silent_leaves_the_edge_empty():
    clock = VirtualClock(0.05)
    source = Failing(clock)
    source.fails_s = (0.5, 1e9)
    readings = run([source], clock)
    assert readings.failures == ("NVML timed out.",)
    assert readings.edges_j["GPU-0"][1] is None
    assert readings.aligned_source is None
