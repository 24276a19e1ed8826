"""What is quoted from the study, recomputed: the reading the words mean, others that give the number, a verdict."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from harness.frozen import Frozen
from harness.study.catalog import read_data
from harness.study.readings import READINGS
from harness.study.runs import Study
from harness.units import format_significant

Verdict = Literal["holds", "holds-cut-off", "only-otherwise", "never-run", "does-not-hold"]


class ReadValue(Frozen):
    """One way to read a claim, and what the data gives for it. None: the data has no such runs."""

    reading: str
    words: str
    value: float | None
    agrees: Literal["rounded", "truncated", "no"]


class Claim(Frozen):
    """One quoted number with its arithmetic, what the data gives, and a verdict that follows from both."""

    id: str
    source: str
    says: str
    published: float
    unit: str
    relation: Literal["equals", "at-least"]
    arithmetic: str
    wording: str = Field(description="how the claim's wording is known")
    stated: ReadValue = Field(description="the reading that the words mean")
    others: tuple[ReadValue, ...]
    beside: ReadValue | None = Field(description="always said with the verdict: at the factor that the study states")
    verdict: Verdict
    verdict_text: str


def study_claims(study: Study) -> list[Claim]:
    """Every claim of harness/data/study_claims.csv against the data."""
    return [_claim(row, study) for row in read_data("study_claims.csv")]


def judge(stated: ReadValue, others: tuple[ReadValue, ...], beside: ReadValue | None = None) -> tuple[Verdict, str]:
    """The verdict, and its words, from what the readings give."""
    verdict, words = _judged(stated, others)
    if beside is not None and beside.value is not None:
        words = f"{words[:-1]}; {beside.words}: {_text(beside)}."
    return verdict, words


def _judged(stated: ReadValue, others: tuple[ReadValue, ...]) -> tuple[Verdict, str]:
    if stated.value is not None and stated.agrees == "rounded":
        return "holds", "The data gives it."
    if stated.value is not None and stated.agrees == "truncated":
        return "holds-cut-off", "The data gives it, cut off instead of rounded."
    found = [other for other in others if other.value is not None and other.agrees != "no"]
    gives = f"The data gives {_text(stated)}" if stated.value is not None else f"No run of {stated.words} exists"
    if found:
        verdict: Verdict = "only-otherwise" if stated.value is not None else "never-run"
        told = [
            f"{other.words} ({_text(other)}{', cut off' if other.agrees == 'truncated' else ''})" for other in found
        ]
        return verdict, f"{gives}; the number is that of: {', or of: '.join(told)}."
    if stated.value is None:
        return "never-run", f"{gives}, and no other reading gives the number."
    more = f"; {others[0].words}: {_text(others[0])}" if others and others[0].value is not None else ""
    return "does-not-hold", f"{gives}{more}."


def _claim(row: dict[str, str], study: Study) -> Claim:
    published, unit = float(row["published"]), float(row["unit_of_last_digit"])
    relation: Literal["equals", "at-least"] = "at-least" if row["relation"] == "at-least" else "equals"

    def read(name: str) -> ReadValue:
        words, compute = READINGS[name]
        value = compute(study)
        agrees = _agreement(value, published, unit, relation)
        return ReadValue(reading=name, words=words, value=value, agrees=agrees)

    stated = read(row["stated"])
    others = tuple(read(name) for name in row["others"].split(";") if name)
    beside = read(row["beside"]) if row["beside"] else None
    verdict, words = judge(stated, others, beside)
    return Claim(
        id=row["id"],
        source=row["source"],
        says=row["says"],
        published=published,
        unit=row["unit"],
        relation=relation,
        arithmetic=row["arithmetic"],
        wording=row["wording"],
        stated=stated,
        others=others,
        beside=beside,
        verdict=verdict,
        verdict_text=words,
    )


def _agreement(
    value: float | None, published: float, unit: float, relation: str
) -> Literal["rounded", "truncated", "no"]:
    """How a value leads to the quoted number: rounded to its last digit, cut off there, or not at all."""
    if value is None:
        return "no"
    if relation == "at-least":
        return "rounded" if value >= published else "no"
    if abs(value - published) <= 0.5 * unit * (1 + 1e-9):
        return "rounded"
    return "truncated" if math.floor(value / unit + 1e-9) == round(published / unit) else "no"


def _text(reading: ReadValue) -> str:
    if reading.value is None:
        return "nothing"
    whole = reading.value == round(reading.value) or abs(reading.value) >= 1e6
    return f"{reading.value:,.0f}" if whole else format_significant(reading.value, 4)
