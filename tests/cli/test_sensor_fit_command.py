"""`harness sensor fit` by its output: one JSON document with the keys agreed on, a profile, one sentence per error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import harness

from harness.power.profiles import SensorProfile, read_profile
from harness.power.sensor import simulate_readings

KEYS = {"kernel", "period_s", "delay_s", "gain", "offset_w", "rmse_w", "runner_up", "distinguishable"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Truth and polls of a boxcar of 100 ms, gain 0.95, offset -3 W."""
    rng = np.random.default_rng(1)
    t_s = np.arange(0, 6, 0.001)
    power_w = np.where(np.searchsorted(np.cumsum(rng.exponential(0.15, 200)), t_s) % 2 == 1, 250.0, 60.0)
    profile = SensorProfile(name="x", kernel="boxcar", period_s=0.1, window_s=0.1, gain=0.95, offset_w=-3.0)
    at_s = np.cumsum(rng.uniform(0.006, 0.009, 780))
    seen_w = simulate_readings(t_s, power_w, profile, 0.03).at(at_s)
    path = tmp_path_factory.mktemp("fit")
    (path / "truth.csv").write_text(
        "time_s,watts\n" + "".join(f"{t:.3f},{w:.3f}\n" for t, w in zip(t_s, power_w, strict=True)), encoding="utf-8"
    )
    (path / "nvml.csv").write_text(
        "time_s,power_w\n" + "".join(f"{t:.6f},{w:.3f}\n" for t, w in zip(at_s, seen_w, strict=True)), encoding="utf-8"
    )
    return path


def test_known_sensor_is_printed_as_one_document_and_written_as_a_profile(folder):
    answer = harness(
        "sensor", "fit", "truth.csv", "nvml.csv", "--column", "power_w", "--json", "--out", "mine.yaml", cwd=folder
    )
    document = answer.document
    assert set(document) >= KEYS | {"width_s", "width_s_u", "gain_u", "offset_w_u", "delay_s_u", "period_s_u", "n"}
    assert (document["kernel"], document["distinguishable"]) == ("boxcar", True)
    assert document["width_s"] == pytest.approx(0.1, abs=0.004)
    assert document["gain"] == pytest.approx(0.95, abs=0.02)
    assert document["runner_up"].keys() == {"kernel", "tau_s", "rmse_w"}
    profile = read_profile(folder / "mine.yaml")
    assert (profile.name, profile.gain, profile.calibrated) == ("mine", document["gain"], True)
    assert profile.source == "harness sensor fit, column power_w of nvml.csv"


@pytest.mark.parametrize(
    ("files", "column", "message"),
    [
        (["truth.csv", "nvml.csv"], "powr_w", "nvml.csv has no column 'powr_w'."),
        (["truth.csv", "none.csv"], "power_w", "There is no file none.csv."),
        (["nvml.csv", "nvml.csv"], "power_w", "nvml.csv has no column 'watts'."),
    ],
)
def test_mistake_gets_one_sentence_and_exit_code_two(folder, files, column, message):
    answer = harness("sensor", "fit", *files, "--column", column, "--json", cwd=folder)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines()[0] == f"error: {message}"
