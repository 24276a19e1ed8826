"""Recordings: every bad file gets one clear sentence, and changes are counted as the sensor made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserInputError
from harness.power.recording import changes, gaps, read_recording, read_times, read_truth


def file_with(folder: Path, text: str) -> Path:
    path = folder / "nvml.csv"
    path.write_text(text, encoding="utf-8")
    return path


def steady(count: int, step_s: float, watts: float = 100.0) -> str:
    return "time_s,power_w\n" + "".join(f"{index * step_s:.6f},{watts}\n" for index in range(count))


def test_times_and_the_named_column_are_read_as_they_stand(tmp_path):
    path = file_with(tmp_path, "time_s, power_draw_w ,power_instant_w\n-0.5,50,51.25\n0.25,60,61\n\n")
    t_s, watts = read_recording(path, "power_instant_w", min_gap_s=None)
    assert t_s.tolist() == [-0.5, 0.25]
    assert watts.tolist() == [51.25, 61.0]
    assert read_times(path).tolist() == [-0.5, 0.25]
    assert read_recording(path, "power_draw_w", min_gap_s=None)[1].tolist() == [50.0, 60.0]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "is empty", "header"),
        ("\n\n", "is empty", "header"),
        ("time_s,power_w\n", "holds no rows below its header", "two rows"),
        ("time_s,power_w\n1,100\n", "holds only one row", "two rows"),
        ("time_s,powr_w,temp_c\n1,2,3\n2,3,4\n", "has no column 'power_w'", "It has: powr_w, "),
        ("when,power_w\n1,2\n2,3\n", "has no column 'time_s'", "when"),
        ("time_ms,power_w\n1,200\n2,300\n", "'time_ms', in milliseconds and no column 'time_s'", "divide by 1000"),
        ("time_s,power_mw\n1,200\n2,300\n", "'power_mw', in milliwatts and no column 'power_w'", "divide by 1000"),
        ("time_s,power_w\n0,100\n0.1,nan\n", ":3: 'power_w' is 'nan', not a number", "not zero"),
        ("time_s,power_w\n0,100\n0.1,inf\n", ":3: 'power_w' is 'inf', not a number", "not zero"),
        ("time_s,power_w\n0,100\n0.1,[N/A]\n", ":3: 'power_w' is '[N/A]', not a number", "not zero"),
        ("time_s,power_w\n0,100\n0.1,\n", ":3: 'power_w' is empty, not a number", "not zero"),
        ("time_s,power_w\n0,100\n0.1\n", ":3: the row ends before the column 'power_w'", "Complete"),
        ("time_s,power_w\n0,100\n12:30:01,100\n", ":3: 'time_s' is '12:30:01', not a number", ""),
        ("time_s,power_w\n0,100\n0.2,100\n0.1,100\n", ":4: the time falls from 0.200000 to 0.100000 s", "Sort"),
        ("time_s,power_w\n0,100\n0.1,100\n0.1,101\n", ":4: the time 0.100000 s is given twice", "one row per time"),
        ("time_s,power_w\n0,100000\n0.1,250000\n0.2,250000\n", "median of 250000, which is milliwatts", "Divide"),
        ("time_s,power_w\n0,0.1\n0.1,0.25\n", "never exceeds 1.5: kilowatts", "watts"),
        ("time_s,power_w\n0,100\n13,100\n26,100\n", "median step of 13, which is not seconds", "milliseconds"),
        ("time_s,power_w\n1700000000000,100\n1700000000013,100\n", "starts at 1.7e+12, which is not seconds", ""),
        ("time_s;power_w\n0;100\n", "does not separate its columns by commas", "commas"),
        ("0,100\n1,100\n", "has no header", "time_s"),
        ("time_s,power_w,power_w\n0,100,90\n1,100,90\n", "has 2 columns named 'power_w'", "Rename"),
    ],
)
def test_bad_file_is_refused_in_one_sentence_with_what_to_do(tmp_path, text, message, hint):
    with pytest.raises(UserInputError) as caught:
        read_recording(file_with(tmp_path, text), "power_w")
    assert message in caught.value.message
    assert "nvml.csv" in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint


def test_column_asked_for_by_a_foreign_unit_is_not_converted_silently(tmp_path):
    path = file_with(tmp_path, "time_s,power_mw\n0,100000\n0.1,100000\n")
    with pytest.raises(UserInputError, match="'power_mw', in milliwatts"):
        read_recording(path, "power_mw")


def test_truth_in_milliwatts_is_named(tmp_path):
    with pytest.raises(UserInputError, match="'milliwatts', in milliwatts and no column 'watts'"):
        read_truth(file_with(tmp_path, "time_s,milliwatts\n0,100000\n0.1,100000\n"))


def test_missing_file_offers_its_neighbour(tmp_path):
    file_with(tmp_path, "")
    with pytest.raises(UserInputError, match="There is no file") as caught:
        read_recording(tmp_path / "nmvl.csv", "power_w")
    assert "nvml.csv" in caught.value.hint


def test_folder_and_binary_file_are_refused(tmp_path):
    with pytest.raises(UserInputError, match="Cannot read"):
        read_recording(tmp_path, "power_w")
    (tmp_path / "trace.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserInputError, match="is not a CSV text file"):
        read_recording(tmp_path / "trace.csv", "power_w")


def test_lost_second_is_a_gap_with_start_and_length(tmp_path):
    rows = steady(400, 0.01).splitlines(keepends=True)
    path = file_with(tmp_path, "".join(rows[:101] + rows[201:]))  # last before: 0.99 s, first after: 2.00 s
    with pytest.raises(UserInputError, match=r"no samples from 0\.990 to 2\.000 s, a gap of 1\.010 s"):
        read_recording(path, "power_w")
    assert len(read_recording(path, "power_w", min_gap_s=None)[0]) == 300


def test_hiccup_of_the_poller_is_no_gap(tmp_path):
    rows = steady(400, 0.013).splitlines(keepends=True)
    assert len(read_recording(file_with(tmp_path, "".join(rows[:101] + rows[108:])), "power_w")[0]) == 393


def test_slow_but_even_polling_is_no_gap(tmp_path):
    assert len(read_recording(file_with(tmp_path, steady(10, 1.0)), "power_w")[0]) == 10


def test_truth_may_lose_twenty_milliseconds_and_no_more(tmp_path):
    rows = steady(1000, 0.0002).replace("power_w", "watts").splitlines(keepends=True)
    assert len(read_truth(file_with(tmp_path, "".join(rows[:101] + rows[199:])))[0]) == 902  # a step of 19.8 ms
    with pytest.raises(UserInputError, match=r"a gap of 0\.020 s"):
        read_truth(file_with(tmp_path, "".join(rows[:101] + rows[202:])))  # 20.4 ms


def test_gaps_are_found_by_both_rules():
    t_s = np.array([0.0, 0.1, 0.2, 0.3, 0.55, 0.65, 1.65])
    assert gaps(t_s, 0.2) == [(pytest.approx(0.65), pytest.approx(1.0))]  # 0.25 s is under three median steps
    assert gaps(t_s, 2.0) == []
    assert gaps(np.array([1.0]), 0.1) == []


# --- changes ---


def test_repeats_of_one_reading_count_once():
    t_s = np.array([0.0, 0.03, 0.06, 0.09, 0.12])
    times_s, readings = changes(t_s, np.array([50.0, 50.0, 60.0, 60.0, 50.0]))
    assert times_s.tolist() == [0.0, 0.06, 0.12]
    assert readings.tolist() == [50.0, 60.0, 50.0]


def test_stretch_of_three_periods_is_three_equal_readings_when_the_period_is_known():
    t_s = np.arange(0, 0.6, 0.01)
    values = np.where(t_s < 0.095, 1.0, np.where(t_s < 0.395, 2.0, 3.0))  # 1, then 2 2 2, then 3 3
    times_s, readings = changes(t_s, values, period_s=0.1)
    assert readings.tolist() == [1, 2, 2, 2, 3, 3]
    assert times_s == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_nothing_polled_has_no_changes():
    times_s, readings = changes(np.array([]), np.array([]), period_s=0.1)
    assert len(times_s) == len(readings) == 0


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=40),
    st.floats(0.02, 0.3),
    st.integers(4, 12),
)
def test_every_reading_of_a_steady_sensor_is_counted(readings, period_s, polls_per_period):
    """Polled evenly, k equal readings in a row last k periods, and are told apart by their length."""
    count = len(readings) * polls_per_period
    t_s = np.arange(count) * (period_s / polls_per_period)
    values = np.repeat(np.array(readings, dtype=float), polls_per_period)
    times_s, found = changes(t_s, values, period_s)
    assert found.tolist() == readings
    assert times_s == pytest.approx(np.arange(len(readings)) * period_s)
    assert times_s[-1] <= t_s[-1] + 1e-9


def test_the_time_is_no_power(tmp_path):
    with pytest.raises(UserInputError, match="'time_s' is the time, not power"):
        read_recording(file_with(tmp_path, "time_s,power_w\n0,100\n1,100\n"), "time_s")


def test_a_meter_that_is_too_slow_or_told_in_milliseconds_is_refused(tmp_path):
    text = "time_s,watts\n" + "".join(f"{k},{100 + k % 7}\n" for k in range(50))
    with pytest.raises(UserInputError, match=r"a sample every 1 s, too seldom .* not in seconds"):
        read_truth(file_with(tmp_path, text))
