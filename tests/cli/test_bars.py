"""Bars as long as their values, and the sentence under them."""

from __future__ import annotations

from harness.cli.bars import bar


def test_a_bar_is_as_long_as_its_value_to_an_eighth():
    assert bar(10.0, 10.0, 8) == "████████"
    assert bar(5.0, 10.0, 8) == "████    "
    assert bar(5.0 + 10 / 64, 10.0, 8) == "████▏   "  # an eighth of a character more
    assert bar(0.0, 10.0, 8) == " " * 8


def test_what_is_not_above_zero_draws_nothing():
    assert bar(-1.0, 10.0, 4) == bar(1.0, 0.0, 4) == " " * 4
