"""`harness report`: what it writes, with scores, without runs, and what it refuses."""

from __future__ import annotations

import csv

import pytest
from command import harness
from report_records import record_of, write_store

from harness.store.files import write_run


def test_page_markdown_and_csv_are_written_and_what_is_left_out_is_told(tmp_path):
    write_store(tmp_path / "results")
    scores = tmp_path / "scores.csv"
    scores.write_text("task,model,metric,value\ntext-generation,a,accuracy,0.7\n", encoding="utf-8")
    options = ["--out", "r.html", "--markdown", "r.md", "--csv", "r.csv", "--quality", scores, "--json"]
    told = harness("report", "tests", *options, cwd=tmp_path)
    assert told.document["written"] == ["r.html", "r.md", "r.csv"]
    assert (told.code, told.document["runs"], told.document["ranked"]) == (2, 12, 10)
    assert len(told.document["left_out"]) == 4  # failed, without work, and two that cannot be read
    rows = list(csv.DictReader((tmp_path / "r.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["quality"] for row in rows if row["model"] == "a"} == {"0.7"}
    assert {row["quality"] for row in rows if row["model"] != "a"} == {""}
    assert "## text-to-image" in (tmp_path / "r.md").read_text(encoding="utf-8")
    assert (tmp_path / "r.html").stat().st_size < 1_000_000


def test_no_runs_make_a_page_of_the_study_and_a_broken_trace_costs_only_itself(tmp_path):
    (tmp_path / "results").mkdir()
    told = harness("report", cwd=tmp_path)
    assert (told.code, told.out) == (0, "No runs in results.\nWritten: report.html\n")
    assert "Power Hungry Processing" in (tmp_path / "report.html").read_text(encoding="utf-8")
    folder = tmp_path / "results" / "tests" / "one"
    write_run(folder, record_of(), None)
    (folder / "trace.parquet").write_text("no parquet", encoding="utf-8")
    lost = tmp_path / "results" / "tests" / "lost"
    lost.mkdir()
    (lost / "trace.parquet").write_text("a trace without its record", encoding="utf-8")
    (tmp_path / "q.csv").write_text("task,model,metric,value\ntext-generation,nobody,f1,0.5\n", encoding="utf-8")
    broken = harness("report", "--json", "--quality", "q.csv", "--out", "r.html", "--csv", "r.csv", cwd=tmp_path)
    assert (broken.code, broken.document["ranked"]) == (2, 1)
    [out] = broken.document["left_out"]  # the run with the broken trace is ranked: it is not left out
    assert out["what"] == "results/tests/lost holds a power trace but no record.json."
    aside = broken.document["aside"]
    assert "one/trace.parquet" in aside["In the figures, but the power trace cannot be read"][0][0]
    assert aside["Scores that are not used"] == [
        ["nobody, text-generation: f1 0.5", "no row has this model on this task"]
    ]
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "it cannot be read: " in page
    before = (tmp_path / "r.csv").read_bytes()
    refused = harness("report", "--csv", "r.csv", "--out", "nowhere/r.html", cwd=tmp_path)
    assert refused.code == 2
    assert (tmp_path / "r.csv").read_bytes() == before  # nothing is written unless all can be
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--study-only", "tests"], "--study-only is a page without runs of yours."),
        (["--out", "nowhere/r.html"], "Cannot write nowhere/r.html"),
        (["--quality", "none.csv"], "Cannot read the scores in none.csv"),
        (["--phone", "nokia"], "nokia"),
        (["--results", "none"], "There is no results folder none."),
        (["--out", "r.html", "--csv", "./r.html"], "is named for two files"),
        (["nothing"], "There is no campaign, run or folder 'nothing'."),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(tmp_path, arguments, words):
    told = harness("report", *arguments, cwd=tmp_path)
    assert told.code == 2
    assert words in told.err


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "There is no score in scores.csv"),
        ("task,model,metric,value\n", "There is no score in scores.csv"),
        ("task,model\nx,y", "there is no metric"),
        ("task,model,metric,value\nt,m,f1,good", "'good' is no finite number"),
        ("task,model,metric,value\nt,m,f1,1\nt,m,f1,2", "a second time"),
        ("task,model,metric,value\nt,m,f1,1\nt,n,rouge,2", "two metrics"),
    ],
)
def test_scores_that_cannot_be_used_are_refused_with_their_line(tmp_path, lines, words):
    (tmp_path / "scores.csv").write_text(lines, encoding="utf-8")
    told = harness("report", "--quality", "scores.csv", cwd=tmp_path)
    assert told.code == 2
    assert words in told.err
