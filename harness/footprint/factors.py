"""The conversion factors of harness/data/factors.csv: each with its edition, range, year, scope and source.

No conversion constant lives anywhere else in the code; what is exact by definition is in harness.units.
One loader (`load_factors`) and one lookup (`factor`; `chosen` also takes a number that the user states).
"""

from __future__ import annotations

import csv
import difflib
import functools
import math
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.errors import UserInputError
from harness.frozen import Frozen

ShortName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
End = Literal["low", "high"]
Reach = Literal["device", "node", "facility", "life cycle"]
MOST_G_PER_KWH = 2_000  # above every grid on record
_NAMES_OFFERED = 3


class Factor(Frozen):
    """One conversion factor. `kind` and `edition` together name it, as a user types them."""

    id: ShortName
    kind: ShortName
    edition: ShortName
    value: float = Field(description="in `unit`")
    low: float | None = Field(None, description="end of the range in `unit`; None where no range is known")
    high: float | None = None
    unit: str = Field(min_length=1)
    region: str | None = None
    year: str | None = Field(None, description="the year or span it describes, as the source words it")
    scope: str = Field(min_length=1, description="what the value covers, and what it leaves out")
    source: str = Field(min_length=1)
    url: str | None = None
    verified: Literal["primary", "secondary", "derived", "unverified", "claimed", "given"] = Field(
        description="value read in the primary source, read in a secondary one, computed from a sourced number, "
        "from memory and never checked, claimed in the press without a source, or given by the user (never in the data)"
    )
    unverified_ends: tuple[End, ...] = Field((), description="ends of the range that are from memory, value or not")
    boundary: Reach | None = Field(None, description="of a training: what its energy or CO2e is of; with PUE: facility")
    low_boundary: Reach | None = Field(None, description="of the low end, where it is narrower than that of the value")
    note: str | None = Field(None, description="boundary, and what disagrees with it")

    @field_validator("low", "high", "region", "year", "url", "boundary", "low_boundary", "note", mode="before")
    @classmethod
    def _empty_is_missing(cls, cell: Any) -> Any:
        return None if cell == "" else cell

    @field_validator("unverified_ends", mode="before")
    @classmethod
    def _ends_are_words(cls, cell: Any) -> Any:
        return tuple(cell.split()) if isinstance(cell, str) else cell

    @model_validator(mode="after")
    def _range_holds_value(self) -> Factor:
        if (self.low is not None and self.low > self.value) or (self.high is not None and self.high < self.value):
            raise ValueError(f"{self.id}: {self.value} lies outside {self.low} to {self.high}")
        if any(getattr(self, end) is None for end in self.unverified_ends):
            raise ValueError(f"{self.id}: an end that is not there cannot be unverified")
        return self

    @property
    def name(self) -> str:
        """Kind and edition, as a user types them."""
        return f"{self.kind} {self.edition}"

    @property
    def checked_text(self) -> str:
        """How value and range are known, as it stands beside the source wherever the factor is shown."""
        known = {
            "primary": "read in the source",
            "secondary": "read in a secondary source",
            "derived": "derived from the source",
            "unverified": "unverified, from memory",
            "claimed": "claimed in the press, no source",
            "given": "given by you",
        }[self.verified]
        return (
            known
            if self.verified in ("unverified", "claimed") or not self.doubt_text
            else f"{known}, {self.doubt_text}"
        )

    @property
    def doubt_text(self) -> str | None:
        """What of it is from memory, value and range told apart, or only claimed; None where nothing is."""
        if self.verified == "claimed":
            return "claimed, no source"
        if self.verified == "unverified":
            return "unverified"
        if not self.unverified_ends:
            return None
        return "range unverified" if len(self.unverified_ends) == 2 else f"{self.unverified_ends[0]} end unverified"

    @property
    def value_text(self) -> str:
        """The value as tables show it: whole up to five significant digits, otherwise rounded to four."""
        return _number_text(self.value)

    @property
    def range_text(self) -> str:
        """Low to high as the source has them, what is from memory marked; empty where no range is known."""
        if self.low is None and self.high is None:
            return ""
        low, high = ("?" if end is None else _number_text(end) for end in (self.low, self.high))
        marks = {end: " unverified" if end in self.unverified_ends else "" for end in ("low", "high")}
        return f"{low}{marks['low']} to {high}{marks['high']}"


def _number_text(value: float) -> str:
    whole = float(f"{value:.5g}") == value
    return f"{value if whole else float(f'{value:.4g}'):,.10g}"


@functools.cache
def load_factors() -> tuple[Factor, ...]:
    """Every factor, in the order of the data file.

    Raises:
        ValueError: The file breaks its own rules (an error of ours, not of the user).
    """
    text = files("harness").joinpath("data", "factors.csv").read_text(encoding="utf-8")
    factors = tuple(Factor.model_validate(row) for row in csv.DictReader(text.splitlines()))
    if len({factor.id for factor in factors}) < len(factors):
        raise ValueError("factors.csv has an id twice")
    if len({(factor.kind, factor.edition) for factor in factors}) < len(factors):
        raise ValueError("factors.csv has an edition twice within one kind")
    return factors


def editions(kind: str) -> tuple[Factor, ...]:
    """The factors of one kind, in the order of the data file.

    Raises:
        UserInputError: There is no such kind.
    """
    found = tuple(factor for factor in load_factors() if factor.kind == kind)
    if not found:
        kinds = list(dict.fromkeys(factor.kind for factor in load_factors()))
        raise UserInputError(f"There is no kind of factor named {kind!r}.", f"Nearest: {nearest(kind, kinds)}.")
    return found


def factor(kind: str, edition: str) -> Factor:
    """The factor of one kind and edition; capitals do not matter.

    Raises:
        UserInputError: There is no such kind, or no such edition of it; the nearest names are offered.
    """
    known = {candidate.edition: candidate for candidate in editions(kind)}
    wanted = edition.strip().lower()
    if wanted not in known:
        raise UserInputError(
            f"There is no {kind} factor named {edition!r}; the nearest are {nearest(wanted, list(known))}.",
            f"See all of them with: harness list factors --about {kind}",
        )
    return known[wanted]


def chosen(kind: str, text: str) -> Factor:
    """The factor that a user means: an edition by name, or a number in the unit of the kind's first edition.

    Raises:
        UserInputError: As `factor`, or a number that is negative or not finite.
    """
    value = as_number(text)
    return factor(kind, text) if value is None else given(kind, value, editions(kind)[0].unit)


def as_number(text: str) -> float | None:
    """The number that a text is, NaN and infinities included; None where it is none."""
    try:
        return float(text)
    except ValueError:
        return None


def given(kind: str, value: float, unit: str, region: str | None = None) -> Factor:
    """A number that the user states, as a factor: its source is the user, and it has no range.

    Raises:
        UserInputError: It is negative, not finite, a PUE or a node below 1 (over its GPUs), or an intensity above that
            of any grid.
    """
    if not math.isfinite(value):
        raise UserInputError(f"The {kind} must be a finite number, not {value}.")
    if value < 0:
        raise UserInputError(f"The {kind} must not be negative, but {value:g} is.")
    if kind == "pue" and value < 1:
        raise UserInputError(f"A PUE is at least 1 (facility energy over IT energy), but {value:g} is below.")
    if kind == "gpu-to-system" and value < 1:
        raise UserInputError(f"A node draws at least what its GPUs do, but {value:g} times is below 1.")
    if kind in ("grid", "grid-market"):
        check_intensity(value)
    return Factor(
        id=f"given-{kind}",
        kind=kind,
        edition="given",
        value=value,
        unit=unit,
        region=region,
        scope="as the user states it",
        source="given by the user",
        verified="given",
    )


def check_intensity(g_per_kwh: float) -> None:
    """Refuse more than any grid has.

    Raises:
        UserInputError: It exceeds MOST_G_PER_KWH.
    """
    if g_per_kwh > MOST_G_PER_KWH:
        raise UserInputError(
            f"No grid exceeds {MOST_G_PER_KWH:,} g CO2e/kWh, but {g_per_kwh:g} does.",
            "Give grams per kWh: 0.4 kg/kWh and 400 kg/MWh are 400.",
        )


def spanning(used: Factor, region: str | None = None) -> Factor:
    """The same factor with a range that spans every edition of its kind in its unit: for a place nobody named.

    With a region it spans those of the region, and is the factor itself where there is no other.
    """
    known = editions(used.kind)
    alike = [each for each in known if each.unit == used.unit and region in (None, each.region)]
    if len(alike) < 2:
        return used
    ends = [
        (value, each.edition, remembered)
        for each in alike
        for value, remembered in (
            (each.value, each.verified == "unverified"),
            (each.low, "low" in each.unverified_ends),
            (each.high, "high" in each.unverified_ends),
        )
        if value is not None
    ]
    low, high = min(ends, key=lambda end: (end[0], end[2])), max(ends, key=lambda end: (end[0], not end[2]))
    which = f" of {region}" if region else "" if {each.unit for each in known} == {used.unit} else f" in {used.unit}"
    note = f"{used.note or ''} The range spans all editions on record{which}, {low[1]} to {high[1]}: none was chosen."
    return used.model_copy(
        update={
            "low": low[0],
            "high": high[0],
            "unverified_ends": tuple(name for name, end in (("low", low), ("high", high)) if end[2]),
            "note": note.strip(),
        }
    )


def about(words: str) -> tuple[Factor, ...]:
    """The factors that are about something: by kind, edition, region or unit, else by scope, source or note.

    Raises:
        UserInputError: There are none; the nearest kinds are offered.
    """
    wanted = words.strip().lower()
    for fields in (("kind", "edition", "id", "region", "unit"), ("scope", "source", "note", "year")):
        found = tuple(
            each for each in load_factors() if any(wanted in (getattr(each, name) or "").lower() for name in fields)
        )
        if found and wanted:
            return found
    kinds = list(dict.fromkeys(each.kind for each in load_factors()))
    raise UserInputError(
        f"No factor is about {words!r}; the nearest kinds are {nearest(wanted, kinds)}.",
        "See all of them with: harness list factors",
    )


def nearest(wanted: str, names: list[str]) -> str:
    """The three names most like the one wanted, the best first."""
    return ", ".join(difflib.get_close_matches(wanted, names, n=_NAMES_OFFERED, cutoff=0.0))
