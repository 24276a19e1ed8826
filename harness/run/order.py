"""The order in which a campaign's runs are made. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from harness.campaign import Order
from harness.specs import RunSpec


def ordered(specs: Sequence[RunSpec], order: Order, seed: int) -> tuple[RunSpec, ...]:
    """The runs in their order: as written, or each model's and each configuration's runs spread over the campaign.

    A machine drifts over days (room temperature, dust, drivers). Run model by model, the drift looks like a difference
    of models, and batch by batch of batches. Interleaved, one of a model's k runs stands at a random place in each k-th
    part of the campaign, and among these the repeats of each configuration (all but the seed is equal) likewise. The
    same specs and seed give the same order, whatever is already done.
    """
    if order == "as-written":
        return tuple(specs)
    chance = random.Random(f"order-{seed}")
    models = _grouped(specs, lambda spec: spec.model.id)
    return tuple(_spread([_spread(_grouped(runs, _configuration), chance) for runs in models], chance))


def _configuration(spec: RunSpec) -> str:
    return spec.model_dump_json(exclude={"seed"})  # a spec with mappings in it has no hash


def _grouped(specs: Iterable[RunSpec], key: Callable[[RunSpec], str]) -> list[list[RunSpec]]:
    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(key(spec), []).append(spec)
    return list(groups.values())


def _spread(groups: Iterable[Sequence[RunSpec]], chance: random.Random) -> list[RunSpec]:
    """Of each group of k one in each k-th part of the whole, in the order of the group."""
    placed = [((index + chance.random()) / len(runs), spec) for runs in groups for index, spec in enumerate(runs)]
    return [spec for _, spec in sorted(placed, key=lambda pair: pair[0])]
