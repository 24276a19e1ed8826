"""`harness import` and `harness study` as a user meets them."""

from __future__ import annotations

import json

import pytest
import typer
from codecarbon_files import TASK_COLUMNS, phases, small_study, write
from typer.testing import CliRunner, Result

from harness.cli.imports import import_app
from harness.cli.show import list_command, show_command
from harness.cli.study import study_app
from harness.errors import HarnessError
from harness.store.imports import find_imports

app = typer.Typer()
app.add_typer(import_app, name="import")
app.add_typer(study_app, name="study")
app.command("show")(show_command)
app.command("list")(list_command)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "160"})


def document(*arguments: object):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_study(tmp_path_factory.mktemp("study"))


def test_import_stores_once_and_says_what_it_did(tmp_path):
    path = write(tmp_path / "a.csv", TASK_COLUMNS, *phases("run-1", "gpt2"))
    results = tmp_path / "results"
    first = run("import", "codecarbon", path, "--results", results)
    assert first.exit_code == 0
    assert "1 runs, 2 rows; CodeCarbon 2.3.1" in first.stdout
    assert "CPU and memory are modelled" in first.stdout
    again = document("import", "codecarbon", path, "--results", results)
    assert again["stored"] == {"written": 0, "already_there": 1}
    assert again["gpu_energy_kwh"] == pytest.approx((52_000 + 4_850) / 3.6e6)
    shown = run("show", "codecarbon", "--results", results)
    assert "measured: every GPU that CodeCarbon saw" in shown.stdout
    assert run("show", "--results", results).stdout == shown.stdout  # all, where nothing is named
    assert [row["status"] for row in document("list", "--results", results)["runs"]] == ["imported"]


def test_a_refused_file_ends_with_2_and_the_others_are_stored(tmp_path):
    write(tmp_path / "in/a.csv", TASK_COLUMNS, *phases("run-1", "gpt2"))
    bad = write(tmp_path / "in/b.csv", TASK_COLUMNS, *phases("run-2", "gpt2"))
    bad.write_text(bad.read_text()[:-40])
    result = run("import", "codecarbon", tmp_path / "in", "--results", tmp_path / "results")
    assert result.exit_code == 2
    assert f"{bad}:3: has too few fields" in result.stderr
    assert "2 files, 1 refused: 1 runs" in result.stdout
    assert [record.run_id for record in find_imports([tmp_path / "results"])] == ["run-1"]


def test_check_stores_nothing(tmp_path):
    path = write(tmp_path / "a.csv", TASK_COLUMNS, *phases("run-1", "gpt2"))
    assert document("import", "codecarbon", path, "--results", tmp_path / "results", "--check")["stored"] is None
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "codecarbon", "nowhere"],
        ["import", "codecarbon", "."],
        ["study", "tables", "--data", "nowhere"],
        ["study", "claims", "--data", "."],
        ["study", "compare", "nowhere"],
        ["study", "compare", "."],
    ],
)
def test_bad_input_is_one_sentence_and_a_hint(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert isinstance(result.exception, HarnessError)
    assert "\n" not in result.exception.message
    assert result.exception.hint
    assert result.stdout == ""


def test_tables_have_the_keys_that_others_read(data):
    found = document("study", "tables", "--data", data)
    task = found["table2"]["text-generation"]
    assert {
        *("mean_kwh", "sd_kwh", "median_kwh", "runs", "models"),
        *("published_mean_kwh", "published_sd_kwh", "agrees"),
    } <= set(task)
    assert (task["runs"], task["published_mean_kwh"], task["agrees"]) == (4, 0.047, False)
    assert set(found["totals"]) == {"rows", "runs", "energy_kwh", "gpu_energy_kwh", "emissions_kg"}
    assert {"mean_kwh", "mean_g_co2e", "runs"} <= set(found["table3"]["google/flan-t5-base"])
    assert found["intensity_g_per_kwh"] == 138.75


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("tables", "0.047"),
        ("models", "distilgpt2"),
        ("accounting", "9.9"),
        ("general-purpose", "flan-t5"),
        ("claims", "754.66"),
    ],
)
def test_every_table_prints_the_small_study(data, command, says):
    result = run("study", command, "--data", data)
    assert result.exit_code == 0, result.output
    assert says in result.stdout


def test_claims_on_a_study_without_the_models_say_that_they_were_not_run(data):
    claims = {claim["id"]: claim for claim in document("study", "claims", "--data", data)["claims"]}
    assert claims["sdxl-energy"]["verdict"] == "never-run"
    assert claims["grid-factor"]["verdict"] == "does-not-hold"


def test_imported_runs_are_compared_with_the_aggregate_that_ships(tmp_path):
    path = write(tmp_path / "a.csv", TASK_COLUMNS, *phases("run-1", "gpt2"))
    told = ["--task", "text-generation", "--generations", 1000]
    assert run("import", "codecarbon", path, "--results", tmp_path / "results", *told).exit_code == 0
    (row,) = document("study", "compare", tmp_path / "results")["runs"]
    node = next(side for side in row["sides"] if side["boundary"].startswith("node"))
    assert node["ours_kwh"] == pytest.approx(99_250 / 3.6e6)
    assert node["ratio"] == pytest.approx(node["ours_kwh"] / node["study_kwh"])
