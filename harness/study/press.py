"""What five press articles claim, recomputed: stated value, what the original source has, what comes out, a verdict.

The statements, their sources and the arithmetic are data (harness/data/press_claims.csv); verdicts are computed:

    garbled       the article does not repeat what its source says: numbers or names moved, swapped, lost or inverted
    outdated      it repeats an earlier edition of its source; the present one says otherwise
    inconsistent  it repeats its source, or gives a number of its own, and recomputing gives another
    unsupported   no source was found and nothing on record lets it be computed, or a cause that cannot carry the effect
    holds         none of these

A verdict against an original that nobody opened, or of a number that rests on a factor from memory, is "(unverified)".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from harness.errors import UserInputError
from harness.footprint.factors import Factor, nearest
from harness.frozen import Frozen
from harness.study.catalog import read_data
from harness.study.formulas import Computed, compute
from harness.study.verdicts import (
    Item,
    Kind,
    Recomputed,
    Relation,
    Verdict,
    all_same,
    diagnose,
    items,
    items_text,
    judge,
    number_text,
    same,
)

Checked = Literal["primary", "secondary", "copy", "derived", "unverified", "none"]
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
_REMEMBERED = " What the source has is from memory, no source was opened: unverified."


class Article(Frozen):
    """One article, as it lies before us."""

    id: str
    language: str
    title: str = Field(description="in English; in brackets where the copy has none")
    published: str = Field(description="where and when, as far as the copy tells")


class SourceInput(Frozen):
    """A number of the source that no factor holds, named in a claim's arithmetic."""

    claim: str
    name: str
    value: float
    unit: str
    what: str
    source: str
    checked: Checked


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
    unverified: bool = Field(description="the verdict rests on memory: no original was opened, or a factor was not")
    why: str
    checked: Checked
    factors: tuple[Factor, ...]
    inputs: tuple[SourceInput, ...] = Field((), description="what the arithmetic names as [input CLAIM NAME]")

    @property
    def verdict_text(self) -> str:
        """The verdict as it is shown and counted: one that rests on memory is never counted with the others."""
        return f"{self.verdict} (unverified)" if self.unverified else self.verdict


def verdict_counts(claims: Sequence[PressClaim]) -> dict[str, int]:
    """How many claims have each verdict, the most common first; verdicts from memory apart."""
    return dict(Counter(claim.verdict_text for claim in claims).most_common())


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


def _claim(row: dict[str, str]) -> PressClaim:
    kind: Kind = next(each for each in ("quote", "own", "cause") if each == row["kind"])
    relation: Relation = next(each for each in ("equals", "about", "at-least", "order") if each == row["relation"])
    stated, original, earlier = items(row["stated"]), items(row["original"]), items(row["earlier"])
    digits = _digits(row["last_digit"], len(stated))
    used: list[Factor] = []
    recomputed = _recomputed(row["recompute"], stated, digits, relation, used)
    from_memory = row["checked"] == "unverified" or (
        not original and any(each.verified == "unverified" for each in used)
    )
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
        unverified=from_memory,
        why=_why(verdict, row, differs, stated, original, recomputed) + _from_memory(used),
        checked=next(each for each in CHECKED_TEXT if each == row["checked"]),
        factors=tuple(dict.fromkeys(used)),
        inputs=tuple(
            SourceInput.model_validate(each) for each in read_data("press_inputs.csv") if each["claim"] == row["id"]
        ),
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
    remembered = row["checked"] == "unverified" and verdict != "holds"
    return f"{said}. {row['aside']}".strip().rstrip(".") + "." + (_REMEMBERED if remembered else "")


def _from_memory(used: Sequence[Factor]) -> str:
    """Factors behind the arithmetic that were never checked."""
    names = dict.fromkeys(each.name for each in used if each.verified == "unverified")
    return f" Rests on {', '.join(names)}: unverified." if names else ""
