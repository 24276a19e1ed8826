"""Windows that do not fit among the others."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import measurement_of, source_energy_of
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.siblings import MAD_TO_SD, far_off_sd, unexplained_scatter, with_strays_rejected


def windows(*energies_j: float, **states):
    """Windows of 100 requests; a list in `states` gives each window's value."""
    made = []
    for index, energy_j in enumerate(energies_j):
        state = {name: values[index] for name, values in states.items()}
        made.append(measurement_of(source_energy_of(energy_j=energy_j + 100.0, **state), label=f"repeat-{index + 1}"))
    return made


def rejected(*energies_j: float, allowed_c: float = 2.0, **states) -> list[int]:
    judged = with_strays_rejected(windows(*energies_j, **states), {"GPU-0"}, allowed_c)
    return [index for index, window in enumerate(judged) if window.rejected]


def test_far_off_window_is_rejected_and_kept():
    # Deviations from the median 3010: 20, 0, 10, 10, 290; their median 10, so 18.7 * 14.826 = 277 J are allowed.
    judged = with_strays_rejected(windows(2990, 3010, 3000, 3020, 3300), {"GPU-0"}, 2.0)
    assert [window.rejected for window in judged] == [False, False, False, False, True]
    (caveat,) = judged[-1].caveats
    assert caveat.code == "outlier"
    assert "33 J per generation, +9.6%" in caveat.message


@pytest.mark.parametrize(("last_j", "strays"), [(3020.9, []), (3021.1, [4])])
def test_equal_windows_allow_what_their_own_budget_states(last_j, strays):
    # All equal: the robust deviation is 0 and the stated 6 J take its place: 3.5 * 6 = 21 J.
    assert rejected(3000, 3000, 3000, 3000, last_j) == strays


@pytest.mark.parametrize(("count", "allowed"), [(5, 18.7), (7, 10.7), (11, 6.3), (20, 5.2), (30, 4.8), (31, 3.5)])
def test_few_windows_may_lie_farther_off_by_chance(count, allowed):
    assert far_off_sd(count) == allowed


@pytest.mark.parametrize("count", [5, 8, 15])
def test_one_sound_run_in_a_hundred_has_a_window_that_far_off(count):
    values = np.random.default_rng(3).normal(size=(20_000, count))
    away = np.abs(values - np.median(values, axis=1, keepdims=True))
    farthest = away.max(axis=1) / (MAD_TO_SD * np.median(away, axis=1))
    assert np.mean(farthest > far_off_sd(count)) == pytest.approx(0.01, abs=0.003)


def test_four_windows_are_too_few_to_say_what_is_usual():
    assert rejected(3000, 3000, 3000, 9000) == []


@pytest.mark.parametrize(("last_c", "strays"), [(52.0, []), (52.1, [5]), (47.9, [5])])
def test_window_more_than_two_degrees_off_is_rejected(last_c, strays):
    assert rejected(*[3000] * 6, busy_temperature_c=[50.0] * 5 + [last_c]) == strays


def test_allowed_change_of_temperature_is_the_users():
    assert rejected(*[3000] * 6, busy_temperature_c=[50.0] * 5 + [58.0], allowed_c=10.0) == []


@pytest.mark.parametrize(("last_hz", "strays"), [(1368e6, []), (1365e6, [5])])
def test_window_at_another_clock_is_rejected(last_hz, strays):
    assert rejected(*[3000] * 6, busy_clock_hz=[1410e6] * 5 + [last_hz]) == strays


def test_windows_without_temperature_or_clock_are_not_judged_by_them():
    states = {"busy_temperature_c": [None] * 6, "busy_clock_hz": [None] * 6}
    assert rejected(*[3000] * 6, **states) == []


def test_boards_that_did_not_run_the_model_do_not_count():
    judged = with_strays_rejected(windows(3000, 3000, 3000, 3000, 9000), {"GPU-1"}, 2.0)
    assert not any(window.rejected for window in judged)


def test_windows_rejected_for_another_reason_say_nothing_about_the_rest():
    given_windows = windows(3000, 3000, 3000, 3000, 3000, 9000)
    given_windows[-1] = given_windows[-1].model_copy(update={"rejected": True})
    judged = with_strays_rejected(given_windows, {"GPU-0"}, 2.0)
    assert [window.rejected for window in judged] == [False] * 5 + [True]
    assert judged[-1].caveats == ()


@given(st.lists(st.floats(1000, 5000), min_size=5, max_size=20))
def test_never_are_half_of_the_windows_called_strays(energies_j):
    assert len(rejected(*energies_j)) <= len(energies_j) / 2


@pytest.mark.parametrize(("spread_j", "flagged"), [(10.9, False), (11.2, True)])
def test_windows_that_differ_more_than_their_budgets_explain_are_told(spread_j, flagged):
    # 6 J stated each. Two windows at +spread, two at -spread, one in the middle: the squares sum to 4 spread^2.
    # 99 % of chi-squared with four degrees of freedom: 13.28 (13.23 by the approximation), so 4 spread^2 = 13.23 * 36.
    caveat = unexplained_scatter(
        windows(3000 + spread_j, 3000 - spread_j, 3000, 3000 + spread_j, 3000 - spread_j), {"GPU-0"}
    )
    assert (caveat is not None) == flagged


def test_scatter_of_few_windows_is_not_judged():
    assert unexplained_scatter(windows(3000, 3500, 4000, 4500), {"GPU-0"}) is None
