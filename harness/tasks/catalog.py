"""The ten tasks: what each needs in a config, and which engine runs it. The one table of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from harness.errors import UserInputError
from harness.specs import RunSpec, Task

Options = Literal["text", "image"]


@dataclass(frozen=True)
class TaskInfo:
    """What one task needs.

    `engine` is the one that a config need not name. `options`: the section of a config with the task's own choices.
    `built`: this version has the engine's part for it; a config of a task without it can be checked, not run.
    """

    engine: Literal["transformers", "diffusers"]
    options: Options | None
    built: bool


TASKS: dict[Task, TaskInfo] = {
    "text-classification": TaskInfo("transformers", None, built=False),
    "question-answering": TaskInfo("transformers", None, built=False),
    "fill-mask": TaskInfo("transformers", None, built=False),
    "token-classification": TaskInfo("transformers", None, built=False),
    "image-classification": TaskInfo("transformers", None, built=False),
    "object-detection": TaskInfo("transformers", None, built=False),
    "text-generation": TaskInfo("transformers", "text", built=True),
    "summarization": TaskInfo("transformers", None, built=False),
    "image-to-text": TaskInfo("transformers", None, built=False),
    "text-to-image": TaskInfo("diffusers", "image", built=True),
}
SECTIONS: tuple[Options, ...] = get_args(Options)


def task_info(task: object) -> TaskInfo | None:
    """What is known of a task; None for anything that is none."""
    return next((info for name, info in TASKS.items() if name == task), None)


def can_run(spec: RunSpec) -> bool:
    """Whether this version has an engine for it; a replay needs none."""
    return spec.replay is not None or TASKS[spec.task].built


def refuse_unbuilt(specs: Iterable[RunSpec]) -> None:
    """Stop before anything starts where a run has no engine.

    Raises:
        UserInputError: Naming the tasks.
    """
    lacking = list(dict.fromkeys(spec.task for spec in specs if not can_run(spec)))
    if lacking:
        built = ", ".join(name for name, info in TASKS.items() if info.built)
        raise UserInputError(
            f"This version has no engine for {', '.join(lacking)} yet: nothing was run.",
            f"It runs {built}. --dry-run checks the config; --replay replays the study's runs of it, simulated.",
        )
