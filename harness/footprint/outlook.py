"""From the energy of one generation and how often it is asked for to years of kWh, cost, CO2e and water, and to the
point where inference has used what training did. Projections: always a range, never a middle. Pure.

Of a year ahead three things are unknown and move between their ends: how much is asked (`growth`), whether hardware
goes on getting more efficient (from not at all to the published trend), and every factor's own range. Grid, price,
PUE and water stay what they are today.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from harness import units
from harness.errors import UserInputError
from harness.footprint.break_even import BreakEven, Training, Usage, asked, break_even_with, range_of
from harness.footprint.conversion import Boundary, Chain, energy_steps, impact_steps, joined
from harness.footprint.factors import Factor, editions, factor
from harness.footprint.grids import unnamed_grid
from harness.footprint.places import stand_ins
from harness.footprint.propagation import Input, Line, Step, evaluate, from_factor
from harness.footprint.trends import Forecast, Range, Trend, forecasts, trends, yearly_change
from harness.frozen import Frozen

MAX_YEARS = 30
_LEAST_KWH = 1e-20  # far below what any computation takes
COOLING, SELECTION = "liquid-cooling", "data-selection"


class Year(Frozen):
    """One year of use, by the facility."""

    year: int = Field(description="0: at today's use and efficiency, for a whole year")
    generations: Range
    energy: Range
    cost: Range
    carbon: Range
    water: Range
    claimed: tuple[str, ...] = Field((), description="levers in it: claimed, not measured")
    unknown: tuple[str, ...] = Field(description="inputs without a known range, which count as exact")
    unverified: tuple[str, ...] = Field(description="factors in it whose value or range is from memory")


class Lever(Frozen):
    """Something that is said to help: a claim, not a measurement."""

    name: str
    multiplier: Range
    of: str
    applied: bool
    claimed: str
    factor: Factor


class Outlook(Frozen):
    """Everything that is foretold. `projection` is always true: none of this was measured."""

    projection: bool = True
    energy_per_generation: Line | None = Field(description="of the node, today; None where no energy was given")
    simulated: bool = Field(description="that energy is a simulated GPU's: no model's, and no real GPU drew it")
    years: tuple[Year, ...]
    break_even: tuple[BreakEven, ...]
    trends: tuple[Trend, ...]
    forecasts: tuple[Forecast, ...]
    levers: tuple[Lever, ...]
    assumptions: tuple[str, ...]
    factors: tuple[Factor, ...]


def parse_growth(text: str) -> tuple[float, float]:
    """Yearly growth of use as two ends: "10%..40%", "20%", "0.2", "-5%", "x1.2" for 1.2 times as much.

    A single growth is one end, and no growth the other: nobody knows whether it lasts. "0%" holds use at today's.

    Raises:
        UserInputError: No number, not finite, a loss of more than everything, two ends that are the same, or a bare
            number above 1, which could be a percentage as well as a share.
    """
    ends = []
    for part in re.split(r"\.\.|\bto\b", text):
        found = re.fullmatch(
            r"\s*(x?)\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)\s*(%?)\s*", part, re.IGNORECASE
        )
        if found is None:
            raise UserInputError(f"The growth {text!r} is no share per year.", "Write it as in: 20%, 0.2, 10%..40%")
        times, number, percent = found[1], float(found[2]), found[3]
        if times and (percent or number < 0):
            raise UserInputError(f"The growth {text!r} is no share per year.", "Write it as in: 20%, 0.2, x1.2")
        if number > 1 and not times and not percent:
            raise UserInputError(
                f"The growth {text!r} could be {number:g} % or {number:g} times as much a year.",
                f"Write {number:g}% or x{number:g}.",
            )
        ends.append(number - 1 if times else number / 100 if percent else number)
    if len(ends) > 2 or not all(-1 <= end <= 100 for end in ends):
        raise UserInputError(
            f"The growth {text!r} is not between -100% and 10,000% a year.", "Write it as in: 20%, 0.2, 10%..40%"
        )
    if len(ends) == 1:
        ends.append(0.0)
    elif ends[0] == ends[1]:
        raise UserInputError(
            f"The growth {text!r} has no range, and nobody knows a growth to come so well.",
            "Write two ends, or one: 20% reaches from none to that.",
        )
    return min(ends), max(ends)


def outlook(
    energy: tuple[Boundary, Input] | None,
    usage: Usage,
    choices: Mapping[str, Factor],
    trainings: Sequence[Training] = (),
    levers: Sequence[str] = (),
) -> Outlook:
    """Project.

    Args:
        energy: Of one generation, kWh, with its boundary, the input named energy_kwh; None: trends alone.
        usage: How often it is asked for.
        choices: A factor per kind (conversion.choose).
        trainings: To break even with.
        levers: Names of those to apply.

    Raises:
        UserInputError: An unknown lever, an energy that is not above 0, or too many years.
    """
    if not 1 <= usage.years <= MAX_YEARS:
        raise UserInputError(f"An outlook reaches over 1 to {MAX_YEARS} years, not {usage.years}.")
    applied = {name: factor("lever", name) for name in levers}
    told = {
        "trends": trends(usage.years),
        "forecasts": forecasts(),
        "levers": tuple(_lever(each, each.edition in applied) for each in editions("lever")),
    }
    if energy is None:
        return Outlook(
            energy_per_generation=None, simulated=False, years=(), break_even=(), assumptions=(), factors=(), **told
        )
    boundary, start = energy
    if start.value <= 0:
        raise UserInputError(f"An outlook needs an energy above 0 per generation, not {start.value:g} kWh.")
    if start.value < _LEAST_KWH:
        raise UserInputError(
            f"An energy of {start.value:g} kWh per generation is too small to project.",
            f"The least is {_LEAST_KWH:g} kWh.",
        )
    chain = joined(((start,), ()), energy_steps(boundary, choices), impact_steps(choices))
    today = evaluate(chain.inputs, chain.steps)
    used = tuple(each.factor for each in (*chain.inputs, asked(usage)) if each.factor is not None)
    return Outlook(
        energy_per_generation=today["node_energy_kwh"],
        simulated=start.origin == "simulated",
        years=tuple(_year(n, start, boundary, usage, choices, applied) for n in range(usage.years + 1)),
        break_even=tuple(
            break_even_with(each, start, boundary, usage, choices, applied.get(SELECTION)) for each in trainings
        ),
        assumptions=_assumptions(start, boundary, usage, applied, used, choices),
        factors=used,
        **told,
    )


def _year(
    year: int,
    start: Input,
    boundary: Boundary,
    usage: Usage,
    choices: Mapping[str, Factor],
    levers: Mapping[str, Factor],
) -> Year:
    gain, _, most = yearly_change("hardware-efficiency")
    trend = factor("trend", "hardware-efficiency")
    low, high = usage.growth
    inputs = [
        start,
        asked(usage),
        _moving("growth", "growth of use", 1 + (low + high) / 2, 1 + low, 1 + high, "given by the user"),
        _moving("efficiency", "efficiency gained in a year", gain, 1.0, most, trend.source),
    ]
    steps = [
        Step(
            "generations",
            "generations",
            "1",
            "per_day x 365.25 x growth^year",
            ("per_day", "growth"),
            lambda per_day, growth: per_day * units.DAYS_PER_YEAR * growth**year,
        ),
        Step(
            "year_kwh",
            "energy",
            "kWh",
            "energy_kwh x generations / efficiency^year",
            ("energy_kwh", "generations", "efficiency"),
            lambda each, count, efficiency: each * count / efficiency**year,
        ),
    ]
    cooling = levers.get(COOLING)
    chain = joined(
        (inputs, steps),
        energy_steps(boundary, choices, "year_kwh"),
        impact_steps(choices),
        _cooling(cooling) if cooling else ((), ()),
    )
    lines = evaluate(chain.inputs, chain.steps)
    cost = lines["cooled_cost" if cooling else "cost"]
    told = [lines[name] for name in ("generations", "facility_energy_kwh", "carbon_g_co2e", "water_l")]
    return Year(
        year=year,
        generations=range_of(told[0]),
        energy=range_of(told[1]),
        cost=range_of(cost).model_copy(update={"unit": lines["cost"].unit}),
        carbon=range_of(told[2]),
        water=range_of(told[3]),
        claimed=(f"cost: {cooling.edition}, {cooling.scope}",) if cooling else (),
        unknown=tuple(dict.fromkeys(name for line in (*told, cost) for name in line.unknown)),
        unverified=tuple(dict.fromkeys(words for line in (*told, cost) for words in line.unverified)),
    )


def _cooling(claimed: Factor) -> Chain:
    """Electricity cost with better cooling: it saves at most what is not IT, so that PUE stays at 1 or above."""
    lever = from_factor("cooling", "claimed share of the cost of energy", claimed)
    needs = ("facility_energy_kwh", "cooling", "node_energy_kwh", "price")
    step = Step(
        "cooled_cost",
        "electricity cost, cooling as claimed",
        "",
        "max(facility_energy_kwh x cooling, node_energy_kwh) x price",
        needs,
        lambda facility, share, node, price: np.maximum(facility * share, node) * price,
    )
    return Chain((lever,), (step,), {})


def _lever(used: Factor, applied: bool) -> Lever:
    low, high = (used.value if end is None else end for end in (used.low, used.high))
    return Lever(
        name=used.edition,
        multiplier=Range(low=low, high=high, unit="x"),
        of=used.unit.removeprefix("x "),
        applied=applied,
        claimed=used.scope,
        factor=used,
    )


def _assumptions(
    start: Input,
    boundary: Boundary,
    usage: Usage,
    levers: Mapping[str, Factor],
    used: tuple[Factor, ...],
    choices: Mapping[str, Factor],
) -> tuple[str, ...]:
    trend = factor("trend", "hardware-efficiency")
    joules = start.value * units.J_PER_KWH
    return (
        f"One generation today: {units.format_si(joules, 'J', 4)} of the {boundary} ({start.origin}; {start.source}).",
        f"{usage.per_day.value_text} generations a day today ({usage.per_day.source}); {_growth_text(usage.growth)}.",
        "The first row is a year at today's use and no projection: where no input has a known range, it has none.",
        "Energy per generation: from staying what it is to falling with hardware efficiency, "
        f"{trend.value:+.0%} a year ({trend.source}; {trend.checked_text}).",
        "Grid, price, PUE and water stay what they are today.",
        f"Factors: {'; '.join(map(_named, used))}.",
        *(words for each in used if each.kind == "grid" and (words := unnamed_grid(each))),
        *(caveat.message for caveat in stand_ins(choices)),
        *(_lever_text(name, each, choices["pue"]) for name, each in levers.items()),
    )


def _growth_text(growth: tuple[float, float]) -> str:
    low, high = growth
    if low == high == 0:
        return "use is held at today's, so that the rows below foretell efficiency and not demand (--growth)"
    if low == 0 or high == 0:
        return f"growing from not at all to {_percent(low or high)} a year"
    return f"growing by {_percent(low)} to {_percent(high)} a year"


def _percent(share: float) -> str:
    return f"{share:+.0%}" if math.isclose(share, round(share, 2)) else f"{share * 100:+.3g}%"


def _lever_text(name: str, claimed: Factor, pue: Factor) -> str:
    if name != COOLING:
        return f"Lever {name}: {claimed.scope}."
    least = (claimed.low or claimed.value) * (pue.low or pue.value)
    bound = "; that bound is reached here" if least < 1 else ""
    return (
        f"Lever {name}: {claimed.scope}; it changes the cost alone, and saves at most what is not IT energy (effective "
        f"PUE at least 1){bound}."
    )


def _named(used: Factor) -> str:
    span = f" ({used.range_text})" if used.range_text else ""
    return f"{used.name} {used.value_text} {used.unit}{span}{', unverified' if used.verified == 'unverified' else ''}"


def _moving(name: str, label: str, value: float, low: float, high: float, source: str) -> Input:
    return Input(name=name, label=label, value=value, low=low, high=high, unit="1/yr", origin="given", source=source)
