"""The ten tasks and calibration: what each is given, what a config may say of it, and which engine runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from harness.specs import CALIBRATION, Task

Section = Literal["text", "image"]
Inputs = Literal["text", "masked text", "question", "picture", "prompt", "nothing"]


@dataclass(frozen=True)
class TaskInfo:
    """What one task needs.

    `engine` runs it where a config names none. `inputs`: what a request holds. `section`: the part of a config with the
    task's own choices. `writes`: every model of the task answers in tokens, so the section is always there; else only
    a general model does, that is asked by a prompt. `new_tokens`: how many where a config is silent. `template`: what a
    general model is asked, as the study did (github sashavor/co2_inference); {text} and {context} are the request's.
    """

    engine: Literal["transformers", "diffusers", "calibration"]
    inputs: Inputs
    section: Section | None
    writes: bool = False
    new_tokens: int | None = None
    template: str | None = None


# Answers: one token for a sentiment, as the study gave BLOOMz; ten for an answer found in a text, and for a text
# that is  continued; 15 for a summary, the most the study allowed; 20 for a caption, the libraries' limit of 2023.
TASKS: dict[Task, TaskInfo] = {
    "text-classification": TaskInfo(
        "transformers", "text", "text", new_tokens=1,
        template="what is the binary sentiment of the following sentence? {text}",
    ),
    "question-answering": TaskInfo(
        "transformers", "question", "text", new_tokens=10,
        template='{text}? Find the answer to the question in the following text: "{context}". Answer:',
    ),
    "fill-mask": TaskInfo("transformers", "masked text", "text"),
    "token-classification": TaskInfo("transformers", "text", "text"),
    "image-classification": TaskInfo("transformers", "picture", None),
    "object-detection": TaskInfo("transformers", "picture", None),
    "text-generation": TaskInfo("transformers", "text", "text", writes=True, new_tokens=10),
    "summarization": TaskInfo(
        "transformers", "text", "text", writes=True, new_tokens=15, template="summarize the following text: {text}"
    ),
    "image-to-text": TaskInfo("transformers", "picture", "text", writes=True, new_tokens=20),
    "text-to-image": TaskInfo("diffusers", "prompt", "image", writes=True),
    CALIBRATION: TaskInfo("calibration", "nothing", None),
}  # fmt: skip
SECTIONS: tuple[Section, ...] = get_args(Section)


def task_info(task: object) -> TaskInfo | None:
    """What is known of a task; None for anything that is none."""
    return next((info for name, info in TASKS.items() if name == task), None)
