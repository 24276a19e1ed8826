"""`harness run` and what it leaves behind, as a user sees it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from command import QUICK, config, environment, harness, harness_apart

from harness.store.files import find_runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of the quick campaign; only read."""
    folder = tmp_path_factory.mktemp("finished")
    assert harness("run", config(folder), "--in-process", cwd=folder).code == 0
    return folder


def test_a_campaign_runs_prints_its_table_and_a_second_start_does_nothing(tmp_path: Path) -> None:
    path = config(tmp_path)
    first = harness("run", path, cwd=tmp_path)
    assert first.code == 0, first.err
    assert "pretend-text" in first.out
    assert "pretend-image" in first.out
    assert first.out.count("simulated") >= 2
    assert "2 complete, 0 failed, 0 already done. Results: results/quick" in first.out
    before = {run.folder: (run.folder / "record.json").stat().st_mtime_ns for run in find_runs([tmp_path / "results"])}
    assert len(before) == 2
    assert all((folder / "trace.parquet").exists() for folder in before)

    second = harness("run", path, cwd=tmp_path)
    assert second.code == 0
    assert "0 complete, 0 failed, 2 already done" in second.out
    assert "pretend-text" in second.out  # the table is shown again
    after = {run.folder: (run.folder / "record.json").stat().st_mtime_ns for run in find_runs([tmp_path / "results"])}
    assert after == before
    assert not [p for p in (tmp_path / "results" / "quick").iterdir() if p.name.startswith(".scratch")]


def test_json_is_one_document_and_nothing_else(tmp_path: Path) -> None:
    path = config(tmp_path)
    answer = harness_apart("run", path, "--json", "--in-process", cwd=tmp_path)
    document = answer.document
    assert document["completed"] == 2
    rows = document["runs"]
    assert [row["simulated"] for row in rows] == [True, True]
    assert {row["unit"] for row in rows} == {"token", "image"}
    for row in rows:
        energy = row["energy_kwh_per_1000"]
        assert energy["low"] <= row["true_energy_kwh_per_1000"] <= energy["high"]
        same = row["equivalents_per_1000"]
        assert same["phone_charges"] == pytest.approx(energy["value"] / 0.019)
        assert same["carbon_g_co2e"] == pytest.approx(energy["value"] * 473)
        assert same["car_km"] == pytest.approx(energy["value"] * 473 / 393 * 1.609344)
    assert harness_apart("doctor", "--json", cwd=tmp_path).document
    for command in (["show"], ["list"], ["list", "models"], ["list", "gpus"], ["schema"]):
        assert harness(*command, "--json", cwd=tmp_path).document


def test_editions_are_chosen_by_name(finished: Path) -> None:
    answer = harness(
        "show",
        "quick",
        "--table",
        "--json",
        "--phone",
        "epa-2023",
        "--car",
        "epa-2023",
        "--grid",
        "study-recorded",
        cwd=finished,
    )
    row = answer.document["runs"][0]
    kwh = row["energy_kwh_per_1000"]["value"]
    assert row["equivalents_per_1000"]["phone_charges"] == pytest.approx(kwh / 0.012)
    assert row["equivalents_per_1000"]["car_miles"] == pytest.approx(kwh * 138.75 / 390)


def test_dry_run_runs_nothing_and_needs_no_gpu(tmp_path: Path) -> None:
    text = QUICK.replace("{kind: simulated, node: {clock: virtual}}", "nvml").replace("  engine: simulated\n", "")
    answer = harness("run", config(tmp_path, text), "--dry-run", cwd=tmp_path)
    assert answer.code == 0
    assert "2 of 2 runs to do" in answer.out
    assert not (tmp_path / "results").exists()
    document = harness("run", config(tmp_path, text), "--dry-run", "--json", cwd=tmp_path).document
    assert [run["pending"] for run in document["runs"]] == [True, True]


PAIR = """\
campaign: pair
defaults:
  engine: simulated
  task: text-generation
  measure: {window_s: 2, null_window_s: 1, idle_s: 1, settle_s: 1, warm_up_max_s: 0, min_repeats: 2, max_repeats: 2}
runs:
  - {model: a, sources: {kind: simulated, gpus: [0], node: {gpu_count: 2, clock: real}}}
  - {model: a, sources: {kind: simulated, gpus: [1], node: {gpu_count: 2, clock: real}}}
"""


def test_a_dry_run_with_a_run_on_each_gpu_tells_the_time_of_both_at_once(tmp_path: Path) -> None:
    path = config(tmp_path, PAIR)
    serial = harness("run", path, "--dry-run", "--json", cwd=tmp_path).document["total"]
    parallel = harness("run", path, "--dry-run", "--json", "--parallel", cwd=tmp_path).document["total"]
    assert (serial["at_once"], parallel["at_once"]) == (1, 2)
    assert serial["duration_s"] == pytest.approx([2 * value for value in parallel["duration_s"]])
    assert (
        "up to 2 at once, each on GPUs of its own" in harness("run", path, "--dry-run", "--parallel", cwd=tmp_path).out
    )
    assert "one run after another" in harness("run", path, "--dry-run", cwd=tmp_path).out


def test_a_failing_run_is_stored_the_next_one_runs_and_a_retry_keeps_the_first_attempt(tmp_path: Path) -> None:
    text = QUICK.replace("batch_size: 4", "batch_size: 5000")  # 5000 x 64 MiB do not fit into 80 GiB
    answer = harness("run", config(tmp_path, text), cwd=tmp_path)
    assert answer.code == 1
    assert "1 complete, 1 failed" in answer.out
    assert "A batch of 5000 needs about 312 GiB; the simulated A100-SXM4-80GB has 80 GiB." in answer.out
    records = {run.record.status: run.record for run in find_runs([tmp_path / "results"])}
    failure = records["failed"].failure
    assert failure is not None
    assert (failure.kind, failure.phase, failure.hint) == ("out_of_memory", "load model", "Lower batch_size.")
    again = harness("run", config(tmp_path, text), "--in-process", "--grid", "FR", "--retry-failed", cwd=tmp_path)
    assert again.code == 1
    typed = f"harness run {config(tmp_path, text)} --in-process --grid FR --retry-failed"
    assert f"Failed runs are tried again by: {typed}\n" in again.out
    aside = list((tmp_path / "results" / "quick" / ".superseded").iterdir())
    assert [path.name for path in aside] == [f"{records['failed'].run_id}-1"]


LONG = """\
campaign: long
order: as-written
defaults:
  sources: simulated
  engine: simulated
  task: text-generation
runs:
  - model: short
    measure: {window_s: 0.5, null_window_s: 0.2, idle_s: 0.2, settle_s: 0, warm_up_block_s: 0.2, warm_up_max_s: 0,
              min_repeats: 2, max_repeats: 2}
  - model: long
    measure: {idle_s: 60}
"""


def test_ctrl_c_keeps_finished_runs_leaves_no_process_and_says_how_to_resume(tmp_path: Path) -> None:
    path = config(tmp_path, LONG)
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli.main", "run", str(path)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:  # until the second run has its sampler and idles
        if "[2/2] long batch 1 (simulated): idle" in line:
            break
    time.sleep(0.5)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2  # worker and sampler
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped with 1 left. Finished runs are kept; resume with: harness run" in out
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert len(gone) == len(children)
    assert [run.record.spec.model.id for run in find_runs([tmp_path / "results"])] == ["short"]
    assert [
        p.name for p in (tmp_path / "results" / "long").iterdir() if p.name.startswith(".") and p.name != ".lock"
    ] == []


def test_show_tells_everything_about_one_run(finished: Path) -> None:
    answer = harness("show", "pretend-text", cwd=finished)
    assert answer.code == 0
    for words in ("idle share", "above idle", "every GPU of the machine", "not measured", "subtracted", "repeat-1"):
        assert words in answer.out
    assert "true energy of the simulated GPU" in answer.out


def test_show_prints_the_uncertainty_budget(finished: Path) -> None:
    answer = harness("show", "pretend-text", "--uncertainty", cwd=finished)
    assert answer.code == 0
    for words in ("sensor gain", "calibrate against a meter", "scatter of the repeats", "combined, standard"):
        assert words in answer.out
    (budget,) = json.loads(harness("show", "pretend-text", "--uncertainty", "--json", cwd=finished).out)["uncertainty"]
    assert {line["term"] for line in budget["lines"]} >= {"sensor gain", "sensor offset", "undersampling", "gaps"}
    # Gain known to 5 % / sqrt(3) of the gross energy, whatever it is.
    (gain,) = [line for line in budget["lines"] if line["term"] == "sensor gain"]
    assert gain["standard_uncertainty_j"] / budget["energy_j"] == pytest.approx(0.05 / 3**0.5)


def test_one_broken_record_does_not_hide_the_others(tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished / "results", tmp_path / "results")
    (broken,) = (tmp_path / "results" / "quick").glob("pretend-text*")
    (broken / "record.json").write_text('{"a": ', encoding="utf-8")
    for command in (("show",), ("list",)):
        answer = harness(*command, cwd=tmp_path)
        assert answer.code == 2
        assert "pretend-image" in answer.out
        assert "is not a whole JSON document" in answer.err
    assert harness("show", "pretend-image", cwd=tmp_path).code == 0


def test_names_with_markup_are_shown_as_they_are(tmp_path: Path) -> None:
    path = config(tmp_path, QUICK.replace("pretend-text", "'[red]x[/red] [/nope]'"))
    answer = harness("run", path, "--dry-run", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert "[red]x[/red] [/nope]" in answer.out


def test_scratch_of_a_process_that_is_gone_is_swept(tmp_path: Path) -> None:
    left = tmp_path / "results" / "quick" / ".scratch-pretend-text-b4-0123456789ab-999999999-1"
    left.mkdir(parents=True)
    assert harness("run", config(tmp_path), "--in-process", cwd=tmp_path).code == 0
    assert not left.exists()


def test_version_and_help_answer(tmp_path: Path) -> None:
    assert harness("--version", cwd=tmp_path).out.startswith("harness 0.")
    assert "equivalents" in harness("--help", cwd=tmp_path).out
