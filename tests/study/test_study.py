"""A study of eight hand-made runs: what is found in its files, and its accounting worked out by hand."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from codecarbon_files import RUN_COLUMNS, TASK_COLUMNS, phases, row, small_study, write

from harness.errors import UserInputError
from harness.importers.codecarbon_table import find_files
from harness.study.accounting import (
    account,
    active_gpu_kwh,
    idle_w,
    ram_power_v3_w,
    shares,
    study_accounting,
)
from harness.study.catalog import TASKS, Published, file_meaning, study_models
from harness.study.general import fit_slope, general_purpose, read_lengths
from harness.study.models import model_figures, reference
from harness.study.runs import load_study
from harness.units import J_PER_KWH


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def study(folder):
    return load_study(folder)


# --- the catalog ---


def test_the_catalog_holds_eight_models_for_each_of_ten_tasks_and_eight_for_all():
    paper = [entry for entry in study_models() if entry.in_paper]
    assert len(paper) == 88
    assert [sum(entry.task == task for entry in paper) for task in TASKS] == [8] * 10
    assert sum(entry.kind == "multi-purpose" for entry in paper) == 8
    assert all(entry.parameters for entry in paper)


def test_the_aggregate_that_ships_has_the_88_and_their_boundaries_in_order():
    paper = [entry for entry in reference() if entry.row == "paper"]
    assert len(paper) == 88
    assert all(0 < each.above_idle_kwh < each.active_gpu_kwh < each.fair_share_kwh < each.gpus_kwh for each in paper)
    assert all(each.low_kwh < each.mean_kwh < each.high_kwh for each in paper)


@pytest.mark.parametrize(
    ("stem", "meaning"),
    [
        ("textgen_oscar", ("text-generation", "oscar", False, False)),
        ("qa_squadv2", ("question-answering", "squad2", False, False)),
        ("summarize_cnn_15", ("summarization", "cnn", False, False)),
        ("itt_visualgenome_resized", ("image-to-text", "visualgenome", False, True)),
        ("zeroshot_sentiment_sst2_bloomz", ("text-classification", "sst2", True, False)),
        ("emissions", None),
    ],
)
def test_a_file_name_tells_task_and_dataset(stem, meaning):
    assert file_meaning(stem) == meaning


def test_a_printed_number_is_met_by_rounding_or_by_cutting_off():
    printed = Published(table="2", item="object-detection", quantity="sd_kwh", text="0.02")
    assert (printed.agrees(0.0249), printed.agrees(0.0251)) == (True, False)
    assert (printed.truncates(0.0269), printed.truncates(0.031)) == (True, False)


# --- finding and refusing ---


def test_runs_are_joined_to_task_and_dataset_and_the_query_phase_is_taken(study):
    assert len(study.runs) == 8
    assert [run.model for run in study.paper_runs("text-generation")] == ["gpt2", "gpt2", "distilgpt2", "distilgpt2"]
    run = study.paper_runs("text-generation")[0]
    assert (run.task, run.dataset, run.prompted, run.gpu_count) == ("text-generation", "oscar", False, 8)
    assert run.node_kwh * J_PER_KWH == pytest.approx(99_250)
    assert run.all_phases_kwh * J_PER_KWH == pytest.approx(99_250 + 9_575)  # and 957.5 W for 10 s
    assert len(study.prompted_runs("google/flan-t5-base", "question-answering")) == 2


def test_totals_count_every_row_of_base(study):
    totals = study.totals
    assert (totals.rows, totals.runs, totals.intensity_g_per_kwh) == (16, 8, 138.75)
    # six runs of 100 s, two of 400 s, eight loads of 10 s at 957.5 W
    assert totals.energy_kwh * J_PER_KWH == pytest.approx(14 * 99_250 + 8 * 9_575)


def test_the_layout_of_the_repository_and_foreign_files_beside_it_do_no_harm(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "clone/data")
    (tmp_path / "clone/eval").mkdir()
    (tmp_path / "clone/eval/performance.csv").write_text("model,task,type\na,b,c\n")
    assert len(load_study(tmp_path / "clone").runs) == 8


def break_missing_query(root):
    write(root / "emissions/base/emissions_base_run-1.csv", TASK_COLUMNS, phases("run-1", "gpt2")[0])


def break_missing_base(root):
    (root / "emissions/base/emissions_base_run-1.csv").unlink()


def break_columns(root):
    path = root / "emissions/base/emissions_base_run-1.csv"
    path.write_text(path.read_text().replace("gpu_energy", "gpu_joules"))


def break_cut(root):
    path = root / "emissions/complete/textgen_oscar.csv"
    path.write_text(path.read_text()[:-60])


def break_name(root):
    (root / "emissions/complete/qa_squad.csv").rename(root / "emissions/complete/other.csv")


def break_other_tool(root):
    (root / "emissions/base/power.csv").write_text("time_s,watts\n0,1\n")


def break_no_complete(root):
    shutil.rmtree(root / "emissions/complete")


def break_twice(root):
    write(root / "emissions/complete/textgen_wikitext.csv", RUN_COLUMNS, row(110.0, run_id="run-1"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (break_missing_query, "no row 'query model'"),
        (break_missing_base, "missing in emissions/base"),
        (break_columns, "run-1.csv: has columns of no version"),
        (break_cut, "textgen_oscar.csv, line 5: has too few fields"),
        (break_name, "does not tell task and dataset"),
        (break_other_tool, "power.csv: is not a CodeCarbon file"),
        (break_no_complete, "none of emissions/complete"),
        (break_twice, "twice"),
    ],
)
def test_data_that_cannot_be_trusted_is_refused_in_one_sentence(folder, tmp_path, damage, says):
    root = tmp_path / "study"
    shutil.copytree(folder, root)
    damage(root)
    with pytest.raises(UserInputError, match=says) as error:
        load_study(root)
    assert "\n" not in error.value.message
    assert error.value.hint


# --- accounting ---


def test_five_boundaries_of_one_run_worked_by_hand(study):
    run = study.runs[0]
    assert idle_w(run) == pytest.approx(60)  # (485 W - 5 W) / 8
    accounted = account([run])
    joules = {name: getattr(accounted, f"{name}_kwh") * J_PER_KWH for name in ("node", "gpus", "active_gpu")}
    assert joules == pytest.approx({"node": 99_250, "gpus": 52_000, "active_gpu": 10_000})  # 520 W - 7 x 60 W
    assert accounted.above_idle_kwh * J_PER_KWH == pytest.approx(4_000)
    assert accounted.fair_share_kwh * J_PER_KWH == pytest.approx(10_000 + (4_250 + 43_000) / 8)
    assert accounted.node_over_active == pytest.approx(9.925)
    assert accounted.active_gpu_w == pytest.approx(100)
    # context 0 W and idle 0.5 W higher: 520 - 7 (60.625 + 0.5); context 10 W and 0.5 W lower: 520 - 7 (59.375 - 0.5)
    span = accounted.active_gpu_range_kwh
    assert span.low * J_PER_KWH == pytest.approx(100 * 92.125)
    assert span.high is not None
    assert span.high * J_PER_KWH == pytest.approx(100 * 107.875)


def test_parts_of_the_node_sum_to_one(study):
    parts = shares(study.runs)
    assert parts.active_gpu + parts.idle_gpus + parts.ram_assumed + parts.cpu_assumed == pytest.approx(1)
    assert parts.active_gpu == pytest.approx(10_000 / 99_250)


def test_context_is_taken_off_the_loading_phase(study):
    assert active_gpu_kwh(study.runs[0], context_w=13.0) * J_PER_KWH == pytest.approx(100 * (520 - 7 * 59))


@pytest.mark.parametrize(("memory_gb", "power_w"), [(1148.738, 42.0), (1007.49, 70.0), (503.5, 70.0)])
def test_memory_model_of_codecarbon_3(memory_gb, power_w):
    # 9 modules of 128 GB: 4 x 5 + 4 x 4.5 + 1 x 4; 16 of 64 GB: 4 x 5 + 4 x 4.5 + 8 x 4 (CodeCarbon 3.0.8 wrote 70 W)
    assert ram_power_v3_w(memory_gb) == pytest.approx(power_w)


def test_accounting_has_the_keys_that_others_read(study):
    task = study_accounting(study).model_dump()["tasks"]["text-generation"]
    keys = {"node_kwh", "gpus_kwh", "active_gpu_kwh", "above_idle_kwh", "fair_share_kwh", "node_over_active"}
    assert keys <= set(task)
    assert {model["model"] for model in task["models"]} == {"gpt2", "distilgpt2"}


def test_an_estimate_below_nothing_has_no_ratio_and_is_counted(study):
    odd = account([replace(study.runs[0], gpus_kwh=400 * 100 / J_PER_KWH)])  # 400 W: less than seven idle boards
    assert odd.node_over_active is None
    assert (odd.runs_below_idle, odd.active_gpu_kwh * J_PER_KWH) == (1, pytest.approx(-2_000))


# --- general purpose ---


def test_prompted_model_is_compared_with_those_made_for_the_task(study, folder):
    found = general_purpose(study, read_lengths(find_files([folder]))).tasks["question-answering"]
    assert found.task_specific.ratio_node is None
    family = found.families["flan-t5"]
    assert (family.ratio_node, family.ratio_duration) == (pytest.approx(4), pytest.approx(4))  # 400 s against 100 s
    assert family.output_words == pytest.approx(3)
    assert family.node_j_per_word == pytest.approx(4 * 99.25 / 3)


def test_slope_of_an_exact_power_is_found_without_doubt():
    slope = fit_slope([(x, 3 * x**0.5) for x in (1.0, 4.0, 9.0)])
    assert slope is not None
    assert (slope.slope, slope.standard_error) == (pytest.approx(0.5), pytest.approx(0, abs=1e-9))


def test_standard_error_of_a_slope_worked_by_hand():
    # logs (0, 0), (1, 2), (2, 1): slope 1/2, residuals -1/2, 1, -1/2, squares 1.5 over one degree and sxx 2
    from math import e

    slope = fit_slope([(1, 1), (e, e**2), (e**2, e)])
    assert slope is not None
    assert slope.slope == pytest.approx(0.5)
    assert slope.standard_error == pytest.approx((1.5 / 2) ** 0.5)


@pytest.mark.parametrize(
    "points", [[], [(1, 1), (2, 2)], [(2, 1), (2, 2), (2, 3)], [(None, 1), (1, 1), (-1, 1), (2, 0)]]
)
def test_no_slope_from_too_little(points):
    assert fit_slope(points) is None


# --- models ---


def test_models_come_with_scatter_and_datasets(study):
    figures = model_figures(study, "text-generation")
    assert {row.model for row in figures} == {"gpt2", "distilgpt2"}
    one = figures[0]
    assert (one.runs, one.row, one.parameters) == (2, "paper", 81_912_576 if one.model == "distilgpt2" else 124_439_808)
    assert one.energy_kwh.value * J_PER_KWH == pytest.approx(99_250)
    assert [each.dataset for each in one.datasets] == ["oscar"]


def test_unknown_task_names_the_known_ones(study):
    with pytest.raises(UserInputError, match="no task 'textgen'") as error:
        model_figures(study, "textgen")
    assert "text-generation" in error.value.hint
