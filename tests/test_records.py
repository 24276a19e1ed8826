"""What identifies a run, what a record refuses, and that nothing is lost on the way to disk."""

from __future__ import annotations

import json
import math
import string
from typing import Any

import pytest
from fakes import measurement_of, run_spec, source_energy_of, source_info
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.records import (
    SCHEMA_VERSION,
    Caveat,
    Failure,
    IdlePower,
    Measurement,
    RunRecord,
    WarmUp,
    WorkCounts,
    json_schema,
)
from harness.simulated_node import SimulatedNodeSpec
from harness.specs import MeasureSpec, ModelSpec, PromptSpec, RunSpec, SourcesSpec
from harness.stats import repeatability

FILE = {"kind": "file", "path": "/data/prompts.txt", "sha256": "ab" * 32}
IMAGE = {"task": "text-to-image", "text": None, "image": {}}

# One change each; every one of them can change a joule.
CHANGES: dict[str, dict[str, Any]] = {
    "model": {"model": {"id": "assumed/other"}},
    "weights": {"model": {"id": "assumed/small-text", "weights": "random"}},
    "revision": {"model": {"id": "assumed/small-text", "revision": "0123abc"}},
    "task": IMAGE,
    "steps": IMAGE | {"image": {"steps": 20}},
    "guidance": IMAGE | {"image": {"guidance": 0.0}},
    "size": IMAGE | {"image": {"height": 768, "width": 768}},
    "new tokens": {"text": {"new_tokens": 11}},
    "input length": {"text": {"max_input_tokens": 100}},
    "prompt count": {"prompts": {"count": 10}},
    "prompt words": {"prompts": {"max_words": 5}},
    "prompt file": {"prompts": FILE},
    "edited prompt file": {"prompts": FILE | {"sha256": "cd" * 32}},
    "prompt column": {"prompts": FILE | {"column": "text"}},
    "hub prompts": {"prompts": {"kind": "hub", "dataset": "a/b"}},
    "hub split": {"prompts": {"kind": "hub", "dataset": "a/b", "split": "test"}},
    "batch size": {"batch_size": 2},
    "dtype": {"dtype": "bfloat16"},
    "device": {"device": "cpu"},
    "attention": {"attention": "sdpa"},
    "seed": {"seed": 1},
    "engine": {"engine": "transformers"},
    "real GPU": {"sources": {"kind": "nvml"}},
    "GPU": {"sources": {"kind": "nvml", "gpus": [1]}},
    "two GPUs": {"sources": {"kind": "nvml", "gpus": [0, 1]}},
    "board": {"sources": {"kind": "simulated", "node": {"gpu": "H200"}}},
    "board seed": {"sources": {"kind": "simulated", "node": {"seed": 1}}},
    "counter": {"sources": {"kind": "simulated", "node": {"counter": "truth"}}},
    "condition": {"sources": {"kind": "simulated", "node": {"conditions": ["throttled"]}}},
    "fault": {"sources": {"kind": "simulated", "node": {"faults": [{"kind": "counter-reset", "at_s": 3}]}}},
    "counter's period": {"sources": {"kind": "simulated", "node": {"counter_period_s": 0.02}}},
    "counter's lag": {"sources": {"kind": "simulated", "node": {"counter_lag_s": 0.1}}},
    "window": {"measure": {"window_s": 7}},
    "fixed requests": {"measure": {"requests_per_window": 10}},
    "repeats": {"measure": {"min_repeats": 6}},
    "target": {"measure": {"target_relative_halfwidth": 0.01}},
    "method": {"measure": {"energy_method": "sampled"}},
    "sample period": {"measure": {"sample_period_s": 0.01}},
    "delays": {"measure": {"random_delays": "never"}},
}


def failed(**changes: Any) -> RunRecord:
    content: dict[str, Any] = {
        "run_id": run_spec().run_id,
        "campaign": "tests",
        "origin": "simulated",
        "spec": run_spec(),
        "environment": None,
        "started_at_utc": "2025-01-01T00:00:00+00:00",
        "finished_at_utc": "2025-01-01T00:01:00+00:00",
        "status": "failed",
        "failure": Failure(kind="out_of_memory", message="It does not fit.", phase="load model"),
    }
    return RunRecord.model_validate(content | changes)


# --- run_id ---


def test_equal_specs_have_equal_ids() -> None:
    assert run_spec().run_id == run_spec().run_id
    assert run_spec(batch_size=1, seed=0, prompts={"kind": "builtin"}).run_id == run_spec().run_id


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_what_changes_the_result_changes_the_id(changes: dict[str, Any]) -> None:
    assert run_spec(**changes).run_id != run_spec().run_id


def test_no_two_changes_share_an_id() -> None:
    ids = [run_spec(**changes).run_id for changes in CHANGES.values()]
    assert len(set(ids)) == len(ids)


def test_timeout_does_not_change_the_id() -> None:
    assert run_spec(timeout_s=10.0).run_id == run_spec(timeout_s=9999.0).run_id == run_spec().run_id


def test_the_same_prompts_in_another_place_are_the_same_run() -> None:
    here, there = run_spec(prompts=FILE), run_spec(prompts=FILE | {"path": "/elsewhere/copy.txt"})
    assert here.run_id == there.run_id


def test_without_a_hash_the_path_tells_prompt_files_apart() -> None:
    one, other = ({"kind": "file", "path": path} for path in ("/a.txt", "/b.txt"))
    assert run_spec(prompts=one).run_id != run_spec(prompts=other).run_id


def test_the_id_survives_the_way_through_json() -> None:
    for changes in CHANGES.values():
        spec = run_spec(**changes)
        assert RunSpec.model_validate_json(spec.model_dump_json()).run_id == spec.run_id


@pytest.mark.parametrize(
    ("model_id", "stem"),
    [
        ("meta-llama/Llama-3.2-1B", "llama-3-2-1b"),
        ("./models/My Model/", "my-model"),
        ("字", "model"),
        ("a" * 100, "a" * 40),
    ],
)
def test_the_id_begins_with_a_name_that_a_file_system_takes(model_id: str, stem: str) -> None:
    run_id = run_spec(model={"id": model_id}, batch_size=8).run_id
    assert run_id[:-12] == f"{stem}-b8-"
    assert set(run_id[-12:]) <= set("0123456789abcdef")


@given(st.text(min_size=1, max_size=60).filter(str.isprintable), st.integers(min_value=1, max_value=10_000))
def test_every_id_is_a_plain_file_name(model_id: str, batch_size: int) -> None:
    run_id = run_spec(model={"id": model_id}, batch_size=batch_size).run_id
    assert set(run_id) <= set(string.ascii_lowercase + string.digits + "-")
    assert not run_id.startswith("-")
    assert len(run_id) < 80


# --- what a spec refuses ---


@pytest.mark.parametrize(
    "changes",
    [
        {"batchsize": 4},
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"task": "translation"},
        {"dtype": "int4"},
        {"device": "cuda:x"},
        {"device": "tpu"},
        {"timeout_s": 0},
        {"timeout_s": math.inf},
        {"model": {"id": ""}},
        {"model": {"id": "a", "quantised": True}},
        {"text": {"new_tokens": 0}},
        {"image": {"height": 500}},
        {"image": {"guidance": -1}},
        {"prompts": {"kind": "file"}},
        {"prompts": {"kind": "hub"}},
        {"prompts": {"count": 0}},
        {"sources": {"kind": "nvml", "node": {}}},
        {"sources": {"kind": "nvml", "gpus": []}},
        {"sources": {"kind": "simulated", "node": {"gpu_count": 9}}},
        {"sources": {"kind": "simulated", "node": {"conditions": ["on-fire"]}}},
        {"measure": {"min_repeats": 1}},
        {"measure": {"min_repeats": 6, "max_repeats": 5}},
        {"measure": {"window_s": 0}},
        {"measure": {"window_s": math.nan}},
        {"measure": {"sample_period_s": 0.0001}},
        {"measure": {"target_relative_halfwidth": 0}},
        {"measure": {"energy_method": "guessed"}},
    ],
)
def test_impossible_specs_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        run_spec(**changes)


def test_records_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        run_spec().seed = 3  # type: ignore[misc]


def test_a_simulated_source_without_a_node_gets_the_default_one() -> None:
    assert SourcesSpec.model_validate({"kind": "simulated"}).node == SimulatedNodeSpec()


@pytest.mark.filterwarnings("ignore:A custom validator is returning")
def test_a_simulated_source_made_in_code_gets_the_default_node_too() -> None:
    assert SourcesSpec(kind="simulated").node == SimulatedNodeSpec()


def test_defaults_are_those_of_the_protocol() -> None:
    spec = MeasureSpec()
    assert spec.min_repeats == 5
    assert spec.energy_method == "auto"
    assert spec.random_delays == "auto"
    assert not spec.allow_shared_gpu
    assert PromptSpec().count == 1000
    assert not ModelSpec(id="a").trust_remote_code


# --- what a record refuses ---


def test_a_failed_record_needs_a_failure() -> None:
    with pytest.raises(ValidationError, match="a failed record needs a failure"):
        failed(failure=None)


def test_a_complete_record_needs_a_summary() -> None:
    with pytest.raises(ValidationError, match="a complete record needs a summary"):
        failed(status="complete", failure=None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_energy_is_a_number(value: float) -> None:
    for field in ("energy_j", "uncertainty_j", "idle_power_w", "gap_energy_j", "sampled_energy_j"):
        with pytest.raises(ValidationError):
            source_energy_of(**{field: value})
    with pytest.raises(ValidationError):
        IdlePower(source_id="GPU-0", before_w=50.0, null_w=value, after_w=50.0)


def test_not_measured_is_none_and_not_zero() -> None:
    idle = IdlePower(source_id="GPU-0", before_w=None, null_w=0.0, after_w=None)
    assert json.loads(idle.model_dump_json())["before_w"] is None
    assert json.loads(idle.model_dump_json())["null_w"] == 0.0


def test_only_a_simulated_origin_is_simulated() -> None:
    assert failed(origin="simulated").simulated
    assert not failed(origin="measured").simulated


# --- counts ---


def test_work_adds_field_by_field() -> None:
    one = WorkCounts(requests=2, input_tokens=10, output_tokens=20)
    other = WorkCounts(requests=1, images=1, output_pixels=64, denoising_steps=50)
    assert one + other == WorkCounts(
        requests=3, input_tokens=10, output_tokens=20, images=1, output_pixels=64, denoising_steps=50
    )


# --- to JSON and back ---

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    energies=st.lists(st.tuples(finite, finite, st.none() | finite), min_size=1, max_size=3),
    edges=st.tuples(finite, finite),
    durations=st.lists(finite, max_size=5),
    text=st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    counts=st.integers(min_value=0, max_value=10**12),
)
def test_measurements_survive_json_to_the_last_bit(
    energies: list[tuple[float, float, float | None]],
    edges: tuple[float, float],
    durations: list[float],
    text: str,
    counts: int,
) -> None:
    sources = [
        source_energy_of(energy_j=energy, gap_energy_j=gap, sampled_energy_j=sampled)
        for energy, gap, sampled in energies
    ]
    window = measurement_of(
        *sources,
        start_s=edges[0],
        end_s=edges[1],
        batch_durations_s=tuple(durations),
        caveats=(Caveat(code="odd", message=text),),
        work=WorkCounts(requests=counts),
    )
    assert Measurement.model_validate_json(window.model_dump_json()) == window


def test_a_whole_record_survives_json() -> None:
    record = failed(
        sources=(source_info(), source_info(id="GPU-1", counter_step_j=None, runs_model=False)),
        idle=(IdlePower(source_id="GPU-0", before_w=50.0, null_w=51.5, after_w=None),),
        warm_up=WarmUp(duration_s=4.0, blocks=2, steady=True),
        measurements=(measurement_of(), measurement_of(label="repeat-2", rejected=True)),
        caveats=(Caveat(code="not-steady", message="It was warming — 2 °C/min."),),
    )
    again = RunRecord.model_validate_json(record.model_dump_json())
    assert again == record
    assert again.schema_version == SCHEMA_VERSION


def test_an_interval_survives_json() -> None:
    estimate = repeatability([1 / 3, 2 / 3, 0.1])
    assert type(estimate).model_validate_json(estimate.model_dump_json()) == estimate


# --- schema ---


def test_schema_names_every_field_and_allows_no_other() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(RunRecord.model_fields)
    objects = [part for part in schema["$defs"].values() if part.get("type") == "object"]
    assert len(objects) > 15
    assert all(part["additionalProperties"] is False for part in [schema, *objects])


def test_schema_can_be_written_as_json() -> None:
    assert json.loads(json.dumps(json_schema())) == json_schema()
