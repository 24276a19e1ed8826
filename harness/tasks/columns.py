"""Which column of a table holds what a request needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserInputError


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that is read from a table.

    `key`: the config's key under `prompts` that names the column. `chosen`: what the config says there. `usual`: names
    that are taken for it where the config is silent, the first match first. `alone`: a table of one column needs none.
    """

    key: str
    chosen: str | None
    usual: tuple[str, ...]
    alone: bool = True


def choose_column(names: Sequence[str], wanted: Column, source: Path | str) -> str:
    """The column asked for; else the only one; else the first usual name among them.

    Raises:
        UserInputError: It is missing, or none can be told to be the one.
    """
    listed = ", ".join(names) or "none"
    if wanted.chosen is not None:
        if wanted.chosen in names:
            return wanted.chosen
        raise UserInputError(f"{source} has no column '{wanted.chosen}'.", f"Columns there: {listed}.")
    if len(names) == 1 and wanted.alone:
        return names[0]
    by_plain_name = {name.strip().lower(): name for name in reversed(names)}
    for usual in wanted.usual:
        if usual in by_plain_name:
            return by_plain_name[usual]
    raise UserInputError(
        f"Cannot tell which column of {source} holds the {_CONTENTS[wanted.key]}.",
        f"Set '{wanted.key}' to one of: {listed}.",
    )


_CONTENTS = {"column": "prompts", "context_column": "texts in which answers are to be found"}
