"""The table of tasks, and what is refused before anything starts."""

from __future__ import annotations

from typing import get_args

import pytest
from fakes import run_spec

from harness.errors import UserInputError
from harness.specs import ModelSpec, RunSpec, Task
from harness.tasks.catalog import TASKS, can_run, refuse_unbuilt, task_info


def test_the_table_holds_every_task_in_the_order_of_the_type() -> None:
    assert tuple(TASKS) == get_args(Task)
    assert len(TASKS) == 10
    assert task_info("translation") is None


def test_what_has_no_engine_is_refused_together_and_by_name() -> None:
    fill = RunSpec(task="fill-mask", model=ModelSpec(id="bert-base-cased"), engine="transformers")
    find = RunSpec(task="object-detection", model=ModelSpec(id="hustvl/yolos-tiny"), engine="transformers")
    assert can_run(run_spec())
    assert not can_run(fill)
    refuse_unbuilt([run_spec()])
    with pytest.raises(
        UserInputError, match="no engine for fill-mask, object-detection yet: nothing was run"
    ) as caught:
        refuse_unbuilt([fill, run_spec(), find, fill])
    assert "--replay" in caught.value.hint
