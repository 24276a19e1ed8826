"""The order in which a campaign's runs are made. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence

from harness.campaign import Order
from harness.specs import RunSpec


def ordered(specs: Sequence[RunSpec], order: Order, seed: int) -> tuple[RunSpec, ...]:
    """The runs in their order: as written, or each model's runs spread over the whole campaign.

    A machine drifts over days (room temperature, dust, drivers). Run model by model, the drift looks like a difference
    of models. Interleaved, the k runs of a model come in random order, one at a random place in each k-th part of the
    campaign. The same specs and seed give the same order, whatever is already done.
    """
    if order == "as-written":
        return tuple(specs)
    chance = random.Random(f"order-{seed}")
    models: dict[str, list[RunSpec]] = {}
    for spec in specs:
        models.setdefault(spec.model.id, []).append(spec)
    placed: list[tuple[float, RunSpec]] = []
    for runs in models.values():
        chance.shuffle(runs)
        placed += [((index + chance.random()) / len(runs), spec) for index, spec in enumerate(runs)]
    return tuple(spec for _, spec in sorted(placed, key=lambda pair: pair[0]))
