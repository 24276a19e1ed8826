"""Every term of a window's budget, worked by hand from protocol.md."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.energy import integrate_power, published_readings
from harness.measure.uncertainty import (
    aligned_edges_u_j,
    combined_u_j,
    common_u_j,
    gain_u_j,
    gap_u_j,
    offset_u_j,
    resolution_u_j,
    unaligned_edges_u_j,
    undersampling_u_j,
    window_u_j,
)
from harness.power.profiles import profile_for, undersampled_fraction
from harness.records import UncertaintyTerm
from harness.stats import effective_sample_size

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "traces"


def term(standard_uncertainty_j: float, common: bool = False) -> UncertaintyTerm:
    return UncertaintyTerm(
        name="any", standard_uncertainty_j=standard_uncertainty_j, common=common, reduced_by="nothing"
    )


def test_five_percent_rectangular_gain_on_a_thousand_joules():
    assert gain_u_j(1000.0, 0.05 / math.sqrt(3)) == pytest.approx(28.8675, abs=1e-4)


def test_gain_of_a_negative_energy_is_still_a_doubt():
    assert gain_u_j(-1000.0, 0.03) == 30.0


def test_offset_grows_with_time():
    assert offset_u_j(10.0, 1.5) == 15.0


def test_two_edges_in_whole_steps():
    # 2 q^2 / 12 with q = 6 J: sqrt(72 / 12)
    assert resolution_u_j(6.0) == pytest.approx(math.sqrt(6), rel=1e-12)


def test_spun_edges_cost_half_a_millisecond():
    # 2 (p P)^2 / 12 with p = 0.5 ms, P = 60 W: 0.03 J / sqrt(6)
    assert aligned_edges_u_j(0.0005, 60.0) == pytest.approx(0.03 / math.sqrt(6), rel=1e-12)


def test_unaligned_edges_cost_a_whole_period():
    # 0.1 s, 60 W before and 80 W after: 0.1 * sqrt(10000 / 12)
    assert unaligned_edges_u_j(0.1, 60.0, 80.0) == pytest.approx(10 / math.sqrt(12), rel=1e-12)


def test_unseen_time_worked_by_hand():
    # kappa 0.75, s = 40 W, T = 10 s, N_eff = 25: sqrt(0.75) * 40 * 10 / 5
    assert undersampling_u_j(0.75, 40.0, 10.0, 25.0) == pytest.approx(80 * math.sqrt(0.75), rel=1e-12)


def test_full_coverage_has_no_unseen_time():
    assert undersampling_u_j(0.0, 40.0, 10.0, 25.0) == 0.0


def test_less_than_one_sample_counts_as_one():
    assert undersampling_u_j(1.0, 40.0, 10.0, 0.1) == 400.0


def test_gaps_are_as_uncertain_as_the_power_in_them():
    assert gap_u_j(0.5, 4.0) == 2.0


def test_terms_add_in_quadrature_and_keep_what_is_common_apart():
    budget = (term(12.0, common=True), term(9.0, common=True), term(3.0), term(4.0))
    assert common_u_j(budget) == 15.0
    assert window_u_j(budget) == 5.0
    assert combined_u_j(budget) == pytest.approx(math.sqrt(250), rel=1e-12)


def test_empty_budget_is_no_doubt():
    assert combined_u_j(()) == 0.0


@given(st.lists(st.tuples(st.just(0.0) | st.floats(min_value=1e-9, max_value=1e6), st.booleans()), max_size=10))
def test_common_and_own_part_make_the_whole(parts):
    budget = [term(u, common) for u, common in parts]
    assert math.hypot(common_u_j(budget), window_u_j(budget)) == pytest.approx(combined_u_j(budget), rel=1e-9)
    assert combined_u_j(budget) >= max((u for u, _ in parts), default=0.0) * (1 - 1e-12)


# --- against recordings of real boards, with an external power meter as the truth ---


def recorded(name: str, file: str, *columns: str) -> list[np.ndarray]:
    path = RECORDINGS / name / file
    if not path.exists():
        pytest.skip(f"the recording {path} is not here")
    with path.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return [np.array([float(row[column]) for row in rows]) for column in columns]


def covered(name, board, gain, offset_w, window_s, worth=effective_sample_size):
    """Share of windows whose truth lies within twice the stated uncertainty of the random terms.

    Gain and offset of the board are taken out: they come from its recording under a steady load.
    """
    sensor = profile_for(board)
    polled_s, polled_w = recorded(name, "nvml.csv", "time_s", "power_instant_w")
    meter_s, meter_w = recorded(name, "pmd.csv", "time_s", "watts")
    held_s = polled_s - sensor.period_s / 2  # a reading is shown for the period after it: on average half of it old
    kappa = undersampled_fraction(sensor.period_s, sensor.window_s)
    inside = []
    for start_s in np.arange(meter_s[0] + 0.5, meter_s[-1] - window_s - 0.5, 0.05):
        end_s = start_s + window_s
        true_j = integrate_power(meter_s, meter_w, start_s, end_s)
        energy_j = integrate_power(held_s, polled_w, start_s, end_s)
        during = (polled_s >= start_s) & (polled_s <= end_s)
        readings_w = published_readings(polled_s[during], polled_w[during], sensor.period_s)
        u_j = math.hypot(
            undersampling_u_j(kappa, float(np.std(readings_w, ddof=1)), window_s, worth(readings_w)),
            unaligned_edges_u_j(sensor.period_s, readings_w[0], readings_w[-1]),
        )
        inside.append(abs(energy_j - (gain * true_j + offset_w * window_s)) <= 2 * u_j)
    return np.mean(inside)


@pytest.mark.parametrize(
    ("name", "board", "gain", "offset_w", "window_s"),
    [
        ("TR_A100", "NVIDIA A100-PCIE-40GB", 0.9576, -2.07, 2.0),
        ("TR_3090", "NVIDIA GeForce RTX 3090", 0.9512, -0.82, 2.0),
        ("5050_A100", "NVIDIA A100-PCIE-40GB", 0.9576, -2.07, 5.0),
    ],
    ids=["steady A100", "steady 3090", "beating A100"],
)
def test_recorded_windows_hold_the_meters_energy(name, board, gain, offset_w, window_s):
    assert covered(name, board, gain, offset_w, window_s) >= 0.95


def test_recorded_beat_fools_whoever_counts_every_reading():
    # 52 ms of work every 104 ms against readings every 101 ms: they drift through the load once in 3.4 s.
    assert covered("5050_A100", "NVIDIA A100-PCIE-40GB", 0.9576, -2.07, 5.0, worth=len) < 0.7


def test_recorded_beat_fools_every_window_shorter_than_itself():
    # Why batches near the sensor's period get random delays: no statistics on one second can see this.
    assert covered("5050_A100", "NVIDIA A100-PCIE-40GB", 0.9576, -2.07, 1.0) < 0.5
