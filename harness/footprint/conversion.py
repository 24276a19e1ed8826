"""From an energy to what it means: device -> node -> facility -> CO2e, water, electricity cost, embodied carbon, SCI.

One graph of formulas over named inputs (footprint/propagation). Its rules:

- PUE turns IT energy into facility energy once: water = WUE on site x IT + WUE off site x facility, never PUE x WUE x
  facility.
- CO2e is location-based. What contracts say (market-based) is a line of its own, only where it is asked for by name.
- Embodied carbon: of all GPUs of the machine and their share of the server, by time over lifetime (M = TE x TiR/EL x
  RR/ToR in SCI).
- Software Carbon Intensity, ISO/IEC 21031:2024: SCI = (E x I + M) / R. E is the facility's, reserved idle included; I
  is location-based; R is one generation or 1,000.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from harness import units
from harness.errors import UserInputError
from harness.footprint.defaults import DEFAULTS
from harness.footprint.factors import Factor, chosen, factor, nearest, spanning
from harness.footprint.grids import unnamed_grid
from harness.footprint.places import own_water
from harness.footprint.propagation import Input, Step, from_factor

Boundary = Literal["device", "node", "facility"]

# The kinds that a user may choose, and what a default stands for where it is a place that nobody named.
KINDS = (
    "gpu-to-system",
    "pue",
    "grid",
    "wue-onsite",
    "wue-offsite",
    "electricity-price",
    "embodied-gpu",
    "embodied-server",
    "server-gpus",
    "server-lifetime",
)
_OF_A_PLACE = ("pue", "grid", "wue-onsite", "wue-offsite", "electricity-price")

# Making one board: by the word in its name that tells the chip. The H200's own figure is not published.
_EMBODIED = {"A100": "a100-2022", "H100": "h100-2024", "H200": "h100-2024"}

_CENTS = {"US cents/kWh": "USD", "EUR cents/kWh": "EUR"}


class Machine(NamedTuple):
    """What was made to run it: boards of one name, and how long a generation held them."""

    gpu_count: int
    board: str
    held: Input  # duration_s: seconds per generation


class Chain(NamedTuple):
    """Inputs and steps, ready to be evaluated; what cannot be told, with the reason."""

    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    missing: dict[str, str]


def choose(named: Mapping[str, str | Factor]) -> dict[str, Factor]:
    """The factor of every kind: those that a user names, defaults for the others.

    A default of a place (PUE, grid, water, price) stands for a place that nobody named: its range spans all editions.
    Where a grid is named, the water of its electricity is that of its country, if it is on record (footprint/places).

    Raises:
        UserInputError: A kind that no chain uses, or an edition that does not exist.
    """
    for kind in named:
        if kind not in KINDS:
            raise UserInputError(
                f"There is no factor {kind!r} in this chain; the nearest are {nearest(kind, list(KINDS))}.",
                "See what there is: harness list factors",
            )
    found = {}
    for kind in KINDS:
        wanted = named.get(kind)
        if isinstance(wanted, Factor):
            found[kind] = wanted
        elif wanted is not None:
            found[kind] = chosen(kind, wanted)
        elif kind in DEFAULTS:
            default = factor(kind, DEFAULTS[kind])
            found[kind] = spanning(default) if kind in _OF_A_PLACE else default
    if "wue-offsite" not in named and not unnamed_grid(found["grid"]):
        found["wue-offsite"] = own_water(found["grid"]) or found["wue-offsite"]
    for kind in ("server-lifetime", "server-gpus"):
        if found[kind].value == 0:
            raise UserInputError(f"The {kind} must be above 0.")
    return found


def board_factor(board: str) -> Factor | None:
    """What making a board emitted, by the word in its name that tells the chip; None where no figure is on record."""
    words = re.split(r"[^A-Za-z0-9]+", board)
    return next((factor("embodied-gpu", edition) for chip, edition in _EMBODIED.items() if chip in words), None)


def energy_steps(boundary: Boundary, choices: Mapping[str, Factor], name: str = "energy_kwh") -> Chain:
    """From the input `name` (kWh, of that boundary) to node and facility energy.

    From the device, the node follows by the share of the rest of the machine (modelled); from the facility, by PUE.
    """
    pue = from_factor("pue", "PUE", choices["pue"])
    node, facility = ("node_energy_kwh", "node energy", "kWh"), ("facility_energy_kwh", "facility energy", "kWh")
    if boundary == "facility":
        whole = Step(*facility, name, (name,), lambda energy: energy)
        part = ("facility_energy_kwh", "pue")
        return Chain((pue,), (whole, Step(*node, "facility_energy_kwh / pue", part, lambda e, p: e / p)), {})
    up = Step(*facility, "node_energy_kwh x pue", ("node_energy_kwh", "pue"), lambda energy, ratio: energy * ratio)
    if boundary == "node":
        return Chain((pue,), (Step(*node, name, (name,), lambda energy: energy), up), {})
    rest = from_factor("gpu_to_system", "whole node over its GPUs", choices["gpu-to-system"])
    modelled = ("node_energy_kwh", "node energy, CPU and memory modelled", "kWh")
    step = Step(*modelled, f"{name} x gpu_to_system", (name, "gpu_to_system"), lambda energy, ratio: energy * ratio)
    return Chain((rest, pue), (step, up), {})


def impact_steps(choices: Mapping[str, Factor], market: Factor | None = None) -> Chain:
    """From node and facility energy to CO2e, water and cost."""
    grid, price = choices["grid"], choices["electricity-price"]
    currency = _CENTS[price.unit]
    inputs = [
        from_factor("grid", "grid, location-based", grid),
        from_factor("wue_onsite", "water on site per kWh of IT", choices["wue-onsite"]),
        from_factor("wue_offsite", "water in making electricity", choices["wue-offsite"]),
        from_factor("price", "electricity price", price, 0.01, f"{currency}/kWh"),
    ]
    steps = [
        Step(
            "carbon_g_co2e",
            "CO2e, location-based",
            "g",
            "facility_energy_kwh x grid",
            ("facility_energy_kwh", "grid"),
            lambda energy, intensity: energy * intensity,
        ),
        Step(
            "water_l",
            "water, on site and in making electricity",
            "l",
            "wue_onsite x node_energy_kwh + wue_offsite x facility_energy_kwh",
            ("wue_onsite", "node_energy_kwh", "wue_offsite", "facility_energy_kwh"),
            lambda onsite, node, offsite, facility: onsite * node + offsite * facility,
        ),
        Step(
            "cost",
            "electricity cost",
            currency,
            "facility_energy_kwh x price",
            ("facility_energy_kwh", "price"),
            lambda energy, price: energy * price,
        ),
    ]
    if market is not None:
        inputs.append(from_factor("grid_market", "contracts, market-based", market))
        steps.insert(
            1,
            Step(
                "carbon_market_g_co2e",
                "CO2e, market-based, as asked for; not in SCI",
                "g",
                "facility_energy_kwh x grid_market",
                ("facility_energy_kwh", "grid_market"),
                lambda energy, intensity: energy * intensity,
            ),
        )
    return Chain(tuple(inputs), tuple(steps), {})


def embodied_steps(machine: Machine, choices: Mapping[str, Factor]) -> Chain:
    """Embodied carbon of the time, and SCI. Both need the input `generations`."""
    making = choices.get("embodied-gpu") or board_factor(machine.board)
    if making is None:
        reason = f"no figure for making a {machine.board} is on record; give one: --factor embodied-gpu=KG"
        return Chain((), (), dict.fromkeys(("embodied_g_co2e", *(step.name for step in SCI_STEPS)), reason))
    count = Input(
        name="gpu_count",
        label="GPUs of the machine",
        value=machine.gpu_count,
        low=machine.gpu_count,
        high=machine.gpu_count,
        unit="GPU",
        origin="recorded",
        source="this run's record",
    )
    inputs = (
        machine.held,
        count,
        from_factor("gpu_kg", "making one GPU", making),
        from_factor("server_kg", "making one server", choices["embodied-server"]),
        from_factor("server_gpus", "GPUs that share a server", choices["server-gpus"]),
        from_factor("lifetime_yr", "lifetime", choices["server-lifetime"]),
    )
    needs = ("generations", "duration_s", "gpu_count", "gpu_kg", "server_kg", "server_gpus", "lifetime_yr")
    embodied = Step(
        "embodied_g_co2e",
        "embodied carbon, by time over lifetime",
        "g",
        "gpu_count x (gpu_kg + server_kg / server_gpus) x 1,000 x generations x duration_s / "
        f"(lifetime_yr x {units.S_PER_YEAR:,.0f})",
        needs,
        lambda n, time_s, gpus, gpu, server, share, years: (
            gpus * (gpu + server / share) * units.G_PER_KG * n * time_s / (years * units.S_PER_YEAR)
        ),
    )
    return Chain(inputs, (embodied, *SCI_STEPS), {})


def software_carbon_intensity(carbon_g: float, embodied_g: float, count: float, per: float = 1.0) -> float:
    """SCI = (E x I + M) / R: grams of CO2e per `per` functional units, of which `count` were made.

    >>> software_carbon_intensity(6_500e3, 0.0, 50e9, per=1e6)  # the SCI-for-AI text prints 0.13 g for its own example
    130.0
    """
    return (carbon_g + embodied_g) / count * per


SCI_STEPS = (
    Step(
        "sci_g_co2e_per_generation",
        "SCI (ISO/IEC 21031), R = one generation",
        "g",
        "(carbon_g_co2e + embodied_g_co2e) / generations",
        ("carbon_g_co2e", "embodied_g_co2e", "generations"),
        software_carbon_intensity,
    ),
    Step(
        "sci_g_co2e_per_1000",
        "SCI (ISO/IEC 21031), R = 1,000 generations",
        "g",
        "(carbon_g_co2e + embodied_g_co2e) / generations x 1,000",
        ("carbon_g_co2e", "embodied_g_co2e", "generations"),
        functools.partial(software_carbon_intensity, per=1000.0),
    ),
)


def joined(*chains: Chain | tuple[Sequence[Input], Sequence[Step]]) -> Chain:
    """Several parts as one, in their order."""
    inputs: list[Input] = []
    steps: list[Step] = []
    missing: dict[str, str] = {}
    for part in chains:
        inputs += part[0]
        steps += part[1]
        missing |= part.missing if isinstance(part, Chain) else {}
    return Chain(tuple(inputs), tuple(steps), missing)
