"""What five press articles claim, recomputed: stated value, what the original source has, what comes out, a verdict.

The statements, their sources and the arithmetic are data (harness/data/press_claims.csv); verdicts are computed:

    garbled       the article does not repeat what its source says: numbers or names moved, swapped, lost or inverted
    outdated      it repeats an earlier edition of its source; the present one says otherwise
    inconsistent  it repeats its source, or gives a number of its own, and recomputing gives another
    unsupported   no source was found and nothing on record lets it be computed, or a cause that cannot carry the effect
    holds         none of these
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from harness.errors import UserInputError
from harness.footprint.factors import Factor, nearest
from harness.frozen import Frozen
from harness.study.catalog import read_data
from harness.study.formulas import Computed, compute
from harness.units import format_significant

Verdict = Literal["holds", "outdated", "inconsistent", "garbled", "unsupported"]
Checked = Literal["primary", "secondary", "copy", "derived", "unverified", "none"]
Relation = Literal["equals", "about", "at-least", "order"]
Kind = Literal["quote", "own", "cause"]
Item = float | str

LOST = "lost"
_ABOUT = 0.05  # "about", "almost": within a twentieth
_ORDER = 0.5  # "several hundred million": within half a power of ten
_PLACEHOLDER = re.compile(r"\{([^}]*)\}")

CHECKED_TEXT: dict[Checked, str] = {
    "primary": "original read",
    "secondary": "original read where it is quoted",
    "copy": "original read only through another copy of the same news item",
    "derived": "follows from numbers on record",
    "unverified": "original from memory, unverified",
    "none": "no original found",
}
# Why a quotation holds where nothing could be recomputed: how far that was checked.
_HELD = {
    "primary": "As the source has it",
    "secondary": "As the source is quoted elsewhere",
    "copy": "As another copy of the same news item has it; the report itself was not opened",
    "derived": "Its numbers fit together",
    "unverified": "As remembered; no source was opened (unverified)",
}


class Article(Frozen):
    """One article, as it lies before us."""

    id: str
    language: str
    title: str = Field(description="in English; in brackets where the copy has none")
    published: str = Field(description="where and when, as far as the copy tells")


class Recomputed(Frozen):
    """One of the stated numbers, computed."""

    value: float
    formula: str
    agrees: bool


class PressClaim(Frozen):
    """One statement and what became of it."""

    id: str
    article: str
    lines: str = Field(description="of the article's text, from 1")
    kind: Kind = Field(description="quote: of a source; own: the article's own number; cause: why something happens")
    says: str
    stated: tuple[Item, ...] = Field(description="in the article's order; 'lost' where its text lost one")
    unit: str
    relation: Relation
    source: str | None = Field(description="the original")
    url: str | None
    original: tuple[Item, ...] = Field(description="the same, as the original has them")
    earlier: tuple[Item, ...] = Field(description="as an earlier edition of it had them")
    earlier_edition: str | None
    recomputed: tuple[Recomputed | None, ...] = Field(description="one per stated number; None where it cannot be")
    verdict: Verdict
    why: str
    checked: Checked
    factors: tuple[Factor, ...]


def articles() -> tuple[Article, ...]:
    """The five articles."""
    return tuple(Article.model_validate(row) for row in read_data("press_articles.csv"))


def press_claims(article: str | None = None) -> list[PressClaim]:
    """Every statement, or those of one article (its id or the beginning of it).

    Raises:
        UserInputError: There is no such article, or the beginning fits several.
    """
    wanted = None if article is None else _article(article).id
    return [_claim(row) for row in read_data("press_claims.csv") if wanted in (None, row["article"])]


def _article(name: str) -> Article:
    known = articles()
    found = [each for each in known if each.id.startswith(name.strip().lower())] if name.strip() else []
    if len(found) != 1:
        what = "fits several articles" if found else "is none of the articles"
        raise UserInputError(
            f"{name!r} {what}; the nearest are {nearest(name.lower(), [each.id for each in known])}.",
            "They are " + ", ".join(each.id for each in known) + ".",
        )
    return found[0]


def items(text: str) -> tuple[Item, ...]:
    """A cell of items parted by semicolons: numbers, formulas that look numbers up, or words.

    >>> items("2017; 5e1; XNUMX lost; lost")
    (2017.0, 50.0, 'xnumx lost', 'lost')
    """
    return tuple(_item(part.strip()) for part in text.split(";") if part.strip())


def _item(text: str) -> Item:
    if text.startswith("["):
        return compute(text).value
    try:
        return float(text)
    except ValueError:
        return text.lower()


def same(stated: Item, found: Item, digit: float | None, relation: Relation) -> bool:
    """Whether a found item gives the stated one, to the last digit that was stated."""
    if isinstance(stated, str) or isinstance(found, str):
        return stated == found
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
    words = any(isinstance(each, str) for pair in pairs for each in pair)
    return f"other {'words' if words else 'numbers'} than the source's"


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


def _claim(row: dict[str, str]) -> PressClaim:
    kind: Kind = next(each for each in ("quote", "own", "cause") if each == row["kind"])
    relation: Relation = next(each for each in ("equals", "about", "at-least", "order") if each == row["relation"])
    stated, original, earlier = items(row["stated"]), items(row["original"]), items(row["earlier"])
    digits = _digits(row["last_digit"], len(stated))
    used: list[Factor] = []
    recomputed = _recomputed(row["recompute"], stated, digits, relation, used)
    for cell in row["original"].split(";"):
        used += compute(cell).factors if cell.strip().startswith("[") else ()
    differs = diagnose(stated, original) if original and not all_same(stated, original, digits, relation) else None
    is_earlier = bool(earlier) and all_same(stated, earlier, digits, relation)
    verdict = judge(kind, differs, is_earlier, recomputed, bool(original))
    row = row | {
        name: _PLACEHOLDER.sub(lambda match: _filled(match[1], used), row[name])
        for name in ("aside", "earlier_edition")
    }
    return PressClaim(
        id=row["id"],
        article=row["article"],
        lines=row["lines"],
        kind=kind,
        says=row["says"],
        stated=stated,
        unit=row["unit"],
        relation=relation,
        source=row["source"] or None,
        url=row["url"] or None,
        original=original,
        earlier=earlier,
        earlier_edition=row["earlier_edition"] or None,
        recomputed=recomputed,
        verdict=verdict,
        why=_why(verdict, row, differs, stated, original, recomputed),
        checked=next(each for each in CHECKED_TEXT if each == row["checked"]),
        factors=tuple(dict.fromkeys(used)),
    )


def _digits(cell: str, count: int) -> list[float | None]:
    """Unit of the last stated digit per item; one for all where one is given, none where none is."""
    parts: list[float | None] = [float(part) if part.strip() else None for part in cell.split(";")]
    return parts if len(parts) == count else [parts[0]] * count


def _recomputed(
    cell: str, stated: Sequence[Item], digits: Sequence[float | None], relation: Relation, used: list[Factor]
) -> tuple[Recomputed | None, ...]:
    if not cell.strip():
        return (None,) * len(stated)
    formulas = cell.split(";")
    formulas += [""] * (len(stated) - len(formulas))
    found: list[Recomputed | None] = []
    for formula, item, digit in zip(formulas, stated, digits, strict=True):
        if not formula.strip():
            found.append(None)
            continue
        result: Computed = compute(formula)
        used += result.factors
        agrees = same(item, result.value, digit, relation)
        found.append(Recomputed(value=result.value, formula=formula.strip(), agrees=agrees))
    return tuple(found)


def _filled(formula: str, used: list[Factor]) -> str:
    """A number inside a remark, computed: {[a b] / 2}; three digits, or as many as are written behind a bar."""
    text, _, digits = formula.partition("|")
    result = compute(text)
    used += result.factors
    return number_text(result.value, int(digits) if digits else 3)


def _why(
    verdict: Verdict,
    row: dict[str, str],
    differs: str | None,
    stated: Sequence[Item],
    original: Sequence[Item],
    recomputed: Sequence[Recomputed | None],
) -> str:
    """One line: what decided, then the remark."""
    pairs = [
        (item, each) for item, each in zip(stated, recomputed, strict=True) if each is not None and not each.agrees
    ]
    off = [f"{number_text(each.value, 4)}, not {items_text([item])}" for item, each in pairs]
    known = [number_text(each.value, 4) for each in recomputed if each is not None]
    if verdict == "garbled":
        said = f"{(differs or '').capitalize()}; it has {items_text(original)}"
    elif verdict == "outdated":
        said = f"{row['earlier_edition']} had it; the present edition has {items_text(original)}"
    elif verdict == "inconsistent":
        said = f"Recomputed it is {'; '.join(off)}"
    elif verdict == "unsupported":
        said = f"What is on record gives {'; '.join(off)}" if off else "No source was found that says it"
    else:
        said = f"Recomputed: {', '.join(known)}" if known else _HELD[row["checked"]]
    return f"{said}. {row['aside']}".strip().rstrip(".") + "."


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
