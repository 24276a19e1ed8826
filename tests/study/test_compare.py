"""A user's runs beside the study: the same boundary has a ratio, another has a reason."""

from __future__ import annotations

from typing import Any

import pytest
from codecarbon_files import RUN_COLUMNS, TASK_COLUMNS, phases, row, write
from fakes import measurement_of, run_spec, source_energy_of, source_info

from harness.importers.codecarbon import read_codecarbon, records
from harness.measure.summary import summarize
from harness.records import Failure, RunRecord
from harness.specs import ModelSpec, PromptSpec, TextOptions
from harness.study.cells import Cell
from harness.study.compare import Compared, compare_import, compare_run
from harness.study.models import Reference

GPT2 = Reference(
    row="paper",
    model="gpt2",
    task="text-generation",
    kind="task-specific",
    family=None,
    parameters=124_439_808,
    runs=30,
    datasets=3,
    mean_kwh=0.029,
    sd_kwh=0.001,
    low_kwh=0.028,
    high_kwh=0.030,
    duration_s=90.0,
    gpus_kwh=0.0145,
    active_gpu_kwh=0.00725,
    above_idle_kwh=0.003,
    fair_share_kwh=0.008,
    carbon_g_co2e=4.0,
)


def record_of(model: str = "gpt2", boards: int = 1, failed: bool = False, **spec: Any) -> RunRecord:
    """Five windows of 29 J per generation gross, 24 J above idle, on one of some boards."""
    sources = tuple(source_info(id=f"GPU-{n}", runs_model=n == 0) for n in range(boards))
    windows = tuple(
        [measurement_of(*(source_energy_of(source_id=source.id) for source in sources))] * 5 if not failed else []
    )
    content: dict[str, Any] = {
        "run_id": "r",
        "campaign": "tests",
        "origin": "measured",
        "spec": run_spec(model=ModelSpec(id=model), **spec),
        "environment": None,
        "started_at_utc": "2025-01-01T00:00:00+00:00",
        "finished_at_utc": "2025-01-01T00:01:00+00:00",
        "status": "failed" if failed else "complete",
        "sources": sources,
        "measurements": windows,
        "summary": None if failed else summarize(windows, sources, "no meter", 0.02),
        "failure": Failure(kind="timeout", message="Too long.", phase="measure") if failed else None,
    }
    return RunRecord.model_validate(content)


def side(compared: Compared, boundary: str):
    return next(each for each in compared.sides if each.boundary.startswith(boundary))


def test_active_gpu_has_a_ratio_worked_by_hand():
    compared = compare_run(record_of(), [GPT2])
    # 29 J a generation are 29 / 3600 kWh a thousand, against 0.00725 kWh
    assert side(compared, "active").ratio == pytest.approx(29 / 3600 / 0.00725)
    assert side(compared, "above").ratio == pytest.approx(24 / 3600 / 0.003)
    assert compared.per_unit is not None
    assert compared.per_unit.study_j == pytest.approx(2.61)  # 26.1 J over ten tokens
    assert compared.per_unit.ratio == pytest.approx(2.9 / 2.61)


def test_other_boundaries_say_why_they_do_not_compare():
    compared = compare_run(record_of(), [GPT2])
    assert (side(compared, "all GPUs").ratio, side(compared, "all GPUs").why_not) == (
        None,
        "your machine has 1 GPU, the study's 8",
    )
    assert side(compared, "node").ratio is None
    assert "no meter" in str(side(compared, "node").why_not)


def test_eight_boards_compare_with_the_studys_eight():
    assert side(compare_run(record_of(boards=8), [GPT2]), "all GPUs").ratio == pytest.approx(8 * 29 / 3600 / 0.0145)


def test_other_lengths_compare_per_token_only():
    compared = compare_run(record_of(text=TextOptions(new_tokens=20)), [GPT2])
    assert side(compared, "active").ratio is None
    assert "20 tokens" in str(side(compared, "active").why_not)
    assert compared.per_unit is not None
    assert compared.per_unit.ratio is not None


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (record_of("gpt2-xk"), "the study did not run gpt2-xk on text-generation; the nearest is gpt2"),
        (record_of(failed=True), "failed"),
    ],
)
def test_what_has_nothing_beside_it_says_so(record, says):
    compared = compare_run(record, [GPT2])
    assert compared.sides == ()
    assert says in str(compared.why_not)


def test_codecarbons_own_runs_compare_under_the_studys_accounting(tmp_path):
    reading = read_codecarbon([write(tmp_path / "a.csv", TASK_COLUMNS, *phases("run-1", "gpt2"))])
    (told,) = records(reading, "c", "text-generation", 500)
    compared = compare_import(told, [GPT2])
    # 99.25 kJ of the last phase over 500 generations
    assert side(compared, "node").ratio == pytest.approx(2 * 99_250 / 3.6e6 / 0.029)
    assert side(compared, "all GPUs").ratio == pytest.approx(2 * 52_000 / 3.6e6 / 0.0145)
    later = told.model_copy(update={"tool_version": "3.3.2"})
    assert "models memory otherwise" in str(side(compare_import(later, [GPT2]), "node").why_not)
    (untold,) = records(reading, "c")
    assert "--task" in str(compare_import(untold, [GPT2]).why_not)


# --- the study's own datasets, its own way of counting ---

WIKITEXT = Cell(
    model="gpt2",
    task="text-generation",
    dataset="wikitext",
    runs=10,
    duration_s=80.0,
    memory_s=80.0,
    node_kwh=0.024,
    sd_kwh=0.001,
    gpus_kwh=0.012,
    active_gpu_kwh=0.006,
    above_idle_kwh=0.0025,
)
OF_WIKITEXT = PromptSpec(kind="hub", dataset="wikitext", config="wikitext-103-raw-v1", split="test", column="text")


def test_a_run_on_one_of_the_studys_datasets_stands_beside_that_dataset():
    compared = compare_run(record_of(prompts=OF_WIKITEXT), [GPT2], [WIKITEXT])
    assert compared.dataset == "wikitext"
    assert side(compared, "active").ratio == pytest.approx(29 / 3600 / 0.006)
    assert side(compared, "above").ratio == pytest.approx(24 / 3600 / 0.0025)
    assert compared.per_unit is not None
    assert compared.per_unit.study_j == pytest.approx(0.006 * 3600 / 10)
    other = compare_run(record_of(), [GPT2], [WIKITEXT])
    assert (other.dataset, side(other, "active").study_kwh) == (None, GPT2.active_gpu_kwh)
    assert any("other inputs" in note for note in other.notes)
    assert not any("other inputs" in note for note in compared.notes)


def test_node_counted_as_the_study_did_compares_on_eight_gpus():
    record = record_of(boards=8, accounting="study-2023")
    duration_s = record.summary.duration_s
    # 8 x 29 J of GPUs, 42.5 W and 430.777 W assumed
    node_j = 8 * 29 + (42.5 + 430.777) * duration_s
    found = side(compare_run(record, [GPT2]), "node")
    assert found.ratio == pytest.approx(node_j / 3600 / GPT2.mean_kwh, rel=1e-5)
    one = side(compare_run(record_of(accounting="study-2023"), [GPT2]), "node")
    assert (one.ratio, one.why_not) == (None, "your machine has 1 GPU, the study's 8")


def test_a_whole_run_with_its_loading_is_not_the_query_phase(tmp_path):
    reading = read_codecarbon([write(tmp_path / "a.csv", RUN_COLUMNS, row(project_name="gpt2"))])
    (told,) = records(reading, "c", "text-generation", 1000)
    compared = compare_import(told, [GPT2])
    assert compared.sides == ()
    assert "loading of the model included" in str(compared.why_not)


def test_another_board_is_told():
    assert any("your GPU is Fake GPU, the study's A100" in note for note in compare_run(record_of(), [GPT2]).notes)
