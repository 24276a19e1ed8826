"""Every architecture that can be built here with random weights: nothing to download. Needs no torch.

What they are filled with, and why: random_models and random_pipelines. Presets called tiny-* answer on a laptop's CPU.
"""

from __future__ import annotations

import difflib

from harness.engines.preset import Preset
from harness.engines.presets_images import image_presets
from harness.engines.presets_public import PUBLIC
from harness.engines.presets_tiny import TINY
from harness.errors import UserInputError
from harness.specs import Task

_PRESETS = (*TINY, *image_presets(), *PUBLIC)


def presets() -> tuple[Preset, ...]:
    """All presets. Needs no torch."""
    return _PRESETS


def preset(name: str, task: Task) -> Preset:
    """The preset of that name.

    Raises:
        UserInputError: There is none, or it is for another task.
    """
    by_name = {known.name: known for known in _PRESETS}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=3, cutoff=0.4)
        fitting = [known.name for known in _PRESETS if task in known.tasks]
        raise UserInputError(
            f"There is no architecture preset '{name}'.",
            f"Did you mean {' or '.join(near)}?" if near else f"For {task} there are {', '.join(fitting)}.",
        )
    if task not in by_name[name].tasks:
        fitting = [known.name for known in _PRESETS if task in known.tasks]
        raise UserInputError(
            f"The preset '{name}' is for {', '.join(by_name[name].tasks)}, not for {task}.",
            f"Use one of {', '.join(fitting)}.",
        )
    return by_name[name]
