"""What an energy or a mass of CO2e amounts to: phone charges, car distance, web searches, tree-years and more. Pure.

A result keeps two doubts apart: `ranges` come from the factors (the amount taken as exact), `intervals`
from the amount's own measurement (the factors taken at their central value).
"""

from __future__ import annotations

import functools
import math
from typing import Literal

from pydantic import Field

from harness import units
from harness.errors import UserInputError
from harness.footprint.defaults import DEFAULTS
from harness.footprint.factors import Factor, chosen
from harness.footprint.grids import default_grid, unnamed_grid
from harness.footprint.propagation import Input, Line, Step, evaluate, from_factor
from harness.frozen import Frozen
from harness.records import Caveat

# The kinds of factor that a conversion uses, in the order in which a result lists them.
KINDS = (
    "grid",
    "phone",
    "car",
    "web-search",
    "led-bulb",
    "kettle",
    "household",
    "streaming",
    "flight",
    "tree",
    "per-capita",
)

# Whose energy a quantity rests on: the amount itself, or with a PUE the IT equipment's or the whole facility's.
Boundary = Literal["as given", "IT", "facility"]

# What one of a factor's unit is in the units of the formulas below.
_SCALES = {
    "ratio": 1.0,
    "g CO2e/kWh": 1.0,
    "g CO2/kWh": 1.0,
    "kWh/charge": 1.0,
    "g CO2e/mile": 1.0,
    "g CO2/mile": 1.0,
    "g CO2e/km": units.KM_PER_MILE,
    "g CO2/km": units.KM_PER_MILE,
    "Wh/search": units.J_PER_WH / units.J_PER_KWH,
    "kWh/h": 1.0,
    "kWh/L": 1.0,
    "kWh/day": 1.0,
    "kg CO2e/pkm": units.G_PER_KG,
    "kg CO2/tree/10 yr": units.G_PER_KG / 10,
    "t CO2/yr": units.G_PER_T / units.DAYS_PER_YEAR,
    "t CO2e/yr": units.G_PER_T / units.DAYS_PER_YEAR,
}


def _of_energy(name: str, label: str, kind: str, unit: str) -> Step:
    return Step(name, label, unit, f"energy_kwh / {kind}", ("energy_kwh", kind), lambda energy, each: energy / each)


def _of_carbon(name: str, label: str, kind: str, unit: str) -> Step:
    return Step(name, label, unit, f"carbon_g_co2e / {kind}", ("carbon_g_co2e", kind), lambda mass, each: mass / each)


_STEPS = (
    _of_energy("phone_charges", "phone charges", "phone", "charges"),
    _of_carbon("car_miles", "car distance", "car", "miles"),
    Step(
        "car_km", "car distance", "km", "car_miles x 1.609344", ("car_miles",), lambda miles: miles * units.KM_PER_MILE
    ),
    _of_energy("web_searches", "web searches", "web-search", "searches"),
    _of_energy("led_bulb_hours", "LED bulb", "led-bulb", "h"),
    _of_energy("kettle_litres", "kettle", "kettle", "l"),
    _of_energy("household_days", "household", "household", "days"),
    _of_energy("streaming_hours", "video streaming", "streaming", "h"),
    _of_carbon("flight_passenger_km", "flight", "flight", "passenger-km"),
    _of_carbon("tree_years", "growth of a tree", "tree", "years"),
    _of_carbon("per_capita_days", "a person's emissions", "per-capita", "days"),
)
QUANTITIES = ("energy_kwh", "carbon_g_co2e", *(step.name for step in _STEPS))
# The kind of factor that turns energy or mass into each quantity; the grid stands behind those of the other side.
KIND_OF = {step.name: step.needs[-1] for step in _STEPS} | {
    "car_km": "car",
    "energy_kwh": "grid",
    "carbon_g_co2e": "grid",
}


_OF_CARBON = frozenset({"carbon_g_co2e", "car_km"} | {step.name for step in _STEPS if step.needs[0] == "carbon_g_co2e"})


class Span(Frozen):
    """Two ends, in the unit of the quantity they belong to."""

    low: float
    high: float


class Equivalents(Frozen):
    """One amount in many forms, with the factors that led there."""

    derived_from: Literal["energy", "mass"] = Field(
        description="what was given; from a mass, the energy and all that follows from it rest on the grid"
    )
    energy_kwh: float
    phone_charges: float
    car_km: float
    car_miles: float
    carbon_g_co2e: float
    web_searches: float
    led_bulb_hours: float
    kettle_litres: float = Field(description="water brought to the boil")
    household_days: float
    streaming_hours: float
    flight_passenger_km: float
    tree_years: float = Field(description="years of one tree's growth that take up the CO2")
    per_capita_days: float = Field(description="days of one person's emissions")
    ranges: dict[str, Span] = Field(
        description="per quantity, from the factors' ranges with the amount exact; no entry: no range known"
    )
    intervals: dict[str, Span] = Field(
        description="per quantity, from the amount's interval with central factors; empty without one"
    )
    unverified: dict[str, tuple[str, ...]] = Field(
        description="per quantity, factors behind it whose value or range is from memory; no entry: none is"
    )
    boundaries: dict[str, Boundary] = Field(
        {}, description="per quantity; with a PUE, CO2e and what follows from it are the facility's, the rest is IT's"
    )
    factors: tuple[Factor, ...]
    caveats: tuple[Caveat, ...] = ()

    def factor(self, kind: str) -> Factor:
        """The factor of this kind that was used."""
        return next(used for used in self.factors if used.kind == kind)

    def whole_span(self, name: str) -> Span | None:
        """Factors and measurement together: every quantity is proportional to the amount. None: nothing is known."""
        value, factors, measured = getattr(self, name), self.ranges.get(name), self.intervals.get(name)
        if factors is None or measured is None or value == 0:
            return factors or measured
        return Span(low=factors.low * measured.low / value, high=factors.high * measured.high / value)


def equivalents(
    energy_kwh: float | None = None,
    carbon_g_co2e: float | None = None,
    *,
    interval: tuple[float, float] | None = None,
    pue: Factor | None = None,
    **editions: str | Factor | None,
) -> Equivalents:
    """Convert an energy or a mass of CO2e. The grid links the two, in either direction.

    Args:
        energy_kwh: The amount, if it is an energy.
        carbon_g_co2e: The amount, if it is a mass. Give exactly one of the two.
        interval: Low and high end of the amount as measured, in its own unit.
        pue: The energy is of IT equipment, and CO2e and what follows from it are the facility's: x PUE.
        editions: By kind (grid, phone, car, household, flight, per_capita ...) the edition as `harness list factors`
            names it, a number in the unit of that kind, or a factor; None and the others: the default.

    Raises:
        UserInputError: Unknown edition, negative or non-finite amount, both or neither amount given, or an
            interval that does not hold the amount.
    """
    given: Literal["energy", "mass"] = "energy" if energy_kwh is not None else "mass"
    amount = energy_kwh if energy_kwh is not None else carbon_g_co2e
    if amount is None or (energy_kwh is not None and carbon_g_co2e is not None):
        raise UserInputError("Give either an energy or a mass of CO2e, not both and not neither.")
    _check_amount(amount, interval)
    named = {kind.replace("_", "-"): each for kind, each in editions.items() if each is not None}
    if pue is not None and given == "mass":
        raise UserInputError("A PUE turns the energy of IT equipment into its facility's; a mass of CO2e has none.")
    used = (*_factors(named, given), *([pue] if pue is not None else []))
    # Everything is proportional to the amount: the graph is computed once, for one kWh or gram.
    lines = _of_one(given, used)
    values = {name: line.value * amount for name, line in lines.items()}
    largest = max([amount, *(interval or ())]) * max(line.high for line in lines.values())
    if not math.isfinite(largest):
        raise UserInputError(f"The amount {amount:g} is too large to compute with.")
    ranges = {name: Span(low=line.low * amount, high=line.high * amount) for name, line in lines.items()}
    ends = {name: [line.value * end for end in interval or ()] for name, line in lines.items()}
    measured = {name: Span(low=low, high=high) for name, (low, high) in ends.items()} if interval else {}
    return Equivalents(
        derived_from=given,
        **values,
        ranges={name: span for name, span in ranges.items() if span.low < span.high},
        intervals=measured,
        unverified={name: line.unverified for name, line in lines.items() if line.unverified},
        boundaries={
            name: "as given" if pue is None else "facility" if name in _OF_CARBON else "IT" for name in QUANTITIES
        },
        factors=used,
        caveats=_caveats(used),
    )


def _factors(editions: dict[str, str | Factor], given: str) -> tuple[Factor, ...]:
    """The factors of every kind, those that the user names and the defaults.

    Raises:
        UserInputError: An edition that does not exist, or a factor by which nothing can be divided.
    """
    unknown = sorted(set(editions) - set(KINDS))
    if unknown:
        raise ValueError(f"{unknown[0]} is no kind of factor that equivalents use")
    named = {kind: editions.get(kind, default_grid() if kind == "grid" else DEFAULTS[kind]) for kind in KINDS}
    used = tuple(each if isinstance(each, Factor) else chosen(kind, each) for kind, each in named.items())
    for each in used:
        if each.value == 0 and not (each.kind == "grid" and given == "energy"):
            raise UserInputError(f"The {each.kind} factor is 0, by which nothing can be divided.")
    return used


@functools.lru_cache(maxsize=64)
def _of_one(given: Literal["energy", "mass"], used: tuple[Factor, ...]) -> dict[str, Line]:
    """Every quantity of one kWh or one gram; the amount itself among them."""
    rates = [from_factor(each.kind, each.kind, each, _SCALES[each.unit], "") for each in used]
    one = Input(name="amount", label="amount", value=1.0, low=1.0, high=1.0, unit="", origin="given", source="as given")
    if given == "energy":
        first = Step("energy_kwh", "energy", "kWh", "amount", ("amount",), lambda energy: energy)
        needs = ("energy_kwh", "grid", *(["pue"] if any(each.kind == "pue" for each in used) else []))
        linked = Step("carbon_g_co2e", "CO2e", "g", " x ".join(needs), needs, lambda *parts: math.prod(parts))
    else:
        first = Step("carbon_g_co2e", "CO2e", "g", "amount", ("amount",), lambda mass: mass)
        needs = ("carbon_g_co2e", "grid")
        linked = Step("energy_kwh", "energy", "kWh", "carbon_g_co2e / grid", needs, lambda mass, grid: mass / grid)
    return evaluate([one, *rates], [first, linked, *_STEPS])


def recipe() -> list[dict[str, str | float | None]]:
    """How kWh become each quantity, for whoever computes it again with other factors, such as a page.

    `name` is `of` (an earlier quantity, energy_kwh first) divided by the factor of `kind` in the units of `scale_of`,
    or, where there is `times`, multiplied by that. CO2e alone is energy times the grid's factor.
    """
    carbon = {"name": "carbon_g_co2e", "label": "CO2e", "unit": "g", "of": "energy_kwh", "kind": "grid", "times": None}
    found: list[dict[str, str | float | None]] = [dict(carbon)]
    for step in _STEPS:
        of, kind = step.needs[0], step.needs[1] if len(step.needs) > 1 else None
        times = None if kind else units.KM_PER_MILE
        about = {"name": step.name, "label": step.label, "unit": step.unit, "of": of, "kind": kind, "times": times}
        found.append(about)
    return found


def scale_of(used: Factor) -> float:
    """What one of a factor's unit is in the units of `recipe`: kWh, grams, miles, days and years."""
    return _SCALES[used.unit]


def _check_amount(amount: float, interval: tuple[float, float] | None) -> None:
    if not math.isfinite(amount):
        raise UserInputError(f"The amount must be a finite number, not {amount}.")
    if amount < 0:
        raise UserInputError(f"The amount must not be negative, but {amount:g} is.")
    if interval is not None and not -math.inf < interval[0] <= amount <= interval[1] < math.inf:
        raise UserInputError(f"The interval {interval[0]:g} to {interval[1]:g} does not hold {amount:g}.")


def _caveats(used: tuple[Factor, ...]) -> tuple[Caveat, ...]:
    found = []
    for each in used:
        if each.kind == "grid" and (words := unnamed_grid(each)):
            found.append(Caveat(code="grid-not-named", message=words))
        named = f"{each.name} ({each.value_text} {each.unit})"
        if each.verified == "unverified":
            found.append(Caveat(code="factor-unverified", message=f"{named} was not checked against its source."))
        elif each.doubt_text:
            words = f"The range of {each.name}, {each.range_text} {each.unit}, is in part from memory."
            found.append(Caveat(code="range-unverified", message=words))
        if each.unit.startswith("g CO2/"):
            found.append(Caveat(code="co2-only", message=f"{named} counts CO2 and no other greenhouse gas."))
    return tuple(found)
