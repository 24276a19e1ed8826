"""What belongs to the place of a named grid: its own water where on record, a caveat where another's stands in.

PUE and water on site are of a building, not of a grid: they are named, or their range spans all editions.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.footprint.defaults import DEFAULTS
from harness.footprint.factors import Factor, editions, factor, spanning
from harness.footprint.grids import country_code, unnamed_grid
from harness.records import Caveat

_USA = "USA"
_NAMES = {"wue-offsite": "water in making electricity", "electricity-price": "electricity price"}


def own_water(grid: Factor) -> Factor | None:
    """Water in making the electricity of a grid's country, spanning its editions; None where none is on record.

    A state of the USA has none: its power stations are not the country's.
    """
    place = _country(grid)
    found = [each for each in editions("wue-offsite") if place is not None and each.region == place]
    return spanning(found[-1], place) if found else None


def stand_ins(choices: Mapping[str, Factor]) -> tuple[Caveat, ...]:
    """A caveat for water and for price, where a grid was named and a default that is not of its place stands in."""
    grid = choices["grid"]
    if unnamed_grid(grid):
        return ()
    place, found = grid.region, []
    for kind, what in _NAMES.items():
        used = choices[kind]
        if used != spanning(factor(kind, DEFAULTS[kind])):
            continue
        if kind == "electricity-price" and place is not None and place.split(", ")[-1] in (_USA, "United States"):
            continue
        whose = f"of {place} is on record" if place else "was named, and the place of the grid is not known"
        message = (
            f"No {what} {whose}: "
            f"{used.edition} stands in, its range that of all editions in {used.unit}, {used.range_text}."
        )
        found.append(Caveat(code=f"{kind}-stands-in", message=message))
    return tuple(found)


def _country(grid: Factor) -> str | None:
    """The country of a grid as the shipped factors call it; a state or a region of the USA is no country."""
    code = country_code(grid)
    if code is not None:
        return next((each.region for each in editions("grid") if country_code(each) == code), grid.region)
    parts = (grid.region or "").split(", ")
    return None if len(parts) > 1 and parts[-1] == _USA else parts[-1] or None
