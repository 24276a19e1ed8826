"""When to stop repeating: narrow enough, out of budget, or hopeless."""

from __future__ import annotations

import math

import pytest
from fakes import measurement_of, source_energy_of
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.stopping import enough, gross_j, relative_halfwidth, repeats_interval, seconds_left
from harness.specs import MeasureSpec
from harness.stats import Estimate

SPEC = MeasureSpec(min_repeats=5, max_repeats=20, max_duration_s=100.0, target_relative_halfwidth=0.02)
ACTIVE = {"GPU-0"}


def interval(relative: float, n: int, value: float = 10.0) -> Estimate:
    half = abs(value) * relative
    return Estimate(value=value, low=value - half, high=value + half, n=n, standard_uncertainty=half / 2, method="hand")


def windows(*energies_j: float, rejected: tuple[int, ...] = ()):
    """Windows of 100 requests with that much energy while work ran."""
    return [
        measurement_of(source_energy_of(energy_j=energy_j + 100.0, gap_energy_j=100.0), rejected=index in rejected)
        for index, energy_j in enumerate(energies_j)
    ]


# --- energy of one window, interval of several ---


def test_gross_energy_adds_the_boards_that_ran_the_model():
    window = measurement_of(
        source_energy_of(source_id="GPU-0"),  # 3000 - 100
        source_energy_of(source_id="GPU-1", energy_j=1000.0, gap_energy_j=10.0),
        source_energy_of(source_id="GPU-2", energy_j=500.0, gap_energy_j=0.0),
    )
    assert gross_j(window, {"GPU-0", "GPU-2"}) == 3400.0


def test_interval_is_per_generation():
    estimate = repeats_interval(windows(1000.0, 1200.0, 1400.0), ACTIVE)
    assert estimate is not None
    assert (estimate.value, estimate.n) == (12.0, 3)
    assert estimate.half_width == pytest.approx(4.968275, abs=1e-4)  # t(2) * 2 / sqrt(3)


def test_rejected_windows_do_not_count():
    estimate = repeats_interval(windows(1000.0, 9999.0, 1400.0, rejected=(1,)), ACTIVE)
    assert estimate is not None
    assert (estimate.value, estimate.n) == (12.0, 2)


@pytest.mark.parametrize("rejected", [(0, 1), (1,)])
def test_one_accepted_window_has_no_interval(rejected):
    assert repeats_interval(windows(1000.0, 1200.0, rejected=rejected), ACTIVE) is None


def test_relative_half_width_of_a_negative_mean_is_positive():
    assert relative_halfwidth(interval(0.1, 5, value=-10.0)) == pytest.approx(0.1)


def test_nothing_has_no_relative_half_width():
    assert relative_halfwidth(None) is None
    zero = Estimate(value=0.0, low=-1.0, high=1.0, n=5, standard_uncertainty=0.5, method="hand")
    assert relative_halfwidth(zero) is None


# --- stopping ---


@pytest.mark.parametrize(
    ("repeats", "relative", "accepted", "elapsed_s", "stop"),
    [
        (5, 0.019, 5, 50.0, True),  # narrow enough
        (5, 0.021, 5, 50.0, False),
        (4, 0.001, 4, 50.0, False),  # too few, however narrow
        (6, 0.001, 4, 50.0, False),  # enough windows, too few accepted
        (19, 0.5, 19, 50.0, False),
        (20, 0.5, 20, 50.0, True),  # repeats are spent
        (2, 0.5, 2, 100.0, True),  # time is spent
        (2, 0.5, 2, 99.9, False),
    ],
)
def test_stops_when_narrow_or_spent(repeats, relative, accepted, elapsed_s, stop):
    assert enough(SPEC, repeats, interval(relative, accepted), elapsed_s) == stop


def test_one_window_is_never_enough_even_out_of_time():
    assert not enough(SPEC, 1, None, 1e6)


@pytest.mark.parametrize(("repeats", "stop"), [(4, False), (5, True)])
def test_windows_that_are_all_rejected_end_after_the_least_repeats(repeats, stop):
    assert enough(SPEC, repeats, None, 1.0) == stop


def test_mean_of_zero_goes_on_to_the_end_of_its_budget():
    zero = Estimate(value=0.0, low=0.0, high=0.0, n=5, standard_uncertainty=0.0, method="hand")
    assert not enough(SPEC, 19, zero, 1.0)
    assert enough(SPEC, 20, zero, 1.0)


# --- how long still ---


def test_first_windows_tell_how_long_the_least_repeats_take():
    assert seconds_left(SPEC, 2, None, 20.0) == pytest.approx(30.0)  # three more of ten seconds


def test_half_the_width_needs_four_times_the_repeats():
    assert seconds_left(SPEC, 4, interval(0.0399, 4), 8.0) == pytest.approx((16 - 4) * 2.0)


def test_estimate_is_cut_by_both_budgets():
    assert seconds_left(SPEC, 10, interval(1.0, 10), 10.0) == pytest.approx(10.0)  # 20 repeats at most
    assert seconds_left(SPEC, 2, interval(1.0, 2), 90.0) == pytest.approx(10.0)  # 100 s at most


def test_nothing_is_left_when_all_is_reached():
    assert seconds_left(SPEC, 5, interval(0.01, 5), 50.0) == 0.0


@given(
    repeats=st.integers(min_value=1, max_value=20),
    relative=st.none() | st.floats(min_value=1e-6, max_value=100.0),
    elapsed_s=st.floats(min_value=0.0, max_value=1e4),
)
def test_time_left_is_finite_and_within_the_budget(repeats, relative, elapsed_s):
    found = seconds_left(SPEC, repeats, interval(relative, max(2, repeats)) if relative else None, elapsed_s)
    assert math.isfinite(found)
    assert 0.0 <= found <= max(0.0, SPEC.max_duration_s - elapsed_s)
