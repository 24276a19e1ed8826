"""`harness sensor simulate` and `profiles` by their output: one JSON document, a CSV file, one sentence per mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import harness

# 100 W until 1 s, 300 W from 1 s on, sampled every 10 ms.
TRUTH = "time_s,watts\n" + "".join(f"{i / 100:.2f},{100 if i < 100 else 300}\n" for i in range(301))
SENSOR = "kernel: boxcar\nwidth_s: 0.5\nperiod_s: 0.5\ngain: 0.9\noffset_w: 10\nresolution_w: 0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "truth.csv").write_text(TRUTH, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(SENSOR, encoding="utf-8")
    return tmp_path


def test_readings_of_a_step_are_those_worked_out_by_hand(folder):
    document = harness(
        "sensor", "simulate", "truth.csv", "--profile", "mine.yaml", "--phase-s", "0.25", "--json", cwd=folder
    ).document
    assert document["time_s"] == [-0.25, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75]
    # Between 0.99 and 1 s the truth is a straight line: [0.75, 1.25] holds 0.24 s at 100, 10 ms at 200, 0.25 s at 300.
    seen_w = [100, 100, 100, (24 + 2 + 75) / 0.5, 300, 300, 300]
    assert document["power_w"] == pytest.approx([0.9 * each + 10 for each in seen_w], abs=1e-5)
    assert document["profile"]["name"] == "mine"
    assert "first value is held" in document["notes"][0]


def test_polls_see_the_last_reading_published(folder):
    (folder / "times.csv").write_text("time_s\n0.1\n0.9\n1.2\n1.3\n2.0\n", encoding="utf-8")
    answer = harness(
        "sensor", "simulate", "truth.csv", "--profile", "mine.yaml", "--phase-s", "0.25", "--at", "times.csv",
        "--out", "readings.csv", cwd=folder,
    )  # fmt: skip
    assert answer.code == 0
    assert (folder / "readings.csv").read_text(encoding="utf-8").splitlines() == [
        "time_s,power_w", "0.100000,100", "0.900000,100", "1.200000,100", "1.300000,191.8", "2.000000,280",
    ]  # fmt: skip
    assert "5 polls of mine" in answer.out


def test_phase_drawn_from_a_seed_is_the_same_again_and_within_a_period(folder):
    def phase_s(seed: int) -> float:
        return harness(
            "sensor", "simulate", "truth.csv", "--profile", "GA100", "--seed", str(seed), "--json", cwd=folder
        ).document["phase_s"]

    first_s = phase_s(1)
    assert phase_s(1) == first_s != phase_s(2)
    assert 0 <= first_s < 0.1012


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["truth.csv", "--profile", "mine.yaml"], "Nowhere to write the readings"),
        (["nowhere.csv", "--profile", "mine.yaml", "--json"], "There is no file nowhere.csv"),
        (["truth.csv", "--profile", "GA10", "--json"], "There is no sensor profile 'GA10'"),
        (["truth.csv", "--profile", "mine.yml", "--json"], "Cannot read the sensor profile mine.yml"),
        (
            ["truth.csv", "--profile", "GA100", "--phase-s", "0", "--seed", "1", "--json"],
            "--phase-s and --seed both set the phase",
        ),
        (["truth.csv", "--profile", "GA100", "--at", "late.csv", "--json"], "late.csv asks for 100.000 to 101.000 s"),
        (["truth.csv", "--profile", "GA100", "--out", "no/such/place.csv"], "Cannot write no/such/place.csv"),
        (["text.csv", "--profile", "GA100", "--json"], "text.csv:3: 'watts' is 'n/a', not a number"),
    ],
)
def test_mistake_gets_one_sentence_and_exit_code_two(folder, arguments, message):
    (folder / "late.csv").write_text("time_s\n100\n101\n", encoding="utf-8")
    (folder / "text.csv").write_text("time_s,watts\n0,100\n0.1,n/a\n", encoding="utf-8")
    answer = harness("sensor", "simulate", *arguments, cwd=folder)
    assert answer.code == 2
    assert answer.err.startswith(f"error: {message}")
    assert "Traceback" not in answer.err
    assert answer.out == ""


def test_profiles_are_listed_with_source_and_what_is_not_to_be_trusted(folder):
    document = harness("sensor", "profiles", "--json", cwd=folder).document
    by_name = {each["name"]: each for each in document["profiles"]}
    assert by_name["GA100"]["window_s"] == 0.025
    assert "driver 535.54.03" in by_name["RTX-3090-535-instant"]["source"]
    assert {"matches": "A10\\b", "driver_branch": 525, "nvml_field": "power.draw.instant"} in document["unavailable"]
    text = harness("sensor", "profiles", cwd=folder).out
    assert "GA100: first_order 25 ms every 101.2 ms (power.draw.instant)" in text
    assert "Not to be trusted: -41 % steady error: sensor unusable" in text
