"""scripts/measure_gpu: it runs whole on a simulated GPU and finds what was put in; what does not fit is left out."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.run.executors import InProcessExecutor

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def scripts_on_path() -> Iterator[None]:
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


def test_a_simulated_run_finds_the_sensor_the_phases_and_the_overhead(tmp_path: Path) -> None:
    out = tmp_path / "out"
    # Far more minutes than it takes: nothing is left out for a machine that is slow.
    command = [str(SCRIPTS / "measure_gpu"), "--simulated", "--minutes", "60", "--out", str(out)]
    done = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert found["simulated"]
    assert {part["name"]: part["state"] for part in found["parts"]} == dict.fromkeys(
        "doctor sensor overhead text chat images phases weights report".split(), "done"
    )

    # The simulated A100: a reading every 101.2 ms through a first-order kernel of 25 ms; its counter adds up readings.
    sensor = found["sensor"]["findings"]
    assert sensor["kernel"] == "first_order"
    assert sensor["update_period_s"]["value"] == pytest.approx(0.1012, rel=0.05)
    assert sensor["window_s"]["value"] == pytest.approx(0.025, rel=0.05)
    assert sensor["counter_integrates"] == "readings"
    assert (out / "sensor.yaml").read_text(encoding="utf-8").count("simulated: true") == 1

    # Every run is marked, and the simulator's truth lies within its interval: 10 + 4 + 5 + 6 + 3 runs.
    assert len(found["runs"]) == 28
    for row in found["runs"]:
        assert row["simulated"]
        assert row["weights"] == "none"
        assert row["gpu_energy_j"]["low"] <= row["true_gpu_energy_j"] <= row["gpu_energy_j"]["high"], row["label"]

    text, image = found["phases"]["fits"]
    assert [phase["name"] for phase in text["phases"]] == ["fixed", "prefill", "decode step", "decode", "request"]
    assert [phase["name"] for phase in image["phases"]] == ["fixed", "denoising"]
    for phase in (*text["phases"], image["phases"][1]):
        assert phase["energy_j"]["low"] <= phase["true_value_j"] <= phase["energy_j"]["high"], phase["name"]

    # No weights, so other values make no difference; the meter's cost has an interval, and is one of a simulation.
    for ratio in found["weights"]["comparisons"]:
        assert ratio["low"] < 1 < ratio["high"]
    for cost in found["overhead"].values():
        assert cost["cost_low"] <= cost["cost_fraction"] <= cost["cost_high"]
        assert 0 < cost["sampler_core_fraction"] < 1
        assert (cost["power"], cost["pairs"]) == ("simulated", 6)

    # 0.00114 kWh per 1,000 for distilgpt2 on the study's active GPU; each of the eleven models at batch 1.
    beside = {(row["model"], row["batch_size"]): row["sides"][0] for row in found["study"]}
    assert beside["distilgpt2", 1]["study_kwh"] == pytest.approx(0.00114, rel=0.01)
    assert sum(batch == 1 for _, batch in beside) == 11
    readme = (out / "README.md").read_text(encoding="utf-8")
    for words in ("(simulated)", "no real GPU drew any", "Another GPU, another software stack, random weights", "± "):
        assert words in readme
    assert (out / "report.html").stat().st_size < sum(file.stat().st_size for file in out.rglob("*")) < 4e6
    assert not list(out.rglob("trace.parquet"))


def test_what_does_not_fit_into_memory_or_time_is_left_out_with_the_reason(
    tmp_path: Path, scripts_on_path: None
) -> None:
    parts, plan = importlib.import_module("_measure_gpu_parts"), importlib.import_module("_measure_gpu_plan")
    wheels = importlib.import_module("_measure_gpu_wheels")
    small = plan.Device("NVIDIA A2", True, memory_bytes=8 * 2**30)
    late = time.monotonic() - 3600
    context = parts.Context(tmp_path, 540.0, late, small, InProcessExecutor(), lambda told: None)
    with pytest.raises(parts.LeftOut, match="no run of it was done"):
        parts.campaign("text", context)
    reasons = {each["what"]: each["reason"] for each in context.dropped}
    # 6,658,473,984 weights of two bytes are 12.4 GiB.
    assert reasons["opt-6.7b, batch 1"] == "its weights take 12.4 GiB, and the board has 8.0 GiB"
    assert reasons["distilgpt2, batch 64"] == "0 s were left for it, and a run takes 0 s"
    assert (tmp_path / "configs" / "text.yaml").exists()

    # The shares make the whole, and windows grow with the time that a run has: (12 - 3 - 2.1) / 3 - 0.3 = 2 s.
    assert plan.deadlines_s(540.0)["report"] == pytest.approx(540.0)
    assert plan.measure_of(12.0)["window_s"] == pytest.approx(2.0)
    assert plan.measure_of(1.0)["window_s"] == 0.6
    # On a real board: eight generators at three batches, each campaign a config that `harness run` accepts.
    context.device = plan.Device("NVIDIA H200", False)
    plans = {name: parts.planned(name, context)[0].specs for name in ("text", "chat", "images", "phases", "weights")}
    assert [len(specs) for specs in plans.values()] == [24, 4, 5, 6, 3]
    assert [spec.batch_size for spec in plans["chat"]] == [1, 64, 8, 256]
    assert [spec.model.weights for spec in plans["weights"]] == ["random", "zeros", "random"]
    assert {spec.dtype for specs in plans.values() for spec in specs} == {"bfloat16"}
    assert {spec.sources.kind for specs in plans.values() for spec in specs} == {"nvml"}

    # What is fetched for a machine without a network never brings another PyTorch.
    fetched = wheels.requirements()
    assert "duckdb>=2.0" in fetched
    assert "diffusers>=0.36" in fetched
    assert not [name for name in fetched if name.startswith(("torch", "accelerate"))]
