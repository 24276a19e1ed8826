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


@pytest.mark.parametrize("bit", [0x4, 0x8, 0x20, 0x40, 0x80])
def test_lowered_clocks_are_flagged(bit):
    caveat = quality.throttled(masks(0, bit, 0, 0), source_info())
    assert caveat is not None
    assert caveat.code == "throttled"
    assert "25%" in caveat.message


@pytest.mark.parametrize("bit", [0x0, 0x1, 0x2, 0x10, 0x100])
def test_idle_chosen_clocks_and_displays_are_no_throttling(bit):
    assert quality.throttled(masks(bit, bit), source_info()) is None


def test_power_limit_is_called_by_its_name():
    caveat = quality.throttled(masks(0x4, 0x4 | 0x1), source_info())
    assert caveat is not None
    assert caveat.message == "Fake GPU ran at its power limit in 100% of the samples."


def test_other_reasons_are_listed_as_bits():
    caveat = quality.throttled(masks(0x4, 0x20), source_info())
    assert caveat is not None
    assert "0x24" in caveat.message


def test_samples_without_throttle_reasons_do_not_dilute_the_share():
    caveat = quality.throttled(masks(np.nan, np.nan, 0x8, np.nan, 0x0), source_info())
    assert caveat is not None
    assert "50%" in caveat.message


def test_board_that_tells_no_reasons_is_not_called_throttled():
    assert quality.throttled(masks(np.nan, np.nan), source_info()) is None
    assert quality.throttled(empty_trace(("GPU-0",), 0.02), source_info()) is None


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
    caveat = quality.counter_stuck(readings(1.0, aligned=None), expected=True)
    assert caveat is not None
    assert caveat.code == "counter-stuck"


def test_aligned_window_is_not_stuck():
    assert quality.counter_stuck(readings(1.0), expected=True) is None


def test_board_without_a_counter_is_not_stuck():
    assert quality.counter_stuck(readings(1.0, aligned=None), expected=False) is None


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
