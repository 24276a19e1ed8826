"""When a sensor published its readings: update period and phase from a polled column. Pure.

A poll shows a new reading up to one polling step after it was published, so each change gives a bracket: (last poll of
the old reading, first poll of the new one]. One even grid through all brackets gives period and phase far better than
the polling step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.stats import FloatArray

MIN_CHANGES = 6  # fewer say nothing about a period
MIN_COHERENCE = 0.35  # length of the mean vector of change phases: 1 on a perfect grid, 1/sqrt(n) at random
PIECE = 40  # changes per piece: few enough that a coarse period does not slip, many enough to be sharp
FASTEST_IN_POLLS = 1.2  # a period below this many polling steps cannot be seen


@dataclass(frozen=True)
class Publications:
    """Readings and when they were published.

    `period_s`: the even grid's; None when too few changes or too slow a poll hide it. `phase_s`: the grid's point in
    [0, period). `jitter_s`: standard deviation of the brackets' middles about the grid, of which polling alone explains
    step / sqrt(12). `period_u_s`: standard uncertainty of the period from that scatter alone. `t_s`, `readings`: shape
    (n,); times are the grid's, kept inside each bracket, or without a grid the middles of the brackets.
    """

    t_s: FloatArray
    readings: FloatArray
    step_s: float
    period_s: float | None
    period_u_s: float | None
    phase_s: float | None
    jitter_s: float | None

    @property
    def period_doubt_s(self) -> float | None:
        """The period's standard uncertainty where polls may keep step with the updates, seconds.

        A period near a whole number of polling steps looks as if it were that number at every change, and nothing
        scatters. It is known to what two brackets at the ends of the span allow, each a rectangle of one step.
        """
        if self.period_s is None or self.period_u_s is None:
            return None
        periods = float(self.t_s[-1] - self.t_s[0]) / self.period_s
        return max(self.period_u_s, self.step_s / math.sqrt(6) / periods)


def publications(t_s: FloatArray, values: FloatArray) -> Publications:
    """Find the grid of a polled column.

    Args:
        t_s: Poll times, seconds, strictly rising, shape (n,), n >= 2.
        values: What the polls showed, shape (n,).
    """
    step_s = float(np.median(np.diff(t_s)))
    new = np.flatnonzero(values[1:] != values[:-1]) + 1
    after_s, until_s = t_s[new - 1], t_s[new]
    middle_s = (after_s + until_s) / 2
    hidden = Publications(middle_s, values[new], step_s, None, None, None, None)
    narrow = until_s - after_s <= 3 * step_s  # a poll that stalled says little
    if narrow.sum() < MIN_CHANGES:
        return hidden
    coarse_s = _coarse_period(middle_s[narrow], step_s)
    if coarse_s is None:
        return hidden
    start_s, period_s = _fine_grid(middle_s[narrow], coarse_s)
    start_s, period_s, period_u_s = _line(np.round((middle_s[narrow] - start_s) / period_s), middle_s[narrow])
    numbers = np.round((middle_s - start_s) / period_s)
    # After a stalled poll the newest of several readings is shown.
    numbers[~narrow] = np.maximum(np.floor((until_s - start_s) / period_s), numbers)[~narrow]
    away_s = middle_s[narrow] - start_s - numbers[narrow] * period_s
    if abs(np.exp(2j * np.pi * away_s / period_s).mean()) < MIN_COHERENCE:
        return hidden
    at_s = np.clip(start_s + numbers * period_s, after_s, until_s)
    at_s, readings = _with_repeats(t_s, values, at_s, numbers, new, period_s)
    return Publications(
        at_s, readings, step_s, period_s, period_u_s, start_s % period_s, float(np.sqrt(np.mean(away_s**2)))
    )


def _frequencies_hz(shortest_s: float, longest_s: float, span_s: float) -> FloatArray:
    """Evenly spaced, so dense that a grid over the span slips by a tenth of a turn from one to the next; falling."""
    turns = span_s / shortest_s - span_s / longest_s
    frequencies_hz: FloatArray = np.linspace(1 / shortest_s, 1 / longest_s, int(10 * turns) + 50)
    return frequencies_hz


def _agreement(middle_s: FloatArray, frequencies_hz: FloatArray) -> FloatArray:
    """Length of the mean vector of the changes' phases, for every frequency: 1 when all lie on one grid.

    The frequencies are evenly spaced, so that a phase is one of a few coarse steps plus one of a few fine ones, and the
    sum over all changes is a product of two small matrices.
    """
    count, step_hz = len(frequencies_hz), frequencies_hz[1] - frequencies_hz[0]
    fine = math.isqrt(count - 1) + 1
    turns_s = 2j * np.pi * (middle_s - middle_s[0])
    coarse_turns = np.exp(np.multiply.outer(frequencies_hz[::fine], turns_s))
    fine_turns = np.exp(np.multiply.outer(turns_s, step_hz * np.arange(fine)))
    length: FloatArray = np.abs(coarse_turns @ fine_turns).ravel()[:count] / len(middle_s)
    return length


def _coarse_period(middle_s: FloatArray, step_s: float) -> float | None:
    """The period on whose grid the changes agree best, piece by piece, or None where they agree on none."""
    intervals_s = np.diff(middle_s)
    shortest_s = max(FASTEST_IN_POLLS * step_s, 0.6 * float(np.quantile(intervals_s, 0.1)))
    longest_s = 1.5 * float(np.median(intervals_s))
    if shortest_s >= longest_s:
        return None
    pieces = np.array_split(middle_s, max(1, len(middle_s) // PIECE))
    span_s = float(np.median([np.ptp(piece) for piece in pieces]))
    frequencies_hz = _frequencies_hz(shortest_s, longest_s, span_s)
    agreement = np.mean([_agreement(piece, frequencies_hz) for piece in pieces], axis=0)
    if agreement.max() < MIN_COHERENCE:
        return None
    # Half a period agrees as well but for the polls' blur: the longest of those close to the best is the period.
    return 1 / float(frequencies_hz[np.flatnonzero(agreement >= 0.97 * agreement.max())[-1]])


def _fine_grid(middle_s: FloatArray, coarse_s: float) -> tuple[float, float]:
    """(start, period) of the grid on which all changes agree best, near a period known from pieces.

    The number of pieces joined doubles from pass to pass, so that the next, longer grid never slips a turn.
    """
    period_s, doubt = coarse_s, 0.5 * coarse_s / max(float(np.ptp(middle_s[: PIECE + 1])), coarse_s)
    count = min(PIECE, len(middle_s))
    while True:
        count = min(2 * count, len(middle_s))
        pieces = np.array_split(middle_s, max(1, len(middle_s) // count))
        span_s = float(np.median([np.ptp(piece) for piece in pieces]))
        frequencies_hz = _frequencies_hz(period_s * (1 - doubt), period_s * (1 + doubt), span_s)
        agreement = np.mean([_agreement(piece, frequencies_hz) for piece in pieces], axis=0)
        period_s = 1 / float(frequencies_hz[int(np.argmax(agreement))])
        doubt = 0.5 * period_s / max(span_s, period_s)
        if count == len(middle_s):
            break
    phase = float(np.angle(np.exp(2j * np.pi * (middle_s - middle_s[0]) / period_s).mean()))
    return float(middle_s[0]) + phase / (2 * np.pi) * period_s, period_s


def _line(numbers: FloatArray, middle_s: FloatArray) -> tuple[float, float, float]:
    """(start, period, the period's standard uncertainty) by least squares through the brackets' middles."""
    period_s, start_s = np.polyfit(numbers, middle_s, 1)
    spread_s = float(np.std(middle_s - start_s - period_s * numbers))
    return float(start_s), float(period_s), spread_s / float(np.sqrt(np.sum((numbers - numbers.mean()) ** 2)))


def _with_repeats(
    t_s: FloatArray, values: FloatArray, at_s: FloatArray, numbers: FloatArray, new: np.ndarray, period_s: float
) -> tuple[FloatArray, FloatArray]:
    """Add the readings that equalled the one before: grid points inside a stretch that polls show unbroken."""
    times, readings = [at_s], [values[new]]
    for index in np.flatnonzero(np.diff(numbers) > 1):
        extra_s = at_s[index] + np.arange(1, numbers[index + 1] - numbers[index]) * period_s
        polled = np.searchsorted(t_s, extra_s + period_s) - np.searchsorted(t_s, extra_s) >= 1
        extra_s = extra_s[polled & (extra_s < at_s[index + 1] - period_s / 2)]
        times.append(extra_s)
        readings.append(np.full(len(extra_s), values[new[index]]))
    all_s, all_values = np.concatenate(times), np.concatenate(readings)
    order = np.argsort(all_s, kind="stable")
    return all_s[order], all_values[order]
