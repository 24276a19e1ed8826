"""The conversion factors of harness/data/factors.csv: each with its edition, range, year and source.

No conversion constant lives anywhere else in the code; what is exact by definition is in harness.units.
"""

from __future__ import annotations

import csv
import difflib
import functools
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.errors import UserInputError
from harness.frozen import Frozen

ShortName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
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
    source: str = Field(min_length=1)
    url: str | None = None
    verified: Literal["primary", "secondary", "derived", "unverified"] = Field(
        description="value read in the primary source, read in a secondary one, "
        "computed from a sourced number, or from memory and never checked"
    )
    note: str | None = Field(None, description="boundary, and what disagrees with it")

    @field_validator("low", "high", "region", "year", "url", "note", mode="before")
    @classmethod
    def _empty_is_missing(cls, cell: Any) -> Any:
        return None if cell == "" else cell

    @model_validator(mode="after")
    def _range_holds_value(self) -> Factor:
        if (self.low is not None and self.low > self.value) or (self.high is not None and self.high < self.value):
            raise ValueError(f"{self.id}: {self.value} lies outside {self.low} to {self.high}")
        return self

    @property
    def value_text(self) -> str:
        """The value as tables show it: whole up to five significant digits, otherwise rounded to four."""
        whole = float(f"{self.value:.5g}") == self.value
        return f"{self.value if whole else float(f'{self.value:.4g}'):,.10g}"


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
        raise UserInputError(f"There is no kind of factor named {kind!r}.", f"Nearest: {_nearest(kind, kinds)}.")
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
            f"There is no {kind} factor named {edition!r}; the nearest are {_nearest(wanted, list(known))}.",
            "See all of them with: harness equivalents --list",
        )
    return known[wanted]


def _nearest(wanted: str, names: list[str]) -> str:
    return ", ".join(difflib.get_close_matches(wanted, names, n=_NAMES_OFFERED, cutoff=0.0))
