"""`harness run --replay`: the study's runs through the whole pipeline, and back to the study's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import ROOT, config, harness

from harness.store.files import find_runs

# Of three tasks: the fastest and the slowest model, a multi-purpose one, one whose dataset is not told.
SUBSET = """\
campaign: subset
defaults: {dtype: float32}
runs:
  - task: text-classification
    model: [sbcBI/sentiment_analysis_model, google/flan-t5-base]
    prompts: [{kind: hub, dataset: imdb}, {kind: hub, dataset: sst2}]
  - task: token-classification
    model: obi/deid_roberta_i2b2
    prompts: {kind: hub, dataset: conll2003}
  - task: text-to-image
    model: stabilityai/stable-diffusion-xl-base-1.0
    prompts: {kind: hub, dataset: poloclub/diffusiondb}
  - task: text-generation
    model: [distilgpt2, facebook/opt-6.7b]
    prompts: {kind: hub, dataset: wikitext}
"""


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    answer = harness("run", config(folder, SUBSET), "--replay", "--in-process", "--json", cwd=folder)
    assert answer.code == 0, answer.err
    (folder / "answer.json").write_text(answer.out)
    return folder


def test_the_pipeline_returns_the_study_s_energies(replayed: Path) -> None:
    means = {mean["item"]: mean for mean in json.loads((replayed / "answer.json").read_text())["replayed"]}
    # Means of the study's own runs of these pairs, kWh of the node per 1,000, from its raw data.
    expected = {
        "text-classification": 0.00135,
        "token-classification": 0.005321,
        "text-to-image": 11.4032,
        "text-generation": 0.04835,
        "google/flan-t5-base": 0.00955,
    }
    assert set(means) == set(expected)
    for item, mean in means.items():
        assert mean["agrees"], item
        assert mean["cells_agreeing"] == mean["cells"]
        assert mean["published_kwh"] is None  # of eight models and three datasets only a part was replayed
        assert mean["replayed_kwh"]["value"] == pytest.approx(mean["data_kwh"], rel=0.03)
        assert mean["data_kwh"] == pytest.approx(expected[item], rel=0.03)


def test_every_record_and_row_is_marked_a_replay_and_simulated(replayed: Path) -> None:
    runs = find_runs([replayed / "results"])
    assert len(runs) == 8
    for run in runs:
        assert run.record.replayed
        assert run.record.simulated
        assert run.record.campaign == "subset-replay"
        assert {source.provenance for source in run.record.sources} == {"simulated"}
        assert len(run.record.sources) == 8
    rows = json.loads((replayed / "answer.json").read_text())["runs"]
    assert all(row["replay"] and row["simulated"] for row in rows)
    shown = harness("run", replayed / "config.yaml", "--replay", cwd=replayed)  # all done: shown again
    assert shown.code == 0, shown.err
    assert shown.out.count("replay, simulated") >= 8
    assert "no model ran" in shown.out
    assert "0 complete, 0 failed, 8 already done" in shown.out
    one = harness("show", runs[0].record.run_id, cwd=replayed)
    assert "by boundary, replay, simulated" in one.out


def test_our_count_and_the_study_s_stand_side_by_side(replayed: Path) -> None:
    rows = json.loads((replayed / "answer.json").read_text())["runs"]
    row = next(row for row in rows if row["model"] == "distilgpt2")
    counted = row["accounted"]
    assert counted["accounting"] == "study-2023"
    assert counted["boundary"] == "node: all 8 GPUs, CPU and memory assumed"
    parts = sum(counted[f"{part}_kwh_per_1000"] for part in ("gpus", "cpu", "memory"))
    assert counted["energy_kwh_per_1000"]["value"] == pytest.approx(parts)
    assert counted["gpus_kwh_per_1000"] == pytest.approx(row["node_gpus_kwh_per_1000"]["value"])
    assert counted["cpu_kwh_per_1000"] == pytest.approx(42.5 * row["duration_s"] / 3600)
    units = {row["task"]: row["unit"] for row in rows}
    assert units == {
        "text-classification": None,
        "token-classification": None,
        "text-to-image": "image",
        "text-generation": "token",
    }
    assert row["energy_kwh_per_1000"]["value"] == pytest.approx(0.00116, rel=0.08)  # one GPU of eight


def test_the_study_is_found_beside_its_replay(replayed: Path) -> None:
    compared = harness("study", "compare", "results", "--json", cwd=replayed).document["runs"]
    assert all(run["in_study"] for run in compared)
    assert all(any("replays the study's own runs" in note for note in run["notes"]) for run in compared)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("distilgpt2", "distilgpt3"), "The study did not run distilgpt3 on text-generation"),
        (("dataset: wikitext", "dataset: c4"), "The study did not run text-generation on c4"),
        (("dtype: float32", "batch_size: 2, dtype: float32"), "with batch_size 1, not 2"),
        (("dtype: float32", "replay: {}, dtype: float32"), "'replay' cannot be written in a run"),
    ],
)
def test_what_the_study_did_not_run_ends_with_a_sentence(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    answer = harness("run", config(tmp_path, SUBSET.replace(*change)), "--replay", cwd=tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "results").exists()


def test_a_task_of_pictures_is_planned_with_its_engine_and_as_a_replay_without(tmp_path: Path) -> None:
    path = ROOT / "configs" / "study" / "object-detection.yaml"
    dry = harness("run", path, "--dry-run", cwd=tmp_path)
    assert dry.code == 0, dry.err
    assert "24 of 24 runs to do" in dry.out
    assert dry.out.count(" transformers ") == 24
    replay = harness("run", path, "--replay", "--dry-run", "--json", cwd=tmp_path).document
    assert replay["campaign"] == "study-object-detection-replay"
    assert [run["spec"]["engine"] for run in replay["runs"]] == ["simulated"] * 24


def test_an_accounting_can_be_asked_for_later(replayed: Path) -> None:
    row = harness("show", "subset-replay", "--accounting", "study-2023", "--json", cwd=replayed).document["runs"][0]
    assert row["accounted"]["accounting"] == "study-2023"
    wrong = harness("show", "subset-replay", "--accounting", "study-2022", cwd=replayed)
    assert wrong.code == 2
    assert "There is no accounting named 'study-2022'" in wrong.err
