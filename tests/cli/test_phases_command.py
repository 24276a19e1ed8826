"""`harness phases` and `harness show --sweep` on simulated runs, whose true phases are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import config, harness

DESIGN = """\
campaign: design
defaults:
  engine: simulated
  sources: {kind: simulated, node: {clock: virtual, steady: true}}
  measure: {window_s: 2, null_window_s: 0.3, idle_s: 0.3, settle_s: 0.3, warm_up_block_s: 0.5, warm_up_max_s: 2,
            min_repeats: 3, max_repeats: 3}
runs:
  - task: text-generation
    model: pretend-text
    prompts: {words: [16, 1024], count: 20}
    text: {new_tokens: [8, 64]}
    batch_size: [1, 16]
  - task: text-to-image
    model: pretend-image
    prompts: {count: 20}
    image: {steps: [2, 16], width: [512, 1024]}
    batch_size: [1, 2]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phases")
    answer = harness("run", config(path, DESIGN), "--in-process", "--json", cwd=path)
    assert answer.code == 0, answer.err
    assert answer.document["completed"] == 16
    return path


def test_true_phases_lie_within_the_stated_intervals_and_the_held_out_check_passes(folder: Path) -> None:
    document = harness("phases", "design", "--json", cwd=folder).document
    fits = {fit["kind"]: fit for fit in document["fits"]}
    assert [phase["name"] for phase in fits["text"]["phases"]] == [
        "fixed",
        "prefill",
        "decode step",
        "decode",
        "request",
    ]
    assert [phase["name"] for phase in fits["image"]["phases"]] == ["fixed", "text encoder", "denoising", "decoder"]
    for fit in fits.values():
        assert fit["simulated"]
        for phase in fit["phases"]:
            energy = phase["energy_j"]
            assert energy["low"] <= phase["true_value_j"] <= energy["high"], phase
        held = fit["held_out"]
        assert held["runs"] == 8
        assert held["within"] >= 7
        assert held["largest_relative"] < 0.02
    # The large phases are found to what the board's unknown gain leaves: 2.9 %.
    step = next(phase for phase in fits["text"]["phases"] if phase["name"] == "decode step")
    assert step["energy_j"]["standard_uncertainty"] < 0.04 * step["true_value_j"]
    assert (document["not_fitted"], document["left_out_runs"]) == ([], 0)


def test_table_shows_phases_check_residuals_and_marks_them_simulated(folder: Path) -> None:
    answer = harness("phases", "design", "--out", folder / "page.html", cwd=folder)
    assert answer.code == 0, answer.err
    for words in ("Energy by phase, gross, simulated", "J/output token", "J/(step Mpx)", "true, simulated", "●"):
        assert words in answer.out
    assert "Held-out check, each run predicted from the others" in answer.out
    assert "no model's energy" in answer.out
    assert (folder / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_group_that_cannot_be_fitted_is_named_beside_those_that_can(folder: Path) -> None:
    runs = harness("list", "--json", cwd=folder).document["runs"]
    texts = [run["run_id"] for run in runs if run["task"] == "text-generation"]
    images = [run["run_id"] for run in runs if run["task"] == "text-to-image"]
    answer = harness("phases", *texts, images[0], "--json", cwd=folder)
    assert len(answer.document["fits"]) == 1
    (left,) = answer.document["not_fitted"]
    assert left["runs"] == 1
    assert "1 comparable run cannot tell 2 phases" in left["reason"]
    answer = harness("phases", images[0], cwd=folder)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: 1 comparable run cannot tell 2 phases")


def test_phases_of_nothing_say_what_to_run(tmp_path: Path) -> None:
    answer = harness("phases", cwd=tmp_path)
    assert answer.code == 2
    assert "There is no complete run of text or image generation among 0 runs." in answer.err
    assert "configs/phases.yaml" in answer.err


def test_sweep_draws_bars_and_names_the_best(folder: Path) -> None:
    answer = harness("show", "design", "--sweep", cwd=folder)
    assert answer.code == 0, answer.err
    assert "█" in answer.out
    assert "Least energy per generation: batch 16" in answer.out
    assert "latency: the time a batch takes" in answer.out
    assert "simulated" in answer.out
    document = harness("show", "design", "--sweep", "--latency-limit-s", "0.3", "--json", cwd=folder).document
    sweeps = [sweep for sweep in document["sweeps"] if sweep["model"] == "pretend-text"]
    assert len(sweeps) == 4
    for sweep in sweeps:  # 64 tokens take 0.38 s and more
        slow = "64 new tokens" in sweep["workload"]
        assert (sweep["best"] is None) == slow


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--sweep", "--latency-limit-s", "-1"], "A latency limit must be a number of seconds above 0, not -1."),
        (["--sweep", "--latency-limit-s", "0.001"], "No batch size meets a latency of 0.001 s"),
        (["--latency-limit-s", "1"], "--latency-limit-s belongs to --sweep."),
    ],
)
def test_a_limit_that_makes_no_sense_ends_with_one_sentence(folder: Path, arguments, told) -> None:
    answer = harness("show", "design", *arguments, cwd=folder)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err


def test_sweep_of_one_batch_size_says_how_to_make_one(folder: Path) -> None:
    run_id = harness("list", "--json", cwd=folder).document["runs"][0]["run_id"]
    answer = harness("show", run_id, "--sweep", cwd=folder)
    assert answer.code == 2
    assert "Nothing varies in batch size: 1 complete run" in answer.err
