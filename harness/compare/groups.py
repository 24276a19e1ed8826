"""Which sides of several campaigns belong together, alike in all but what is compared; and their labels. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.compare.base import LeftOut, Side

# What a board and its driver are, where the energy comes from: they are compared or named, never matched by.
_NOT_MATCHED = frozenset({"origin", "board", "boundary", "power limit", "driver", "simulated node"})


def matched(groups: Sequence[Sequence[Side]]) -> tuple[list[list[Side]], list[LeftOut]]:
    """Sets of sides to compare, one of each group at most, the first group's first.

    A field that is constant within every group and differs between them is what is compared; all others that the groups
    tell must match. Two runs of one group that only differ in what is compared cannot be told apart and are left out.
    """
    if all(len(group) == 1 for group in groups):
        return [[group[0] for group in groups]], []
    names = _key_names(groups)
    keyed = [_by_key(group, names) for group in groups]
    sets: list[list[Side]] = []
    left_out: list[LeftOut] = []
    for key, alike in keyed[0].items():
        found = [each[key] for each in keyed if key in each]
        several = next((sides for sides in found if len(sides) > 1), None)
        if several is not None:
            reason = f"{len(several)} runs of {several[0].group} match it alike; name one of them"
            left_out += [LeftOut(name=side.name, reason=reason) for side in alike]
        elif len(found) > 1:
            sets.append([sides[0] for sides in found])
        else:
            left_out += [
                LeftOut(name=side.name, reason=f"no run of {_others(groups, side)} matches it") for side in alike
            ]
    for each in keyed[1:]:
        for key, alike in each.items():
            if key not in keyed[0]:
                reason = f"no run of {groups[0][0].group} matches it"
                left_out += [LeftOut(name=side.name, reason=reason) for side in alike]
    return sets, left_out


def by_model(sides: Sequence[Side]) -> list[list[Side]]:
    """The sides of one campaign as groups to compare: by model; each for itself where there is only one."""
    groups: dict[str, list[Side]] = {}
    for side in sides:
        groups.setdefault(side.fields["model"], []).append(side.model_copy(update={"group": side.fields["model"]}))
    return list(groups.values()) if len(groups) > 1 else [[side] for side in sides]


def labelled(sets: Sequence[Sequence[Side]]) -> list[list[Side]]:
    """Short names where they tell the sides of a table apart, longer ones elsewhere, at last numbers."""
    sides = [side for each in sets for side in each]
    labels = [side.label for side in sides]
    longer = [[*side.longer, side.name, f"{side.name} ({number})"] for number, side in enumerate(sides, 1)]
    for level in range(max(map(len, longer), default=0)):
        counts = Counter(labels)
        labels = [
            others[min(level, len(others) - 1)] if counts[label] > 1 else label
            for label, others in zip(labels, longer, strict=True)
        ]
    named = iter(side.model_copy(update={"label": label}) for side, label in zip(sides, labels, strict=True))
    return [[next(named) for _ in each] for each in sets]


def _key_names(groups: Sequence[Sequence[Side]]) -> list[str]:
    """Fields of all sides that are not what is compared."""
    sides = [side for group in groups for side in group]
    told = [name for name in sides[0].fields if name not in _NOT_MATCHED]
    names = dict.fromkeys(told + [name for side in sides for name in side.fields if name not in _NOT_MATCHED])
    foreign = any(side.kind != "run" for side in sides)  # they tell little of themselves
    known = [name for name in names if not foreign or all(name in side.fields for side in sides)]
    return [name for name in known if not _is_compared(groups, name)]


def _is_compared(groups: Sequence[Sequence[Side]], name: str) -> bool:
    values = [{side.fields.get(name) for side in group} for group in groups]
    return all(len(each) == 1 for each in values) and len(set().union(*values)) > 1


def _by_key(group: Sequence[Side], names: Sequence[str]) -> dict[tuple[str | None, ...], list[Side]]:
    found: dict[tuple[str | None, ...], list[Side]] = {}
    for side in group:
        found.setdefault(tuple(side.fields.get(name) for name in names), []).append(side)
    return found


def _others(groups: Sequence[Sequence[Side]], side: Side) -> str:
    return ", ".join(group[0].group for group in groups if group[0].group != side.group)
