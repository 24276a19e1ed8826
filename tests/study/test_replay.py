"""From a config's run to its replay, and from replayed runs to the study's tables."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserInputError
from harness.run.config import Plan, load_plan
from harness.specs import ModelSpec, PromptSpec, RunSpec, TextOptions
from harness.stats import Estimate
from harness.study.catalog import Published
from harness.study.cells import cells_csv, known_cells, study_cells, study_datasets
from harness.study.models import reference
from harness.study.replay import mean_of_nodes, printed_within, replay_plan, replay_spec
from harness.study.runs import load_study

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT.parent / "shared" / "data" / "study"


def spec_of(model: str = "gpt2-xl", dataset: str = "wikitext", **changes: Any) -> RunSpec:
    content: dict[str, Any] = {
        "task": "text-generation",
        "model": ModelSpec(id=model),
        "engine": "transformers",
        "dtype": "float32",
        "text": TextOptions(),
        "prompts": PromptSpec(kind="hub", dataset=dataset),
    }
    return RunSpec.model_validate(content | changes)


# --- one run ---


def test_a_replay_spends_the_study_s_energy() -> None:
    replayed = replay_spec(spec_of())
    cell = next(each for each in known_cells() if (each.model, each.dataset) == ("gpt2-xl", "wikitext"))
    replay, node = replayed.replay, replayed.sources.node
    assert replay is not None
    assert node is not None
    # 8 boards and the two constants, over 1,000 inferences, are what CodeCarbon wrote down
    gpus_j = 1000 * replay.duration_s * (replay.active_gpu_w + 7 * replay.idle_gpu_w)
    assert gpus_j == pytest.approx(cell.gpus_kwh * 3.6e6)
    memory_s = 1000 * (replay.duration_s - replay.memory_unmetered_s)
    node_j = gpus_j + 42.5 * 1000 * replay.duration_s + 430.77675 * memory_s
    assert node_j == pytest.approx(cell.node_kwh * 3.6e6, rel=1e-4)
    assert replay.node_energy_j == pytest.approx(cell.node_kwh * 3600)
    assert (node.gpu_count, node.clock, node.idle_w, node.steady) == (8, "virtual", replay.idle_gpu_w, True)
    assert (replayed.engine, replayed.accounting) == ("simulated", "study-2023")


def test_every_pair_s_recorded_energy_is_its_gpus_and_the_two_constants() -> None:
    for cell in known_cells():
        node_j = cell.gpus_kwh * 3.6e6 + 42.5 * cell.duration_s + 430.77675 * cell.memory_s
        assert node_j == pytest.approx(cell.node_kwh * 3.6e6, rel=3e-4), cell  # the CPU is charged for 0.02 s less


def test_each_pair_has_boards_of_its_own_and_a_run_id_of_its_own() -> None:
    specs = [spec_of(), spec_of("gpt2"), spec_of(dataset="oscar")]
    replays = [replay_spec(spec) for spec in specs]
    assert len({spec.sources.node.seed for spec in replays if spec.sources.node}) == 3
    assert len({spec.run_id for spec in [*specs, *replays]}) == 6
    assert replay_spec(specs[0]).run_id == replays[0].run_id


def test_a_model_whose_datasets_are_not_told_replays_its_mean_over_all() -> None:
    changes: dict[str, Any] = {"task": "token-classification", "text": None}
    replayed = replay_spec(spec_of("obi/deid_roberta_i2b2", "conll2003", **changes)).replay
    assert replayed is not None
    assert (replayed.dataset, replayed.runs) == (None, 30)


def test_a_replayed_plan_goes_to_a_folder_of_its_own() -> None:
    assert replay_plan(Plan("mine", (spec_of(),))).campaign == "mine-replay"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (spec_of("gpt2-xxl"), "did not run gpt2-xxl on text-generation"),
        (spec_of("hustvl/yolos-tiny"), "did not run hustvl/yolos-tiny on text-generation"),
        (spec_of(dataset="c4"), "did not run text-generation on c4"),
        (spec_of(prompts=PromptSpec()), "did not run text-generation on prompts of kind 'builtin'"),
        (spec_of(batch_size=8), "ran gpt2-xl with batch_size 1, not 8"),
        (spec_of(dtype="float16"), "ran gpt2-xl with dtype float32, not float16"),
        (spec_of(text=TextOptions(new_tokens=50)), "ran gpt2-xl with text.new_tokens 10, not 50"),
    ],
)
def test_what_the_study_did_not_run_is_not_replayed(spec: RunSpec, words: str) -> None:
    with pytest.raises(UserInputError, match=words) as caught:
        replay_spec(spec)
    assert "nothing to replay" in caught.value.message


def test_a_near_name_is_offered() -> None:
    with pytest.raises(UserInputError) as caught:
        replay_spec(spec_of("gpt2-xxl"))
    assert "Did you mean gpt2-xl?" in caught.value.hint


def test_all_ten_configs_can_be_replayed() -> None:
    count = sum(len(replay_plan(load_plan(path)).specs) for path in (ROOT / "configs" / "study").glob("*.yaml"))
    assert count == (10 * 8 + 3 * 8) * 3


# --- many runs ---


def estimate(value: float, half: float) -> Estimate:
    return Estimate(
        value=value, low=value - half, high=value + half, n=3, standard_uncertainty=half / 2, method="by hand"
    )


def test_independent_nodes_add_in_squares() -> None:
    # half-widths 3 and 4 make 5, over two nodes 2.5
    mean = mean_of_nodes([estimate(10.0, 3.0), estimate(20.0, 4.0)])
    assert (mean.value, mean.low, mean.high, mean.n) == (15.0, 12.5, 17.5, 2)
    assert mean.standard_uncertainty == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("value", "half", "agrees"),
    [
        (0.0264, 0.0001, True),
        (0.0269, 0.0001, True),
        (0.0272, 0.0001, False),
        (0.0253, 0.0001, False),
        (0.028, 0.001, True),
    ],
)
def test_a_printed_number_agrees_rounded_or_cut_off(value: float, half: float, agrees: bool) -> None:
    printed = Published(table="3", item="m", quantity="mean_kwh", text="0.026")
    assert printed_within(printed, estimate(value, half)) is agrees


# --- the aggregate that ships ---


def test_the_pairs_average_to_the_models() -> None:
    means: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
    for cell in known_cells():
        means[(cell.model, cell.task)].append((cell.runs, cell.node_kwh, cell.duration_s))
    rows = [row for row in reference() if row.task is not None and row.row in ("paper", "paper-by-task")]
    assert len(rows) == len(means) == 80 + 24
    for row in rows:
        cells = means[(row.model, row.task or "")]
        runs = sum(count for count, _, _ in cells)
        assert runs == row.runs == 30
        assert sum(count * kwh for count, kwh, _ in cells) / runs == pytest.approx(row.mean_kwh, rel=5e-5)
        assert sum(count * time_s for count, _, time_s in cells) / runs == pytest.approx(row.duration_s, rel=5e-5)


def test_every_dataset_of_the_pairs_is_known_by_its_hub_id() -> None:
    known = {(each.task, each.dataset) for each in study_datasets()}
    assert len(known) == 30
    assert {(cell.task, cell.dataset) for cell in known_cells() if cell.dataset} == known


@pytest.mark.skipif(not DATA.exists(), reason="the study's raw data is not beside this checkout (../shared)")
def test_the_raw_data_makes_the_shipped_pairs() -> None:
    shipped = (ROOT / "harness" / "data" / "study_cells.csv").read_text(encoding="utf-8")
    assert cells_csv(study_cells(load_study(DATA))) == shipped
