"""Saves an architecture preset, random weights and tokenizer, as a folder that any server loads.

`python -m harness.engines.saved_preset NAME TASK DTYPE SEED FOLDER`
"""

from __future__ import annotations

import sys
from typing import cast

from harness.engines.architectures import preset
from harness.engines.random_models import build_model
from harness.errors import HarnessError
from harness.specs import Task


def save(name: str, task: Task, dtype: str, seed: int, folder: str) -> None:
    """Build the preset on the CPU and write it.

    Raises:
        UserInputError: There is no such preset for the task.
    """
    chosen = preset(name, task)
    model, tokenizer, _ = build_model(
        chosen, chosen.form_for(task), dtype=dtype, device="cpu", attention="default", seed=seed
    )
    model.generation_config.eos_token_id = None  # noise says "end" at random: every answer is as long as asked for
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> int:
    """As a program."""
    name, task, dtype, seed, folder = sys.argv[1:]
    try:
        save(name, cast(Task, task), dtype, int(seed), folder)
    except HarnessError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
