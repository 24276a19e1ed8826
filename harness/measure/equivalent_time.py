"""Mean power of a load whose batches repeat, from readings that sample each of them only here and there. Pure.

A sensor that renews its reading every 100 ms shows ten readings of a batch of one second. If the batches repeat and
start at other phases each time, the readings of all of them, put in order of their time since the start of their batch,
sample the batch a hundred times: equivalent-time sampling, as in an oscilloscope (IEEE Std 1057). Each reading then
stands for the time to the middle between its neighbours in that order, and not for one period: what the phases left
uneven is weighed out. Its error falls with the density of the readings where a plain mean's falls with how evenly the
phases happen to lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.stats import FloatArray, effective_sample_size

FEWEST_READINGS = 10


@dataclass(frozen=True)
class CycleMean:
    """Mean power from the first batch's start to the last one's end, watts.

    `u_w`: standard uncertainty. `plain_w`: the plain mean of the same readings, as an energy counter has it.
    """

    power_w: float
    u_w: float
    plain_w: float


def cycle_mean(starts_s: FloatArray, end_s: float, at_s: FloatArray, readings_w: FloatArray) -> CycleMean | None:
    """Mean power over batches and the pauses that follow them.

    A reading's doubt is how far it lies off the line between its neighbours, which come from other batches: what does
    not repeat, and what changes faster than the readings lie apart, shows there in full. Residuals that stick together
    in time count for as many as they are worth.

    Args:
        starts_s: When each batch started, seconds, rising, shape (m,).
        end_s: When the last one ended.
        at_s: The time that each reading speaks of, seconds, rising, shape (n,).
        readings_w: One per renewal, watts, shape (n,).

    Returns:
        None for fewer than ten readings between the first start and the end.
    """
    inside = (at_s >= starts_s[0]) & (at_s < end_s)
    at_s, readings_w = at_s[inside], readings_w[inside]
    if len(at_s) < FEWEST_READINGS:
        return None
    lengths_s = np.append(np.diff(starts_s), end_s - starts_s[-1])
    since_s = at_s - starts_s[np.searchsorted(starts_s, at_s, side="right") - 1]
    order = np.argsort(since_s, kind="stable")
    weights_s, ordered_w = _weights_s(since_s[order], lengths_s), readings_w[order]
    residuals_w = np.empty_like(ordered_w)
    residuals_w[order] = _off_the_line(ordered_w)
    together = len(residuals_w) / effective_sample_size(residuals_w)
    total_s = float(weights_s.sum())
    squares = float(np.sum((weights_s * residuals_w[order]) ** 2))
    return CycleMean(
        power_w=float(weights_s @ ordered_w) / total_s,
        u_w=math.sqrt(squares * together) / total_s,
        plain_w=float(readings_w.mean()),
    )


def _weights_s(since_s: FloatArray, lengths_s: FloatArray) -> FloatArray:
    """Time that each reading stands for: to the middles between its neighbours, once for every batch as long as that.

    Args:
        since_s: Time since the start of the batch, seconds, rising, shape (n,).
        lengths_s: From each start to the next, or to the end, seconds, shape (m,).

    Returns:
        Seconds, shape (n,), adding up to the sum of the lengths.
    """
    edges_s = np.concatenate([[0.0], (since_s[1:] + since_s[:-1]) / 2, [lengths_s.max()]])
    spent_s = np.array([np.minimum(lengths_s, edge_s).sum() for edge_s in edges_s])
    weights_s: FloatArray = np.diff(spent_s)
    return weights_s


def _off_the_line(ordered_w: FloatArray) -> FloatArray:
    """How far each value lies off the middle of its two neighbours, scaled to the standard deviation of white noise."""
    before = np.concatenate([ordered_w[1:2], ordered_w[:-1]])
    after = np.concatenate([ordered_w[1:], ordered_w[-2:-1]])
    off: FloatArray = (ordered_w - (before + after) / 2) / math.sqrt(1.5)
    return off
