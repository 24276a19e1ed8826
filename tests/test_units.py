"""Factors are exact, and a printed number is the number."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness import units
from harness.units import (
    format_duration,
    format_plus_minus,
    format_si,
    format_significant,
    j_from_kwh,
    kwh_from_j,
)

PREFIX = {"G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9}


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.mark.parametrize(
    "name",
    [
        "format_significant",
        "format_si",
        "format_mass",
        "format_plus_minus",
        "format_duration",
    ],
)
def test_example_in_the_docstring_holds(name: str) -> None:
    (example,) = doctest.DocTestFinder().find(getattr(units, name), name, globs=vars(units))
    assert doctest.DocTestRunner().run(example) == doctest.TestResults(failed=0, attempted=1)


def test_a_kilowatt_hour_is_three_point_six_megajoules() -> None:
    assert kwh_from_j(3_600_000.0) == 1.0
    assert j_from_kwh(2.5) == 9_000_000.0
    assert units.J_PER_WH * 1000 == units.J_PER_KWH


def test_miles_and_pounds_are_the_international_ones() -> None:
    assert units.M_PER_MILE == 1609.344
    assert units.KM_PER_MILE == 1.609344
    assert units.G_PER_LB == 453.59237


@given(st.floats(min_value=-1e12, max_value=1e12))
def test_joules_survive_the_way_to_kilowatt_hours_and_back(energy_j: float) -> None:
    assert j_from_kwh(kwh_from_j(energy_j)) == pytest.approx(energy_j, rel=1e-15, abs=1e-300)


# --- significant digits ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (999.4, "999"),
        (999.6, "1,000"),
        (0.00123456, "0.00123"),
        (0.000123456, "0.000123"),
        (0.0000123456, "1.23e-05"),
        (0.000099996, "0.000100"),
        (123456.0, "123,000"),
        (999_999.0, "1.00e+06"),
        (-0.5, "-0.500"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_three_digits_are_kept_and_no_exponent_in_everyday_sizes(value: float, text: str) -> None:
    assert format_significant(value) == text


@given(st.floats(min_value=1e-12, max_value=1e12), st.integers(min_value=2, max_value=6), st.booleans())
def test_printed_number_is_off_by_half_a_digit_at_most(size: float, digits: int, negative: bool) -> None:
    value = -size if negative else size
    half_a_digit = 0.5 * 10 ** (1 - digits)
    assert abs(number(format_significant(value, digits)) - value) <= abs(value) * half_a_digit * (1 + 1e-9)


# --- prefixes ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 J"),
        (999.4, "999 J"),
        (999.6, "1.00 kJ"),
        (-1250.0, "-1.25 kJ"),
        (3.6e6, "3.60 MJ"),
        (2.5e12, "2,500 GJ"),
        (5e-8, "50.0 nJ"),
        (5e-11, "5.00e-11 J"),
    ],
)
def test_prefix_fits_the_size(value: float, text: str) -> None:
    assert format_si(value, "J") == text


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_prefixed_number_means_the_same(value: float) -> None:
    shown, unit = format_si(value, "J").split(" ")
    assert number(shown) * PREFIX[unit.removesuffix("J")] == pytest.approx(value, rel=0.0051)


# --- value and half-width ---


@pytest.mark.parametrize(
    ("value", "half_width", "text"),
    [
        (1.23456, 0.0345, "1.235 ± 0.035"),
        (1234.5, 120.0, "1,230 ± 120"),
        (98.76, 9.96, "99 ± 10"),
        (98.76, 0.0996, "98.76 ± 0.10"),
        (-3.14159, 0.27, "-3.14 ± 0.27"),
        (5.0, 0.0, "5.00 ± 0"),
        (5.0, math.nan, "5.00 ± nan"),
    ],
)
def test_value_is_as_fine_as_its_half_width(value: float, half_width: float, text: str) -> None:
    assert format_plus_minus(value, half_width) == text


@given(st.floats(min_value=-999_000.0, max_value=999_000.0), st.floats(min_value=1.1e-5, max_value=1e5))
def test_printed_interval_is_within_a_twentieth_of_the_real_one(value: float, half_width: float) -> None:
    shown, shown_half = (number(part) for part in format_plus_minus(value, half_width).split(" ± "))
    assert abs(shown - value) <= half_width / 10 * 0.51
    assert abs(shown_half - half_width) <= half_width / 10 * 0.51


@given(st.floats(min_value=1e-9, max_value=1e12), st.floats(min_value=1e-6, max_value=0.5))
def test_printed_interval_is_right_at_every_size(value: float, relative: float) -> None:
    half_width = value * relative
    assume(half_width > 1e-14)
    shown, shown_half = (number(part) for part in format_plus_minus(value, half_width).split(" ± "))
    assert abs(shown - value) <= half_width / 10 * 0.51
    assert abs(shown_half - half_width) <= half_width / 10 * 0.51


# --- durations ---


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0, "0 s"),
        (0.0123, "0.0123 s"),
        (59.4, "59.4 s"),
        (59.5, "1 min 0 s"),
        (119.6, "2 min 0 s"),
        (3599.6, "1 h 0 min"),
        (7260.0, "2 h 1 min"),
        (90_000.0, "25 h 0 min"),
    ],
)
def test_durations_read_as_people_say_them(duration_s: float, text: str) -> None:
    assert format_duration(duration_s) == text
