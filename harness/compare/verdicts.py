"""From log ratios to verdicts: difference, equivalence, several at once, and how many repeats would decide. Pure.

Holm's step-down correction (Scand. J. Statist. 6, 1979, 65) is applied to the tests of difference and to those of
equivalence apart; it holds however the tests depend on each other, as they do by a common baseline or board.
Equivalence: two one-sided tests (Schuirmann, J. Pharmacokin. Biopharm. 15, 1987, 657).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.compare.base import Check, Compared, LeftOut, Verdict
from harness.compare.ratio import LogRatio
from harness.stats import holm

MOST_REPEATS = 100_000
MOST_PLACES = 6  # digits after the point of a change in per cent


@dataclass(frozen=True)
class Judged:
    """What is said of one ratio."""

    verdict: Verdict
    within_margin: bool
    p_different: float
    p_equivalent: float


@dataclass(frozen=True)
class Limit:
    """What --fail-if-more-than asks: a fraction above the baseline, and whether it must be ruled out (`strict`)."""

    fraction: float
    strict: bool = False

    @property
    def told(self) -> str:
        """In per cent, all its digits."""
        return f"{100 * self.fraction:+.6g}%"


def judge(ratios: Sequence[LogRatio], margin: float, confidence: float) -> list[Judged]:
    """Verdicts of all ratios of one table.

    Args:
        ratios: All of them: the correction goes by their number.
        margin: What counts as no difference, a fraction.
        confidence: Of the whole: with 0.95, 1 table in 20 without any difference shows one.
    """
    alpha = 1 - confidence
    different = holm([ratio.p_different() for ratio in ratios])
    equivalent = holm([ratio.p_equivalent(margin) for ratio in ratios])
    return [
        Judged(_verdict(ratio.value, p <= alpha, q <= alpha), q <= alpha, p, q)
        for ratio, p, q in zip(ratios, different, equivalent, strict=True)
    ]


def _verdict(value: float, differs: bool, same: bool) -> Verdict:
    if differs:
        return "less" if value < 0 else "more"
    return "equivalent" if same else "cannot tell"


def repeats_to_decide(ratio: LogRatio, margin: float, confidence: float) -> int | None:
    """Fewest repeats of each side that would decide, if spread and ratio stay as they are.

    Args:
        ratio: Undecided so far.
        margin: As in `judge`.
        confidence: Of this one comparison (after Bonferroni's division where there are several).

    Returns:
        None where no number of repeats would, since what repeats do not shrink is too wide.
    """

    def decided(repeats: int) -> bool:
        if ratio.half(confidence, repeats) < abs(ratio.value):
            return True
        return abs(ratio.value) + ratio.half(2 * confidence - 1, repeats) < math.log1p(margin)

    low, high = 2, max(2, *ratio.spread.repeats)
    while not decided(high):
        low, high = high, high * 2
        if high > MOST_REPEATS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return max(low if decided(low) else high, min(ratio.spread.repeats) + 1)


def to_decide_told(ratio: LogRatio, judged: Judged, repeats: int | None) -> str:
    """What would settle it, in a few words."""
    if judged.verdict != "cannot tell":
        return "decided"
    if repeats is not None:
        now = ratio.spread.repeats
        have = f"{now[0]}" if now[0] == now[1] else f"{now[0]} and {now[1]}"
        return f"about {repeats} repeats each (now {have}), if spread and ratio stay"
    widest = max((term for term in ratio.shared if term.counted), key=lambda term: term.relative_u)
    alone = math.expm1(1.96 * ratio.shared_u)
    if 1.96 * ratio.shared_u < abs(ratio.value):
        return f"more than {MOST_REPEATS:,} repeats each"
    return f"never: what repeats do not shrink is ±{alone:.1%} alone, mostly {widest.name}; {widest.reduced_by}"


def check_limit(
    comparisons: Sequence[Compared],
    ratios: Sequence[LogRatio | None],
    left_out: Sequence[LeftOut],
    limit: Limit,
    confidence: float,
) -> Check:
    """Whether any takes more than the baseline by more than a limit, tested as the verdicts are.

    More is shown as a difference is: two-sided. At most the limit is shown as an equivalence is: one-sided. Holm
    corrects either for the number of comparisons, so that with a limit of the margin all that is equivalent holds, and
    with one of 0 all that is more fails.

    Plain: fails where more than the limit is shown. Strict: fails also where it is not shown to be at most that. What
    has no interval or no figure is unchecked: neither.
    """
    edge, alpha = math.log1p(limit.fraction), 1 - confidence
    known = [ratio for ratio in ratios if ratio is not None]
    beyond = iter(holm([ratio.p_different(edge) for ratio in known]))
    within = iter(holm([ratio.p_at_most(edge) for ratio in known]))
    failed, lines = False, []
    unchecked = [f"{each.name}: {each.reason}" for each in left_out]
    for each, ratio in zip(comparisons, ratios, strict=True):
        told = f"{each.other} takes {_change(each.ratio, limit)} against {each.baseline}"
        if ratio is None or each.simultaneous_low is None or each.simultaneous_high is None:
            unchecked.append(f"{told}, without an interval: {each.to_decide}")
            continue
        p_more, p_most = next(beyond), next(within)
        told += f" ({_change(each.simultaneous_low, limit)} to {_change(each.simultaneous_high, limit)})"
        if p_more <= alpha and ratio.value > edge:
            failed = True
            lines.append(f"fails: {told}: shown to be more than {limit.told} (p = {p_more:.2g}).")
        elif p_most <= alpha:
            lines.append(f"holds: {told}: shown to be at most {limit.told} (one-sided p = {p_most:.2g}).")
        else:
            failed |= limit.strict
            said = "fails" if limit.strict else "cannot tell"
            lines.append(
                f"{said}: {told}: neither shown to be more than {limit.told} nor ruled out (p = {p_most:.2g})."
            )
    lines += [f"not checked: {reason}" for reason in unchecked]
    return Check(limit=limit.fraction, strict=limit.strict, failed=failed, unchecked=len(unchecked), lines=tuple(lines))


def _change(ratio: float, limit: Limit) -> str:
    """A ratio as a change in per cent, with the digits that tell it from the limit."""
    told = [(f"{ratio - 1:+.{places}%}", f"{limit.fraction:+.{places}%}") for places in range(1, MOST_PLACES)]
    return next((mine for mine, its in told if mine != its), told[0][0])
