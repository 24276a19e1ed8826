"""Calibrations: which boards get one, how they are metered, and what a campaign does with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from campaigns import Scripted, Silent, failure, plan_of, spec_of
from command import config, harness

from harness.records import RunRecord
from harness.run.calibration import cluster_calibrations, local_calibrations
from harness.run.placement import Node, cluster_lanes
from harness.run.retries import Attempt
from harness.run.runner import pending, run_campaign
from harness.serving import ServerOptions
from harness.specs import CALIBRATION_LOADS, ModelSpec, RunSpec, SourcesSpec, TextOptions
from harness.store.files import RECORD, read_record
from harness.store.manifest import read_manifest
from harness.store.validate import check_campaign

NOW = "2026-11-29T12:00:00+00:00"


def real(gpus: tuple[int, ...] = (0,), **changes: object) -> RunSpec:
    content = {"engine": "transformers", "device_map": "auto" if len(gpus) > 1 else None} | changes
    sources = SourcesSpec(gpus=gpus, gpu=content.pop("gpu", None))
    return RunSpec(task="text-generation", model=ModelSpec(id="m"), text=TextOptions(), sources=sources, **content)


def test_every_board_of_the_runs_gets_each_load_once_however_many_runs_use_it():
    runs = [real(), real(seed=1), real((1,)), real((0, 1)), real(device="cpu", seed=3)]
    uuids = {spec.sources: tuple(f"GPU-{gpu}" for gpu in spec.sources.gpus) for spec in runs}
    found = local_calibrations(runs, uuids, NOW)
    assert [(spec.model.id, spec.sources.gpus, spec.device, spec.dtype) for spec in found] == [
        (load, gpus, device, dtype)
        for load in CALIBRATION_LOADS
        for gpus, device, dtype in (
            (("GPU-0",), "cuda", "float16"),
            (("GPU-1",), "cuda", "float16"),
            (("GPU-0",), "cpu", "float32"),
        )
    ]
    assert len({spec.run_id for spec in found}) == 6
    assert not {spec.run_id for spec in found} & {spec.run_id for spec in local_calibrations(runs, uuids, "later")}


def test_a_board_is_calibrated_as_its_runs_are_metered_and_more_narrowly():
    run = spec_of(measure={"energy_method": "sampled", "cross_check": [], "window_s": 3, "warm_up_max_s": 1})
    first, second = local_calibrations([run], {run.sources: ("GPU-x",)}, NOW)
    assert (first.engine, first.task, first.sources.node) == ("simulated", "calibration", run.sources.node)
    assert (first.measure.energy_method, first.measure.window_s) == ("sampled", 3)
    assert (first.measure.target_relative_halfwidth, first.measure.warm_up_max_s) == (0.005, 120)
    assert second == first.model_copy(update={"model": ModelSpec(id="memory-copies", weights="random")})


def test_replays_and_servers_that_run_already_are_not_calibrated():
    server = ServerOptions(base_url="http://127.0.0.1:8000", concurrency=1)
    served = real(engine="openai", server=server)
    assert local_calibrations([served], {served.sources: ("GPU-0",)}, NOW) == ()


def test_on_a_cluster_each_node_that_can_make_a_run_gets_as_many_as_it_has_gpus_and_only_there():
    nodes = (Node("a", frozenset({"A100"}), 2), Node("h", frozenset({"H100"}), 1), Node("c", frozenset(), 0))
    found = cluster_calibrations([real(gpu="A100"), real(gpu="A100", seed=1)], nodes, NOW)
    places = [(spec.model.id, spec.calibration.node, spec.calibration.number) for spec in found if spec.calibration]
    assert places == [(load, "a", number) for load in CALIBRATION_LOADS for number in (0, 1)]
    assert all(nodes[0].can_make(spec) and not nodes[1].can_make(spec) for spec in found)
    lanes = cluster_lanes(found, lambda: nodes)
    assert [each.spec for each in lanes.startable([Attempt(spec) for spec in found], ())] == list(found[:2])


def test_calibrations_come_first_are_kept_with_every_start_and_counted_apart(tmp_path: Path):
    plan = plan_of(spec_of("a"), spec_of("b", gpu=1))
    uuids = {spec.sources: (f"GPU-{spec.sources.gpus[0]}",) for spec in plan.specs}
    for start, failing in ((NOW, True), ("2026-11-30T12:00:00+00:00", False)):
        first = local_calibrations(pending(plan, tmp_path), uuids, start)
        executor = Scripted(
            lambda spec, attempt, failing=failing: failure("crashed") if _fails(spec, failing) else None
        )
        result = run_campaign(plan, tmp_path, executor, Silent(), calibrations=first)
        assert executor.calls[: len(first)] == [spec.run_id for spec in first]
        if failing:
            assert [len(first), len(result.calibrations), len(result.complete), len(result.failed)] == [4, 4, 1, 1]
            assert [record.status for record in result.calibrations] == ["failed", "failed", "complete", "complete"]
    assert [len(first), len(result.calibrations), len(result.complete), result.skipped] == [2, 2, 1, 1]
    manifest = read_manifest(tmp_path / "c")
    assert manifest is not None
    assert len(manifest.kept) == 2 + 4 + 2
    assert list(manifest.starts[-1].planned[:2]) == [spec.run_id for spec in first]
    again = Scripted()
    run_campaign(plan, tmp_path, again, Silent(), calibrations=first)  # boards may be calibrated afterwards
    assert again.calls == [spec.run_id for spec in first]


def _fails(spec: RunSpec, failing: bool) -> bool:
    return failing and spec.model.id in ("matrix-products", "b")


CONFIG = """\
campaign: boards
calibration: true
defaults:
  engine: simulated
  task: text-generation
  measure: {window_s: 3, null_window_s: 0.5, idle_s: 0.5, min_repeats: 5, max_repeats: 6}
runs:
  - model: a
    sources: {kind: simulated, gpus: [0], node: {clock: virtual, gpu_count: 2, steady: true}}
  - model: b
    sources: {kind: simulated, gpus: [1], node: {clock: virtual, gpu_count: 2, steady: true}}
"""


def test_from_the_config_to_models_compared_as_if_on_one_board(tmp_path: Path):
    """Two simulated boards with sensor errors of their own; both models are the same, so the true ratio is 1."""
    path = config(tmp_path, CONFIG)
    assert "first: calibration of 2 boards" in harness("run", path, "--dry-run", cwd=tmp_path).out
    answer = harness("run", path, "--in-process", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert answer.out.count("Calibrated NVIDIA A100-SXM4-80GB GPU-") == 2
    assert "2 complete, 0 failed" in answer.out
    records = _records(tmp_path / "results" / "boards")
    assert {record.spec.task for record in records} == {"text-generation", "calibration"}
    assert {len(record.measurements) > 4 for record in records} == {True}
    assert check_campaign(tmp_path / "results" / "boards").findings == ()

    shown = _json("show", "boards", cwd=tmp_path)
    assert [row["model"] for row in shown["ranking"]] in (["a", "b"], ["b", "a"])  # no load competes with a model
    assert [row["task"] for row in shown["left_out"]] == ["calibration"] * 4
    assert "not ranked: 4 calibrations" in harness("show", "boards", cwd=tmp_path).out

    told = _json("compare", "boards", cwd=tmp_path)
    (as_run,) = told["comparisons"]
    one_board = as_run["one_board"]
    assert [side["name"].rpartition("/")[2][:4] for side in told["sides"]] == ["a-b1", "b-b1"]  # not the calibrations
    assert one_board["low"] < 1 < one_board["high"]
    assert one_board["high"] - one_board["low"] < 0.5 * (as_run["high"] - as_run["low"])
    gains = as_run["boards"]["ratio"]
    assert one_board["ratio"] == pytest.approx(as_run["ratio"] / gains)
    (judged,) = _json("compare", "boards", "--one-board", cwd=tmp_path)["comparisons"]
    assert (judged["judged"], judged["verdict"]) == ("one board", "equivalent")
    table = harness("compare", "boards", "--one-board", cwd=tmp_path).out
    assert "which is taken out; as they ran, the ratio is" in table

    apart = config(tmp_path, CONFIG.replace("boards", "bare").replace("true\ndefaults", "false\ndefaults"))
    assert harness("run", apart, "--in-process", cwd=tmp_path).code == 0
    answer = harness("compare", "bare", "--one-board", cwd=tmp_path)
    assert answer.code == 2
    assert "different boards without calibrations of both" in answer.err


def _json(*words: str, cwd: Path) -> Any:
    return json.loads(harness(*words, "--json", cwd=cwd).out)


def _records(campaign: Path) -> list[RunRecord]:
    return [read_record(path) for path in sorted(campaign.glob(f"*/{RECORD}"))]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (CONFIG.replace("calibration: true", "calibration: 3"), "calibration: input should be a valid boolean"),
        (CONFIG.replace("task: text-generation", "task: calibration"), "calibration is no task of a run"),
        (
            CONFIG.replace("  - model: a\n", "  - model: a\n    calibration: {}\n"),
            "'calibration' cannot be written in a",
        ),
        (CONFIG.replace("engine: simulated", "engine: calibration"), "the engine calibration runs no model"),
    ],
)
def test_what_a_config_may_not_say_of_calibrations(tmp_path: Path, broken: str, told: str):
    answer = harness("run", config(tmp_path, broken), cwd=tmp_path)
    assert answer.code == 2
    assert told in answer.err
