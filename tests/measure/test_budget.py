"""One window, worked by hand: 100 W idle, 300 W for ten seconds, half a second of idle on either side."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from fakes import source_info, trace_of
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MeasurementInvalid
from harness.measure.budget import (
    GapEnergy,
    IdlePowerReading,
    gap_energy,
    null_power,
    settling,
    source_energy,
    source_method,
    window_energy_j,
)
from harness.measure.window import WindowReadings

COUNTER = WindowReadings(
    start_s=0.0,
    end_s=11.0,
    busy_spans_s=((0.5, 10.5),),
    edges_j={"GPU-0": (1000.0, 4100.0)},  # 10 s at 300 W, 1 s at 100 W
    aligned_source="GPU-0",
    stamp_interval_s=0.0005,
)
NULL = WindowReadings(
    start_s=11.0,
    end_s=13.0,
    busy_spans_s=(),
    edges_j={"GPU-0": (4100.0, 4300.0)},
    aligned_source="GPU-0",
    stamp_interval_s=0.0005,
)
NO_COUNTER = replace(COUNTER, edges_j={"GPU-0": (None, None)}, aligned_source=None, stamp_interval_s=None)
NO_COUNTER_NULL = replace(NULL, edges_j={"GPU-0": (None, None)}, aligned_source=None, stamp_interval_s=None)
IDLE = IdlePowerReading(power_w=100.0, u_w=0.2)


def trace(power_w=lambda t: np.where((t >= 0.5) & (t < 10.5), 300.0, 100.0), end_s=14.0, step_s=0.01):
    t_s = np.arange(-1.0, end_s, step_s)
    return trace_of((t_s, power_w(t_s)))


def decay(since_s, tau_s):
    return np.exp(-np.maximum(since_s, 0.0) / tau_s)


def term(energy, name):
    return next(part for part in energy.budget if part.name == name)


# --- which way to the energy ---


@pytest.mark.parametrize(
    ("kind", "has_counter", "wanted", "method"),
    [
        ("gpu", True, "auto", "counter"),
        ("gpu", True, "counter", "counter"),
        ("gpu", True, "sampled", "sampled"),
        ("gpu", False, "auto", "sampled"),
        ("gpu", False, "sampled", "sampled"),
        ("cpu", True, "sampled", "counter"),  # RAPL has no power to sample
        ("dram", True, "auto", "counter"),
    ],
)
def test_method_follows_from_board_and_wish(kind, has_counter, wanted, method):
    readings = COUNTER if has_counter else NO_COUNTER
    assert source_method(source_info(kind=kind), readings, wanted) == method


def test_counter_asked_for_by_name_must_exist():
    with pytest.raises(MeasurementInvalid, match="Fake GPU has no energy counter"):
        source_method(source_info(), NO_COUNTER, "counter")


def test_source_that_was_not_read_has_no_counter():
    assert source_method(source_info(id="GPU-9"), COUNTER, "auto") == "sampled"


# --- energy and idle ---


def test_window_energy_is_the_counters_difference():
    assert window_energy_j(source_info(), COUNTER, trace(), "counter") == 3100.0


def test_window_energy_by_samples_is_their_integral():
    # The trapezoid rule smears each step over one sample of 10 ms: 100 W apart, half a step, both ways.
    assert window_energy_j(source_info(), NO_COUNTER, trace(), "sampled") == pytest.approx(3100.0, abs=2.1)


def test_idle_power_is_the_null_windows_mean():
    idle = null_power(source_info(), NULL, trace(), "counter")
    assert idle.power_w == 100.0
    # No scatter; step 1 mJ and stamps of 0.5 ms at 100 W, over 2 s.
    edges_j = math.hypot(0.001 / math.sqrt(6), 0.0005 * 100 / math.sqrt(6))
    assert idle.u_w == pytest.approx(edges_j / 2, rel=1e-9)


def test_settling_board_has_an_uncertain_idle_power():
    settling = trace(lambda t: np.where(t < 12.0, 110.0, 90.0))
    assert null_power(source_info(), NULL, settling, "counter").u_w == pytest.approx(10.0, rel=0.01)


def test_idle_power_of_a_source_without_watts_is_the_counters():
    idle = null_power(source_info(kind="cpu"), NULL, trace_of(([0.0], [np.nan])), "counter")
    assert idle.power_w == 100.0


def test_idle_power_by_samples_needs_samples():
    with pytest.raises(MeasurementInvalid, match="trace covers"):
        null_power(source_info(), NO_COUNTER_NULL, trace(end_s=12.5), "sampled")


def test_sampled_idle_power_is_blurred_by_unaligned_edges():
    idle = null_power(source_info(), NO_COUNTER_NULL, trace(), "sampled")
    assert idle.power_w == pytest.approx(100.0)
    # P sqrt((100^2 + 100^2) / 12) = 4.0825 J over 2 s
    assert idle.u_w == pytest.approx(0.1 * math.sqrt(20_000 / 12) / 2, rel=1e-6)


# --- gaps ---


def test_gaps_at_steady_idle_are_time_times_idle_power():
    gap = gap_energy(source_info(), COUNTER, NULL, trace(), IDLE)
    assert gap.energy_j == pytest.approx(100.0, abs=1e-6)  # 0.5 s before, 0.5 s after
    assert gap.u_j == pytest.approx(0.0, abs=1e-6)  # the readings on both sides are steady


def test_gap_after_work_is_dearer_than_the_one_before():
    # After the load the board draws 30 W more, decaying with 0.7 s; the readings tell of it 100 ms late.
    uplifted = trace(lambda t: np.where(t < 0.5, 100.0, np.where(t < 10.6, 300.0, 100.0 + 30.0 * decay(t - 10.6, 0.7))))
    null_w = float(np.mean(uplifted.between(11.0, 13.0).power("GPU-0")[1]))
    gap = gap_energy(source_info(), COUNTER, NULL, uplifted, IdlePowerReading(null_w, 0.2))
    later_j = 0.5 * 100.0 + 30.0 * 0.7 * (1 - math.exp(-0.5 / 0.7))
    assert gap.energy_j == pytest.approx(0.5 * 100.0 + later_j, abs=0.1)
    assert gap.before_w == pytest.approx(100.0)
    assert gap.after_w == pytest.approx(later_j / 0.5, abs=0.2)
    # Extrapolated from the first reading, 0.1 s of true time after the load: 0.5 s of that in a rectangle.
    first_w = 100.0 + 30.0 * math.exp(-0.1 / 0.7)
    assert gap.u_j == pytest.approx(0.5 * abs(first_w - later_j / 0.5) / math.sqrt(3), abs=0.05)


def test_reading_that_still_remembers_the_load_says_nothing_of_the_gap():
    # tau = 12.5 ms; published 30 ms after the load's end: exp(-2.4) = 9 % of 200 W are in it, shown until 10.63 s.
    def first_order(t):
        return np.where(t < 0.5, 100.0, np.where(t < 10.53, 300.0, np.where(t < 10.63, 100.0 + 200.0 * 0.0907, 100.0)))

    info = source_info(sensor_window_s=0.025, sensor_kernel="first_order")
    gap = gap_energy(info, COUNTER, NULL, trace(first_order, step_s=0.001), IDLE)
    assert gap.after_w == pytest.approx(100.0, abs=0.01)
    forgets_at_once = gap_energy(
        source_info(sensor_window_s=0.025), COUNTER, NULL, trace(first_order, step_s=0.001), IDLE
    )
    assert forgets_at_once.after_w > 100.5


def test_past_is_shown_for_a_period_and_as_long_as_the_kernel_remembers():
    assert source_info(sensor_window_s=0.025, sensor_kernel="first_order").shows_past_s == pytest.approx(0.175)
    assert source_info(sensor_window_s=0.025, sensor_kernel="boxcar").shows_past_s == pytest.approx(0.125)


def test_many_short_gaps_are_dearer_than_one_long_one():
    uplifted_w = 100.0 + 30.0 * decay(np.arange(0.1, 2.0, 0.1), 0.7)
    since_s = np.arange(0.1, 2.0, 0.1)
    short, long = (settling(since_s, uplifted_w, np.array(gaps_s)) for gaps_s in ([0.05] * 10, [0.5]))
    assert short is not None
    assert long is not None
    assert short.power_w == pytest.approx(100.0 + 30.0 * 0.7 / 0.05 * (1 - math.exp(-0.05 / 0.7)), abs=0.4)
    assert long.power_w == pytest.approx(100.0 + 30.0 * 0.7 / 0.5 * (1 - math.exp(-0.5 / 0.7)), abs=0.2)


def test_counter_of_another_gain_scales_what_the_readings_say_of_the_gaps():
    # The counter says 110 W in the null window where the readings say 100 W.
    gap = gap_energy(source_info(), COUNTER, NULL, trace(), IdlePowerReading(110.0, 0.2))
    assert gap.energy_j == pytest.approx(110.0, abs=1e-6)


def test_null_window_too_short_to_compare_scales_nothing():
    brief = replace(NULL, end_s=11.9)
    gap = gap_energy(source_info(), COUNTER, brief, trace(), IdlePowerReading(110.0, 0.2))
    assert gap.energy_j == pytest.approx(100.0, abs=1e-6)


def test_delays_between_batches_are_gaps():
    split = replace(COUNTER, busy_spans_s=((0.5, 5.0), (5.4, 10.5)))
    gap = gap_energy(source_info(), split, NULL, trace(), IDLE)
    assert gap.energy_j == pytest.approx(0.5 * 100.0 + 0.9 * 100.0, abs=1e-6)


def test_window_without_work_is_one_gap():
    assert gap_energy(source_info(), NULL, NULL, trace(), IDLE) == GapEnergy(200.0, 0.4, 100.0, 100.0)


@pytest.mark.parametrize(
    ("samples", "u_j"),
    [
        pytest.param(trace_of(([0.0], [np.nan])), math.hypot(0.1, 0.1), id="no readings"),
        pytest.param(trace_of((np.arange(-1.0, 10.6, 0.01), np.full(1160, 100.0))), 0.1, id="too early an end"),
    ],
)
def test_gap_without_readings_counts_as_idle(samples, u_j):
    gap = gap_energy(source_info(), COUNTER, NULL, samples, IDLE)
    assert gap == GapEnergy(pytest.approx(100.0), pytest.approx(u_j), pytest.approx(100.0), 100.0)


# --- the whole window ---


def test_budget_of_a_board_that_sees_everything():
    energy = source_energy(source_info(), COUNTER, NULL, trace(), IDLE, "counter")
    assert energy.energy_j == 3100.0
    assert energy.method == "counter"
    assert energy.gap_energy_j == pytest.approx(100.0, abs=1e-6)
    assert term(energy, "sensor gain").standard_uncertainty_j == pytest.approx(31.0)
    assert term(energy, "sensor offset").standard_uncertainty_j == pytest.approx(5.5)
    assert term(energy, "window edges").standard_uncertainty_j == pytest.approx(
        math.hypot(0.001, 0.0005 * 100) / math.sqrt(6), rel=1e-9
    )
    assert term(energy, "undersampling").standard_uncertainty_j == 0.0
    assert term(energy, "gaps").standard_uncertainty_j == pytest.approx(0.0, abs=1e-6)
    assert term(energy, "lag at the edges").standard_uncertainty_j == pytest.approx(0.0, abs=1e-6)
    assert [part.name for part in energy.budget if part.common] == ["sensor gain", "sensor offset"]
    assert energy.uncertainty_j == pytest.approx(
        math.sqrt(sum(part.standard_uncertainty_j**2 for part in energy.budget)), rel=1e-12
    )


def test_counter_is_checked_against_the_integral():
    energy = source_energy(source_info(), COUNTER, NULL, trace(), IDLE, "counter")
    assert energy.sampled_energy_j == pytest.approx(3100.0, abs=2.1)
    assert energy.sampled_uncertainty_j is not None
    # gain 31 J, offset 5.5 J, one period of lag over a step of 181.8 W, unaligned edges 4.08 J, aligned edges
    lag_j = 0.1 * (3100 / 11 - 100) / math.sqrt(3)
    assert energy.sampled_uncertainty_j == pytest.approx(
        math.sqrt(31.0**2 + 5.5**2 + lag_j**2 + 0.01 * 20_000 / 12), rel=1e-4
    )


def test_counter_is_enough_without_any_sample():
    energy = source_energy(source_info(), COUNTER, NULL, trace_of(([], [])), IDLE, "counter")
    assert energy.energy_j == 3100.0
    assert energy.sample_count == 0
    assert energy.sampled_energy_j is None
    assert energy.gap_energy_j == pytest.approx(100.0)


def test_samples_are_counted_where_power_was_read():
    samples = trace(step_s=0.1)
    samples.rows[::2, 2] = np.nan
    energy = source_energy(source_info(), COUNTER, NULL, samples, IDLE, "counter")
    assert energy.sample_count == 55


def test_falling_counter_has_no_energy():
    fell = replace(COUNTER, edges_j={"GPU-0": (4100.0, 1000.0)})
    with pytest.raises(MeasurementInvalid, match="backwards"):
        source_energy(source_info(), fell, NULL, trace(), IDLE, "counter")


def test_sampled_window_that_the_trace_does_not_cover_has_no_energy():
    with pytest.raises(MeasurementInvalid, match="trace covers"):
        source_energy(source_info(), NO_COUNTER, NO_COUNTER_NULL, trace(end_s=10.0), IDLE, "sampled")


def test_coarse_counter_shows_in_the_edges():
    energy = source_energy(source_info(counter_step_j=6.0), COUNTER, NULL, trace(), IDLE, "counter")
    assert term(energy, "window edges").standard_uncertainty_j == pytest.approx(math.sqrt(6), rel=1e-3)


def test_edges_that_another_source_led_are_worth_a_period():
    led = replace(COUNTER, aligned_source="GPU-7")
    energy = source_energy(source_info(), led, NULL, trace(), IDLE, "counter")
    assert term(energy, "window edges").standard_uncertainty_j >= 0.1 * math.sqrt(20_000 / 12) * (1 - 1e-9)


# --- a board that sees a quarter of the time ---

QUARTER = source_info(sensor_window_s=0.025)


def test_even_load_is_not_made_uncertain_by_unseen_time():
    energy = source_energy(QUARTER, COUNTER, NULL, trace(), IDLE, "counter")
    assert term(energy, "undersampling").standard_uncertainty_j < 10.0


def test_load_that_begins_between_two_looks_is_uncertain():
    # A sensor that looks every P and sees W counts the step of 200 W up to (P - W)/2 early or late, at both ends:
    # uniform, so (P - W) * 200 W * sqrt(2 / 12) = 0.075 * 200 * 0.408 = 6.1 J, drawn anew in every window.
    energy = source_energy(QUARTER, COUNTER, NULL, trace(), IDLE, "counter")
    own_j = math.sqrt(sum(part.standard_uncertainty_j**2 for part in energy.budget if not part.common))
    assert own_j == pytest.approx(6.1, rel=0.25)


def test_uneven_load_worked_by_hand():
    # Readings alternate between 200 and 400 W, anti-correlated, so every one counts: about 98 of them, sd 100.5 W.
    uneven = trace(lambda t: np.where(np.floor((t + 0.0371) / 0.1) % 2 == 0, 200.0, 400.0))
    energy = source_energy(QUARTER, COUNTER, NULL, uneven, IDLE, "counter")
    expected_j = math.sqrt(0.75) * 100.5 * 11.0 / math.sqrt(98)
    assert term(energy, "undersampling").standard_uncertainty_j == pytest.approx(expected_j, rel=0.03)


def test_slow_wave_counts_fewer_readings_than_a_fast_one():
    def sine(frequency_hz):
        return trace(lambda t: 300.0 + 50.0 * np.sin(2 * np.pi * frequency_hz * t))

    slow, fast = (
        term(source_energy(QUARTER, COUNTER, NULL, sine(f), IDLE, "counter"), "undersampling").standard_uncertainty_j
        for f in (0.11, 4.3)
    )
    assert slow > 2 * fast


def test_too_few_readings_leave_the_power_between_nothing_and_twice_itself():
    energy = source_energy(QUARTER, COUNTER, NULL, trace_of(([], [])), IDLE, "counter")
    expected_j = math.sqrt(0.75) * (3100 / 11) / math.sqrt(3) * 11
    assert term(energy, "undersampling").standard_uncertainty_j == pytest.approx(expected_j, rel=1e-9)


# --- truth ---


def test_truth_is_kept_beside_for_the_window_and_for_the_work():
    energy = source_energy(
        source_info(), COUNTER, NULL, trace(), IDLE, "counter", truth=lambda _, start_s, end_s: 7.0 * (end_s - start_s)
    )
    assert energy.true_energy_j == pytest.approx(77.0)
    assert energy.true_busy_energy_j == pytest.approx(70.0)


def test_without_a_simulation_there_is_no_truth():
    energy = source_energy(source_info(), COUNTER, NULL, trace(), IDLE, "counter")
    assert energy.true_energy_j is None
    assert energy.true_busy_energy_j is None


@given(
    idle_w=st.floats(min_value=0.0, max_value=200.0),
    busy_w=st.floats(min_value=0.0, max_value=1000.0),
    before_s=st.floats(min_value=0.0, max_value=1.0),
    busy_s=st.floats(min_value=0.3, max_value=20.0),
    after_s=st.floats(min_value=0.0, max_value=0.1),
)
def test_gross_energy_of_steady_powers_is_power_times_busy_time(idle_w, busy_w, before_s, busy_s, after_s):
    span = (before_s, before_s + busy_s)
    end_s = span[1] + after_s
    window_j = idle_w * (before_s + after_s) + busy_w * busy_s
    readings = replace(COUNTER, end_s=end_s, busy_spans_s=(span,), edges_j={"GPU-0": (0.0, window_j)})
    null = replace(NULL, start_s=end_s, end_s=end_s + 2.0, edges_j={"GPU-0": (window_j, window_j + 2 * idle_w)})
    samples = trace(lambda t: np.where((t >= span[0]) & (t < span[1]), busy_w, idle_w), end_s + 3.0)
    idle = null_power(source_info(), null, samples, "counter")
    energy = source_energy(source_info(), readings, null, samples, idle, "counter")
    assert energy.energy_j - energy.gap_energy_j == pytest.approx(busy_w * busy_s, rel=1e-6, abs=1e-6)


# --- calibration ---


def test_calibration_corrects_energy_and_idle():
    # The sensor says 0.95 P - 2 W: a counter that adds up its readings said 3100 J in 11 s.
    info = source_info(gain=0.95, offset_w=-2.0, counter_integrates="readings")
    assert window_energy_j(info, COUNTER, trace(), "counter") == pytest.approx((3100.0 + 2.0 * 11.0) / 0.95)
    assert null_power(info, NULL, trace(), "counter").power_w == pytest.approx(102.0 / 0.95)
    sampled = window_energy_j(info, NO_COUNTER, trace(), "sampled")
    assert sampled == pytest.approx((3100.0 + 22.0) / 0.95, rel=0.01)


def test_counter_that_sees_everything_leaves_nothing_unseen():
    swinging = trace(lambda t: 200.0 + 100.0 * np.sign(np.sin(40.0 * t)))
    half_blind = source_info(sensor_window_s=0.025, counter_integrates="readings")
    sharp = source_info(sensor_window_s=0.025, counter_integrates="power")
    blind_u_j, seen_u_j = (
        term(source_energy(info, COUNTER, NULL, swinging, IDLE, "counter"), "undersampling").standard_uncertainty_j
        for info in (half_blind, sharp)
    )
    assert blind_u_j > 10.0
    assert seen_u_j == 0.0
