"""One run's number, step by step: every formula with what went in, how far it may be off, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field

from harness import units
from harness.errors import UserInputError
from harness.footprint.conversion import (
    Boundary,
    Machine,
    embodied_steps,
    energy_steps,
    impact_steps,
    joined,
)
from harness.footprint.equivalents import KIND_OF, equivalents
from harness.footprint.factors import Factor
from harness.footprint.grids import unnamed_grid
from harness.footprint.phrases import sentence
from harness.footprint.places import stand_ins
from harness.footprint.propagation import Input, Line, Origin, Step, evaluate, from_estimate
from harness.frozen import Frozen
from harness.records import Caveat, RunRecord, Summary
from harness.stats import repeatability

# What `--of` calls each line.
NUMBERS = {
    "device": "device_energy_kwh",
    "node": "node_energy_kwh",
    "facility": "facility_energy_kwh",
    "co2e": "carbon_g_co2e",
    "co2e-market": "carbon_market_g_co2e",
    "water": "water_l",
    "cost": "cost",
    "embodied": "embodied_g_co2e",
    "sci": "sci_g_co2e_per_generation",
    "sci-1000": "sci_g_co2e_per_1000",
}
_SAID = ("phone_charges", "car_km", "kettle_litres", "streaming_hours", "tree_years")
_SAID_OF_CARBON = ("car_km", "tree_years")
_SENTENCES_OF = "device energy; car and tree: CO2e of the facility"


class ExplainedLine(Line):
    """A line with the inputs that its formula names, each with value, range, origin, factor and source."""

    used: tuple[Input, ...] = Field(description="those that are no lines themselves")


class Explanation(Frozen):
    """The chain of one run, for a number of generations."""

    campaign: str
    run_id: str
    mark: str = Field(description="simulated, or a replay; empty for measured energy")
    generations: int = Field(description="that the chain is for")
    lines: tuple[ExplainedLine, ...]
    missing: dict[str, str] = Field(description="lines that cannot be told, with the reason; they are not zero")
    sentences: tuple[str, ...] = Field(description="what a person would say, each with the boundary it is of")
    sentences_of: str = Field("", description="the energy and the CO2e that sentences rest on; empty without any")
    sentence_factors: tuple[str, ...] = Field((), description="ids of the factors that the sentences use")
    caveats: tuple[Caveat, ...]


def when_it_ran(record: RunRecord) -> tuple[datetime, datetime]:
    """Start and end of a run."""
    return datetime.fromisoformat(record.started_at_utc), datetime.fromisoformat(record.finished_at_utc)


def explain(
    record: RunRecord, choices: Mapping[str, Factor], market: Factor | None = None, generations: int = 1000
) -> Explanation:
    """The whole chain of a run.

    Args:
        record: The run.
        choices: A factor per kind (conversion.choose).
        market: Market-based intensity, where it is asked for.
        generations: That the chain is for.

    Raises:
        UserInputError: The run has no result, or a number is out of bounds.
    """
    summary = _summary(record)
    gpus = [source for source in record.sources if source.kind == "gpu"]
    board = next((source.device_name for source in gpus if source.runs_model), "GPU of unknown name")
    held = Machine(len(gpus), board, _held(record, summary))
    chain = joined(
        _energy(summary, _origin(record), generations, choices),
        impact_steps(choices, market),
        embodied_steps(held, choices),
    )
    lines = evaluate(chain.inputs, chain.steps)
    by_name = {each.name: each for each in chain.inputs}
    explained = tuple(
        ExplainedLine(**line.model_dump(), used=tuple(by_name[name] for name in line.needs if name in by_name))
        for line in lines.values()
    )
    said, factors = _sentences(record, lines["device_energy_kwh"], lines["carbon_g_co2e"], choices["grid"], generations)
    missing = dict(chain.missing)
    if summary.node_energy_j is None:
        missing["metered_kwh"] = f"{summary.node_missing or 'not measured'}; modelled instead"
    return Explanation(
        campaign=record.campaign,
        run_id=record.run_id,
        mark=record.mark,
        generations=generations,
        lines=explained,
        missing=missing,
        sentences=said,
        sentences_of=_SENTENCES_OF if said else "",
        sentence_factors=factors,
        caveats=(*_caveats(chain.inputs), *stand_ins(choices)),
    )


def leading_to(explanation: Explanation, number: str) -> Explanation:
    """Only the lines that lead to one number, itself the last.

    Raises:
        UserInputError: The run's chain has no such line.
    """
    wanted = NUMBERS[number]
    by_name = {line.name: line for line in explanation.lines}
    if wanted not in by_name:
        reason = explanation.missing.get(wanted, "it is told only where it is asked for: --market-based")
        raise UserInputError(f"{explanation.run_id} has no {number}: {reason}.")
    kept, open_names = set[str](), [wanted]
    while open_names:
        name = open_names.pop()
        if name in by_name and name not in kept:
            kept.add(name)
            open_names += by_name[name].needs
    lines = tuple(line for line in explanation.lines if line.name in kept)
    used = {each.name: each for line in lines for each in line.used}
    kinds = {each.factor.kind for each in used.values() if each.factor is not None}
    placed = [each for each in explanation.caveats if each.code.removesuffix("-stands-in") in kinds]
    caveats = (*_caveats(list(used.values())), *placed)
    unsaid = {"sentences": (), "sentences_of": "", "sentence_factors": ()}
    return explanation.model_copy(update={"lines": lines, "caveats": caveats, **unsaid})


def _energy(
    summary: Summary, origin: Origin, generations: int, choices: Mapping[str, Factor]
) -> tuple[tuple[Input, ...], tuple[Step, ...]]:
    """From what was measured per generation to the energies of device, node and facility."""
    source = "this run's record"
    count = Input(
        name="generations",
        label="generations",
        value=generations,
        low=generations,
        high=generations,
        unit="1",
        origin="given",
        source="what the chain is for",
    )
    ran = from_estimate(
        "gpu_energy_j", "per generation", summary.gpu_energy_j, "J", origin, f"{source}, GPUs that ran it, gross"
    )
    inputs, steps = [count, ran], [_per_generation("device_energy_kwh", "device energy", "gpu_energy_j")]
    if summary.node_energy_j is not None:
        node = from_estimate(
            "node_energy_j", "per generation", summary.node_energy_j, "J", origin, f"{source}, every GPU, CPU and DRAM"
        )
        inputs.append(node)
        steps.append(_per_generation("metered_kwh", "node energy, measured", "node_energy_j"))
        rest = energy_steps("node", choices, "metered_kwh")
    else:
        every = from_estimate(
            "node_gpus_energy_j", "per generation", summary.node_gpus_energy_j, "J", origin, f"{source}, every GPU"
        )
        inputs.append(every)
        steps.append(_per_generation("gpus_energy_kwh", "energy of every GPU of the machine", "node_gpus_energy_j"))
        rest = energy_steps("device", choices, "gpus_energy_kwh")
    return (*inputs, *rest.inputs), (*steps, *rest.steps)


def whole_machine(record: RunRecord) -> tuple[Boundary, Input]:
    """Energy of one generation by the widest boundary that was measured, kWh: the node, else every GPU of the machine.

    Raises:
        UserInputError: The run has no result.
    """
    summary = _summary(record)
    boundary: Boundary = "device" if summary.node_energy_j is None else "node"
    widest = summary.node_gpus_energy_j if summary.node_energy_j is None else summary.node_energy_j
    label = f"per generation, {'every GPU' if boundary == 'device' else 'the node'}"
    source = f"{record.run_id}{f', {record.mark}' if record.mark else ''}"
    in_kwh = widest.scaled(1 / units.J_PER_KWH)
    return boundary, from_estimate("energy_kwh", label, in_kwh, "kWh", _origin(record), source)


def _summary(record: RunRecord) -> Summary:
    if record.summary is None:
        raise UserInputError(
            f"{record.run_id} has no result to explain: it failed.", f"Why: harness show {record.run_id}"
        )
    return record.summary


def _origin(record: RunRecord) -> Literal["measured", "simulated"]:
    return "simulated" if record.simulated else "measured"


def _held(record: RunRecord, summary: Summary) -> Input:
    """How long a generation holds the machine; its interval is the scatter of the accepted windows."""
    windows = [window for window in record.measurements if not window.rejected and window.work.requests]
    label, source = "time that a generation holds the machine", "this run's record, engine time per generation"
    if len(windows) < 2:
        return Input(
            name="duration_s", label=label, value=summary.duration_s, unit="s", origin=_origin(record), source=source
        )
    scatter = repeatability([window.busy_s / window.work.requests for window in windows])
    around = scatter.model_copy(
        update={
            "value": summary.duration_s,
            "low": max(0.0, summary.duration_s - scatter.half_width),
            "high": summary.duration_s + scatter.half_width,
        }
    )
    source += f", with the scatter of {len(windows)} windows; the clock's own rate, within 500 ppm under NTP, left out"
    return from_estimate("duration_s", label, around, "s", _origin(record), source)


def _per_generation(name: str, label: str, energy: str) -> Step:
    return Step(
        name,
        label,
        "kWh",
        f"{energy} x generations / 3,600,000",
        (energy, "generations"),
        lambda energy_j, count: energy_j * count / units.J_PER_KWH,
    )


def _sentences(
    record: RunRecord, device: Line, carbon: Line, grid: Factor, generations: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """1,000 images = 35 phone charges (32-37), device energy; ids of the factors.

    What is an energy's is of the GPUs that ran it, as in the results table; what is CO2e's is of the CO2e line.
    """
    if device.value <= 0:
        return (), ()
    kind = "images" if record.spec.task == "text-to-image" else "generations"
    subject = f"{generations:,} {kind if generations != 1 else kind.removesuffix('s')}"
    mark = f" [{record.mark}]" if record.mark else ""
    drawn = equivalents(device.value, interval=(max(0.0, device.low), device.high), grid=grid)
    emitted = equivalents(carbon_g_co2e=carbon.value, interval=(max(0.0, carbon.low), carbon.high))
    doubts = {name: (*emitted.unverified.get(name, ()), *carbon.unverified) for name in _SAID_OF_CARBON}
    emitted = emitted.model_copy(update={"unverified": doubts})
    kinds = {"grid", *(KIND_OF[name] for name in _SAID)}
    used = tuple(each.id for each in drawn.factors if each.kind in kinds)
    said = [
        f"{sentence(emitted, name, subject)}, CO2e of the facility{mark}"
        if name in _SAID_OF_CARBON
        else f"{sentence(drawn, name, subject)}, device energy{mark}"
        for name in _SAID
    ]
    return tuple(said), used


def _caveats(inputs: Sequence[Input]) -> tuple[Caveat, ...]:
    """Factors from memory, those without any known range, and a grid that nobody named."""
    factors = [each.factor for each in inputs if each.factor is not None]
    found = [
        Caveat(code="factor-unverified", message=f"{each.name} was not checked against its source.")
        for each in factors
        if each.verified == "unverified"
    ]
    found += [
        Caveat(code="range-unverified", message=f"The range of {each.name}, {each.range_text}, is in part from memory.")
        for each in factors
        if each.verified != "unverified" and each.doubt_text
    ]
    for each in factors:
        if each.kind == "grid" and (words := unnamed_grid(each)):
            found.append(Caveat(code="grid-not-named", message=words))
        if each.unit.startswith("g CO2/"):
            words = f"{each.name} counts CO2 and no other greenhouse gas."
            found.append(Caveat(code="co2-only", message=words))
    if any(each.name == "lifetime_yr" for each in inputs):
        words = (
            "Embodied carbon takes a host of eight GPUs for any machine, and spreads what making it emitted as if it "
            "were busy for all its lifetime (100 % utilisation): at 50 % a generation's share is twice as much."
        )
        found.append(Caveat(code="embodied-assumed", message=words))
    silent = [each.name for each in inputs if not each.range_known]
    if silent:
        words = f"No range is known of {', '.join(silent)}: counted as exact, though nothing says they are."
        found.append(Caveat(code="range-unknown", message=words))
    return tuple(found)
