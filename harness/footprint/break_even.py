"""How many generations use what one training did (as in the study's Table 5), and how long that takes. Pure.

Like is compared with like: trainings are told by boundaries of their own, and a training's energy is brought to the
node before it is divided by a generation's, by its own PUE or by the share of the rest of the machine. What generations
to come will take nobody knows: from what one takes today to what it would by the trend of hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import Field

from harness import units
from harness.errors import UserInputError
from harness.footprint.conversion import Boundary, Chain, energy_steps, impact_steps, joined
from harness.footprint.factors import Factor, Reach, editions, factor
from harness.footprint.propagation import Input, Line, Step, evaluate, from_factor
from harness.footprint.trends import Range, yearly_change
from harness.frozen import Frozen


class Usage(NamedTuple):
    """How often it is asked for."""

    per_day: Factor
    growth: tuple[float, float]
    years: int


class Training(NamedTuple):
    """A training to break even with: what it used (kWh) or emitted (g CO2e), and by which boundary."""

    name: str
    used: Input
    of: Literal["energy", "carbon"]
    boundary: Reach
    pue: Factor | None = None


class BreakEven(Frozen):
    """How many generations use what one training did, and how long that takes at today's use: a projection."""

    training: str
    of: str = Field(description="node energy, or location-based CO2e of the facility: what both sides are of")
    amount: float = Field(description="as the source has it, of `boundary`")
    unit: str
    boundary: str = Field(description="of the amount: device, node, facility, life cycle")
    alike: str = Field(description="how the amount was brought to the boundary of a generation")
    compared: Range = Field(description="the amount, brought to that boundary")
    generations: Range = Field(description="from the energy of today to that by the trend of hardware, years from now")
    days: Range | None = Field(description="at today's use; None if nothing is asked")
    claimed: tuple[str, ...] = Field((), description="levers in it: claimed, not measured")
    unknown: tuple[str, ...] = Field(description="inputs without a known range, which count as exact")
    unverified: tuple[str, ...] = Field(description="factors in it whose value or range is from memory")
    source: str


def break_even(training: float, per_generation: float) -> float:
    """Generations until inference has used what training did.

    >>> round(break_even(51_686 + 7_571, 0.0001))  # BLOOMz-7B in Table 5 of the study
    592570000
    """
    return training / per_generation


def references() -> tuple[Training, ...]:
    """The trainings on record, by energy where it is known and by CO2e where it is."""
    energies = []
    for each in editions("training-energy"):
        pue = factor("pue", each.edition) if each.boundary == "facility" else None
        used = from_factor("training", each.edition, each, 1000, "kWh")
        energies.append(Training(each.edition, used, "energy", _boundary(each), pue))
    masses = [
        Training(
            each.edition,
            from_factor("training", each.edition, _alike(each), units.G_PER_T, "g"),
            "carbon",
            _boundary(each),
        )
        for each in editions("training-carbon")
    ]
    return (*energies, *masses)


def _boundary(used: Factor) -> Reach:
    if used.boundary is None:
        raise ValueError(f"{used.id} tells no boundary")
    return used.boundary


def _alike(used: Factor) -> Factor:
    """Without a low end that is of a narrower boundary, where the value itself is of the facility."""
    if used.boundary != "facility" or used.low_boundary is None:
        return used
    kept = tuple(end for end in used.unverified_ends if end != "low")
    return used.model_copy(update={"low": None, "low_boundary": None, "unverified_ends": kept})


def _brought_to_node(training: Training, choices: Mapping[str, Factor], known: Chain) -> tuple[Chain, str]:
    """The training's energy as the node's, and how."""
    name, label, unit = "training_node_kwh", "energy of the training, node", "kWh"
    if training.boundary == "facility":
        assert training.pue is not None
        its = from_factor("training_pue", "PUE of the training", training.pue)
        step = Step(name, label, unit, "training / training_pue", ("training", "training_pue"), lambda e, p: e / p)
        return Chain((its,), (step,), {}), f"/ its PUE {training.pue.value_text}"
    if training.boundary == "device":
        ratio = choices["gpu-to-system"]
        rest = from_factor("gpu_to_system", "whole node over its GPUs", ratio)
        needs = ("training", "gpu_to_system")
        step = Step(name, label, unit, "training x gpu_to_system", needs, lambda energy, share: energy * share)
        inputs = () if any(each.name == rest.name for each in known.inputs) else (rest,)
        told = f" ({ratio.range_text})" if ratio.range_text else ""
        return Chain(inputs, (step,), {}), f"x whole node over GPUs {ratio.value_text}{told}"
    return Chain((), (Step(name, label, unit, "training", ("training",), lambda energy: energy),), {}), "as it is"


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
        usage: How often it is asked for; `years` is how far hardware may go on gaining.
        choices: A factor per kind.
        share: The share of training compute that a lever is said to leave.

    Raises:
        UserInputError: On a grid of 0 nothing breaks even by CO2e.
    """
    if training.of == "carbon" and choices["grid"].value == 0:
        raise UserInputError("On a grid of 0 g/kWh no number of generations emits what a training did.")
    energies = energy_steps(boundary, choices)
    if training.of == "energy":
        alike, how = _brought_to_node(training, choices, energies)
        name, each = alike.steps[0].name, "node_energy_kwh"
    else:
        as_it_is = Step("training_g", "CO2e of the training", "g", "training", ("training",), lambda mass: mass)
        alike, name, each = Chain((), (as_it_is,), {}), as_it_is.name, "carbon_g_co2e"
        how = "as it is"
        if training.boundary != "facility":
            how += "; the facility alone lies within its range" if training.used.ends[1:] else ", wider than a facility"
    levers = [from_factor("lever", "claimed share of training compute", share)] if share else []
    asked_for = [asked(usage)] if usage.per_day.value > 0 else []
    chain = joined(
        ([start, training.used, *levers, _gain(usage.years), *asked_for], ()),
        energies,
        impact_steps(choices),
        alike,
        ((), _steps(name, each, bool(levers))[: 1 + len(asked_for)]),
    )
    lines = evaluate(chain.inputs, chain.steps)
    found = lines["generations"]
    return BreakEven(
        training=training.name,
        of="node energy" if training.of == "energy" else "CO2e of the facility",
        amount=training.used.value,
        unit=training.used.unit,
        boundary=training.boundary,
        alike=how,
        compared=range_of(lines[name]),
        generations=range_of(found),
        days=range_of(lines["days"]) if asked_for else None,
        claimed=(f"training: {share.edition}, {share.scope}",) if share else (),
        unknown=found.unknown,
        unverified=found.unverified,
        source=training.used.source,
    )


def _steps(training: str, each: str, with_lever: bool) -> list[Step]:
    needs = (training, each, "gain", *(["lever"] if with_lever else []))
    return [
        Step(
            "generations",
            "generations to break even",
            "1",
            f"{training}{' x lever' if with_lever else ''} x gain / {each}",
            needs,
            lambda training, each, gain, lever=1.0: break_even(training * lever, each / gain),
        ),
        Step("days", "days", "days", "generations / per_day", ("generations", "per_day"), lambda n, daily: n / daily),
    ]


def _gain(years: int) -> Input:
    """What hardware gains in efficiency: from nothing to the published trend over those years."""
    trend = factor("trend", "hardware-efficiency")
    label, most = f"gain of hardware over {years} years", yearly_change(trend.edition)[2] ** years
    return Input(
        name="gain", label=label, value=1.0, low=1.0, high=most, unit="x", origin="factor", source=trend.source
    )


def asked(usage: Usage) -> Input:
    """Generations a day as an input."""
    return from_factor("per_day", "generations a day", usage.per_day)


def range_of(line: Line) -> Range:
    """The ends of a line."""
    return Range(low=line.low, high=line.high, unit=line.unit)
