"""The log of a ratio of two energies, with its doubt kept in parts: what repeats shrink, and what they do not. Pure.

Logs, because a sensor's gain multiplies: on one board it drops out of the difference of logs exactly, and between two
boards it adds like any error. The interval is then never below zero and the same read from either side. It is of the
log of the ratio of means, linearised (GUM 5.1.2); sides whose own interval reaches zero are refused (sides.py).

    ln r = ln B - ln A      error = (g_B - g_A) + o_B/P_B - o_A/P_A + (what each run and each window adds)

with gain errors g, offset errors o and mean powers P. On one board g_A = g_B cancels, and of the offset only
o (1/P_B - 1/P_A) is left: nothing where both draw the same power.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, stdev
from typing import Literal

from harness.compare.base import Doubt, Meter, Side, Term, Window
from harness.stats import student_t_quantile, student_t_two_sided

FEWEST_PAIRS = 3  # two differences say next to nothing of their scatter
_NORMAL = NormalDist()
FURTHEST = 1e12  # the largest t that is looked at
MOST_STEPS, CLOSE = 100, 1e-12  # of the search for a root; relative
MANY_DEGREES = 200  # above them stats.student_t_quantile is the normal one


@dataclass(frozen=True)
class Spread:
    """The part that repeats shrink. All relative; `scatter_u` and `stated_u` show the same thing twice.

    `variances`: of a single repeat, for each independent row of them (one if paired), to foresee more repeats.
    """

    method: Literal["paired", "unpaired"]
    scatter_u: float
    degrees: float
    stated_u: float
    variances: tuple[float, ...]
    stated_variance: float
    repeats: tuple[int, int]

    def foreseen(self, repeats: int) -> Spread:
        """The same spread seen over so many repeats of each side."""
        total = math.fsum(self.variances)
        squares = math.fsum(variance**2 for variance in self.variances)
        degrees = (repeats - 1) * (total**2 / squares if squares else 1.0)
        return Spread(
            method=self.method,
            scatter_u=math.sqrt(total / repeats),
            degrees=degrees,
            stated_u=math.sqrt(self.stated_variance / repeats),
            variances=self.variances,
            stated_variance=self.stated_variance,
            repeats=(repeats, repeats),
        )


@dataclass(frozen=True)
class LogRatio:
    """ln(other / baseline): a value, what repeats shrink, and lines that stay."""

    value: float
    spread: Spread
    shared: tuple[Term, ...]

    @property
    def shared_u(self) -> float:
        """Relative standard uncertainty of what no repeat shrinks."""
        return math.hypot(*(term.relative_u for term in self.shared if term.counted))

    def half(self, confidence: float, repeats: int | None = None) -> float:
        """Half-width of the interval of the log; with `repeats`, foreseen for so many of each side.

        Student t for the scatter, normal for what is stated, the larger of both; what is shared is added in quadrature,
        as in stats.combined.
        """
        spread = self.spread if repeats is None else self.spread.foreseen(repeats)
        return self._half(spread, student_t_quantile(confidence, spread.degrees), normal_factor(confidence))

    def _half(self, spread: Spread, t: float, z: float) -> float:
        return math.hypot(max(t * spread.scatter_u, z * spread.stated_u), z * self.shared_u)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Of the ratio itself."""
        half = self.half(confidence)
        return math.exp(self.value - half), math.exp(self.value + half)

    def p_beyond(self, distance: float) -> float:
        """Two-sided p: one less the confidence whose interval reaches just so far from the value.

        Found over Student's t, whose distribution has a closed form. A normal factor is never above t, so that t lies
        between `distance` over all uncertainties in quadrature and `distance` over the scatter alone.
        """
        degrees, target = int(self.spread.degrees), abs(distance)
        scatter_u = self.spread.scatter_u
        all_u = math.hypot(max(scatter_u, self.spread.stated_u), self.shared_u)
        if not target or not all_u:
            return 0.0 if target else 1.0

        def beyond(log_t: float) -> float:
            t = math.exp(log_t)
            return math.log(self._half(self.spread, t, normal_factor(_confidence_of(t, degrees))) / target)

        furthest = min(FURTHEST, target / scatter_u) if scatter_u else FURTHEST
        log_t = rising_root(beyond, math.log(min(target / all_u, furthest)), math.log(furthest))
        return max(0.0, 1 - _confidence_of(math.exp(log_t), degrees))

    def p_different(self, edge: float = 0.0) -> float:
        """Of a true log ratio of just `edge`, two-sided; with 0, of no difference."""
        return self.p_beyond(self.value - edge)

    def p_at_most(self, edge: float) -> float:
        """Of a true log ratio of `edge` or more, one-sided."""
        return self.p_beyond(edge - self.value) / 2 if self.value < edge else 1.0

    def p_equivalent(self, margin: float) -> float:
        """Of a difference of at least the margin, either way: two one-sided tests (Schuirmann 1987), the larger p.

        Args:
            margin: A fraction; ratios from 1/(1 + margin) to 1 + margin count as the same.
        """
        distance = math.log1p(margin) - abs(self.value)
        return self.p_beyond(distance) / 2 if distance > 0 else 1.0


def log_ratio(baseline: Side, other: Side, cancels: bool) -> LogRatio:
    """ln(other / baseline) of energies per generation.

    Args:
        baseline: With a doubt.
        other: With a doubt.
        cancels: Whether what one board adds to both may cancel; False where the sides are compared across something.

    Raises:
        ValueError: A side without a doubt.
    """
    mine, its = baseline.doubt, other.doubt
    if mine is None or its is None:
        raise ValueError("a side without a doubt has no interval to give")
    pairs = paired_windows(baseline, other)
    spread = _paired(baseline, other, pairs, (mine, its)) if pairs else _unpaired(baseline, other, (mine, its))
    run_u = math.hypot(mine.run, its.run)
    by = "a longer window"
    run = Term(name="same in all windows of a run", relative_u=run_u, averages=False, counted=True, reduced_by=by)
    value = math.log(other.energy_j / baseline.energy_j)
    return LogRatio(value, spread, (*shared_terms(baseline.meters, other.meters, cancels), run))


def budget(ratio: LogRatio) -> tuple[Term, ...]:
    """All lines, what repeats shrink first."""
    spread = ratio.spread
    stated = spread.stated_u > spread.scatter_u
    by = "more repeats"
    scatter = Term(
        name="scatter of the repeats", relative_u=spread.scatter_u, averages=True, counted=not stated, reduced_by=by
    )
    own = Term(name="windows' own budgets", relative_u=spread.stated_u, averages=True, counted=stated, reduced_by=by)
    return scatter, own, *ratio.shared


# --- repeats ---------------------------------------------------------------------------------------------


def paired_windows(baseline: Side, other: Side) -> list[tuple[Window, Window]]:
    """Windows that worked on the same inputs, pair by pair; empty where that is not shown.

    Both runs go round the same prompts in the same order, but a warm-up takes as many as it needs and a window as many
    as fit: only equal counts of requests, input tokens and pixels in every pair show that the inputs were the same.
    Where neither tokens nor pixels were counted, or not all of them, nothing shows it.
    """
    if baseline.inputs is None or baseline.inputs != other.inputs:
        return []
    theirs = {window.label: window for window in other.windows}
    pairs = [(window, theirs[window.label]) for window in baseline.windows if window.label in theirs]
    if len(pairs) < FEWEST_PAIRS or len(pairs) < max(len(baseline.windows), len(other.windows)):
        return []
    counted = all(None not in _fed(mine) and (mine.input_tokens or mine.input_pixels) for mine, _ in pairs)
    same = all(_fed(mine) == _fed(its) for mine, its in pairs)
    return pairs if counted and same else []


def _fed(window: Window) -> tuple[float, int | None, int | None]:
    return window.requests, window.input_tokens, window.input_pixels


def _paired(baseline: Side, other: Side, pairs: Sequence[tuple[Window, Window]], doubts: tuple[Doubt, Doubt]) -> Spread:
    """Differences of each pair's deviations from the means: the linearised log ratio, pair by pair."""
    count = len(pairs)
    deviations = [its.energy_j / other.energy_j - mine.energy_j / baseline.energy_j for mine, its in pairs]
    scatter_u = stdev(deviations) / math.sqrt(count)
    stated_u = math.hypot(*(doubt.stated for doubt in doubts))
    return Spread(
        method="paired",
        scatter_u=scatter_u,
        degrees=count - 1,
        stated_u=stated_u,
        variances=(count * scatter_u**2,),
        stated_variance=count * stated_u**2,
        repeats=(count, count),
    )


def _unpaired(baseline: Side, other: Side, doubts: tuple[Doubt, Doubt]) -> Spread:
    """Welch (1947): variances of their own, degrees of freedom by Satterthwaite's formula.

    What is stated takes for each side the larger of its scatter and its windows' own budgets.
    """
    sides = tuple(zip(doubts, (baseline.repeats, other.repeats), strict=True))
    total = math.fsum(doubt.scatter**2 for doubt, _ in sides)
    fourth = math.fsum(doubt.scatter**4 / (count - 1) for doubt, count in sides)
    larger = [(max(doubt.scatter, doubt.stated), count) for doubt, count in sides]
    return Spread(
        method="unpaired",
        scatter_u=math.sqrt(total),
        degrees=total**2 / fourth if fourth else float(min(count for _, count in sides) - 1),
        stated_u=math.hypot(*(u for u, _ in larger)),
        variances=tuple(count * doubt.scatter**2 for doubt, count in sides),
        stated_variance=math.fsum(count * u**2 for u, count in larger),
        repeats=(baseline.repeats, other.repeats),
    )


# --- meters ----------------------------------------------------------------------------------------------


def shared_terms(mine: Sequence[Meter], theirs: Sequence[Meter], cancels: bool) -> tuple[Term, Term]:
    """What gains and offsets leave in the ratio.

    A board on both sides counts by the difference of its parts. Errors of several boards are added, since boards of one
    make may err alike; boards of both sides, of one and of the other are three lots, independent of each other.
    """
    a, b = ({meter.identity: meter for meter in meters} for meters in (mine, theirs))
    both = a.keys() & b.keys() if cancels else set()
    gain = [
        math.fsum(abs(b[each].energy_fraction - a[each].energy_fraction) * a[each].gain_relative_u for each in both)
    ]
    offset = [math.fsum(abs(b[each].offset_per_w - a[each].offset_per_w) * a[each].offset_u_w for each in both)]
    for meters in (a, b):
        alone = [meter for identity, meter in meters.items() if identity not in both]
        gain.append(math.fsum(abs(meter.energy_fraction) * meter.gain_relative_u for meter in alone))
        offset.append(math.fsum(abs(meter.offset_per_w) * meter.offset_u_w for meter in alone))
    by = (
        "calibrate against a meter"
        if both
        else "one board for both, --one-board with calibrations of both, or a calibration against a meter"
    )
    return (
        Term(name="sensor gain", relative_u=math.hypot(*gain), averages=False, counted=True, reduced_by=by),
        Term(name="sensor offset", relative_u=math.hypot(*offset), averages=False, counted=True, reduced_by=by),
    )


def cancels_told(mine: Sequence[Meter], theirs: Sequence[Meter], cancels: bool) -> str:
    """In words, what both sides share and what of it drops out."""
    if not cancels:
        return "nothing common cancels"
    a, b = {meter.identity for meter in mine}, {meter.identity for meter in theirs}
    rest = "" if a == b else "; the meters of one side alone do not"
    if a & b and any(meter.taken_as_one for meter in mine):
        return f"the gain of the board, taken to be one for both, cancels{rest}"
    if a & b:
        return f"the gain of the same board cancels, its offset as far as both draw the same power{rest}"
    if {meter.device for meter in mine} & {meter.device for meter in theirs}:
        return "nothing common cancels: the same board, but another driver, sensor profile, calibration or method"
    return "nothing common cancels: different boards"


# --- distributions ---------------------------------------------------------------------------------------


def rising_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a continuous, rising function is zero, by false position (Illinois variant); the nearer end if nowhere."""
    at_low, at_high = function(low), function(high)
    if at_low >= 0 or at_high <= 0:
        return low if at_low >= 0 else high
    for _ in range(MOST_STEPS):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        value = function(middle)
        if abs(value) < CLOSE:
            return middle
        if value < 0:
            low, at_low, at_high = middle, value, at_high / 2
        else:
            high, at_high, at_low = middle, value, at_low / 2
    return (low + high) / 2


def normal_factor(confidence: float) -> float:
    """The normal coverage factor; a confidence that rounds to 1 takes the largest there is."""
    return _NORMAL.inv_cdf(min(0.5 + confidence / 2, 1 - 1e-16))


def _confidence_of(t: float, degrees: int) -> float:
    return 2 * _NORMAL.cdf(t) - 1 if degrees > MANY_DEGREES else student_t_two_sided(t, degrees)
