"""configs/study: the 88 models, the thirty datasets, the study's protocol; and what of it cannot run yet."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from harness.run.config import load_plan
from harness.specs import ModelTask
from harness.study.catalog import study_models
from harness.study.cells import study_datasets

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "study"
PROMPTED = {"text-classification", "question-answering", "summarization"}


def test_there_is_a_config_for_each_task_and_no_other() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(get_args(ModelTask))


@pytest.mark.parametrize("task", get_args(ModelTask))
def test_a_config_holds_the_study_s_models_datasets_and_protocol(task: str) -> None:
    plan = load_plan(CONFIGS / f"{task}.yaml")
    assert plan.campaign == f"study-{task}"
    own = {entry.model for entry in study_models() if entry.in_paper and entry.task == task}
    prompted = {entry.model for entry in study_models() if entry.in_paper and entry.task is None}
    wanted = own | (prompted if task in PROMPTED else set())
    assert len(own) == len(prompted) == 8
    datasets = {
        (each.hub, each.config, each.split, each.column, each.max_words)
        for each in study_datasets()
        if each.task == task
    }
    assert len(datasets) == 3
    found = [
        (s.model.id, (s.prompts.dataset, s.prompts.config, s.prompts.split, s.prompts.column, s.prompts.max_words))
        for s in plan.specs
    ]
    assert len(found) == len(set(found)) == 3 * len(wanted)
    assert set(found) == {(model, dataset) for model in wanted for dataset in datasets}
    for spec in plan.specs:
        assert spec.task == task
        assert (spec.batch_size, spec.dtype, spec.accounting) == (1, "float32", "study-2023")
        assert (spec.prompts.kind, spec.prompts.count, spec.measure.requests_per_window) == ("hub", 1000, 1000)
        assert (spec.measure.min_repeats, spec.measure.max_repeats) == (10, 10)


def test_the_ten_configs_hold_88_models() -> None:
    models = {spec.model.id for path in CONFIGS.glob("*.yaml") for spec in load_plan(path).specs}
    assert len(models) == 88


def test_text_generation_asks_for_ten_tokens_after_twenty_words() -> None:
    specs = load_plan(CONFIGS / "text-generation.yaml").specs
    assert {(s.text.new_tokens, s.prompts.max_words) for s in specs if s.text} == {(10, 20)}
