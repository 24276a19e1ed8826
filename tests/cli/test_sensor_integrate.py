"""`harness sensor integrate` by its output: one JSON document, and one sentence with exit code 2 per mistake."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import ROOT, harness

from harness.power.profiles import SensorProfile
from harness.power.sensor import simulate_readings

TRACES = ROOT.parent / "shared" / "data" / "traces"
PROFILE = "kernel: boxcar\nwidth_s: 0.1\nperiod_s: 0.1\ngain: 0.95\noffset_w: -2\nresolution_w: 0\n"


def rows(poll_s: float = 0.008, end_s: float = 8.0) -> list[tuple[float, float]]:
    """Readings 0.95 x - 2 W of x: rest at 60 W, and from 2 to 6 s work that climbs from 200 to 204 W."""
    t_s = np.arange(0, 9, 0.001)
    power_w = np.where((t_s >= 2) & (t_s < 6), 200 + (t_s - 2), 60) + 0.05 * np.sin(40 * t_s)
    sensor = SensorProfile(
        name="s", kernel="boxcar", period_s=0.1, window_s=0.1, gain=0.95, offset_w=-2.0, resolution_w=0.0
    )
    polls_s = np.arange(0.1, end_s, poll_s)
    shown_w = simulate_readings(t_s, power_w, sensor, 0.02).at(polls_s)
    return list(zip(polls_s.tolist(), shown_w.tolist(), strict=True))


def text(table: list[tuple[float, float]], header: str = "time_s,power_w", scale: float = 1.0) -> str:
    return header + "\n" + "".join(f"{time_s:.6f},{watts * scale:.4f}\n" for time_s, watts in table)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "readings.csv").write_text(text(rows()), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(PROFILE, encoding="utf-8")
    return tmp_path


WINDOW = ("--column", "power_w", "--from", "1", "--to", "7")
TRUE_J = 2 * 60 + 4 * 202


def test_energy_with_a_profile_is_the_true_one_and_every_part_is_stated(folder):
    document = harness(
        "sensor", "integrate", "readings.csv", *WINDOW, "--profile", "mine.yaml", "--json", cwd=folder
    ).document
    assert document["energy_j"] == pytest.approx(TRUE_J, rel=0.001)
    low_j, high_j = document["interval_j"]
    assert low_j < TRUE_J < high_j
    assert document["uncertainty_j"] == pytest.approx(
        math.hypot(*(term["standard_uncertainty_j"] for term in document["budget"]))
    )
    assert document["kappa"] == 0
    assert document["n_effective"] >= 1
    assert document["reading_count"] in (60, 61)
    assert document["period_s"] == pytest.approx(0.1, rel=1e-3)
    assert document["lag_s"] == pytest.approx(0.05)
    assert document["upper_bound_j"] is None
    assert document["caveats"] == []
    assert {term["name"] for term in document["budget"]} >= {"sensor gain", "sensor offset", "window edges"}
    assert any("gain 0.95 known to 2.89%" in line for line in document["assumed"])


def test_without_a_profile_a_sensor_is_assumed_and_said_to_be(folder):
    document = harness("sensor", "integrate", "readings.csv", *WINDOW, "--json", cwd=folder).document
    assert document["energy_j"] == pytest.approx(0.95 * TRUE_J - 12, rel=0.01)
    uncalibrated_j = 1.96 * 0.05 / math.sqrt(3) * document["energy_j"]  # NVML's own 5 %, a rectangle
    assert document["interval_j"][0] < document["energy_j"] - uncalibrated_j
    assert document["interval_j"][1] > document["energy_j"] + uncalibrated_j
    assert document["kappa"] == pytest.approx(0.8, abs=1e-3)  # coth(5) - 0.2
    assert "sensor-assumed" in {each["code"] for each in document["caveats"]}
    assert document["period_s"] == pytest.approx(0.1, rel=1e-3)


def test_a_stated_calibration_is_applied_and_narrows_the_interval(folder):
    raw = harness("sensor", "integrate", "readings.csv", *WINDOW, "--json", cwd=folder).document
    document = harness(
        "sensor", "integrate", "readings.csv", *WINDOW, "--gain", "0.95", "--offset-w", "-2", "--json", cwd=folder
    ).document
    assert document["energy_j"] == pytest.approx((raw["energy_j"] + 2 * 6) / 0.95)
    terms = {term["name"]: term["standard_uncertainty_j"] for term in document["budget"]}
    assert terms["sensor gain"] == pytest.approx(0.0075 * document["energy_j"])
    assert terms["sensor offset"] == pytest.approx(6 * 0.82 / 0.95)
    raw_width, width = (np.ptp(each["interval_j"]) / each["energy_j"] for each in (raw, document))
    assert width < raw_width


def test_a_stated_lag_moves_the_readings(folder):
    arguments = ("--column", "power_w", "--from", "1", "--to", "4", "--profile", "mine.yaml", "--json")
    usual = harness("sensor", "integrate", "readings.csv", *arguments, cwd=folder).document
    later = harness("sensor", "integrate", "readings.csv", *arguments, "--lag-s", "0.25", cwd=folder).document
    assert later["lag_s"] == 0.25
    # Readings 0.2 s older: 0.2 s more of the work at 202 W instead of rest at 60 W fall into the window.
    assert later["energy_j"] - usual["energy_j"] == pytest.approx(0.2 * 142, rel=0.02)


def test_a_window_under_three_periods_has_an_upper_bound_and_no_energy(folder):
    document = harness(
        "sensor", "integrate", "readings.csv", "--column", "power_w", "--from", "3", "--to", "3.2", "--json",
        cwd=folder,
    ).document  # fmt: skip
    assert document["energy_j"] is None
    assert document["interval_j"] is None
    assert document["upper_bound_j"] > 0.2 * 202
    (caveat,) = [each for each in document["caveats"] if each["code"] == "too-short"]
    assert "200 ms" in caveat["message"]


def test_without_json_the_number_comes_first_and_caveats_are_sentences(folder):
    answer = harness("sensor", "integrate", "readings.csv", *WINDOW, cwd=folder)
    assert answer.code == 0
    assert "95 % interval" in answer.out.splitlines()[0]
    assert "Caveat (sensor-assumed): No sensor profile was given" in answer.out


def test_a_gap_outside_the_window_does_no_harm(folder):
    table = [row for row in rows() if not 0.3 < row[0] < 0.9]
    (folder / "readings.csv").write_text(text(table), encoding="utf-8")
    arguments = ("readings.csv", "--column", "power_w", "--from", "3", "--to", "5", "--profile", "mine.yaml", "--json")
    document = harness("sensor", "integrate", *arguments, cwd=folder).document
    assert document["energy_j"] == pytest.approx(2 * 202, rel=0.002)


# --- bad input -------------------------------------------------------------------------------------------


def swapped(table: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [*table[:100], table[101], table[100], *table[102:]]


FILES: dict[str, tuple[Callable[[], str], str]] = {
    "gap in the window": (
        lambda: text([row for row in rows() if not 4 < row[0] < 5]),
        "The window lacks readings: none was polled from 3.9",
    ),
    "unsorted times": (lambda: text(swapped(rows())), "readings.csv:103: the time falls from"),
    "a time twice": (lambda: text([rows()[0], *rows()]), "is given twice"),
    "NaN": (lambda: text(rows()) + "8.1,nan\n", "'power_w' is 'nan', not a number"),
    "empty cell": (lambda: text(rows()) + "8.1,\n", "'power_w' is empty, not a number"),
    "milliwatts by size": (lambda: text(rows(), scale=1000), "milliwatts, not watts"),
    "milliwatts by name": (lambda: text(rows(), "time_s,power_mw", 1000), "in milliwatts"),
    "milliseconds by name": (lambda: text(rows(), "time_ms,power_w"), "in milliseconds"),
    "no such column": (lambda: text(rows(), "time_s,watts"), "has no column 'power_w'"),
    "no times": (lambda: text(rows(), "seconds,power_w"), "has no column 'time_s'"),
    "trace too short": (lambda: text(rows(end_s=0.13)), "less than one period of the sensor"),
    "trace ends early": (lambda: text(rows(end_s=4.0)), "not of the whole window from 1.000 to 7.000 s"),
    "empty file": (lambda: "", "is empty"),
    "header only": (lambda: "time_s,power_w\n", "no rows below its header"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_recording_gets_one_sentence_and_exit_code_2(case, folder):
    content, words = FILES[case]
    (folder / "readings.csv").write_text(content(), encoding="utf-8")
    refused("readings.csv", *WINDOW, words=words, folder=folder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "5", "--to", "5"), "--from 5 is not before --to 5"),
        (("--from", "6", "--to", "2"), "--from 6 is not before --to 2"),
        (("--from", "nan", "--to", "2"), "must be times in seconds"),
        (("--from", "-5", "--to", "2"), "not of the whole window from -5.000 to 2.000 s"),
        (("--from", "7", "--to", "50"), "not of the whole window from 7.000 to 50.000 s"),
        (("--gain", "0"), "--gain 0 is no sensor's gain"),
        (("--gain", "-0.9"), "--gain -0.9 is no sensor's gain"),
        (("--gain", "95"), "--gain 95 is no sensor's gain"),
        (("--gain", "nan"), "--gain nan is no sensor's gain"),
        (("--offset-w", "9999"), "--offset-w 9999 is no sensor's offset"),
        (("--offset-w", "200"), "no board draws that"),
        (("--lag-s", "-0.1"), "--lag-s -0.1 is no sensor's lag"),
        (("--lag-s", "30"), "--lag-s 30 is no sensor's lag"),
        (("--power-limit-w", "0"), "--power-limit-w 0 is no power limit"),
        (("--profile", "RTX-3090-535-instnt"), "There is no sensor profile"),
    ],
)
def test_a_bad_argument_gets_one_sentence_and_exit_code_2(arguments, words, folder):
    refused("readings.csv", *WINDOW, *arguments, words=words, folder=folder)


def test_a_file_that_is_not_there_is_named(folder):
    refused("reading.csv", *WINDOW, words="There is no file reading.csv", folder=folder)


def refused(*arguments: str, words: str, folder: Path) -> None:
    answer = harness("sensor", "integrate", *arguments, "--json", cwd=folder)
    assert answer.code == 2, answer.out
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert words in answer.err
    assert answer.err.startswith("error: ")
    assert len(answer.err.strip().splitlines()) == 2  # a sentence, and what to do next


@pytest.mark.skipif(not TRACES.is_dir(), reason="the recordings in ../shared are not here")
def test_the_averaged_column_of_a_recorded_board_is_recognised_and_has_its_caveat(tmp_path):
    document = harness(
        "sensor", "integrate", TRACES / "TR_3090" / "nvml.csv", "--column", "power_average_w",
        "--from", "0", "--to", "5.92", "--json", cwd=tmp_path,
    ).document  # fmt: skip
    assert {"average-recognised", "average-edges", "sensor-assumed"} <= {each["code"] for each in document["caveats"]}
    assert document["sensor"]["mean_of"] in (10, 11)
