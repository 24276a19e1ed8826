"""A board that somebody else used before or after the work."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import source_info, trace_of

from harness.measure.guards import guard_power, guard_utilisation
from harness.measure.window import WindowReadings

# Work from 4 to 14 s, a null window from 14.2 to 16.2 s, the last work before ended at 1.5 s.
RESTED_SINCE_S = 1.5
WINDOW = WindowReadings(3.9, 14.2, ((4.0, 14.0),), {}, "GPU-0", 0.0005)
NULL = WindowReadings(14.2, 16.2, (), {}, "GPU-0", 0.0005)
T_S = np.arange(162) / 10


def trace(before_w: float, after_w: float, noise_w: float = 0.0, utilisation=None):
    power_w = np.where(T_S < 4.0, before_w, np.where(T_S < 14.0, 300.0, after_w))
    power_w = power_w + noise_w * (-1.0) ** np.arange(len(T_S))
    columns = {} if utilisation is None else {"utilisation_fraction": utilisation}
    return trace_of((T_S, power_w), **columns)


@pytest.mark.parametrize(("after_w", "flagged"), [(61.9, False), (62.1, True), (58.1, False), (57.9, True)])
def test_rest_before_and_after_may_differ_by_two_watts(after_w, flagged):
    caveat = guard_power(source_info(), trace(60.0, after_w), WINDOW, NULL, RESTED_SINCE_S)
    assert (caveat is not None) == flagged


@pytest.mark.parametrize(("after_w", "flagged"), [(65.8, False), (66.7, True)])
def test_noise_widens_what_is_allowed(after_w, flagged):
    # ±1 W on both sides: about 2 W + 3 * sqrt(1 + 1) W = 6.2 W
    caveat = guard_power(source_info(), trace(60.0, after_w, noise_w=1.0), WINDOW, NULL, RESTED_SINCE_S)
    assert (caveat is not None) == flagged


def test_message_names_both_powers():
    caveat = guard_power(source_info(), trace(60.0, 90.0), WINDOW, NULL, RESTED_SINCE_S)
    assert caveat is not None
    assert "60.0 W at rest before the window and 90.0 W after" in caveat.message


def test_short_rests_are_not_compared():
    assert guard_power(source_info(), trace(60.0, 90.0), WINDOW, NULL, rested_since_s=3.5) is None
    short = WindowReadings(14.2, 14.7, (), {}, None, None)
    assert guard_power(source_info(), trace(60.0, 90.0), WINDOW, short, RESTED_SINCE_S) is None


def test_settling_right_after_the_load_is_not_taken_for_someone():
    # 25 W that decay with 0.7 s: gone, as far as 2 W + 3 sd go, in the second half of a 2 s null window.
    settling_w = np.where(T_S >= 14.0, 60.0 + 25.0 * np.exp(-(T_S - 14.0) / 0.7), np.where(T_S < 4.0, 60.0, 300.0))
    assert guard_power(source_info(), trace_of((T_S, settling_w)), WINDOW, NULL, RESTED_SINCE_S) is None


def test_use_before_the_work_is_seen():
    used = np.where((T_S > 3.0) & (T_S < 3.5), 0.4, 0.0)
    caveat = guard_utilisation(source_info(), trace(60.0, 60.0, utilisation=used), WINDOW, NULL, RESTED_SINCE_S)
    assert caveat is not None
    assert "up to 40% in use" in caveat.message


def test_use_in_the_null_window_is_seen():
    used = np.where(T_S > 15.5, 1.0, 0.0)
    assert guard_utilisation(source_info(), trace(60.0, 60.0, utilisation=used), WINDOW, NULL, RESTED_SINCE_S)


def test_own_load_may_show_for_a_second_after_it_ended():
    used = np.where((T_S < 2.45) | ((T_S >= 4.0) & (T_S < 14.95)), 1.0, 0.0)
    measured = trace(60.0, 60.0, utilisation=used)
    assert guard_utilisation(source_info(), measured, WINDOW, NULL, RESTED_SINCE_S) is None


def test_board_that_tells_no_utilisation_is_not_accused():
    assert guard_utilisation(source_info(), trace(60.0, 60.0), WINDOW, NULL, RESTED_SINCE_S) is None
