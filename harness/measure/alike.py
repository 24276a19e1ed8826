"""What two runs must have in common before their energies may be put into one fit or one comparison. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from harness.records import RunRecord
from harness.specs import RunSpec

T = TypeVar("T")


def setting(record: RunRecord) -> dict[str, str]:
    """Model, board, boundary and everything else that changes what one unit of work costs.

    Not in it: how much work there was (prompts, lengths, steps, pixels, batch size), how it was metered, the seed.
    """
    spec = record.spec
    active = [info for info in record.sources if info.runs_model]
    limits = ", ".join("unknown" if info.power_limit_w is None else f"{info.power_limit_w:g} W" for info in active)
    found = {
        "model": spec.model.id + (f" at {spec.model.revision}" if spec.model.revision else ""),
        "weights": spec.model.weights,
        "task": spec.task,
        "engine": spec.engine,
        "dtype": spec.dtype,
        "device": spec.device,
        "attention": spec.attention,
        "origin": record.mark or record.origin,
        "board": ", ".join(f"{info.device_name} ({info.id})" for info in active),
        "boundary": f"gross energy of the {len(active)} GPU{'s' if len(active) > 1 else ''} that ran the model",
        "power limit": limits,
        "driver": ", ".join(sorted({info.driver or "unknown" for info in active})),
    }
    if spec.text is not None:
        how = spec.text.model_dump(mode="json", include={"beams", "chat", "template"}, exclude_defaults=True)
        if how:
            found["asked"] = json.dumps(how, sort_keys=True)
    if spec.image is not None:
        found["guidance"] = f"{spec.image.guidance:g}"
    if spec.sources.node is not None:
        node = spec.sources.node.model_dump(mode="json", exclude={"clock", "seed"}, exclude_defaults=True)
        found["simulated node"] = json.dumps(node, sort_keys=True)
    other = _others(spec)
    if other:
        found["options"] = json.dumps(other, sort_keys=True)
    return found


_KNOWN = frozenset(
    "task model engine text image prompts batch_size dtype device attention seed sources measure timeout_s accounting "
    "replay".split()
)


def _others(spec: RunSpec) -> dict[str, Any]:
    """Fields that this module does not know by name: taken to matter. A server's load is work, as a batch is."""
    exclude: dict[str, Any] = {**dict.fromkeys(_KNOWN, True), "server": {"concurrency"}}
    return spec.model_dump(mode="json", exclude=exclude, exclude_defaults=True)


def differences(settings: Sequence[dict[str, str]]) -> list[str]:
    """What differs between settings, e.g. "dtype: float16, float32"."""
    names = dict.fromkeys(name for each in settings for name in each)
    told = []
    for name in names:
        values = list(dict.fromkeys(each.get(name, "none") for each in settings))
        if len(values) > 1:
            told.append(f"{name}: {', '.join(values)}")
    return told


def grouped(items: Iterable[T], key: Callable[[T], dict[str, str]]) -> list[list[T]]:
    """Items of equal settings together, in the order in which each setting came first."""
    groups: dict[tuple[tuple[str, str], ...], list[T]] = {}
    for item in items:
        groups.setdefault(tuple(sorted(key(item).items())), []).append(item)
    return list(groups.values())
