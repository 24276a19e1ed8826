"""Each bad input gets one clear sentence with what to do, exit code 2 or a failed record, and nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import QUICK, config, environment, harness

from harness.errors import ModelUnavailable
from harness.specs import PromptSpec
from harness.store.files import campaign_lock, find_runs

CASES: dict[str, tuple[Callable[[str], str], list[str]]] = {
    "unknown key": (
        lambda text: text.replace("max_repeats: 5", "max_repeets: 5"),
        ["config.yaml:5: unknown key 'max_repeets'", "Did you mean 'max_repeats'?"],
    ),
    "unknown top key": (lambda text: text + "rums: []\n", ["config.yaml:12: unknown key 'rums'", "'runs'"]),
    "key twice": (lambda text: text + "campaign: again\n", ["config.yaml:12: the key 'campaign' is given twice"]),
    "wrong type": (
        lambda text: text.replace("batch_size: 4", "batch_size: four"),
        ["config.yaml:9: batch_size: input should be a valid integer", "got 'four'"],
    ),
    "out of range": (lambda text: text.replace("batch_size: 4", "batch_size: 0"), ["config.yaml:9", "greater than or"]),
    "campaign with a line end": (
        lambda text: text.replace("campaign: quick", 'campaign: "a\\nb"'),
        ["config.yaml:1: campaign must be a plain name"],
    ),
    "campaign of 300 letters": (
        lambda text: text.replace("campaign: quick", "campaign: " + "a" * 300),
        ["config.yaml:1: campaign must be a plain name"],
    ),
    "model with a colour code": (
        lambda text: text.replace("model: pretend-text", 'model: "a\\e[31mb"'),
        ["config.yaml:8: model.id: a model's id must be plain text"],
    ),
    "nested without end": (lambda text: "runs: " + "[" * 3000, ["nested too deeply"]),
    "GPU twice": (
        lambda text: text.replace("node: {clock", "gpus: [0, 0], node: {clock"),
        ["config.yaml:3", "names a GPU twice"],
    ),
    "window of an age": (
        lambda text: text.replace("window_s: 2,", "window_s: 1e300, max_duration_s: 1e301,", 1),
        ["config.yaml:5", "less than or equal to 31536000"],
    ),
    "not YAML": (lambda text: text.replace("runs:", "runs: ["), ["not valid YAML"]),
    "no runs": (lambda text: text.split("runs:")[0], ["runs must be a list"]),
    "empty sweep": (lambda text: text.replace("batch_size: 4", "batch_size: []"), ["'batch_size' is an empty list"]),
    "wrong options": (
        lambda text: text.replace("batch_size: 4", "image: {steps: 3}"),
        ["'image' options do not apply to text-generation"],
    ),
    "unknown task": (
        lambda text: text.replace("task: text-generation", "task: text-generatoin"),
        ["config.yaml:7: there is no task 'text-generatoin'.", "Did you mean 'text-generation'?"],
    ),
    "unknown simulated GPU": (
        lambda text: text.replace("{clock: virtual}", "{clock: virtual, gpu: A100-SXM4-80G}"),
        ["There is no simulated GPU 'A100-SXM4-80G'", "Did you mean A100-SXM4-80GB?"],
    ),
    "unknown preset": (
        lambda text: text.replace("model: pretend-text", "model: {id: tiny-gtp2, weights: random}").replace(
            "batch_size: 4", "engine: transformers\n    sources: simulated"
        ),
        ["tiny-gtp2", "tiny-gpt2"],
    ),
    "missing prompt file": (
        lambda text: text.replace("batch_size: 4", "prompts: nowhere.txt"),
        ["config.yaml:9: there is no prompt file", "nowhere.txt"],
    ),
    "GPU index that does not exist": (
        lambda text: text.replace("node: {clock", "gpus: [3], node: {clock"),
        ["There is no GPU 3: the simulated node has 1.", "gpu_count"],
    ),
    "windows that cannot fit": (
        lambda text: text.replace("window_s: 2,", "window_s: 1e6,"),
        ["two windows of 1e+06 s do not fit into max_duration_s (1800)"],
    ),
    "two GPUs for one model": (
        lambda text: text.replace("node: {clock: virtual}", "gpus: [0, 1], node: {gpu_count: 2}").replace(
            "engine: simulated", "device: cpu"
        ),
        ["puts the model on one GPU, and sources.gpus names 2"],
    ),
    "MIG": (
        lambda text: text.replace("{clock: virtual}", "{clock: virtual, conditions: [mig]}"),
        ["MIG", "only the whole board"],
    ),
    "foreign process": (
        lambda text: text.replace("{clock: virtual}", "{clock: virtual, conditions: [foreign-process]}"),
        ["Another process uses NVIDIA A100-SXM4-80GB", "pid 424242", "allow_shared_gpu"],
    ),
    "no GPU": (
        lambda text: text.replace("{kind: simulated, node: {clock: virtual}}", "nvml").replace(
            "  engine: simulated\n", ""
        ),
        ["sources: simulated"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_config_stops_with_a_sentence_and_exit_code_2(case: str, tmp_path: Path) -> None:
    if case == "no GPU" and Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    spoil, words = CASES[case]
    answer = harness("run", config(tmp_path, spoil(QUICK)), cwd=tmp_path)
    assert answer.code == 2, answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err
    assert not (tmp_path / "results").exists()


def test_a_config_that_is_not_there_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    config(tmp_path)
    answer = harness("run", "confg.yaml", cwd=tmp_path)
    assert answer.code == 2
    assert "There is no config confg.yaml." in answer.err
    assert "config.yaml" in answer.err


def test_a_prompt_set_that_breaks_further_down_becomes_a_failed_record(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text('"the first is what is looked at"\n{broken\n', encoding="utf-8")
    text = QUICK.replace("batch_size: 4", "prompts: broken.jsonl")
    answer = harness("run", config(tmp_path, text), cwd=tmp_path)
    assert answer.code == 1
    records = {run.record.status: run.record for run in find_runs([tmp_path / "results"])}
    assert set(records) == {"complete", "failed"}
    failure = records["failed"].failure
    assert failure is not None
    assert failure.kind == "invalid_input"
    assert "Line 2 of" in failure.message


REAL = """\
campaign: real
runs:
  - task: text-generation
    sources: simulated
    model: {model}
"""


def test_a_model_folder_without_weights_becomes_a_failed_record(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    answer = harness("run", config(tmp_path, REAL.format(model="./model")), cwd=tmp_path)
    assert answer.code == 1
    (run,) = find_runs([tmp_path / "results"])
    assert run.record.failure is not None
    assert run.record.failure.kind == "model_unavailable"
    assert "has no weights" in run.record.failure.message


def test_a_dataset_that_cannot_be_had_stops_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(spec: PromptSpec) -> None:
        if spec.kind == "hub":
            raise ModelUnavailable(f"Dataset {spec.dataset} cannot be fetched: no connection.", "Use kind: file.")

    monkeypatch.setattr("harness.run.preflight.check_prompts", unreachable)
    text = QUICK + "    prompts: {kind: hub, dataset: some/prompts}\n"
    answer = harness("run", config(tmp_path, text), "--in-process", cwd=tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert "error: Dataset some/prompts cannot be fetched" in answer.err
    assert not (tmp_path / "results").exists()


def test_a_record_of_a_newer_schema_stops_the_campaign_and_stays_as_it_is(tmp_path: Path) -> None:
    path = config(tmp_path)
    assert harness("run", path, "--in-process", cwd=tmp_path).code == 0
    run = find_runs([tmp_path / "results"])[0]
    content = json.loads((run.folder / "record.json").read_text())
    content["schema_version"] = 99
    (run.folder / "record.json").write_text(json.dumps(content))
    before = (run.folder / "record.json").read_bytes()
    for command in (("run", str(path)), ("show",), ("list",)):
        answer = harness(*command, cwd=tmp_path)
        assert answer.code == 2
        assert "has schema version 99: a newer harness wrote it, and this one reads version 2" in answer.err
    assert (run.folder / "record.json").read_bytes() == before


def test_results_that_cannot_be_written_are_named_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    answer = harness("run", config(tmp_path), "--results", tmp_path / "file", cwd=tmp_path)
    assert answer.code == 2
    assert "Cannot write results under" in answer.err
    assert "--results" in answer.err


def test_a_full_disk_stops_with_a_sentence_and_keeps_what_is_stored(tmp_path: Path) -> None:
    path = config(tmp_path)
    first_only = config(tmp_path, QUICK.split("  - task: text-to-image")[0])
    assert harness("run", first_only, "--in-process", cwd=tmp_path).code == 0
    (kept,) = find_runs([tmp_path / "results"])
    before = (kept.folder / "record.json").read_bytes()
    path = config(tmp_path)

    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))  # no file may grow beyond 6 kB, as on a full disk

    for extra in ([], ["--in-process"]):
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli.main", "run", str(path), *extra],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            preexec_fn=fill_the_disk,
        )
        assert done.returncode in (1, 2), done.stderr
        assert "annot write" in done.stderr + done.stdout
        assert "{" not in done.stderr  # the system's words, not the database's
        assert (kept.folder / "record.json").read_bytes() == before
        names = {run.record.status for run in find_runs([tmp_path / "results"])}
        assert names <= {"complete", "failed"}


def test_a_model_folder_is_found_beside_the_config_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "cfg" / "mine").mkdir(parents=True)
    (tmp_path / "cfg" / "mine" / "config.json").write_text("{}", encoding="utf-8")
    config(tmp_path / "cfg", REAL.format(model="mine"))
    planned = harness("run", "cfg/config.yaml", "--dry-run", "--json", cwd=tmp_path).document
    assert [run["spec"]["model"]["id"] for run in planned["runs"]] == ["cfg/mine"]


def test_two_runners_do_not_share_a_campaign(tmp_path: Path) -> None:
    path = config(tmp_path)
    folder = tmp_path / "results" / "quick"
    folder.mkdir(parents=True)
    with campaign_lock(folder):
        answer = harness("run", path, "--in-process", cwd=tmp_path)
    assert answer.code == 2
    assert f"Another harness (process {os.getpid()}) is running results/quick." in answer.err
    assert not list(folder.glob("*/record.json"))
    assert harness("run", path, "--in-process", cwd=tmp_path).code == 0  # released with its holder


def test_an_unknown_run_is_answered_with_the_nearest(tmp_path: Path) -> None:
    harness("run", config(tmp_path), "--in-process", cwd=tmp_path)
    answer = harness("show", "quik", cwd=tmp_path)
    assert answer.code == 2
    assert "Did you mean quick?" in answer.err
    assert "nearest" not in answer.err
    assert harness("show", "--grid", "wrld-2024", cwd=tmp_path).code == 2
    assert "'wat'" in harness("list", "wat", cwd=tmp_path).err
