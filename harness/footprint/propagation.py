"""Values with ranges through a chain of formulas: a graph of steps over named inputs, each input one number. Pure.

Every step is computed from the inputs that lead to it, never from a step's own range, so that an input that is used
twice moves once. Three things are said of each step:

- value: all inputs at their central values;
- low, high: interval arithmetic at the corners. A step must rise or fall steadily with each input, which products,
  sums and quotients of positive numbers do; its extremes then lie where every input is at one of its ends;
- standard uncertainty: each input varied alone, the root mean square of what it does to the step, all added in
  quadrature (JCGM 100:2008, 5.1.2; a range without a distribution counts as rectangular, 4.3.7, here about the stated
  value, which need not be its middle, F.2.4.4).

An input without a known range adds nothing to either and is named in `unknown`: no range is not a range of zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from harness.errors import UserInputError
from harness.footprint.factors import Factor
from harness.frozen import Frozen
from harness.stats import Estimate, FloatArray

Origin = Literal["measured", "simulated", "factor", "given", "recorded"]
_MOST_RANGES = 14  # two to the power of it are the corners
_POINTS = 32


class Input(Frozen):
    """One number that enters a chain, with its range where one is known."""

    name: str
    label: str
    value: float
    low: float | None = Field(None, description="of a measured one: the 95 % interval")
    high: float | None = None
    standard_uncertainty: float | None = Field(None, description="measured ones; a factor's follows from its range")
    unit: str
    origin: Origin
    source: str
    factor: Factor | None = None

    @model_validator(mode="after")
    def _range_holds_value(self) -> Input:
        if (self.low is not None and self.low > self.value) or (self.high is not None and self.high < self.value):
            raise ValueError(f"{self.name}: {self.value} lies outside {self.low} to {self.high}")
        return self

    @property
    def ends(self) -> tuple[float, ...]:
        """The ends of the range; the value alone where none is known."""
        return tuple(dict.fromkeys(self.value if end is None else end for end in (self.low, self.high)))

    @property
    def range_known(self) -> bool:
        """Whether anything is known of how far it may be off. Low = high = value is known to be exact."""
        return self.standard_uncertainty is not None or self.low is not None or self.high is not None


class Line(Frozen):
    """One step of a chain, computed: what it is, how, from what, and how far it may be off."""

    name: str
    label: str
    formula: str = Field(description="names of inputs and of lines above")
    value: float
    low: float = Field(description="every input within its range")
    high: float
    standard_uncertainty: float = Field(description="of the inputs whose range is known, in quadrature")
    unit: str
    needs: tuple[str, ...] = Field(description="the names in the formula")
    inputs: tuple[str, ...] = Field(description="every input that leads here, each once")
    unknown: tuple[str, ...] = Field(description="those of them that have no known range and count as exact here")
    unverified: tuple[str, ...] = Field(description="factors behind it whose value or range, as told, is from memory")


@dataclass(frozen=True)
class Step:
    """One formula: what it needs by name, in the order of the arguments of `compute`, which also takes arrays."""

    name: str
    label: str
    unit: str
    formula: str
    needs: tuple[str, ...]
    compute: Callable[..., Any]


def from_factor(name: str, label: str, used: Factor, scale: float = 1.0, unit: str | None = None) -> Input:
    """A factor as an input; `scale` turns its unit into that of the formulas."""
    low, high = (None if end is None else end * scale for end in (used.low, used.high))
    return Input(
        name=name,
        label=label,
        value=used.value * scale,
        low=low,
        high=high,
        unit=unit or used.unit,
        origin="given" if used.verified == "given" else "factor",
        source=used.source,
        factor=used,
    )


def from_estimate(name: str, label: str, estimate: Estimate, unit: str, origin: Origin, source: str) -> Input:
    """A measured number with its interval as an input."""
    return Input(
        name=name,
        label=label,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        standard_uncertainty=estimate.standard_uncertainty,
        unit=unit,
        origin=origin,
        source=source,
    )


def doubted(factors: Iterable[Factor]) -> tuple[str, ...]:
    """What of factors is from memory, each named once: "car epa-2023 unverified"."""
    return tuple(dict.fromkeys(f"{each.name} {each.doubt_text}" for each in factors if each.doubt_text))


def evaluate(inputs: Sequence[Input], steps: Sequence[Step]) -> dict[str, Line]:
    """Every step with its range.

    Args:
        inputs: Each name once.
        steps: In an order in which each needs only inputs and steps before it.

    Raises:
        ValueError: A name is missing or given twice, or more inputs have ranges than corners can be counted for.
        UserInputError: A step is not finite.
    """
    known = {each.name: each for each in inputs}
    made: dict[str, Step] = {}
    leaves: dict[str, tuple[str, ...]] = {}
    lines = {}
    if len(known) < len(inputs):
        raise ValueError("an input is given twice")
    for step in steps:
        if step.name in known or step.name in made:
            raise ValueError(f"{step.name} is given twice")
        missing = [name for name in step.needs if name not in known and name not in made]
        if missing:
            raise ValueError(f"{step.name} needs {missing[0]}, which is not there")
        below = [leaf for name in step.needs for leaf in ((name,) if name in known else leaves[name])]
        leaves[step.name] = tuple(dict.fromkeys(below))
        made[step.name] = step
        lines[step.name] = _line(step, [known[name] for name in leaves[step.name]], made)
    return lines


def _line(step: Step, leaves: Sequence[Input], made: Mapping[str, Step]) -> Line:
    central = np.array([leaf.value for leaf in leaves])
    corners = _corners(leaves)
    alone = [_varied_alone(leaf) for leaf in leaves]
    varied = [np.tile(central, (len(points), 1)) for points in alone]
    for column, points in enumerate(alone):
        varied[column][:, column] = points
    rows = np.vstack([central, corners, *varied])
    columns = {leaf.name: rows[:, index] for index, leaf in enumerate(leaves)}
    results = np.broadcast_to(np.asarray(_computed(step, columns, made), dtype=np.float64), (len(rows),))
    value, start, square = float(results[0]), 1 + len(corners), 0.0
    for points in alone:
        part = results[start : start + len(points)]
        with np.errstate(all="ignore"):
            square += float(np.mean((part - value) ** 2)) if len(part) else 0.0
        start += len(points)
    if not (np.isfinite(results).all() and math.isfinite(square)):
        raise UserInputError(f"The {step.label} cannot be computed: a number is too large, or something divides by 0.")
    extremes = results[: 1 + len(corners)]
    return Line(
        name=step.name,
        label=step.label,
        formula=step.formula,
        value=value,
        low=float(extremes.min()),
        high=float(extremes.max()),
        standard_uncertainty=math.sqrt(square),
        unit=step.unit,
        needs=step.needs,
        inputs=tuple(leaf.name for leaf in leaves),
        unknown=tuple(leaf.name for leaf in leaves if not leaf.range_known),
        unverified=doubted(leaf.factor for leaf in leaves if leaf.factor is not None),
    )


def _computed(step: Step, columns: dict[str, FloatArray], made: Mapping[str, Step]) -> Any:
    """A step over columns of inputs; what it is made of is computed once and kept in `columns`."""
    for name in step.needs:
        if name not in columns:
            columns[name] = _computed(made[name], columns, made)
    with np.errstate(all="ignore"):
        return step.compute(*(columns[name] for name in step.needs))


def _corners(leaves: Sequence[Input]) -> FloatArray:
    """Every combination of ends, shape (combinations, inputs)."""
    if sum(len(leaf.ends) > 1 for leaf in leaves) > _MOST_RANGES:
        raise ValueError(f"more than {_MOST_RANGES} inputs with ranges lead to one number")
    grid = np.meshgrid(*(np.array(leaf.ends) for leaf in leaves), indexing="ij")
    return np.stack([axis.ravel() for axis in grid], axis=1)


def _varied_alone(leaf: Input) -> FloatArray:
    """Values of one input that stand for its distribution: value +- u, or evenly over its range; none if unknown."""
    if leaf.standard_uncertainty is not None:
        return np.array([leaf.value - leaf.standard_uncertainty, leaf.value + leaf.standard_uncertainty])
    if len(leaf.ends) == 1:
        return np.empty(0)
    low, high = min(leaf.ends), max(leaf.ends)
    return low + (np.arange(_POINTS) + 0.5) / _POINTS * (high - low)
