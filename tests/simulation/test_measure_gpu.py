"""scripts/measure_gpu: it runs whole on a simulated GPU and finds what was put in; what does not fit is left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from harness.store.validate import check_campaign

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
CAMPAIGNS = ("phases", "images", "text", "chat")


@pytest.mark.long
def test_a_simulated_run_finds_the_sensor_the_phases_and_the_overhead(tmp_path: Path) -> None:
    out = tmp_path / "out"
    # Far more minutes than it takes: nothing is left out for a machine that is slow.
    back = tmp_path / "back" / "results.tgz"
    command = [
        str(SCRIPTS / "measure_gpu"),
        "--simulated",
        "--minutes",
        "60",
        "--out",
        str(out),
        "--archive",
        str(back),
    ]
    done = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert found["simulated"]
    assert {part["name"]: part["state"] for part in found["parts"]} == dict.fromkeys(
        "doctor sensor overhead phases weights images text chat report".split(), "done"
    )

    # The simulated A100: a reading every 101.2 ms through a first-order kernel of 25 ms; its counter adds up readings.
    sensor = found["sensor"]["findings"]
    assert sensor["kernel"] == "first_order"
    assert sensor["update_period_s"]["value"] == pytest.approx(0.1012, rel=0.05)
    assert sensor["window_s"]["value"] == pytest.approx(0.025, rel=0.05)
    assert sensor["counter_integrates"] == "readings"
    assert (out / "sensor.yaml").read_text(encoding="utf-8").count("simulated: true") == 1

    # Every run is marked, and the simulator's truth lies within its interval: 5 + 5 + 10 + 4 runs.
    assert len(found["runs"]) == 24
    for row in found["runs"]:
        assert row["simulated"]
        assert row["weights"] == "none"
        assert row["gpu_energy_j"]["low"] <= row["true_gpu_energy_j"] <= row["gpu_energy_j"]["high"], row["label"]

    text, image = found["phases"]["fits"]
    assert [phase["name"] for phase in text["phases"]] == ["fixed", "prefill", "decode"]
    assert [phase["name"] for phase in image["phases"]] == ["fixed", "denoising"]
    for phase in (text["phases"][1], image["phases"][1]):
        assert phase["energy_j"]["low"] <= phase["true_value_j"] <= phase["energy_j"]["high"], phase["name"]

    # No weights, so other values make no difference; the meter's cost has an interval, and is one of a simulation.
    for ratio in found["weights"]["comparisons"]:
        assert ratio["energy"]["low"] < 1 < ratio["energy"]["high"]
        assert ratio["busy"]["ratio"] == pytest.approx(1.0)
    for cost in found["overhead"].values():
        assert cost["cost_low"] <= cost["cost_fraction"] <= cost["cost_high"]
        assert 0 < cost["sampler_core_fraction"] < 1
        assert (cost["power"], cost["pairs"]) == ("simulated", 12)
        assert cost["below_goal"] == (cost["cost_high"] < 0.001)

    # 0.00114 kWh per 1,000 for distilgpt2 on the study's active GPU; each of the eleven models at batch 1.
    beside = {(row["model"], row["batch_size"]): row["sides"][0] for row in found["study"]}
    assert beside["distilgpt2", 1]["study_kwh"] == pytest.approx(0.00114, rel=0.01)
    assert sum(batch == 1 for _, batch in beside) == 11
    readme = (out / "README.md").read_text(encoding="utf-8")
    said = (
        "(simulated)",
        "no real GPU drew any",
        "Another GPU, another software stack, random weights",
        "± ",
        "5 of 5",
    )
    for words in said:
        assert words in readme
    assert (out / "report.html").stat().st_size < sum(file.stat().st_size for file in out.rglob("*")) < 4e6

    # Nothing is taken out of it afterwards: every run's files are those of its campaign's manifest, in the archive too.
    with tarfile.open(back) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    for place in (out, tmp_path / "unpacked" / "out"):
        checks = [check_campaign(place / "runs" / name) for name in CAMPAIGNS]
        assert [(check.runs, check.problems) for check in checks] == [(5, 0), (5, 0), (10, 0), (4, 0)]
