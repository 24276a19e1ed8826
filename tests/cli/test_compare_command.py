"""`harness compare` as a person and as a CI job see it."""

from __future__ import annotations

from pathlib import Path

import pytest
from codecarbon_files import RUN_COLUMNS, row, write
from command import harness
from compare_records import OTHER_BOARD, record_of

from harness.importers.codecarbon import read_codecarbon, records
from harness.records import RunRecord
from harness.store.files import write_run
from harness.store.imports import keep_imports

STEADY = [29.0, 29.1, 28.9, 29.05, 28.95]


def store(folder: Path, *runs: RunRecord) -> None:
    for run in runs:
        write_run(folder / "results" / run.campaign / run.run_id, run, None)


@pytest.fixture
def two_campaigns(tmp_path: Path) -> Path:
    """Models [a] and b in campaigns base and pr; in pr, b takes 20 % more, and [a] 8 % less on another board."""
    store(
        tmp_path,
        record_of(STEADY, "[a]", campaign="base"),
        record_of([2 * energy_j for energy_j in STEADY], "b", campaign="base"),
        record_of([0.92 * energy_j for energy_j in STEADY], "[a]", campaign="pr", sources=(OTHER_BOARD,)),
        record_of([2.4 * energy_j for energy_j in STEADY], "b", campaign="pr"),
    )
    return tmp_path


def test_campaigns_are_compared_run_by_run(two_campaigns):
    answer = harness("compare", "base", "pr", cwd=two_campaigns)
    assert answer.code == 0
    first, second = (line for line in answer.out.splitlines() if "against base" in line and "│" in line)
    assert "pr/a-b1 against base/a-b1" in first
    assert "less" in first
    assert "1.2000 │" in second
    assert "more" in second
    assert "simulated" in second
    assert "nothing common cancels: different boards" in answer.out
    assert "the gain of the same board cancels" in answer.out
    assert "2 comparisons: verdicts of difference and of equivalence are each corrected by Holm (1979)" in answer.out


def test_one_json_document_and_the_exit_code_of_a_limit(two_campaigns):
    answer = harness("compare", "base", "pr", "--fail-if-more-than", "5%", "--json", cwd=two_campaigns)
    assert answer.code == 1
    document = answer.document
    assert [each["verdict"] for each in document["comparisons"]] == ["less", "more"]
    assert document["comparisons"][1]["ratio"] == pytest.approx(1.2)
    assert (document["check"]["failed"], document["check"]["unchecked"]) == (True, 0)
    assert "fails: pr/b-b1 takes +20.0% against base/b-b1" in answer.err
    assert harness("compare", "base", "pr", "--fail-if-more-than", "30%", cwd=two_campaigns).code == 0
    near = harness("compare", "results/base", "results/pr", "--fail-if-more-than=20%", cwd=two_campaigns)
    assert near.code == 0
    assert "cannot tell: pr/b-b1" in near.out
    strict = harness("compare", "base", "pr", "--fail-if-more-than=20%", "--strict", cwd=two_campaigns)
    assert strict.code == 1


def test_a_run_that_went_missing_is_not_taken_for_one_that_holds(two_campaigns):
    (gone,) = (two_campaigns / "results" / "pr").glob("b-*")
    (gone / "record.json").unlink()
    answer = harness("compare", "base", "pr", "--fail-if-more-than", "5%", cwd=two_campaigns)
    assert answer.code == 2
    assert "not checked: base/b-b1" in answer.out


def test_the_same_config_run_into_two_folders_is_compared_and_a_copy_of_a_record_is_refused(tmp_path):
    store(tmp_path, record_of(STEADY, campaign="base"))
    store(tmp_path / "new", record_of([1.2 * energy_j for energy_j in STEADY], campaign="base"))
    for second in ("new/results/base", "new/results/base/a-b1", str(tmp_path / "new" / "results")):
        answer = harness("compare", "results/base", second, "--fail-if-more-than", "5%", cwd=tmp_path)
        assert answer.code == 1, answer.err
        assert "new/results/base/a-b1 takes +20.0% against base/a-b1 " in answer.err
    store(tmp_path / "copy", record_of(STEADY, campaign="base"))
    copied = harness("compare", "results/base", "copy/results", cwd=tmp_path)
    assert copied.code == 2
    assert "and copy/results/base/a-b1-" in copied.err
    assert "hold the same record" in copied.err


def test_what_cannot_be_read_is_named_and_no_other_baseline_is_taken(two_campaigns):
    (broken,) = (two_campaigns / "results" / "pr").glob("b-*")
    (broken / "record.json").write_text("{", encoding="utf-8")
    for limit in ((), ("--fail-if-more-than", "30%")):
        answer = harness("compare", "base", "pr", *limit, cwd=two_campaigns)
        assert answer.code == 2
        assert f"{broken.name}/record.json is not a whole JSON document" in answer.err
        assert f"left out: results/pr/{broken.name}/record.json" in answer.out
    assert harness("show", "pr", cwd=two_campaigns).code == 2
    assert harness("compare", "base/a-b1", "base/b-b1", cwd=two_campaigns).code == 0  # none of those that are meant
    for baseline in (f"pr/{broken.name}", f"results/pr/{broken.name}", "pr/b-b1"):
        refused = harness("compare", baseline, "base/a-b1", "base/b-b1", cwd=two_campaigns)
        assert (refused.code, refused.out) == (2, "")
        assert f"The baseline results/pr/{broken.name}/record.json cannot be compared" in refused.err
    failed = harness(
        "compare", "base/a-b1", "base/b-b1", f"pr/{broken.name}", "--fail-if-more-than=5%", cwd=two_campaigns
    )
    assert failed.code == 1
    assert "is not a whole JSON document" in failed.err


def test_a_name_of_its_own_comes_before_a_beginning_and_labels_can_be_typed(two_campaigns):
    store(two_campaigns, record_of(STEADY, "pretend-image", campaign="other"))
    answer = harness("compare", "base", "pr", "--json", cwd=two_campaigns)
    labels = [(each["baseline"], each["other"]) for each in answer.document["comparisons"]]
    assert labels == [("base/a-b1", "pr/a-b1"), ("base/b-b1", "pr/b-b1")]
    again = harness("compare", *labels[1], "--json", cwd=two_campaigns).document["comparisons"]
    assert [each["ratio"] for each in again] == [pytest.approx(1.2)]
    store(two_campaigns, record_of(STEADY, "a", batch_size=16, campaign="base"))
    assert len(harness("compare", "base/a-b1", "pr/a-b1", "--json", cwd=two_campaigns).document["comparisons"]) == 1


def test_lines_about_many_pairs_name_a_few_of_them(tmp_path):
    other = [1.3 * energy_j for energy_j in STEADY]
    many = [record_of(other, "c", batch_size=size, sources=(OTHER_BOARD,)) for size in range(2, 8)]
    store(tmp_path, record_of(STEADY), record_of(other, "b"), *many)
    table = harness("compare", "a-b1", "b-b1", *(f"c-b{size}" for size in range(2, 8)), cwd=tmp_path).out
    assert "c-b2 against a-b1, c-b3 against a-b1, c-b4 against a-b1 and 3 more: unpaired (Welch)" in table
    unmatched = harness("compare", "a-b1", "b-b1", "c-", cwd=tmp_path).out
    assert ", tests/c-b4-" in unmatched
    assert " and 3 more: no run of a-b1 matches it" in unmatched


def test_one_campaign_compares_its_models_and_a_narrow_terminal_keeps_the_meaning(two_campaigns, monkeypatch):
    monkeypatch.setattr("harness.cli.tables.MIN_WIDTH", 60)
    answer = harness("compare", "base", "--margin", "10%", cwd=two_campaigns)
    assert answer.code == 0
    for kept in ("2.0000", "more", "simulated", "unpaired (Welch), 5 and 5 repeats", "0.909 to 1.100"):
        assert kept in answer.out, kept


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("base", "b0se"), "Did you mean base?"),
        (("base", ""), "A name to compare is empty."),
        (("b-b1", "study:bert"), "The study has no model 'bert'."),
        (("study:distilgpt2", "study:gpt2-xl@fill-mask"), "did not run gpt2-xl on fill-mask"),
        (("base", "pr", "--per", "joule"), "Choose from generation, token, image, megapixel."),
        (("base", "pr", "--margin", "5"), "Write --margin 5%."),
        (("base", "pr", "--margin", "nan%"), "--margin cannot be 'nan%'"),
        (("base", "pr", "--across", "boards"), "Choose from boundary, gpu, unit, origin."),
        (("base", "pr", "--strict"), "--strict belongs to --fail-if-more-than."),
        (("base", "pr", "--boundary", "node"), "Its node was not measured: no host"),
        (("results/base", "results/base"), "The same run is named twice."),
        (("base/b-b1",), "only base/b-b1-"),
        (("base", "pr", "--fail-if-more-than", "1001%"), "it must lie above -100% and be 1000% at most"),
        (("base", "pr", "--fail-if-more-than", "inf"), "'inf': it is not a share"),
        (("base", "pr", "--fail-if-more-than", "1_0%"), "'1_0%': it is not a share"),
        (("base", "pr", "--per", "image"), "All have a figure per generation and per token: --per generation."),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(two_campaigns, arguments, says):
    answer = harness("compare", *arguments, cwd=two_campaigns)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err


def test_models_of_the_study(tmp_path):
    document = harness("compare", "study:distilgpt2", "study:gpt2", "--boundary=node", "--json", cwd=tmp_path).document
    (told,) = document["comparisons"]
    # harness/data/study.csv: 30 runs each
    assert told["ratio"] == pytest.approx(94.7 / 52.83, rel=1e-3)
    assert told["low"] < told["ratio"] < told["high"]
    assert (told["baseline"], told["other"]) == ("study:distilgpt2", "study:gpt2")
    assert any("no stated doubt" in note for note in told["notes"])
    (active,) = harness("compare", "study:distilgpt2", "study:gpt2", "--json", cwd=tmp_path).document["comparisons"]
    assert (active["low"], active["verdict"]) == (None, "cannot tell")
    assert "only the scatter of the node's energy is kept" in active["to_decide"]
    assert "the gain of the board, taken to be one for both, cancels" in told["cancels"]


def test_imported_runs_of_a_project_are_its_repeats(tmp_path):
    for campaign, energies_kwh in (("x", (1.0, 1.02, 0.98)), ("y", (1.5, 1.52, 1.48))):
        rows = [row(run_id=f"{campaign}{i}", energy_consumed=kwh) for i, kwh in enumerate(energies_kwh)]
        path = write(tmp_path / f"{campaign}.csv", RUN_COLUMNS, *rows)
        made = records(read_codecarbon([path]), campaign, "text-generation", 1000)
        keep_imports(tmp_path / "results", campaign, list(made))
    answer = harness("compare", "x", "y", "--boundary", "node", "--json", cwd=tmp_path)
    (told,) = answer.document["comparisons"]
    assert told["ratio"] == pytest.approx(1.5)
    assert told["method_told"] == "unpaired (Welch), 3 and 3 repeats"
    assert told["cancels"].startswith("nothing common cancels")
    refused = harness("compare", "x", "y", cwd=tmp_path)
    assert refused.code == 2
    assert "CodeCarbon did not meter it within the boundary 'gpu'" in refused.err
