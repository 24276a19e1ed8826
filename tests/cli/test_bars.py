"""Bars as long as their values, and the sentence under them."""

from __future__ import annotations

from harness.cli.bars import bar, interval_bar, sparkline


def test_a_bar_is_as_long_as_its_value_to_an_eighth():
    assert bar(10.0, 10.0, 8) == "████████"
    assert bar(5.0, 10.0, 8) == "████    "
    assert bar(5.0 + 10 / 64, 10.0, 8) == "████▏   "  # an eighth of a character more
    assert bar(0.0, 10.0, 8) == " " * 8


def test_what_is_not_above_zero_draws_nothing():
    assert bar(-1.0, 10.0, 4) == bar(1.0, 0.0, 4) == " " * 4


def test_an_interval_is_full_to_its_low_end_and_shaded_to_its_high_end():
    assert interval_bar(4.0, 6.0, 8.0, 8) == "████▒▒  "
    assert interval_bar(-1.0, 0.01, 8.0, 8) == "▒       "  # what is there is seen
    assert interval_bar(7.9, 8.0, 8.0, 8) == "████████"


def test_a_sparkline_starts_at_zero_and_leaves_gaps():
    assert sparkline([0.0, 25.0, None, 50.0], 50.0) == "▁▅ █"
    assert sparkline([0.0], 0.0) == "▁"
