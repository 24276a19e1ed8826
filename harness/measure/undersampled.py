"""What a sensor that sees only part of the time leaves open about the mean power of a window. Pure.

Readings are split into stretches between sharp steps (a load starts or ends); within a stretch they are samples of a
load that varies. Four things can be wrong with the mean of such samples, each with its own function:

- they scatter, and neighbours resemble each other: kappa s^2 / N_eff, with Student's t;
- they may have missed a state that lasts only a share of the time: rule of three (Hanley & Lippman-Hand, JAMA 1983);
- a step lies somewhere between two readings;
- they may beat with the load (lock-in): every k-th reading looks alike, and the window says little about the load.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np

from harness.stats import FloatArray, block_mean_u, effective_sample_size, student_t_quantile

NORMAL_95 = NormalDist().inv_cdf(0.975)

SHORTEST_PLATEAU = 5  # readings
PLATEAU_SPREAD = 1 / 3  # a plateau's range is at most this part of the step that ends it
STEP_READINGS = 2  # a step may be caught halfway by so many readings
ENOUGH_EFFECTIVE = 8.0  # a window worth fewer independent readings looks for more of its stretch outside itself
LONGEST_PATTERN = 8  # readings after which a locked load may repeat
RESEMBLING = 0.7  # correlation of readings k apart above which they count as one phase of the load
NOTABLE_SWING = 0.1  # of the mean: a slow swing below this may well be a warming board
REST_OF_WORK = 0.5  # a board at rest draws less than half of what it draws at work
MOST_CREDIT = 4.0  # evenly spread phases are worth at most so many independent readings each
STEADY_SPREAD = 0.05  # of the mean: readings closer together than this look like a steady load


@dataclass(frozen=True)
class Levels:
    """Power that the board may have drawn unseen, watts, and whether other readings show these levels."""

    low_w: float
    high_w: float
    seen: bool


@dataclass(frozen=True)
class Rhythm:
    """Readings that repeat every `pattern`; at 1 they swing, once in `beat_readings` (None: less than twice in all)."""

    pattern: int
    beat_readings: float | None
    swing_w: float


@dataclass(frozen=True)
class Stretch:
    """Readings between two sharp steps, [first, last) of the recording, and [inner_first, inner_last) in the window."""

    first: int
    last: int
    inner_first: int
    inner_last: int


@dataclass(frozen=True)
class Doubt:
    """About the mean power of a window, watts: standard uncertainties, and 95 % half-widths down and up.

    `low_w`, `high_w`: what the mean can be at the least and at most if the unseen time was spent at one of the levels.
    """

    scatter_u_w: float
    scatter_half_w: float
    unseen_u_w: float
    unseen_down_w: float
    unseen_up_w: float
    steps_u_w: float
    low_w: float
    high_w: float
    n_effective: float
    rhythm: Rhythm | None
    steady: bool


def levels(
    readings_w: FloatArray, inside_w: FloatArray, power_limit_w: float | None = None, flattened: bool = False
) -> Levels:
    """Between which powers the board may have been while the sensor did not look.

    Where the recording shows rest and work, its extremes are taken. Where it shows one level only, nothing is known:
    anything from nothing to the power limit, or without one to twice the mean. Readings that flatten what is shorter
    than the period show no highest power either.
    """
    low_w, high_w, mean_w = float(readings_w.min()), float(readings_w.max()), float(inside_w.mean())
    seen = low_w < REST_OF_WORK * high_w
    if not seen:
        low_w = 0.0
    if not seen or flattened:
        high_w = max(high_w, 2 * mean_w) if power_limit_w is None else power_limit_w
    if power_limit_w is not None:
        high_w = min(high_w, power_limit_w)
    return Levels(max(0.0, low_w), max(high_w, float(inside_w.max())), seen)


def sharp_steps(readings_w: FloatArray, kappa: float) -> list[int]:
    """Indices at which a new stretch begins: a plateau, at most two readings in between, another plateau.

    A beat with a periodic load would show its flanks too: its plateaus are as long only if a flank takes
    (1 - kappa) / (2 kappa) of their length or more. So plateaus must be longer the less a sensor sees.
    """
    plateau = max(SHORTEST_PLATEAU, math.ceil(1.5 / max(1 - kappa, 0.05)))
    found: list[int] = []
    k = plateau
    while k <= len(readings_w) - plateau:
        for between in range(STEP_READINGS + 1):
            at = _step(readings_w, k, k + between, plateau)
            if at is not None:
                found.append(at)
                k = at + plateau - 1
                break
        k += 1
    return found


def _step(readings_w: FloatArray, before_end: int, after_start: int, plateau: int) -> int | None:
    """The first reading nearer to the plateau after a step than to the one before it; None where there is no step."""
    before, after = readings_w[before_end - plateau : before_end], readings_w[after_start : after_start + plateau]
    if len(after) < plateau:
        return None
    before_w, after_w = float(before.mean()), float(after.mean())
    if before_w == after_w or max(np.ptp(before), np.ptp(after)) > PLATEAU_SPREAD * abs(after_w - before_w):
        return None
    across = np.abs(readings_w[before_end : after_start + 1] - after_w) < abs(after_w - before_w) / 2
    return before_end + int(np.argmax(across))


def stretches(readings_w: FloatArray, inside: tuple[int, int], kappa: float) -> list[Stretch]:
    """The stretches that a window of readings [inside[0], inside[1]) touches."""
    bounds = [0, *sharp_steps(readings_w, kappa), len(readings_w)]
    return [
        Stretch(first, last, max(first, inside[0]), min(last, inside[1]))
        for first, last in pairwise(bounds)
        if max(first, inside[0]) < min(last, inside[1])
    ]


def effective_readings(readings_w: FloatArray) -> float:
    """How many independent readings a stretch is worth, counting phases of a locked load once.

    Readings that repeat every k-th time are k phases of the load, however many there are: the series' worth is then
    what its every k-th lag leaves of it. k = 1 is `effective_sample_size`.
    """
    n = len(readings_w)
    worth = effective_sample_size(readings_w)
    for k in range(2, min(LONGEST_PATTERN, n // 4) + 1):
        rhos = repeats(readings_w, k)
        if rhos:
            worth = min(worth, max(1.0, n / (1 + 2 * math.fsum(rhos))))
    return worth


def repeats(readings_w: FloatArray, k: int) -> list[float]:
    """Correlations at k, 2k, ... up to a quarter of the series, if it resembles itself at all of them; else nothing.

    Any periodic load comes back to nearly the same phase after some few readings. Only if it still does so much later
    does it keep step with the sensor; otherwise it drifts, and all phases are seen in time.
    """
    n = len(readings_w)
    rhos = [correlation(readings_w, lag) for lag in range(k, max(k, n // 4) + 1, k)]
    unbiased = [rho * n / (n - k * (index + 1)) for index, rho in enumerate(rhos)]
    return rhos if min(unbiased) > max(RESEMBLING, 3 / math.sqrt(n)) else []


def correlation(readings_w: FloatArray, lag: int) -> float:
    """Autocorrelation at one lag; 0 where the readings do not vary or are too few."""
    if len(readings_w) <= lag + 1:
        return 0.0
    centred = readings_w - readings_w.mean()
    variance = float(centred @ centred)
    return float(centred[:-lag] @ centred[lag:]) / variance if variance > 0 else 0.0


def rhythm(readings_w: FloatArray) -> Rhythm | None:
    """Whether readings repeat or swing slowly, as they do when a load's period is near a multiple of the sensor's.

    A slow load looks the same: this is a suspicion, not a proof.
    """
    n, swing_w = len(readings_w), float(np.ptp(readings_w))
    if n < 2 * SHORTEST_PLATEAU or swing_w <= NOTABLE_SWING * abs(float(readings_w.mean())):
        return None
    if correlation(readings_w, 1) * n / (n - 1) > max(RESEMBLING, 3 / math.sqrt(n)):
        return Rhythm(1, _beat(readings_w), swing_w)
    for pattern in range(2, min(LONGEST_PATTERN, n // 5) + 1):
        if repeats(readings_w, pattern):
            return Rhythm(pattern, None, swing_w)
    return None


def _beat(readings_w: FloatArray) -> float | None:
    """Length in readings of the strongest slow swing, if two fit; from the periodogram, with a Hann window."""
    n = len(readings_w)
    centred = (readings_w - readings_w.mean()) * np.hanning(n)
    power = np.abs(np.fft.rfft(centred, 8 * n)) ** 2
    strongest = int(np.argmax(power[1:])) + 1
    beat = 8 * n / strongest
    return beat if 2 * beat <= n else None


def window_doubt(
    readings_w: FloatArray,
    weights_s: FloatArray,
    inside: tuple[int, int],
    period_s: float,
    kappa: float,
    around: Levels,
    mean_of: int = 1,
    flattened: bool = False,
) -> Doubt:
    """Everything that undersampling leaves open about the mean power of one window.

    Args:
        readings_w: All readings of the recording, one per period, watts, shape (n,).
        weights_s: How much of the window each inner reading stands for, seconds, shape (inside[1] - inside[0],).
        inside: The window's readings are [inside[0], inside[1]).
        period_s: The sensor's.
        kappa: Share of the time that the sensor does not see.
        around: What the board may have drawn unseen.
        mean_of: Each reading is the mean of so many kernel outputs, and resembles as many neighbours for that alone.
        flattened: Readings reach over a period or more: none of the time is unseen, but a part of it is seen twice.
    """
    duration_s = float(weights_s.sum())
    inner = readings_w[inside[0] : inside[1]]
    mean_w = float(weights_s @ inner) / duration_s
    parts = stretches(readings_w, inside, kappa)
    scatter_u, scatter_half, unseen_u, down, up, worth = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for part in parts:
        share = float(weights_s[part.inner_first - inside[0] : part.inner_last - inside[0]].sum()) / duration_s
        sd_w, effective, degrees = _scatter(readings_w, part)
        u_w = math.sqrt(kappa / effective) * sd_w * share
        scatter_u += u_w**2
        scatter_half += (student_t_quantile(0.95, max(1.0, degrees)) * u_w) ** 2
        seen = readings_w[part.inner_first : part.inner_last]
        count = part.last - part.first
        missed = share * kappa * (1 - 0.05 ** (1 / (count + 1)))
        below_w, above_w = float(seen.min()) - around.low_w, around.high_w - float(seen.max())
        unseen_u += (share * kappa * max(below_w, above_w, 0.0) / (count + 2)) ** 2
        down += (missed * max(below_w, 0.0)) ** 2
        up += (missed * max(above_w, 0.0)) ** 2
        worth += effective
    steps_w = [abs(_level(readings_w, b) - _level(readings_w, a)) for a, b in pairwise(parts)]
    longest = max(parts, key=lambda part: part.inner_last - part.inner_first)
    stretch_w = readings_w[longest.first : longest.last]
    inner_stretch_w = readings_w[longest.inner_first : longest.inner_last]
    low_w, high_w = mean_w - kappa * max(0.0, mean_w - around.low_w), mean_w + kappa * (around.high_w - mean_w)
    if flattened:  # the true mean less the readings': (1 - w) p over a period, at most kappa times the whole range
        range_w = kappa * (around.high_w - around.low_w)
        low_w, high_w = mean_w - range_w, mean_w + range_w
    possible_u_w = (high_w - low_w) / math.sqrt(12)
    return Doubt(
        scatter_u_w=min(math.sqrt(scatter_u), possible_u_w),
        scatter_half_w=math.sqrt(scatter_half),
        unseen_u_w=min(math.sqrt(unseen_u), possible_u_w),
        unseen_down_w=math.sqrt(down),
        unseen_up_w=math.sqrt(up),
        steps_u_w=kappa * period_s * math.sqrt(math.fsum(step**2 for step in steps_w) / 12) / duration_s,
        low_w=low_w,
        high_w=high_w,
        n_effective=worth,
        rhythm=rhythm(stretch_w[::mean_of]) if kappa > 0 else None,
        steady=_bulk(inner_stretch_w) <= STEADY_SPREAD * abs(float(inner_stretch_w.mean())),
    )


def _bulk(readings_w: FloatArray) -> float:
    """Spread of the readings without the tenth at either end, which may belong to a step."""
    low_w, high_w = np.quantile(readings_w, (0.1, 0.9))
    return float(high_w - low_w)


def _level(readings_w: FloatArray, part: Stretch) -> float:
    return float(np.median(readings_w[part.first : part.last]))


def _scatter(readings_w: FloatArray, part: Stretch) -> tuple[float, float, float]:
    """Standard deviation, effective number of the window's readings, and degrees of freedom, in one stretch.

    Where nothing repeats, means of successive blocks show how far even spread of phases makes errors cancel.
    A window worth few readings borrows spread and memory from the rest of its stretch, where that shows more of them.
    """
    inner, whole = readings_w[part.inner_first : part.inner_last], readings_w[part.first : part.last]
    n = len(inner)
    sd_w = float(np.std(inner, ddof=1)) if n > 1 else 0.0
    effective = effective_readings(inner)
    blocks_u_w = block_mean_u(inner) if rhythm(inner) is None else None
    if blocks_u_w:
        effective = max(effective, min((sd_w / blocks_u_w) ** 2, MOST_CREDIT * n))
    if effective >= ENOUGH_EFFECTIVE or len(whole) <= n or len(whole) < 3:
        return sd_w, effective, effective - 1
    worth = effective_readings(whole)
    effective = min(effective, max(1.0, n * worth / len(whole)))
    return max(sd_w, float(np.std(whole, ddof=1))), effective, max(worth, effective) - 1
