"""A power reading that does not answer to the work, and loads that only look like one."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import source_info, trace_of

from harness.measure.stuck import Stretch, counter_saw_more, sensor_stuck, stuck_stretch

# Read every 50 ms, in steps of 1 W, from a sensor that is renewed every 100 ms and sees all of it. Work from 4 to 14 s;
# the last work before ended at 1.5 s, the null window ends at 16.2 s.
WORKED_S, RESTED_SINCE_S, UNTIL_S = (4.0, 14.0), 1.5, 16.2
T_S = np.arange(0, 324) * 0.05


def reading_w(*until: tuple[float, float]):
    """Power until each of these times."""
    power_w = np.full(len(T_S), until[-1][1])
    for end_s, level_w in reversed(until):
        power_w[end_s - 1e-6 > T_S] = level_w
    return power_w


def found(power_w, **columns):
    trace = trace_of((T_S, power_w), **columns)
    return stuck_stretch(source_info(), trace, WORKED_S, RESTED_SINCE_S, UNTIL_S)


# --- stuck ---


@pytest.mark.parametrize(
    "power_w",
    [
        reading_w((17.0, 55.0)),  # from the start on
        reading_w((2.0, 300.0), (17.0, 290.0)),  # since the rest before, at whatever it was: an undershoot, a load
        reading_w((14.05, 55.0), (17.0, 60.0)),  # it comes back right after the work
    ],
)
def test_reading_that_is_the_same_from_rest_to_the_end_of_the_work_is_stuck(power_w):
    stretch = found(power_w)
    assert stretch is not None
    assert (stretch.start_s, stretch.end_s) == pytest.approx((3.95, 14.0), abs=1e-6)
    assert (stretch.power_w, stretch.whole) == (power_w[100], True)


def test_reading_that_stays_at_the_load_when_the_work_has_ended_is_stuck():
    # A sound one tells of rest alone after 0.2 s; two more periods of 0.1 s are granted: 14.4 s.
    assert found(reading_w((4.0, 55.0), (14.35, 300.0), (17.0, 55.0))) is None
    stretch = found(reading_w((4.0, 55.0), (14.45, 300.0), (17.0, 55.0)))
    assert stretch is not None
    assert (stretch.power_w, stretch.whole) == (300.0, False)
    assert (stretch.start_s, stretch.end_s) == pytest.approx((13.9, 14.4), abs=1e-6)


def test_reading_that_comes_at_the_load_from_the_rest_before_is_stuck():
    stretch = found(reading_w((9.0, 250.0), (14.1, 300.0), (17.0, 55.0)))
    assert stretch is not None
    assert (stretch.power_w, stretch.whole) == (250.0, False)


# --- not stuck ---


@pytest.mark.parametrize(
    ("power_w", "why"),
    [
        (reading_w((4.05, 55.0), (14.1, 300.0), (17.0, 55.0)), "a load of one power on a coarse sensor"),
        (reading_w((6.0, 55.0), (11.0, 300.0), (17.0, 55.0)), "the host works first and last, the board rests"),
        (reading_w((4.05, 55.0), (13.0, 90.0), (15.0, 70.0), (17.0, 55.0)), "the board draws 15 W more after the load"),
        (reading_w((4.05, 55.0), (14.5, 80.0), (17.0, 55.0)), "25 W of a small load, and as much after it"),
    ],
)
def test_constant_readings_that_answer_to_the_work_are_sound(power_w, why):
    assert found(power_w) is None, why


def test_a_milliwatt_of_noise_acquits_a_sensor_that_shows_no_work():
    power_w = reading_w((17.0, 55.0))
    power_w[T_S > 13.97] += 0.001
    assert found(power_w) is None


def test_nothing_is_said_of_a_trace_with_too_few_samples():
    trace = trace_of(([4.5, 5.0], [55.0, 55.0]))
    assert stuck_stretch(source_info(), trace, WORKED_S, RESTED_SINCE_S, UNTIL_S) is None


def test_what_a_coarse_sensor_may_show_after_a_small_load_no_fine_one_shows():
    # The same 25 W more after the load, on a sensor that tells milliwatts: unchanged for four periods, it is stuck.
    power_w = reading_w((4.05, 55.123), (14.5, 80.456), (17.0, 55.123))
    stretch = found(power_w)
    assert stretch is not None
    assert not stretch.whole


# --- and the counter ---


def test_counter_that_goes_on_by_itself_is_told_from_one_that_adds_up_the_stuck_reading():
    # 55 W from 3.95 to 14 s. Granted: 2 W, 5 % of 55 W = 2.75 W, one period late over 10.05 s: 0.55 W. In all 5.3 W.
    power_w = reading_w((17.0, 55.0))
    stretch = Stretch(3.95, 14.0, 55.0, whole=True)
    for counted_w, more in ((55.0, False), (60.2, False), (60.4, True), (49.6, True), (300.0, True)):
        trace = trace_of((T_S, power_w), energy_j=1e6 + counted_w * T_S)
        assert counter_saw_more(source_info(), trace, stretch) == more, counted_w
    unread = trace_of((T_S, power_w), energy_j=np.full(len(T_S), np.nan))
    assert not counter_saw_more(source_info(), unread, stretch)


def test_caveat_tells_what_was_seen_and_what_follows():
    told = sensor_stuck(source_info(), Stretch(3.95, 14.0, 55.0, whole=True), by_counter=False)
    assert told.code == "sensor-stuck"
    assert told.message == (
        "Fake GPU showed 55.000 W from the rest before the work to its end, for 10 s without any change: it is stuck, "
        "or the work draws less than it can show, and no energy follows from it."
    )
    kept = sensor_stuck(source_info(), Stretch(3.95, 14.0, 55.0, whole=True), by_counter=True)
    assert kept.message.endswith("the energy is the counter's, which went on by itself.")
