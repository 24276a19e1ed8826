"""Foreign text made visible: a terminal obeys control characters, and a reader believes text that is turned around."""

from __future__ import annotations

import re

# C0 without tab and line feed, DEL, C1; what reorders a line; what ends one for some programs and not for others.
_COMMANDS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""The text with every command to a terminal spelled out as JSON would: a JSON document keeps its meaning.

    >>> visible("\x1b[2Jgone")
    '\\u001b[2Jgone'
    """
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def blotted(text: str) -> str:
    """The same length, with a mark in the place of every such command: for text that is laid out already."""
    return _COMMANDS.sub("\N{REPLACEMENT CHARACTER}", text)
