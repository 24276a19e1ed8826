"""Intervals against textbook tables and sums worked by hand."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.stats import (
    Estimate,
    block_mean_u,
    combined,
    effective_sample_size,
    phased_mean_u,
    repeatability,
    student_t_quantile,
    student_t_two_sided,
)

# --- Student t: two-sided critical values as printed in textbooks ---


@pytest.mark.parametrize(
    ("confidence", "degrees", "printed"),
    [
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.95, 3, 3.182),
        (0.95, 4, 2.776),
        (0.95, 9, 2.262),
        (0.95, 10, 2.228),
        (0.95, 30, 2.042),
        (0.95, 120, 1.980),
        (0.90, 5, 2.015),
        (0.99, 1, 63.657),
        (0.99, 5, 4.032),
        (0.99, 60, 2.660),
    ],
)
def test_student_factors_are_those_of_the_tables(confidence: float, degrees: int, printed: float) -> None:
    assert student_t_quantile(confidence, degrees) == pytest.approx(printed, abs=0.0005)


def test_one_degree_is_the_cauchy_distribution() -> None:
    assert student_t_two_sided(1.0, 1) == pytest.approx(0.5, abs=1e-15)
    assert student_t_quantile(0.5, 1) == pytest.approx(1.0, abs=1e-12)


def test_two_degrees_follow_the_closed_form() -> None:
    # P(|T| <= t) = t / sqrt(2 + t^2)
    assert student_t_two_sided(3.0, 2) == pytest.approx(3 / math.sqrt(11), abs=1e-15)


def test_degrees_are_rounded_down() -> None:
    assert student_t_quantile(0.95, 2.999) == student_t_quantile(0.95, 2)


def test_endless_degrees_are_the_normal_distribution() -> None:
    assert student_t_quantile(0.95, math.inf) == pytest.approx(1.959964, abs=1e-6)


def test_step_to_the_normal_distribution_is_small() -> None:
    assert student_t_quantile(0.95, 200) / student_t_quantile(0.95, 201) == pytest.approx(1.0061, abs=0.0001)


@pytest.mark.parametrize("degrees", [0, 0.99, -1, -math.inf])
def test_less_than_one_degree_is_refused(degrees: float) -> None:
    with pytest.raises(ValueError, match="at least one degree"):
        student_t_quantile(0.95, degrees)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_confidence_outside_zero_to_one_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        student_t_quantile(confidence, 5)


@given(st.floats(min_value=0.01, max_value=0.999), st.integers(min_value=1, max_value=200))
def test_the_factor_holds_exactly_its_confidence(confidence: float, degrees: int) -> None:
    assert student_t_two_sided(student_t_quantile(confidence, degrees), degrees) == pytest.approx(confidence, abs=1e-12)


@given(st.floats(min_value=0.5, max_value=0.999), st.integers(min_value=1, max_value=199))
def test_more_degrees_never_widen_the_interval(confidence: float, degrees: int) -> None:
    assert student_t_quantile(confidence, degrees + 1) <= student_t_quantile(confidence, degrees)
    assert student_t_quantile(confidence, degrees) >= NormalDist().inv_cdf(0.5 + confidence / 2)


# --- Estimate ---


def test_scaling_keeps_the_relative_interval() -> None:
    estimate = repeatability([10.0, 12.0, 14.0])
    halved = estimate.scaled(0.5)
    assert (halved.value, halved.n, halved.confidence) == (6.0, 3, 0.95)
    assert halved.half_width == pytest.approx(estimate.half_width / 2)
    assert halved.standard_uncertainty == pytest.approx(estimate.standard_uncertainty / 2)


@pytest.mark.parametrize("field", ["value", "low", "high", "standard_uncertainty"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_estimate_is_never_nan_or_infinite(field: str, value: float) -> None:
    content = {"value": 1.0, "low": 0.0, "high": 2.0, "n": 3, "standard_uncertainty": 0.5, "method": "hand"}
    with pytest.raises(ValidationError):
        Estimate.model_validate(content | {field: value})


# --- repeats alone ---


def test_repeatability_worked_by_hand() -> None:
    # mean 12, sd 2, u = 2 / sqrt(3) = 1.1547, t(0.95, 2) = 4.3027
    estimate = repeatability([10.0, 12.0, 14.0])
    assert estimate.value == 12.0
    assert estimate.standard_uncertainty == pytest.approx(1.154701, abs=1e-6)
    assert estimate.half_width == pytest.approx(4.968275, abs=1e-4)
    assert (estimate.low, estimate.high) == pytest.approx((12 - 4.968275, 12 + 4.968275), abs=1e-4)
    assert estimate.n == 3


def test_one_repeat_has_no_scatter() -> None:
    with pytest.raises(ValueError, match="at least two"):
        repeatability([10.0])


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=2, max_size=30))
def test_repeats_interval_holds_the_mean_and_lies_around_it(values: list[float]) -> None:
    estimate = repeatability(values)
    assert min(values) - 1e-6 <= estimate.value <= max(values) + 1e-6
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.high - estimate.value == pytest.approx(estimate.value - estimate.low, rel=1e-6, abs=1e-6)


def test_repeats_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(20240517)
    covered = 0
    for _ in range(2000):
        estimate = repeatability(rng.normal(100.0, 5.0, size=5).tolist())
        covered += estimate.low <= 100.0 <= estimate.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


# --- everything that is known ---


def test_scatter_and_common_part_add_in_quadrature_worked_by_hand() -> None:
    # scatter u = 2/sqrt(3); stated u = sqrt(3 * 0.09)/3 = 0.173: the scatter counts.
    # u = sqrt(4/3 + 1/4) = 1.258306; halves: t = 4.302653 * 1.154701 = 4.968275 and 1.959964 * 0.5 = 0.979982
    estimate = combined([10.0, 12.0, 14.0], [0.3, 0.3, 0.3], common_u=0.5)
    assert estimate.value == 12.0
    assert estimate.standard_uncertainty == pytest.approx(1.258306, abs=1e-6)
    assert estimate.half_width == pytest.approx(math.sqrt(4.968275**2 + 0.979982**2), abs=1e-4)


def test_a_large_common_part_brings_back_the_normal_factor() -> None:
    # scatter u = 0.01/sqrt(3), expanded 0.0248; in quadrature with 1.959964: 1.96012
    estimate = combined([10.0, 10.01, 9.99], [0.0, 0.0, 0.0], common_u=1.0)
    assert estimate.half_width == pytest.approx(1.96, abs=0.001)


def test_a_lucky_row_of_equal_readings_does_not_shrink_the_stated_part() -> None:
    # stated u = sqrt(0.2^2 + 0.2^2 + 0.4^2 + 0.4^2)/4 = sqrt(0.4)/4
    estimate = combined([7.0] * 4, [0.2, 0.2, 0.4, 0.4], common_u=0.0)
    assert estimate.standard_uncertainty == pytest.approx(math.sqrt(0.4) / 4, rel=1e-12)
    assert estimate.half_width == pytest.approx(1.959964 * math.sqrt(0.4) / 4, rel=1e-6)


@given(st.integers(min_value=1, max_value=500), st.floats(min_value=0.001, max_value=10.0))
def test_the_common_part_is_never_divided_by_the_number_of_repeats(n: int, common_u: float) -> None:
    assert combined([50.0] * n, [0.0] * n, common_u).standard_uncertainty == pytest.approx(common_u, rel=1e-12)


@given(st.integers(min_value=1, max_value=500))
def test_the_windows_own_part_shrinks_with_the_square_root_of_repeats(n: int) -> None:
    assert combined([50.0] * n, [2.0] * n, 0.0).standard_uncertainty == pytest.approx(2 / math.sqrt(n), rel=1e-12)


def test_a_single_window_states_its_budget() -> None:
    estimate = combined([50.0], [3.0], common_u=4.0)
    assert (estimate.value, estimate.n, estimate.standard_uncertainty) == (50.0, 1, 5.0)


@given(
    st.lists(
        st.tuples(st.floats(min_value=1.0, max_value=1e5), st.floats(min_value=0.0, max_value=100.0)),
        min_size=1,
        max_size=20,
    ),
    st.floats(min_value=0.0, max_value=100.0),
)
def test_more_doubt_never_narrows_the_stated_uncertainty(windows: list[tuple[float, float]], common_u: float) -> None:
    values, window_u = [value for value, _ in windows], [u for _, u in windows]
    estimate = combined(values, window_u, common_u)
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.standard_uncertainty >= common_u * (1 - 1e-12)
    if len(values) > 1:
        assert estimate.half_width >= repeatability(values).half_width * (1 - 1e-9)
    wider = combined(values, [u + 1 for u in window_u], common_u + 1)
    assert wider.standard_uncertainty > estimate.standard_uncertainty


# --- autocorrelation ---


def autoregressive(rng: np.random.Generator, phi: float, n: int) -> np.ndarray:
    """AR(1), begun in its own stationary distribution."""
    values = np.empty(n)
    values[0] = rng.normal(0, 1 / math.sqrt(1 - phi**2))
    noise = rng.normal(size=n)
    for index in range(1, n):
        values[index] = phi * values[index - 1] + noise[index]
    return values


@pytest.mark.parametrize("phi", [0.3, 0.6, 0.9])
def test_autoregressive_series_is_worth_what_theory_says(phi: float) -> None:
    # sum of phi^k over k >= 1 is phi / (1 - phi), so n_eff = n (1 - phi) / (1 + phi)
    rng = np.random.default_rng(7)
    n = 2000
    found = np.mean([effective_sample_size(autoregressive(rng, phi, n)) for _ in range(20)])
    assert found == pytest.approx(n * (1 - phi) / (1 + phi), rel=0.12)


def test_white_noise_is_worth_nearly_all_its_samples() -> None:
    rng = np.random.default_rng(11)
    found = np.mean([effective_sample_size(rng.normal(size=2000)) for _ in range(20)])
    assert found == pytest.approx(2000, rel=0.05)


def test_a_constant_series_is_worth_all_its_samples() -> None:
    assert effective_sample_size(np.full(50, 250.0)) == 50.0


def test_a_slow_ramp_is_worth_few_samples() -> None:
    assert effective_sample_size(np.linspace(100.0, 300.0, 500)) < 5


def test_four_values_worked_by_hand() -> None:
    # centred -1.5 -0.5 0.5 1.5: variance 1.25; rho_1 = (0.75 - 0.25 + 0.75) / 4 / 1.25 = 0.25; 4 / 1.5
    assert effective_sample_size(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(4 / 1.5, rel=1e-12)


@pytest.mark.parametrize(("n", "worth"), [(0, 1.0), (1, 1.0), (2, 2.0)])
def test_too_few_values_are_taken_as_they_are(n: int, worth: float) -> None:
    assert effective_sample_size(np.arange(n, dtype=float)) == worth


@given(st.lists(st.floats(min_value=0.0, max_value=1000.0), min_size=3, max_size=200))
def test_worth_lies_between_one_and_the_number_of_samples(values: list[float]) -> None:
    assert 1.0 <= effective_sample_size(np.array(values)) <= len(values)


# --- means whose errors cancel ---


def test_values_that_cancel_within_a_block_are_known_better_than_their_scatter_says():
    assert block_mean_u(np.array([(-1.0) ** k for k in range(96)])) == pytest.approx(0.0)


def test_independent_values_are_known_as_their_scatter_says():
    draws = np.random.default_rng(5)
    stated = [block_mean_u(draws.normal(0.0, 1.0, 96)) for _ in range(400)]
    # sd / sqrt(96) = 0.102, widened by t(11 degrees) / 1.96 = 1.123
    assert np.sqrt(np.mean(np.square(stated))) == pytest.approx(1.123 / np.sqrt(96), rel=0.05)


def test_series_is_cut_into_blocks_of_eight():
    # Ten blocks of eight equal values: sd of the levels 0..9 is 3.0277; over sqrt(10), times t(9)/1.96 = 1.1542.
    assert block_mean_u(np.ones(39)) is None
    assert block_mean_u(np.repeat(np.arange(10.0), 8)) == pytest.approx(3.0277 / np.sqrt(10) * 1.1542, rel=1e-3)


EVEN = np.full(5, 0.2)


def test_successive_differences_in_order_of_phase_worked_by_hand():
    # Round the circle -2, -1, 0, 1, 2: squares of steps 1 + 1 + 1 + 1 + 16 = 20; over 2 n = 2; sqrt(2 / 5) = 0.6325.
    # Worth 2/3 of 5 degrees, 3 in whole: t = 3.182, over 1.960.
    phases, means_w = np.array([0.61, 0.02, 0.43, 0.22, 0.85]), np.array([4.0, 1.0, 3.0, 2.0, 5.0])
    assert phased_mean_u(phases, means_w, EVEN) == pytest.approx(0.6325 * 3.182 / 1.960, rel=1e-3)
    assert phased_mean_u(np.arange(5.0), means_w, EVEN) > phased_mean_u(phases, means_w, EVEN)
    assert phased_mean_u(phases[:4], means_w[:4], np.full(4, 0.25)) is None


def test_what_varies_smoothly_with_phase_is_hardly_in_doubt():
    # Steps of 2 pi / n along a sine of amplitude 1: mean square step (2 pi / n)^2 / 2, and half of that.
    n = 60
    phases = np.arange(n) * 0.6180339887 % 1
    stated = phased_mean_u(phases, np.sin(2 * np.pi * phases), np.full(n, 1 / n))
    even = 2 * np.pi / n / 2 / np.sqrt(n)
    assert even < stated < 1.6 * even
    assert stated < 0.12 * np.sqrt(0.5 / n)  # of the ordinary scatter


def test_noise_is_in_doubt_as_its_scatter_says():
    draws, n = np.random.default_rng(8), 30
    stated = [phased_mean_u(draws.random(n), draws.normal(size=n), np.full(n, 1 / n)) for _ in range(600)]
    # t(20 degrees) / 1.96 = 1.0643; half the mean square difference of independent neighbours is their variance, 1.
    assert np.sqrt(np.mean(np.square(stated))) == pytest.approx(1.0643 / np.sqrt(n), rel=0.04)


@given(st.integers(5, 40), st.floats(-1e3, 1e3), st.floats(0.1, 10.0))
def test_doubt_of_spread_groups_scales_with_their_swing_alone(n, level, swing):
    phases = np.arange(n) * 0.6180339887 % 1
    means, weights = np.cos(9 * phases), np.full(n, 1 / n)
    stated = phased_mean_u(phases, level + swing * means, weights)
    assert stated == pytest.approx(swing * phased_mean_u(phases, means, weights), rel=1e-6)
