"""Every term of a window's budget, worked by hand from protocol.md."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from harness.records import UncertaintyTerm


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
