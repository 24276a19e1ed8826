"""How many generations use what one training did (as in the study's Table 5), and how long that takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import Field

from harness import units
from harness.errors import UserInputError
from harness.footprint.conversion import Boundary, energy_steps, impact_steps, joined
from harness.footprint.factors import Factor, editions
from harness.footprint.propagation import Input, Line, Step, evaluate, from_factor
from harness.footprint.trends import Range
from harness.frozen import Frozen


class Usage(NamedTuple):
    """How often it is asked for."""

    per_day: Factor
    growth: tuple[float, float]
    years: int


class Training(NamedTuple):
    """A training to break even with: what it used (kWh) or emitted (g CO2e), the other None."""

    name: str
    energy_kwh: Input | None
    carbon_g_co2e: Input | None


class BreakEven(Frozen):
    """How many generations use what one training did, and how long that takes at today's use."""

    training: str
    of: str = Field(description="node energy, or location-based CO2e of the facility")
    amount: float
    unit: str
    generations: Range
    days: Range | None = Field(description="at today's use; None if nothing is asked")
    source: str


def break_even(training: float, per_generation: float) -> float:
    """Generations until inference has used what training did.

    >>> round(break_even(51_686 + 7_571, 0.0001))  # BLOOMz-7B in Table 5 of the study
    592570000
    """
    return training / per_generation


def references() -> tuple[Training, ...]:
    """The trainings on record, by energy where it is known and by CO2e where it is."""
    kwh = [
        Training(each.edition, from_factor("training", each.edition, each, 1000, "kWh"), None)
        for each in editions("training-energy")
    ]
    grams = [
        Training(each.edition, None, from_factor("training", each.edition, each, units.G_PER_T, "g"))
        for each in editions("training-carbon")
    ]
    return (*kwh, *grams)


def break_even_with(
    training: Training,
    start: Input,
    boundary: Boundary,
    usage: Usage,
    choices: Mapping[str, Factor],
    share: Factor | None = None,
) -> BreakEven:
    """Generations until they have used, or emitted, what a training did.

    Args:
        training: The training.
        start: Energy of one generation, kWh, named energy_kwh.
        boundary: Of that energy.
        usage: How often it is asked for.
        choices: A factor per kind.
        share: The share of training compute that a lever is said to leave.

    Raises:
        UserInputError: On a grid of 0 nothing breaks even by CO2e.
    """
    used = training.energy_kwh or training.carbon_g_co2e
    assert used is not None
    name = "node_energy_kwh" if training.energy_kwh is not None else "carbon_g_co2e"
    lever = [from_factor("lever", "claimed share of training compute", share)] if share else []
    needs = ("training", name, *(each.name for each in lever))
    steps = [
        Step(
            "generations",
            "generations to break even",
            "1",
            " x lever / ".join(needs[:2]) if lever else " / ".join(needs[:2]),
            needs,
            lambda training, each, lever=1.0: break_even(training * lever, each),
        ),
        Step("days", "days", "days", "generations / per_day", ("generations", "per_day"), lambda n, daily: n / daily),
    ]
    used_at_all = usage.per_day.value > 0
    chain = joined(
        ([start, used, *lever, *([asked(usage)] if used_at_all else [])], ()),
        energy_steps(boundary, choices),
        impact_steps(choices),
        ((), steps if used_at_all else steps[:1]),
    )
    if training.carbon_g_co2e is not None and choices["grid"].value == 0:
        raise UserInputError("On a grid of 0 g/kWh no number of generations emits what a training did.")
    lines = evaluate(chain.inputs, chain.steps)
    return BreakEven(
        training=training.name,
        of="node energy" if training.energy_kwh is not None else "CO2e",
        amount=used.value,
        unit=used.unit,
        generations=range_of(lines["generations"]),
        days=range_of(lines["days"]) if used_at_all else None,
        source=used.source,
    )


def asked(usage: Usage) -> Input:
    """Generations a day as an input."""
    return from_factor("per_day", "generations a day", usage.per_day)


def range_of(line: Line) -> Range:
    """The ends of a line."""
    return Range(low=line.low, high=line.high, unit=line.unit)
