"""One to five stars for energy, in two stated ways, with band edges and what an interval leaves open. Pure.

- equal bands: the range from the least to the most energy is divided into five equal parts, as AI Energy Score words it
  ("dividing the GPU energy range for a specific task into five equal sections (20% intervals)",
  huggingface.github.io/AIEnergyScore, read 2026).
- quantiles: every fifth of the models has one number of stars, so that one very costly model does not lift all others.

Both tell a model's place among the models beside it and nothing else: with other models it has other stars.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from pydantic import Field

from harness.frozen import Frozen

Way = Literal["equal bands", "quantiles"]
WAYS: tuple[Way, ...] = get_args(Way)
MOST_STARS = 5
FEWEST_MODELS = 2  # one has no range


class Bands(Frozen):
    """Where the stars part: up to edges[0] five stars, up to edges[1] four, above edges[3] one. kWh per 1,000."""

    way: Way
    edges: tuple[float, float, float, float]
    models: int = Field(description="that the edges were made from")
    low: float
    high: float


class Stars(Frozen):
    """A place in the bands. `fewest` and `most`: where the ends of the interval would stand."""

    stars: int
    fewest: int
    most: int

    @property
    def crosses(self) -> bool:
        """The interval crosses an edge: the measurement does not settle the stars."""
        return self.fewest < self.most

    @property
    def text(self) -> str:
        """Five characters, and the numbers of stars that the interval leaves open: "★★★☆☆ (3 to 4)"."""
        drawn = "★" * self.stars + "☆" * (MOST_STARS - self.stars)
        return f"{drawn} ({self.fewest} to {self.most})" if self.crosses else drawn


def bands(energies: Iterable[float], way: Way) -> Bands | None:
    """The edges for one task on one board under one boundary.

    Args:
        energies: One for each model, any one unit.
        way: Of dividing.

    Returns:
        None for fewer than two models, or where all take the same.
    """
    values = np.sort(np.fromiter(energies, dtype=np.float64))
    if len(values) < FEWEST_MODELS or values[0] == values[-1]:
        return None
    low, high = float(values[0]), float(values[-1])
    shares = np.arange(1, MOST_STARS) / MOST_STARS
    inner = low + shares * (high - low) if way == "equal bands" else np.quantile(values, shares)
    one, two, three, four = (float(edge) for edge in inner)
    return Bands(way=way, edges=(one, two, three, four), models=len(values), low=low, high=high)


def stars(within: Bands, value: float, low: float | None = None, high: float | None = None) -> Stars:
    """The stars of one energy with its interval; on an edge the better ones, beyond all models five or one."""
    return Stars(
        stars=_stars(within, value),
        fewest=_stars(within, value if high is None else high),
        most=_stars(within, value if low is None else low),
    )


def _stars(within: Bands, value: float) -> int:
    return MOST_STARS - bisect.bisect_left(within.edges, value)
