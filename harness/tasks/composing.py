"""How the built-in inputs are composed: templates with {slots}, filled from hand-written parts by a seeded draw."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

INPUT_COUNT = 1000

Parts = Mapping[str, Sequence[str]]
T = TypeVar("T")

_SLOT = re.compile(r"\{(\w+)\}")


def compose_set(
    kinds: Sequence[Sequence[str]], parts: Parts, tables: Sequence[Sequence[Parts]], seed: int
) -> tuple[str, ...]:
    """INPUT_COUNT distinct prompts; the kinds take their turn one after the other."""
    rng = random.Random(seed)
    prompts: dict[str, None] = {}  # a set that keeps its order
    while len(prompts) < INPUT_COUNT:
        template = _pick(rng, kinds[len(prompts) % len(kinds)])
        bound = dict(parts)
        for table in tables:
            bound.update(_pick(rng, table))
        prompts[_fill(template, bound, rng)] = None
    return tuple(prompts)


def _fill(template: str, parts: Parts, rng: random.Random) -> str:
    """Put a part into every {slot}, and again into the slots of that part; a {Slot} starts with a capital.

    A slot that occurs twice gets two different parts, unless a table row has bound it to one.
    """
    used: set[str] = set()

    def part_for(slot: re.Match[str]) -> str:
        options = parts[slot[1].lower()]
        part = _pick(rng, [option for option in options if option not in used] or options)
        used.add(part)
        part = _SLOT.sub(part_for, part)
        return part[0].upper() + part[1:] if slot[1][0].isupper() else part

    return _SLOT.sub(part_for, template)


def _pick(rng: random.Random, options: Sequence[T]) -> T:
    # Only random() itself is promised to give the same numbers in every Python version; choice() is not.
    return options[int(rng.random() * len(options))]


def read_parts(text: str) -> dict[str, tuple[str, ...]]:
    """Read blocks `slot: part / part / part`, separated by empty lines."""
    blocks = (block.split(":", 1) for block in text.strip().split("\n\n"))
    return {name.strip(): tuple(" ".join(part.split()) for part in body.split("/")) for name, body in blocks}


def read_table(columns: str, text: str) -> tuple[Parts, ...]:
    """Read rows `cell / cell / cell`, whose cells belong together: one row binds all its slots."""
    rows = (line.split("/") for line in text.strip().splitlines())
    return tuple({name: (cell.strip(),) for name, cell in zip(columns.split(), row, strict=True)} for row in rows)
