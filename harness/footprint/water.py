"""Water of an amount of IT energy, on site and in making the electricity: the water part of the chain alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.footprint.conversion import choose, energy_steps, impact_steps, joined
from harness.footprint.equivalents import Span
from harness.footprint.factors import Factor
from harness.footprint.places import stand_ins
from harness.footprint.propagation import Input, Line, Step, evaluate
from harness.frozen import Frozen
from harness.records import Caveat

KINDS = ("pue", "wue-onsite", "wue-offsite")
QUANTITIES = ("facility_energy_kwh", "water_on_site_l", "water_off_site_l", "water_l")
_PARTS = (
    Step(
        "water_on_site_l",
        "water on site",
        "l",
        "wue_onsite x node_energy_kwh",
        ("wue_onsite", "node_energy_kwh"),
        lambda wue, energy: wue * energy,
    ),
    Step(
        "water_off_site_l",
        "water in making electricity",
        "l",
        "wue_offsite x facility_energy_kwh",
        ("wue_offsite", "facility_energy_kwh"),
        lambda wue, energy: wue * energy,
    ),
)


class Water(Frozen):
    """What an amount of IT energy takes: PUE counts once, off site."""

    facility_energy_kwh: float
    water_on_site_l: float
    water_off_site_l: float
    water_l: float
    ranges: dict[str, Span] = Field(description="per quantity, from the factors' ranges; no entry: no range known")
    unverified: dict[str, tuple[str, ...]] = Field(description="per quantity, what behind it is from memory")
    formulas: dict[str, str]
    boundaries: dict[str, Literal["IT", "facility"]] = Field(description="per quantity, whose energy it rests on")
    factors: tuple[Factor, ...]
    caveats: tuple[Caveat, ...] = ()


def water(it_energy_kwh: float, named: Mapping[str, str], grid: Factor | None = None) -> Water:
    """Water of IT energy, with the factors that a user names by kind (KINDS), a named grid's, or the usual ones.

    Raises:
        UserInputError: An edition that does not exist, or a number that no such factor can be.
    """
    choices = choose({**named, **({"grid": grid} if grid is not None else {})})
    energy = Input(
        name="it_energy_kwh",
        label="IT energy",
        value=it_energy_kwh,
        low=it_energy_kwh,
        high=it_energy_kwh,
        unit="kWh",
        origin="given",
        source="as given",
    )
    chain = joined(((energy,), ()), energy_steps("node", choices, energy.name), impact_steps(choices), ((), _PARTS))
    lines = evaluate(chain.inputs, chain.steps)
    told: dict[str, Line] = {name: lines[name] for name in QUANTITIES}
    return Water(
        **{name: line.value for name, line in told.items()},
        ranges={name: Span(low=line.low, high=line.high) for name, line in told.items() if line.low < line.high},
        unverified={name: line.unverified for name, line in told.items() if line.unverified},
        formulas={name: line.formula for name, line in told.items()},
        boundaries={name: "IT" if name == "water_on_site_l" else "facility" for name in QUANTITIES},
        factors=tuple(choices[kind] for kind in KINDS),
        caveats=tuple(each for each in stand_ins(choices) if each.code.startswith(KINDS)),
    )
