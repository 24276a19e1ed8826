"""Whether what an article prints is what its source has, and whether either comes out when it is computed. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from harness.frozen import Frozen
from harness.study.formulas import compute
from harness.units import format_significant

Verdict = Literal["holds", "outdated", "inconsistent", "garbled", "unsupported"]
Relation = Literal["equals", "about", "at-least", "order"]
Kind = Literal["quote", "own", "cause"]
Item = float | str


LOST = "lost"
_ABOUT = 0.05  # "about", "almost": within a twentieth
_ORDER = 0.5  # "several hundred million": within half a power of ten


class Recomputed(Frozen):
    """One of the stated numbers, computed."""

    value: float
    formula: str
    agrees: bool


def items(text: str) -> tuple[Item, ...]:
    """A cell of items parted by semicolons: numbers, formulas that look numbers up, or words.

    >>> items("2017; 5e1; XNUMX lost; lost")
    (2017.0, 50.0, 'XNUMX lost', 'lost')
    """
    return tuple(_item(part.strip()) for part in text.split(";") if part.strip())


def _item(text: str) -> Item:
    if text.startswith("["):
        return compute(text).value
    try:
        return float(text)
    except ValueError:
        return text


def _plain(item: Item) -> Item:
    """A word without its capitals, which tell nothing apart."""
    return item.casefold() if isinstance(item, str) else item


def same(stated: Item, found: Item, digit: float | None, relation: Relation) -> bool:
    """Whether a found item gives the stated one, to the last digit that was stated."""
    if isinstance(stated, str) or isinstance(found, str):
        return _plain(stated) == _plain(found)
    if relation == "order":
        return stated > 0 and found > 0 and abs(math.log10(found / stated)) <= _ORDER
    if relation == "at-least" and found >= stated:
        return True
    if relation == "about":
        return math.isclose(found, stated, rel_tol=_ABOUT)
    return abs(found - stated) <= (0.5 * digit * (1 + 1e-9) if digit else 1e-6 * abs(stated))


def all_same(stated: Sequence[Item], found: Sequence[Item], digits: Sequence[float | None], relation: Relation) -> bool:
    """Whether all items are the same, one by one."""
    return len(stated) == len(found) and all(
        same(mine, theirs, digit, relation) for mine, theirs, digit in zip(stated, found, digits, strict=True)
    )


def diagnose(stated: Sequence[Item], original: Sequence[Item]) -> str:
    """How the items of an article came to differ from those of its source.

    >>> diagnose((50.0, 1000.0, 2019.0), (2017.0, 50.0, 1000.0)), diagnose((3.0, 2030.0), (2030.0, 3.0))
    ('numbers moved by one place', 'the same numbers in other places')
    """
    stated, original = [_plain(each) for each in stated], [_plain(each) for each in original]
    if LOST not in stated and sorted(map(str, stated)) == sorted(map(str, original)):
        return "the same numbers in other places"
    pairs = [pair for pair in zip(stated, original, strict=False) if pair[0] != pair[1]]
    folds = {a / b for a, b in pairs if isinstance(a, float) and isinstance(b, float) and a and b}
    power = math.log10(abs(next(iter(folds)))) if len(folds) == 1 else 0.0
    if round(power) != 0 and abs(power - round(power)) < 1e-9 and all(isinstance(a, float) for a, _ in pairs):
        return f"off by a factor of {10 ** abs(round(power)):,}"
    left = [mine == theirs for mine, theirs in zip(stated[:-1], original[1:], strict=False)]
    right = [mine == theirs for mine, theirs in zip(stated[1:], original[:-1], strict=False)]
    if left and 2 * max(sum(left), sum(right)) >= len(left):
        return "numbers moved by one place"
    if LOST in stated:
        return "numbers were lost"
    kinds = {"words" if isinstance(mine, str) else "numbers" for mine, _ in pairs}
    return f"other {' and '.join(sorted(kinds))} than the source's"


def judge(
    kind: Kind,
    differs: str | None,
    is_earlier: bool,
    recomputed: Sequence[Recomputed | None],
    has_original: bool,
) -> Verdict:
    """The verdict from what was compared.

    Args:
        kind: Of the statement.
        differs: How it differs from its original; None where it does not, or there is none.
        is_earlier: It is what an earlier edition of the original had.
        recomputed: One per stated number.
        has_original: An original was found.
    """
    known = [each for each in recomputed if each is not None]
    disagrees = any(not each.agrees for each in known)
    if kind == "cause":
        return "unsupported" if disagrees or not known else "holds"
    if not has_original and not known:
        return "unsupported"
    if differs is not None:
        return "outdated" if is_earlier else "garbled"
    return "inconsistent" if disagrees else "holds"


def items_text(values: Sequence[Item]) -> str:
    """Items as people read them."""
    return "; ".join(each if isinstance(each, str) else number_text(each, 4) for each in values)


def number_text(value: float, digits: int) -> str:
    """A number without needless zeros, large ones in words.

    >>> number_text(2017.0, 4), number_text(1.92e8, 4), number_text(-0.57, 4), number_text(450000.0, 4)
    ('2017', '192 million', '-0.57', '450,000')
    """
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{value / size:.{digits}g} {word}"
    if value == round(value):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.0f}"
    text = format_significant(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
