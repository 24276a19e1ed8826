"""What two sides may not differ in, unless it is asked for by name, and how it is then told. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from harness.compare.base import BOUNDARIES, Across, Side, Unit
from harness.errors import UserInputError

SAME_WORK = 0.01  # units of work in a generation that differ by less count as the same


@dataclass(frozen=True)
class Crossing:
    """One difference that makes a ratio one of two things.

    Work of another size leaves a board's gain what it is; all else lets nothing common cancel.
    """

    kind: Across
    told: str

    @property
    def cancels_nothing(self) -> bool:
        """Whether sensors' errors must be taken as unrelated."""
        return self.kind != "unit"


def crossings(baseline: Side, other: Side, per: Unit, allowed: Collection[Across]) -> tuple[Crossing, ...]:
    """All such differences of two sides.

    Raises:
        UserInputError: One that is not allowed.
    """
    found = tuple(_found(baseline, other, per))
    missing = [each for each in found if each.kind not in allowed]
    if missing:
        told = "; ".join(each.told for each in missing)
        kinds = ",".join(dict.fromkeys(each.kind for each in found))
        smaller = (
            "Compare per token or per megapixel (--per), or add" if _by_unit(missing) else "To compare all the same:"
        )
        raise UserInputError(
            f"{baseline.label} and {other.label} cannot be compared: {told}.",
            f"{smaller} --across {kinds}; it is then said beside every number.",
        )
    return found


def _found(a: Side, b: Side, per: Unit) -> Iterator[Crossing]:
    if a.boundary != b.boundary:
        yield Crossing("boundary", f"{BOUNDARIES[a.boundary]} against {BOUNDARIES[b.boundary]}")
    if a.gpu != b.gpu:
        yield Crossing("gpu", f"{a.gpu} against {b.gpu}")
    if a.simulated != b.simulated:
        yield Crossing("origin", f"{a.mark or 'measured'} energy against {b.mark or 'measured'} energy")
    if a.task is None or b.task is None:
        unknown = " and ".join(side.label for side in (a, b) if side.task is None)
        yield Crossing("unit", f"the task of {unknown} is not known")
    elif a.task != b.task:
        yield Crossing("unit", f"work of {a.task} against {b.task}")
    else:
        yield from _other_size(a, b, per)


def _other_size(a: Side, b: Side, per: Unit) -> Iterator[Crossing]:
    """A generation of ten tokens is not one of a hundred, nor a small picture a large one."""
    sizes: dict[Unit, tuple[Unit, ...]] = {"generation": ("token", "image", "megapixel"), "image": ("megapixel",)}
    for unit in sizes.get(per, ()):
        mine, theirs = a.per_generation.get(unit), b.per_generation.get(unit)
        if mine is None or theirs is None or abs(theirs / mine - 1) <= SAME_WORK:
            continue
        yield Crossing("unit", f"{mine:.4g} {unit}s in a generation against {theirs:.4g}")


def _by_unit(missing: list[Crossing]) -> bool:
    return all(each.kind == "unit" and "in a generation" in each.told for each in missing)
