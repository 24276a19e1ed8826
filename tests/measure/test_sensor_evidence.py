"""What a recording tells about its sensor, against sensors whose period and averaging are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.measure.sensor_evidence import (
    assumed_sensor,
    averages_unlike,
    mean_of,
    published,
    with_calibration,
)
from harness.power.profiles import SensorProfile
from harness.power.recording import read_recording
from harness.power.sensor import simulate_readings

TRACES = Path(__file__).resolve().parents[3] / "shared" / "data" / "traces"


def recording(sensor: SensorProfile, poll_s: float = 0.007) -> tuple[np.ndarray, np.ndarray]:
    """Polls of 2 s of rest, 4 s of work that warms up, 2 s of rest."""
    t_s = np.arange(0, 8, 0.001)
    power_w = np.where((t_s >= 2) & (t_s < 6), 300.0 + t_s, 60.0 + 0.2 * t_s)
    polls_s = np.arange(0.1, 7.9, poll_s)
    return polls_s, simulate_readings(t_s, power_w, sensor, 0.013).at(polls_s)


def sensor(**changes: object) -> SensorProfile:
    given = {"name": "test", "kernel": "boxcar", "period_s": 0.1, "window_s": 0.1, "resolution_w": 0.0} | changes
    return SensorProfile.model_validate(given)


def test_period_and_publications_are_found_in_the_polls():
    seen = published(*recording(sensor(period_s=0.0837)), assumed_period_s=0.1)
    assert seen.period_found
    assert seen.period_s == pytest.approx(0.0837, rel=1e-3)
    away_s = (seen.t_s - 0.013 + 0.0837 / 2) % 0.0837 - 0.0837 / 2
    assert np.abs(away_s).max() < 0.0075  # one polling step


def test_readings_that_never_change_are_taken_once_an_assumed_period():
    seen = published(np.arange(0, 1.001, 0.01), np.full(101, 70.0), assumed_period_s=0.1)
    assert not seen.period_found
    assert seen.period_s == 0.1
    assert seen.readings_w.tolist() == [70.0] * len(seen.t_s)
    assert np.diff(seen.t_s) == pytest.approx(0.1)


def test_rows_as_far_apart_as_the_period_are_the_publications():
    t_s = np.arange(20) * 0.1
    seen = published(t_s, np.arange(20) + 100.0, assumed_period_s=0.1)
    assert seen.t_s.tolist() == t_s.tolist()
    assert seen.readings_w.tolist() == (np.arange(20) + 100.0).tolist()


@pytest.mark.parametrize("count", [8, 10, 12])
def test_a_mean_over_a_second_is_recognised_by_its_ramp(count):
    seen = published(*recording(sensor(mean_of=count)), assumed_period_s=0.1)
    assert mean_of(seen.readings_w, seen.period_s) == count


@pytest.mark.parametrize("changes", [{}, {"kernel": "first_order", "window_s": 0.025}])
def test_an_instant_reading_is_recognised_by_its_step(changes):
    seen = published(*recording(sensor(**changes)), assumed_period_s=0.1)
    assert mean_of(seen.readings_w, seen.period_s) == 1


def test_without_a_step_averaging_cannot_be_told():
    assert mean_of(200 + np.random.default_rng(2).normal(0, 0.3, 60), 0.1) is None


def test_a_beat_is_not_taken_for_a_mean_over_a_second():
    t_s = np.arange(0, 20, 0.001)
    power_w = np.where(t_s / 0.1025 % 1 < 0.5, 200.0, 60.0)  # one beat in 4.1 s: flanks of 1 s
    readings = simulate_readings(t_s, power_w, sensor(window_s=0.025), 0.0)
    assert mean_of(readings.power_w, 0.1) is None


def test_an_assumed_sensor_takes_period_and_averaging_from_the_data_and_says_so():
    found, notes = assumed_sensor(*recording(sensor(mean_of=10)))
    assert (found.mean_of, found.name) == (10, "assumed")
    assert found.period_s == pytest.approx(0.1, rel=1e-3)
    assert found.window_s / found.period_s == pytest.approx(0.2)
    assert [note.code for note in notes] == ["sensor-assumed", "average-recognised"]


def test_a_column_named_average_without_a_step_is_taken_as_a_mean():
    t_s = np.arange(0, 5, 0.02)
    power_w = 200 + np.repeat(np.random.default_rng(3).normal(0, 0.3, 50), 5)
    assert assumed_sensor(t_s, power_w, "power_average_w")[0].mean_of == 10
    found, notes = assumed_sensor(t_s, power_w, "power_draw_w")
    assert found.mean_of == 1
    assert [note.code for note in notes] == ["sensor-assumed", "average-not-excluded"]


def test_a_profile_that_contradicts_the_readings_is_named():
    seen = published(*recording(sensor(mean_of=10)), assumed_period_s=0.1)
    assert [note.code for note in averages_unlike(seen, sensor())] == ["average-disagrees"]
    assert averages_unlike(seen, sensor(mean_of=10)) == ()


def test_a_stated_calibration_narrows_only_what_it_states():
    whole = with_calibration(sensor(), 0.954, -1.18)
    assert (whole.gain, whole.offset_w, whole.gain_relative_u, whole.offset_u_w) == (0.954, -1.18, 0.0075, 0.82)
    half = with_calibration(sensor(), None, 2.0)
    assert (half.gain, half.offset_w) == (1.0, 2.0)
    assert half.gain_relative_u == sensor().gain_relative_u


@pytest.mark.skipif(not TRACES.is_dir(), reason="the recordings in ../shared are not here")
@pytest.mark.parametrize(
    ("name", "column", "averaged"),
    [
        ("TR_3090", "power_average_w", True),
        ("TR_3090", "power_draw_w", True),
        ("TR_3090", "power_instant_w", False),
        ("TR_A100", "power_draw_w", False),
        ("5050_A100", "power_draw_w", False),
    ],
)
def test_averaged_columns_of_recorded_boards_are_told_from_instant_ones(name, column, averaged):
    found, _ = assumed_sensor(*read_recording(TRACES / name / "nvml.csv", column, None))
    assert (found.mean_of > 1) == averaged
    assert found.mean_of * found.period_s == pytest.approx(1.0, abs=0.15) if averaged else found.mean_of == 1
