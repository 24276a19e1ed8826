"""Weighted least squares with own and shared doubts: by hand, exact, and counted over many draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MeasurementInvalid
from harness.measure.regression import MAX_CONDITION, column_condition, fit_weighted

LINE = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])


def ones(count: int) -> np.ndarray:
    return np.ones(count)


def test_a_line_through_three_points_worked_by_hand():
    # y = 1, 2, 4 at x = 0, 1, 2: slope 1.5, intercept 5/6; residuals 1/6, -1/3, 1/6; X'X = [[3, 3], [3, 5]].
    fit = fit_weighted(LINE, np.array([1.0, 2.0, 4.0]), ones(3))
    assert fit.coefficients == pytest.approx([5 / 6, 1.5])
    assert fit.residuals == pytest.approx([1 / 6, -1 / 3, 1 / 6])
    assert (fit.chi_squared, fit.degrees, fit.inflation) == (pytest.approx(1 / 6), 1, 1.0)
    assert fit.own_u() == pytest.approx([math.sqrt(5 / 6), math.sqrt(1 / 2)])
    # Without the first point the line through the other two is at 0 where 1 was measured; and so on.
    assert fit.left_out == pytest.approx([1.0, -0.5, 1.0])
    assert fit.half_widths() == pytest.approx(1.959964 * fit.own_u())


def test_a_point_counts_by_the_square_of_its_certainty():
    # One constant through 10 (u 1) and 20 (u 3), and 10 again: weights 1, 1/9, 1.
    fit = fit_weighted(np.ones((3, 1)), np.array([10.0, 20.0, 10.0]), np.array([1.0, 3.0, 1.0]))
    assert fit.coefficients == pytest.approx([(10 + 20 / 9 + 10) / (2 + 1 / 9)])


def test_more_scatter_than_stated_widens_by_the_birge_ratio_and_student_t():
    # Residuals of u/6, u/3, u/6 with u = 0.1: chi-squared 100/6 on one degree of freedom, t(0.95, 1) = 12.706.
    fit = fit_weighted(LINE, np.array([1.0, 2.0, 4.0]), ones(3) / 10)
    assert fit.inflation == pytest.approx(math.sqrt(100 / 6))
    assert fit.own_u()[1] == pytest.approx(0.1 * math.sqrt(1 / 2) * math.sqrt(100 / 6))
    assert fit.half_widths()[1] == pytest.approx(12.7062 * fit.own_u()[1], rel=1e-4)


def test_a_shared_gain_scales_every_coefficient_and_is_not_averaged():
    values = LINE @ np.array([2.0, 3.0])
    for rows in (1, 100):
        design, y = np.tile(LINE, (rows, 1)), np.tile(values, rows)
        fit = fit_weighted(design, y, ones(len(y)), [0.03 * y])
        assert fit.shared_u() == pytest.approx([0.06, 0.09])


def test_a_shared_offset_moves_the_coefficient_it_looks_like():
    fit = fit_weighted(LINE, ones(3), ones(3), [0.5 * ones(3), 0.2 * LINE[:, 1]])
    assert fit.shared_u() == pytest.approx([0.5, 0.2])
    assert fit.shared[0, 1] == pytest.approx(0.0)


coefficient = st.floats(-100, 100)


@given(
    beta=st.lists(coefficient, min_size=3, max_size=3),
    u=st.lists(st.floats(0.1, 10), min_size=8, max_size=8),
    scale=st.floats(1e-6, 1e6),
)
def test_a_design_without_noise_is_recovered_exactly_in_any_units(beta, u, scale):
    # A full two-level design in two counts, one of them in any unit.
    design = np.array([[1.0, a * scale, b] for a in (1, 7) for b in (2, 30)] * 2)
    fit = fit_weighted(design, design @ np.array(beta), np.array(u))
    assert fit.coefficients * [1, scale, 1] == pytest.approx(np.array(beta) * [1, scale, 1], abs=1e-5 * (1 + scale))
    assert fit.inflation == 1.0
    assert fit.left_out == pytest.approx(np.zeros(8), abs=1e-4 * (1 + scale))


COUNTS = st.integers(0, 1000).map(lambda count: count / 100)  # of one order: 1e-68 beside 1 alone decides the slope


@given(rows=st.lists(st.tuples(COUNTS, st.floats(1, 10)), min_size=5, max_size=9), seed=st.integers(0, 99))
def test_left_out_residuals_are_those_of_a_fit_without_the_row(rows, seed):
    design = np.array([[1.0, x] for x, _ in rows])
    u = np.array([each for _, each in rows])
    if column_condition(design[1:] / u[1:, None]) > 50:
        return
    y = np.random.default_rng(seed).normal(size=len(rows))
    whole = fit_weighted(design, y, u)
    rest = fit_weighted(design[1:], y[1:], u[1:])
    assert whole.left_out[0] == pytest.approx(y[0] - design[0] @ rest.coefficients, abs=1e-6)


def test_stated_intervals_hold_the_truth_as_often_as_they_say():
    # 1,000 campaigns of 12 runs on boards of unknown gain (2.9 %) and offset: the 95 % interval of each coefficient.
    rng = np.random.default_rng(5)
    design = np.array([[1.0, b * i, n, b * n] for b in (1, 8) for i in (32, 512, 1024) for n in (16, 128)])
    beta = np.array([0.7, 1.5e-3, 1.0, 0.04])
    energy, duration = design @ beta, design @ np.array([0.004, 4e-6, 0.006, 0.0])
    u = 0.004 * energy
    held = np.zeros(4)
    for _ in range(1000):
        gain, offset_w = 1 + 0.029 * rng.normal(), 1.7 * rng.normal()
        y = gain * energy + offset_w * duration + u * rng.normal(size=12)
        fit = fit_weighted(design, y, u, [0.029 * y, 1.7 * duration])
        held += np.abs(fit.coefficients - beta) <= fit.half_widths()
    assert (held / 1000 > 0.93).all(), held
    assert (held / 1000 < 0.99).all(), held  # nor are they idly wide


def test_a_row_that_alone_decides_a_coefficient_cannot_be_left_out():
    design = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    fit = fit_weighted(design, np.array([1.0, 1.2, 3.0]), ones(3))
    assert np.isnan(fit.left_out).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("design", "u", "told"),
    [
        (LINE[:2], ones(2), "2 rows cannot decide 2 coefficients"),
        (np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]), ones(3), "cannot be told apart"),
        (LINE * [1.0, 0.0], ones(3), "cannot be told apart"),
        (LINE, np.array([1.0, 0.0, 1.0]), "uncertainty above 0"),
        (LINE, np.array([1.0, math.nan, 1.0]), "uncertainty above 0"),
    ],
)
def test_what_cannot_be_decided_is_refused(design, u, told):
    with pytest.raises(MeasurementInvalid, match=told):
        fit_weighted(design, ones(len(design)), u)


def test_condition_does_not_depend_on_units_and_finds_columns_that_go_together():
    assert column_condition(LINE * [1.0, 1e9]) == pytest.approx(column_condition(LINE))
    nearly = np.array([[1.0, 100.0], [1.0, 100.1], [1.0, 99.9]])
    assert column_condition(nearly) > MAX_CONDITION
