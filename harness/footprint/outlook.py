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

from pydantic import Field

from harness import units
from harness.errors import UserInputError
from harness.footprint.break_even import BreakEven, Training, Usage, asked, break_even_with, range_of
from harness.footprint.conversion import Boundary, energy_steps, impact_steps, joined
from harness.footprint.factors import Factor, editions, factor
from harness.footprint.grids import unnamed_grid
from harness.footprint.propagation import Input, Line, Step, evaluate
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
    """Yearly growth of use as two ends: "20%", "0.2", "10%..40%", "-5%", "x1.2" for 1.2 times as much.

    Raises:
        UserInputError: No number, not finite, a loss of more than everything, or a bare number above 1, which could be
            a percentage as well as a share.
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
        assumptions=_assumptions(start, boundary, usage, applied, used),
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
    chain = joined((inputs, steps), energy_steps(boundary, choices, "year_kwh"), impact_steps(choices))
    lines = evaluate(chain.inputs, chain.steps)
    cost = range_of(lines["cost"])
    if COOLING in levers:
        claimed = _lever(levers[COOLING], True).multiplier
        cost = Range(low=cost.low * claimed.low, high=cost.high * claimed.high, unit=cost.unit)
    return Year(
        year=year,
        generations=range_of(lines["generations"]),
        energy=range_of(lines["facility_energy_kwh"]),
        cost=cost,
        carbon=range_of(lines["carbon_g_co2e"]),
        water=range_of(lines["water_l"]),
    )


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
    start: Input, boundary: Boundary, usage: Usage, levers: Mapping[str, Factor], used: tuple[Factor, ...]
) -> tuple[str, ...]:
    trend = factor("trend", "hardware-efficiency")
    low, high = usage.growth
    growth = f"{low:+.0%}" if math.isclose(low, high) else f"{low:+.0%} to {high:+.0%}"
    joules = start.value * units.J_PER_KWH
    return (
        f"One generation today: {units.format_si(joules, 'J', 4)} of the {boundary} ({start.origin}; {start.source}).",
        f"{usage.per_day.value_text} generations a day today ({usage.per_day.source}), growing by {growth} a year.",
        "Energy per generation: from staying what it is to falling with hardware efficiency, "
        f"{trend.value:+.0%} a year ({trend.source}; {trend.checked_text}).",
        "Grid, price, PUE and water stay what they are today.",
        f"Factors: {'; '.join(map(_named, used))}.",
        *(words for each in used if each.kind == "grid" and (words := unnamed_grid(each))),
        *(f"Lever {name}: {each.scope}." for name, each in levers.items()),
    )


def _named(used: Factor) -> str:
    ends = [used.value if end is None else end for end in (used.low, used.high)]
    span = f" ({ends[0]:,.6g} to {ends[1]:,.6g})" if ends[0] < ends[1] else ""
    return f"{used.name} {used.value_text} {used.unit}{span}{', unverified' if used.verified == 'unverified' else ''}"


def _moving(name: str, label: str, value: float, low: float, high: float, source: str) -> Input:
    return Input(name=name, label=label, value=value, low=low, high=high, unit="1/yr", origin="given", source=source)
