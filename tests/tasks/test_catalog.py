"""The table of tasks."""

from __future__ import annotations

from typing import get_args

from harness.engines.preset import FORMS
from harness.specs import Task
from harness.tasks.catalog import TASKS, task_info


def test_the_table_holds_every_task_in_the_order_of_the_type() -> None:
    assert tuple(TASKS) == get_args(Task)
    assert len(TASKS) == 10 + 1  # and calibration
    assert task_info("translation") is None


def test_every_task_of_transformers_has_a_form_that_does_it() -> None:
    assert {task for task, forms in FORMS.items() if forms} == {
        task for task, info in TASKS.items() if info.engine == "transformers"
    }


def test_a_task_that_general_models_do_by_prompt_says_what_they_are_asked() -> None:
    for task, info in TASKS.items():
        if (
            info.inputs in ("text", "question")
            and set(FORMS[task]) >= {"seq2seq", "causal"}
            and task != "text-generation"
        ):
            assert info.template is not None
            assert "{text}" in info.template
            assert ("{context}" in info.template) == (info.inputs == "question")
            assert info.new_tokens is not None
