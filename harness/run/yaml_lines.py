"""YAML with the line of every key, so that an error can say where it is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from harness.errors import UserInputError
from harness.reading import MOST_CONFIG_BYTES, read_limited_text
from harness.redaction import holds_secret

KeyPath = tuple[str | int, ...]
Lines = dict[KeyPath, int]

MOST_WRITTEN = 50_000  # keys, values and aliases; a campaign of 1,000 runs that is written out has 20,000
MOST_NODES = 100_000  # each as often as aliases repeat it
DEEPEST = 40
LONGEST_NUMBER = 100  # characters; whole numbers and times of a megabyte take minutes to convert
_NUMBERS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp")}

_WHOLE_OR_FRACTION = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_OCTAL = re.compile(r"[-+]?0[0-9_]+")


@dataclass(frozen=True)
class Where:
    """Finds the line of a key and words errors with it."""

    path: Path
    lines: Lines
    allow_outside: bool = False

    def refuse_outside(self, key: KeyPath, path: Path) -> None:
        """A config from elsewhere must not choose what of this machine is read, hashed and told: that is its folder's.

        Raises:
            UserInputError: The path, links followed, leads out of the config's folder.
        """
        try:
            inside = path.resolve().is_relative_to(self.path.parent.resolve())
        except (OSError, RuntimeError, ValueError):  # a ring of links, or no path
            inside = False
        if not inside and not self.allow_outside:
            raise self.error(
                key,
                f"{path} is not in the config's folder",
                f"Move it there; or, if you trust this config: harness run {quote(str(self.path))} --allow-outside",
            )

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
        text = read_limited_text(path, MOST_CONFIG_BYTES, pipes=True)
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.y*ml")], n=1)
        hint = f"Did you mean {path.parent / near[0]}?" if near else "The shipped ones are under configs/."
        raise UserInputError(f"There is no config {path}.", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserInputError(f"Cannot read {path}: {reason}.", "A config is a UTF-8 text file in YAML.") from error
    if holds_secret(text):
        raise _secret(path, next((n for n, each in enumerate(text.split("\n"), 1) if holds_secret(each)), 1))
    _refuse_long(text, path)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except RecursionError:
        raise _too_deep(path) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserInputError(
            f"{path}:{line}: not valid YAML: {error.problem}.", "Check indentation and quotes."
        ) from error
    except yaml.YAMLError as error:
        raise UserInputError(f"{path}: not valid YAML: {error}.", "Check for stray control characters.") from error
    if node is None:
        return None, {}
    reader = _Reader(path)
    reader.look_at(node, (), frozenset())
    reader.refuse_secrets()
    try:
        return loader.construct_document(node), reader.lines
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UserInputError(f"{path}: not valid YAML: {error}.", "Only plain YAML values are accepted.") from error


def _refuse_long(text: str, path: Path) -> None:
    """The reader that knows lines is slow; libyaml counts what is written within a second."""
    written = 0
    with suppress(yaml.YAMLError):  # the reader words it better
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            written += isinstance(event, yaml.NodeEvent)
            if written > MOST_WRITTEN:
                line = event.start_mark.line + 1 if event.start_mark is not None else 1
                told = f"{path}:{line}: keys, values and aliases up to here are more than {MOST_WRITTEN:,}."
                raise UserInputError(told, "Lists of values (seed: [1, 2]) make runs too. Or write several configs.")


def _secret(path: Path, line: int) -> UserInputError:
    return UserInputError(
        f"{path}:{line}: a text holds a key or a token.",
        "Configs are stored with results: let the program read it from its environment (server.api_key_env).",
    )


def _too_deep(path: Path) -> UserInputError:
    return UserInputError(f"{path}: nested too deeply.", "A config has no more than a handful of levels.")


class _Reader:
    """Walks a document as it is once aliases are replaced: notes the line of every key, refuses what is no config."""

    def __init__(self, path: Path) -> None:
        self.lines: Lines = {}
        self._path = path
        self._seen = 0
        self._texts: dict[int, yaml.Node] = {}  # each once, however many aliases repeat it

    def look_at(self, node: yaml.Node, key: KeyPath, above: frozenset[int]) -> None:
        """A node and all below it; its own line is that of its key."""
        if id(node) in above:
            raise self._error(node, "an alias refers to itself", "Remove the alias.")
        self._seen += 1
        if self._seen > MOST_NODES:  # a few aliases of aliases stand for billions of values
            hint = "Are there aliases of aliases? Write fewer, or several configs."
            raise UserInputError(f"{self._path} stands for more than {MOST_NODES:,} values.", hint)
        if len(key) > DEEPEST:
            raise _too_deep(self._path)
        above = above | {id(node)}
        self.lines.setdefault(key, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            self._look_at_keys(node, key, above)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self.look_at(value, (*key, index), above)
        else:
            self._look_at_text(node)

    def _look_at_keys(self, node: yaml.MappingNode, key: KeyPath, above: frozenset[int]) -> None:
        """A key given twice would silently win or lose."""
        seen: set[str] = set()
        for key_node, value in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key is a list or a mapping", "Keys are plain words.")
            self._look_at_text(key_node)
            name = key_node.value
            if name in seen and name != "<<":
                raise self._error(key_node, f"the key '{name}' is given twice", "Keep one of them.")
            seen.add(name)
            self.lines[(*key, name)] = key_node.start_mark.line + 1
            self.look_at(value, (*key, name), above)

    def refuse_secrets(self) -> None:
        """In what the texts say: written as "\\x68f_...", a token is not seen in the file."""
        if not holds_secret("\n".join(node.value for node in self._texts.values())):
            return
        for node in self._texts.values():
            if holds_secret(node.value):
                raise _secret(self._path, node.start_mark.line + 1)

    def _look_at_text(self, node: yaml.Node) -> None:
        if id(node) in self._texts:
            return
        text = node.value
        self._texts[id(node)] = node
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
            raise self._error(node, "a text holds a NUL or half a Unicode character", "Write the character itself.")
        if len(text) > LONGEST_NUMBER and node.tag in _NUMBERS:
            raise self._error(node, f"a number of {len(text):,} characters", f"{LONGEST_NUMBER} are more than enough.")

        if node.tag in _WHOLE_OR_FRACTION and (":" in text or _OCTAL.fullmatch(text)):
            told = f"{text} is a number in base {60 if ':' in text else 8} to YAML"
            raise self._error(node, told, "Write it in base ten, or in quotes if it is a text.")

    def _error(self, node: yaml.Node, message: str, hint: str) -> UserInputError:
        return UserInputError(f"{self._path}:{node.start_mark.line + 1}: {message}.", hint)
