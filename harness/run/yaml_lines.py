"""YAML with the line of every key, so that an error can say where it is."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import UserInputError

KeyPath = tuple[str | int, ...]
Lines = dict[KeyPath, int]


@dataclass(frozen=True)
class Where:
    """Finds the line of a key and words errors with it."""

    path: Path
    lines: Lines

    def line(self, key: KeyPath) -> int:
        """Of the key, or of the nearest above it that is written."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def error(self, key: KeyPath, message: str, hint: str = "") -> UserInputError:
        """What is wrong at a key; the message lacks its full stop."""
        return UserInputError(f"{self.path}:{self.line(key)}: {message}.", hint)

    def unknown(self, key: KeyPath, valid: Sequence[str]) -> UserInputError:
        """A key that is none of the valid ones."""
        near = difflib.get_close_matches(str(key[-1]), valid, n=1, cutoff=0.5)
        hint = f"Did you mean '{near[0]}'?" if near else f"Valid keys here: {', '.join(valid)}."
        return self.error(key, f"unknown key '{key[-1]}'", hint)


def read_yaml(path: Path) -> tuple[Any, Lines]:
    """A file's content, and the line of every key in it.

    Raises:
        UserInputError: With file and line: no such file, not YAML, a key given twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.y*ml")], n=1)
        hint = f"Did you mean {path.parent / near[0]}?" if near else "The shipped ones are under configs/."
        raise UserInputError(f"There is no config {path}.", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserInputError(f"Cannot read {path}: {error}.", "A config is a UTF-8 text file in YAML.") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        raise UserInputError(f"{path}: nested too deeply.", "A config has no more than a handful of levels.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserInputError(
            f"{path}:{line}: not valid YAML: {error.problem}.", "Check indentation and quotes."
        ) from error
    except yaml.YAMLError as error:
        raise UserInputError(f"{path}: not valid YAML: {error}.", "Check for stray control characters.") from error
    lines: Lines = {}
    if node is None:
        return None, lines
    _note_lines(path, node, (), lines, frozenset())
    try:
        return yaml.safe_load(text), lines
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise UserInputError(f"{path}: not valid YAML: {error}.", "Only plain YAML values are accepted.") from error


def _note_lines(path: Path, node: yaml.Node, key: KeyPath, lines: Lines, above: frozenset[int]) -> None:
    """Remember the line of every key. A key given twice would silently win or lose: refuse it."""
    if id(node) in above:
        raise UserInputError(f"{path}:{node.start_mark.line + 1}: an alias refers to itself.", "Remove the alias.")
    above = above | {id(node)}
    lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value in node.value:
            name = str(key_node.value)
            if name in seen and name != "<<":
                line = key_node.start_mark.line + 1
                raise UserInputError(f"{path}:{line}: the key '{name}' is given twice.", "Keep one of them.")
            seen.add(name)
            lines[(*key, name)] = key_node.start_mark.line + 1
            _note_lines(path, value, (*key, name), lines, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(path, value, (*key, index), lines, above)
