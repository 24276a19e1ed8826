"""What an architecture preset is. The presets are tables of their own; `architectures` brings them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.specs import Task

Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Preset:
    """One architecture.

    `parts` maps the classes of a text model's configuration to their arguments, and the roles of an image pipeline's
    parts to their class and arguments.
    """

    name: str
    task: Task
    family: str
    parameter_count: int
    description: str
    parts: Mapping[str, Options] = field(repr=False, hash=False)
