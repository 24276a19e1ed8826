"""What an energy or a mass of CO2e amounts to: phone charges, car distance, CO2e, web searches. Pure.

A result keeps two doubts apart: `ranges` come from the factors (the amount taken as exact), `intervals`
from the amount's own measurement (the factors taken at their central value).
"""

from __future__ import annotations

import itertools
import math
from typing import Literal, NamedTuple

from pydantic import Field

from harness import units
from harness.errors import UserInputError
from harness.footprint.factors import Factor, factor
from harness.frozen import Frozen
from harness.records import Caveat

DEFAULT_PHONE = "epa-current"
DEFAULT_CAR = "epa-current"
DEFAULT_GRID = "world-2024"
WEB_SEARCH = "google-2009"

QUANTITIES = ("energy_kwh", "phone_charges", "car_km", "car_miles", "carbon_g_co2e", "web_searches")

# --- converting it ---------------------------------------------------------------------------------


class Span(Frozen):
    """Two ends, in the unit of the quantity they belong to."""

    low: float
    high: float


class Equivalents(Frozen):
    """One amount in six forms, with the factors that led there."""

    derived_from: Literal["energy", "mass"] = Field(
        description="what was given; from a mass, the energy and all that follows from it rest on the grid"
    )
    energy_kwh: float
    phone_charges: float
    car_km: float
    car_miles: float
    carbon_g_co2e: float
    web_searches: float
    ranges: dict[str, Span] = Field(
        description="per quantity, from the factors' ranges with the amount exact; no entry: no range known"
    )
    intervals: dict[str, Span] = Field(
        description="per quantity, from the amount's interval with central factors; empty without one"
    )
    factors: tuple[Factor, ...]
    caveats: tuple[Caveat, ...] = ()

    def factor(self, kind: str) -> Factor:
        """The factor of this kind that was used."""
        return next(used for used in self.factors if used.kind == kind)


class _Rates(NamedTuple):
    """One choice of factors, in the units of the formulas."""

    grid_g_per_kwh: float
    phone_kwh_per_charge: float
    car_g_per_mile: float
    search_kwh_per_search: float


def equivalents(
    energy_kwh: float | None = None,
    carbon_g_co2e: float | None = None,
    *,
    interval: tuple[float, float] | None = None,
    phone: str = DEFAULT_PHONE,
    car: str = DEFAULT_CAR,
    grid: str = DEFAULT_GRID,
) -> Equivalents:
    """Convert an energy or a mass of CO2e. The grid links the two, in either direction.

    Args:
        energy_kwh: The amount, if it is an energy.
        carbon_g_co2e: The amount, if it is a mass. Give exactly one of the two.
        interval: Low and high end of the amount as measured, in its own unit.
        phone, car, grid: Editions, as `harness equivalents --list` names them.

    Raises:
        UserInputError: Unknown edition, negative or non-finite amount, both or neither amount given, or an
            interval that does not hold the amount.
    """
    given: Literal["energy", "mass"] = "energy" if energy_kwh is not None else "mass"
    amount = energy_kwh if energy_kwh is not None else carbon_g_co2e
    if amount is None or (energy_kwh is not None and carbon_g_co2e is not None):
        raise UserInputError("Give either an energy or a mass of CO2e, not both and not neither.")
    _check_amount(amount, interval)

    used = (factor("grid", grid), factor("phone", phone), factor("car", car), factor("web-search", WEB_SEARCH))
    choices = [_rate_choices(each) for each in used]
    central = _convert(amount, given, _Rates(*(choice[0] for choice in choices)))
    # Every quantity rises or falls steadily with each factor, so its extremes lie at the corners.
    corners = [_convert(amount, given, _Rates(*corner)) for corner in itertools.product(*choices)]
    ends = [_convert(end, given, _Rates(*(choice[0] for choice in choices))) for end in interval or ()]
    if not all(math.isfinite(value) for result in (*corners, *ends) for value in result.values()):
        raise UserInputError(f"The amount {amount:g} is too large to compute with.")
    return Equivalents(
        derived_from=given,
        **central,
        ranges={name: span for name, span in _spans(corners).items() if span.low < span.high},
        intervals=_spans(ends) if ends else {},
        factors=used,
        caveats=_caveats(used),
    )


def _check_amount(amount: float, interval: tuple[float, float] | None) -> None:
    if not math.isfinite(amount):
        raise UserInputError(f"The amount must be a finite number, not {amount}.")
    if amount < 0:
        raise UserInputError(f"The amount must not be negative, but {amount:g} is.")
    if interval is not None and not -math.inf < interval[0] <= amount <= interval[1] < math.inf:
        raise UserInputError(f"The interval {interval[0]:g} to {interval[1]:g} does not hold {amount:g}.")


def _convert(amount: float, given: Literal["energy", "mass"], rates: _Rates) -> dict[str, float]:
    """The six quantities for one choice of factors."""
    if given == "energy":
        energy_kwh, carbon_g_co2e = amount, amount * rates.grid_g_per_kwh
    else:
        energy_kwh, carbon_g_co2e = amount / rates.grid_g_per_kwh, amount
    car_miles = carbon_g_co2e / rates.car_g_per_mile
    return {
        "energy_kwh": energy_kwh,
        "phone_charges": energy_kwh / rates.phone_kwh_per_charge,
        "car_km": car_miles * units.KM_PER_MILE,
        "car_miles": car_miles,
        "carbon_g_co2e": carbon_g_co2e,
        "web_searches": energy_kwh / rates.search_kwh_per_search,
    }


def _rate_choices(used: Factor) -> tuple[float, ...]:
    """Central, low and high value in the unit of the formulas; an end that is not known is left out."""
    scale = {
        "g CO2e/kWh": 1.0,
        "g CO2/kWh": 1.0,
        "kWh/charge": 1.0,
        "g CO2e/mile": 1.0,
        "g CO2/mile": 1.0,
        "g CO2e/km": units.KM_PER_MILE,
        "g CO2/km": units.KM_PER_MILE,
        "Wh/search": units.J_PER_WH / units.J_PER_KWH,
    }[used.unit]
    return tuple(end * scale for end in (used.value, used.low, used.high) if end is not None)


def _spans(results: list[dict[str, float]]) -> dict[str, Span]:
    return {
        name: Span(low=min(each[name] for each in results), high=max(each[name] for each in results))
        for name in QUANTITIES
    }


def _caveats(used: tuple[Factor, ...]) -> tuple[Caveat, ...]:
    found = []
    for each in used:
        named = f"{each.kind} {each.edition} ({each.value_text} {each.unit})"
        if each.verified == "unverified":
            found.append(Caveat(code="factor-unverified", message=f"{named} was not checked against its source."))
        if each.unit.startswith("g CO2/"):
            found.append(Caveat(code="co2-only", message=f"{named} counts CO2 and no other greenhouse gas."))
    return tuple(found)


# --- saying it -------------------------------------------------------------------------------------


def quantity_text(name: str, value: float) -> str:
    """A quantity as people read it, with a unit that fits its size: 0.000966 km of `car_km` is "0.966 m"."""
    if name == "energy_kwh":
        return units.format_si(value * units.J_PER_KWH / units.J_PER_WH, "Wh", digits=4)
    if name == "carbon_g_co2e":
        return units.format_si(value, "g", digits=4) + " CO2e"
    if name == "car_km":
        short = value < 1
        return f"{units.format_significant(value * 1000 if short else value)} {'m' if short else 'km'}"
    if name == "car_miles":
        return f"{units.format_significant(value)} miles"
    return units.format_significant(value, digits=4 if name == "phone_charges" else 3)


def span_text(name: str, span: Span) -> str:
    """A range as people read it, its unit said once where both ends share it: "21.3 to 22.4 km"."""
    low, high = quantity_text(name, span.low), quantity_text(name, span.high)
    low_number, _, low_unit = low.partition(" ")
    return f"{low_number if low_unit == high.partition(' ')[2] else low} to {high}"


def sentence(result: Equivalents) -> str:
    """What a person would say: the amount, then what it equals, each with the range of its factors."""

    def said(name: str, words: str) -> str:
        span = result.ranges.get(name)
        text = f"{quantity_text(name, getattr(result, name))}{words}"
        return text if span is None else f"{text} ({span_text(name, span)})"

    on_grid = f" on the grid {result.factor('grid').edition}"
    given, linked = "energy_kwh", "carbon_g_co2e"
    if result.derived_from == "mass":
        given, linked = linked, given
    return (
        f"{quantity_text(given, getattr(result, given))} = "
        f"{said(linked, on_grid)}, "
        f"{said('phone_charges', ' smartphone charges')}, {said('car_km', ' by car')}, "
        f"{said('web_searches', ' web searches')}."
    )
