"""Each caveat on both sides of its threshold."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import source_energy_of, source_info, trace_of

from harness.measure import quality
from harness.measure.window import WindowReadings
from harness.power.trace import empty_trace


def readings(busy_s: float, aligned: str | None = "GPU-0") -> WindowReadings:
    return WindowReadings(
        start_s=0.0,
        end_s=busy_s + 0.2,
        busy_spans_s=((0.1, 0.1 + busy_s),),
        edges_j={"GPU-0": (0.0, 1.0)},
        aligned_source=aligned,
        stamp_interval_s=0.0005 if aligned else None,
    )


# --- too short ---


def test_window_shorter_than_three_periods_is_flagged():
    caveat = quality.too_short(readings(busy_s=0.29), period_s=0.1)
    assert caveat is not None
    assert caveat.code == "too-short"
    assert "290 ms" in caveat.message
    assert "100 ms" in caveat.message


def test_window_of_more_than_three_periods_is_long_enough():
    assert quality.too_short(readings(busy_s=0.31), period_s=0.1) is None


def test_window_without_work_is_too_short():
    nothing = WindowReadings(0.0, 10.0, (), {}, None, None)
    assert quality.too_short(nothing, period_s=0.1) is not None


# --- throttled ---


def masks(*values: float):
    return trace_of(([0.1 * i for i in range(len(values))], [100.0] * len(values)), throttle=values)


@pytest.mark.parametrize("bit", [0x8, 0x20, 0x40, 0x80])
def test_board_that_was_slowed_down_is_flagged(bit):
    caveat = quality.slowed_down(masks(0, bit, 0, 0), source_info())
    assert caveat is not None
    assert caveat.code == "throttled"
    assert f"{bit:#x}" in caveat.message
    assert "25%" in caveat.message


@pytest.mark.parametrize("bit", [0x0, 0x1, 0x2, 0x4, 0x10, 0x100])
def test_idle_chosen_clocks_power_caps_and_displays_slow_nothing_down(bit):
    assert quality.slowed_down(masks(bit, bit), source_info()) is None


def test_power_limit_is_a_caveat_of_its_own():
    caveat = quality.power_capped(masks(0x4, 0x4 | 0x1), source_info(power_limit_w=400.0))
    assert caveat is not None
    assert caveat.code == "power-capped"
    assert caveat.message == "Fake GPU ran at its power limit of 400 W in 100% of the samples."


def test_samples_without_throttle_reasons_do_not_dilute_the_share():
    caveat = quality.slowed_down(masks(np.nan, np.nan, 0x8, np.nan, 0x0), source_info())
    assert caveat is not None
    assert "50%" in caveat.message


def test_board_that_tells_no_reasons_is_not_called_throttled():
    assert quality.slowed_down(masks(np.nan, np.nan), source_info()) is None
    assert quality.power_capped(empty_trace(("GPU-0",), 0.02), source_info()) is None


# --- clock ---


def clocks(*values_hz: float):
    return trace_of(([0.1 * i for i in range(len(values_hz))], [100.0] * len(values_hz)), clock_hz=values_hz)


@pytest.mark.parametrize(("last_hz", "flagged"), [(1410e6, False), (1368e6, False), (1365e6, True), (1455e6, True)])
def test_clock_that_moves_by_more_than_three_percent_is_a_step(last_hz, flagged):
    caveat = quality.clock_stepped(clocks(*[1410e6] * 6, *[last_hz] * 3), source_info())
    assert (caveat is not None) == flagged


def test_clock_step_names_both_clocks():
    caveat = quality.clock_stepped(clocks(*[1410e6] * 6, *[1200e6] * 3), source_info())
    assert caveat is not None
    assert caveat.message == "The clock of Fake GPU went from 1410 to 1200 MHz meanwhile."


def test_one_strange_clock_reading_is_no_step():
    assert quality.clock_stepped(clocks(*[1410e6] * 8, 210e6), source_info()) is None


def test_few_clock_readings_say_nothing():
    assert quality.clock_stepped(clocks(1410e6, 1410e6, np.nan, 210e6, 210e6), source_info()) is None


# --- joules that cannot be ---


@pytest.mark.parametrize(
    ("energy_j", "limit_w", "flagged"),
    [(6000.0, 400.0, False), (6001.0, 400.0, True), (4_294_967.0, None, False), (0.0, None, True), (-1.0, 400.0, True)],
)
def test_more_than_one_and_a_half_times_the_limit_cannot_be(energy_j, limit_w, flagged):
    caveat = quality.implausible(source_info(power_limit_w=limit_w), source_energy_of(energy_j=energy_j), 10.0)
    assert (caveat is not None) == flagged


# --- lost samples ---


@pytest.mark.parametrize(("end_s", "flagged"), [(0.70, False), (0.71, True)])
def test_stretch_without_power_longer_than_three_periods_is_told(end_s, flagged):
    t_s = [0.0, 0.1, 0.2, 0.3, 0.4]  # nothing after 0.4 s; the sensor is renewed every 0.1 s
    caveat = quality.samples_lost(trace_of((t_s, [100.0] * 5)), source_info(), 0.0, end_s)
    assert (caveat is not None) == flagged


def test_lost_stretch_at_the_start_counts_too():
    caveat = quality.samples_lost(trace_of(([0.5, 0.6], [100.0, 100.0])), source_info(), 0.0, 0.6)
    assert caveat is not None
    assert caveat.message == "No power of Fake GPU was read for 0.50 s of the window."


def test_board_that_never_tells_power_has_lost_nothing():
    assert quality.samples_lost(trace_of(([0.0, 1.0], [np.nan, np.nan])), source_info(), 0.0, 1.0) is None


# --- counter against samples ---


@pytest.mark.parametrize(
    ("sampled_j", "u_j", "flagged"),
    [(974.0, 10.1, False), (974.0, 10.0, True), (1026.0, 10.1, False), (1026.0, 10.0, True), (1000.0, 0.0, False)],
)
def test_counter_and_samples_may_differ_by_their_99_percent_interval(sampled_j, u_j, flagged):
    window = source_energy_of(energy_j=1000.0, sampled_energy_j=sampled_j, sampled_uncertainty_j=u_j)
    caveat = quality.counter_disagrees(source_info(), window)
    assert (caveat is not None) == flagged


def test_disagreement_names_both_energies():
    window = source_energy_of(energy_j=187.0, sampled_energy_j=327.0, sampled_uncertainty_j=9.0)
    caveat = quality.counter_disagrees(source_info(), window)
    assert caveat is not None
    assert caveat.message == "Fake GPU: the counter says 187 J, sampled power 327 J; 23 J would be explained."


def test_sampled_energy_has_no_counter_to_disagree_with():
    window = source_energy_of(method="sampled", sampled_energy_j=1.0, sampled_uncertainty_j=0.1)
    assert quality.counter_disagrees(source_info(), window) is None


def test_counter_without_samples_cannot_be_checked():
    assert quality.counter_disagrees(source_info(), source_energy_of()) is None


# --- stuck ---


def test_edge_that_never_came_is_flagged():
    caveat = quality.counter_stuck(readings(1.0, aligned=None), expected=True, sampled_instead=False)
    assert caveat is not None
    assert caveat.code == "counter-stuck"
    assert "Sampled" not in caveat.message


def test_what_replaced_the_stuck_counter_is_said():
    caveat = quality.counter_stuck(readings(1.0, aligned=None), expected=True, sampled_instead=True)
    assert caveat is not None
    assert "Sampled power was integrated instead." in caveat.message


def test_aligned_window_is_not_stuck():
    assert quality.counter_stuck(readings(1.0), expected=True, sampled_instead=True) is None


def test_board_without_a_counter_is_not_stuck():
    assert quality.counter_stuck(readings(1.0, aligned=None), expected=False, sampled_instead=True) is None


# --- samples ---


def test_dead_sampler_is_flagged():
    caveat = quality.samples_missed(trace_of(([0.0, 1.0], [100.0, 100.0]), missed=None))
    assert caveat is not None
    assert caveat.code == "sampler-died"


@pytest.mark.parametrize(("missed", "flagged"), [(0, False), (5, False), (6, True), (100, True)])
def test_one_sample_in_twenty_may_come_late(missed, flagged):
    # 95 taken, so 5 missed are exactly one in twenty.
    caveat = quality.samples_missed(trace_of((np.arange(95.0), np.full(95, 100.0)), missed=missed))
    assert (caveat is not None) == flagged


def test_share_of_late_samples_counts_ticks_and_not_rows():
    two = trace_of((np.arange(95.0), np.full(95, 1.0)), (np.arange(95.0), np.full(95, 2.0)), missed=6)
    caveat = quality.samples_missed(two)
    assert caveat is not None
    assert caveat.message.startswith("6%")


def test_sampler_that_took_nothing_is_not_divided_by_zero():
    assert quality.samples_missed(trace_of(([], []), missed=0)) is None


# --- the rest ---


def test_board_that_is_not_on_record_is_named():
    caveat = quality.unknown_sensor(source_info(sensor_profile="unknown"))
    assert caveat is not None
    assert caveat.code == "unknown-sensor"
    assert quality.unknown_sensor(source_info(sensor_profile="GA100")) is None


def test_unsteady_warm_up_says_how_long_and_why():
    caveat = quality.not_steady(60.0, "the GPU was still warming (3 °C/min)")
    assert caveat.code == "not-steady"
    assert caveat.message == "Warm-up ended after 60 s while the GPU was still warming (3 °C/min)."


def test_missed_target_says_both_widths():
    caveat = quality.not_narrow_enough(0.0312, 0.02, "max_repeats was reached")
    assert "±3.1%" in caveat.message
    assert "±2.0%" in caveat.message
    assert "max_repeats" in caveat.message


# --- in step with the sensor ---


def batches(cycle_s: float, count: int, spread: bool = False) -> WindowReadings:
    spans = tuple((0.03 + k * cycle_s, 0.03 + k * cycle_s + 0.8 * cycle_s) for k in range(count))
    return WindowReadings(0.0, spans[-1][1] + 0.2, spans, {}, "GPU-0", 0.0005, spread)


@pytest.mark.parametrize(
    ("cycle_s", "count", "flagged"),
    [
        (0.1, 30, True),  # the sensor's own period
        (0.3, 30, True),  # three of them
        (0.101, 30, True),  # shifts by 0.3 of a period within the window
        (0.104, 30, False),  # shifts by more than one
        (0.15, 30, False),  # two phases, opposite to each other
        (0.02, 100, False),  # shorter than what one reading sees
        (2.5, 30, False),  # too long to be misread by much
        (0.1, 7, False),  # too few to say
    ],
)
def test_batches_in_step_with_the_sensor_are_named(cycle_s, count, flagged):
    caveat = quality.locked_in(batches(cycle_s, count), source_info(sensor_window_s=0.025), 0.75)
    assert (caveat is not None) == flagged


def test_spread_batches_and_sensors_that_see_everything_cannot_lock():
    assert quality.locked_in(batches(0.1, 30, spread=True), source_info(), 0.75) is None
    assert quality.locked_in(batches(0.1, 30), source_info(), 0.0) is None


@pytest.mark.parametrize(
    ("count", "spread", "flagged"), [(4, True, True), (5, True, False), (1, True, True), (30, False, True)]
)
def test_beat_inside_a_batch_needs_five_phases_to_show(count, spread, flagged):
    caveat = quality.beat_not_excluded(batches(2.0, count, spread), source_info(sensor_window_s=0.025), 0.75)
    assert (caveat is not None) == flagged


def test_sensors_that_see_everything_and_batches_they_average_leave_no_beat():
    assert quality.beat_not_excluded(batches(2.0, 1), source_info(), 0.0) is None
    assert quality.beat_not_excluded(batches(0.02, 100), source_info(sensor_window_s=0.025), 0.75) is None
