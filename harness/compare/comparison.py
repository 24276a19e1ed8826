"""Sets of sides compared: what may be, all ratios, and what is said of them together. Pure.

`compare_runs` is the way in for records; `compare_sides` for anything that is a side already.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NoReturn

from harness.compare.across import Crossing, crossings
from harness.compare.base import (
    BOUNDARIES,
    UNITS,
    Across,
    BoardsDiffer,
    Boundary,
    Compared,
    Comparison,
    LeftOut,
    Side,
    SideFigure,
    Unit,
    UnitRatio,
    View,
)
from harness.compare.boards import BOUNDARIES as CALIBRATED
from harness.compare.boards import as_on_one_board, boards_differ, same_boards
from harness.compare.groups import labelled
from harness.compare.ratio import LogRatio, budget, cancels_told, log_ratio
from harness.compare.sides import side_of
from harness.compare.verdicts import Judged, Limit, check_limit, judge, repeats_to_decide, to_decide_told
from harness.errors import MeasurementInvalid, UserInputError
from harness.measure.alike import differences
from harness.records import RunRecord

MARGIN = 0.05
FEWEST_REPEATS = 3  # of each side, without a note
SHOWN_REASONS = 3  # of an error; a table shows more
CONFIDENCE = 0.95
ONE_BOARD = "as if on one board: what its sensor's gain does to a run it does to its board's calibrations"


def compare_runs(
    records: Sequence[RunRecord],
    boundary: Boundary = "gpu",
    per: Unit = "generation",
    all_pairs: bool = False,
    margin: float = MARGIN,
    across: Collection[Across] = (),
) -> Comparison:
    """Records against the first of them, or every pair.

    Args:
        records: At least two; those without a figure are named in `left_out`.
        boundary: Which energy of each.
        per: Per what: a generation, an output token, an image or a megapixel of images.
        all_pairs: Every record against every one before it, instead of against the first.
        margin: A fraction: ratios within 1/(1 + margin) to 1 + margin count as equivalent.
        across: What the sides may differ in although their ratio then mixes two things.

    Returns:
        Ratios (dimensionless, other / baseline) with 95 % intervals, and verdicts corrected for their number.

    Raises:
        UserInputError: Fewer than two can be compared, or they differ in what `across` does not allow.
    """
    sides, left_out = [], []
    for record in records:
        try:
            sides.append(side_of(record, boundary, record.campaign))
        except MeasurementInvalid as error:
            left_out.append(LeftOut(name=f"{record.campaign}/{record.run_id}", reason=error.message))
            if record is records[0]:
                refuse_baseline(left_out[-1])
    return compare_sides([sides], boundary, per, all_pairs, margin, across, left_out)


def refuse_baseline(left_out: LeftOut) -> NoReturn:
    """Nothing is compared with another baseline than the one that was named.

    Raises:
        UserInputError: Always.
    """
    raise UserInputError(
        f"The baseline {left_out.name} cannot be compared: {left_out.reason}", "Name another one first."
    )


def compare_sides(
    sets: Sequence[Sequence[Side]],
    boundary: Boundary,
    per: Unit = "generation",
    all_pairs: bool = False,
    margin: float = MARGIN,
    across: Collection[Across] = (),
    left_out: Sequence[LeftOut] = (),
    limit: Limit | None = None,
    one_board: bool = False,
) -> Comparison:
    """As `compare_runs`, for sets of sides: each set has a baseline of its own, one correction covers them all.

    Args:
        one_board: Judge by the ratios as if both sides had run on one board (compare/boards), not by those as they ran.
    """
    kept: list[list[Side]] = []
    told = list(left_out)
    for sides in sets:
        counted = [side for side in sides if per in side.per_generation]
        told += [_uncounted(side, per) for side in sides if per not in side.per_generation]
        if counted and counted[0] is not sides[0]:  # another baseline in its place would answer another question
            told += [LeftOut(name=side.name, reason="its baseline has no figure") for side in counted]
            counted = []
        kept.append(counted)
    kept = labelled([sides for sides in kept if len(sides) > 1])
    pairs = [pair for sides in kept for pair in _pairs(sides, all_pairs)]
    if not pairs:
        raise UserInputError(*_nothing(sets, told, per))
    found = [_read(a, b, crossings(a, b, per, across), per, one_board) for a, b in pairs]
    ratios = [each.ratio for each in found]
    known = [ratio for ratio in ratios if ratio is not None]
    judged = iter(judge(known, margin, CONFIDENCE))
    compared = [
        _compared(each, per, margin, len(known), None if each.ratio is None else (each.ratio, next(judged)))
        for each in found
    ]
    return Comparison(
        boundary=boundary,
        boundary_told=BOUNDARIES[boundary],
        per=per,
        confidence=CONFIDENCE,
        margin=margin,
        correction=_correction(len(known)),
        sides=tuple(_figure(side, per) for sides in kept for side in sides),
        comparisons=tuple(compared),
        left_out=tuple(told),
        check=None if limit is None else check_limit(compared, ratios, told, limit, CONFIDENCE),
    )


# --- which ------------------------------------------------------------------------------------------------


def _pairs(sides: Sequence[Side], all_pairs: bool) -> list[tuple[Side, Side]]:
    known: dict[str, Side] = {}
    for side in sides:
        first = known.setdefault(side.identity, side)
        if first is not side:
            same = "" if first.name == side.name else f": {first.name} and {side.name} hold the same record"
            raise UserInputError(f"The same run is named twice{same}.", "Name two different runs.")
    return list(combinations(sides, 2)) if all_pairs else [(sides[0], side) for side in sides[1:]]


def _uncounted(side: Side, per: Unit) -> LeftOut:
    return LeftOut(name=side.name, reason=f"no {per}s were counted, so there is no energy of one")


def _nothing(sets: Sequence[Sequence[Side]], left_out: Sequence[LeftOut], per: Unit) -> tuple[str, str]:
    """Why there is nothing to compare, and what to do."""
    found = {side.name: side for sides in sets for side in sides}
    reasons = "; ".join(f"{each.name}: {each.reason}" for each in left_out[:SHOWN_REASONS])
    rest = f"; and {len(left_out) - SHOWN_REASONS} more" if len(left_out) > SHOWN_REASONS else ""
    only = f": only {next(iter(found))} was found" if len(found) == 1 else ""
    units = [unit for unit in UNITS if found and all(unit in side.per_generation for side in found.values())]
    hint = "Name two runs with a figure: harness list shows them."
    if len(found) > 1 and per not in units:
        hint = f"All have a figure per {' and per '.join(units)}: --per {units[0]}."
    elif len(found) == 1:
        hint = (
            f"Name another one beside it: harness compare {next(iter(found))} OTHER; harness list shows what there is."
        )
    return f"There are not two things to compare{only}{f' ({reasons}{rest})' if reasons else ''}.", hint


# --- one pair ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """Two sides and what is known of their ratio; `ratio` is the one that is judged, `moved` what it was divided by."""

    a: Side
    b: Side
    crossed: Sequence[Crossing]
    boards: BoardsDiffer | None
    as_run: LogRatio | None
    one_board: LogRatio | None
    ratio: LogRatio | None
    moved: float = 1.0


def _read(a: Side, b: Side, crossed: Sequence[Crossing], per: Unit, one_board: bool) -> _Pair:
    """Both ways of reading the ratio, as run and as if on one board, and which one is asked for."""
    boards, ratio = boards_differ(a, b), _ratio(a, b, crossed, per)
    aside = None
    if boards is not None and ratio is not None and _cancels(crossed):
        aside = as_on_one_board(ratio, boards)
    if not one_board or same_boards(a, b):
        return _Pair(a, b, crossed, boards, ratio, aside, ratio)
    if boards is None or aside is None:
        raise UserInputError(*_uncalibrated(a, b, crossed))
    return _Pair(a, b, crossed, boards, ratio, aside, aside, boards.ratio)


def _uncalibrated(a: Side, b: Side, crossed: Sequence[Crossing]) -> tuple[str, str]:
    if crossed and not _cancels(crossed):
        why = f"calibrations compare boards of one make, read in one way, and here {crossed[0].told}"
        return f"{a.label} and {b.label} cannot be compared as if on one board: {why}.", "Leave --one-board out."
    if a.boundary not in CALIBRATED:
        why = f"calibrations say nothing of {BOUNDARIES[a.boundary]}"
        return f"{a.label} and {b.label} cannot be compared as if on one board: {why}.", "Leave --one-board out."
    return (
        f"{a.label} and {b.label} cannot be compared as if on one board: they ran on different boards without "
        "calibrations of both.",
        "Calibrate the boards of both now, with harness run CONFIG --calibrate, or leave --one-board out.",
    )


def _ratio(a: Side, b: Side, found: Sequence[Crossing], per: Unit) -> LogRatio | None:
    """Per unit of work: the counts are exact, and only move it. None where a side's doubt is not known."""
    if a.doubt is None or b.doubt is None:
        return None
    ratio = log_ratio(a, b, _cancels(found))
    return replace(ratio, value=ratio.value + math.log(_factor(a, b, per)))


def _cancels(found: Sequence[Crossing]) -> bool:
    return not any(each.cancels_nothing for each in found)


def _factor(a: Side, b: Side, per: Unit) -> float:
    return a.per_generation[per] / b.per_generation[per]


def _compared(pair: _Pair, per: Unit, margin: float, count: int, known: tuple[LogRatio, Judged] | None) -> Compared:
    a, b, found = pair.a, pair.b, pair.crossed
    plain = b.energy_j / a.energy_j / pair.moved
    one_board = pair.ratio is not None and pair.ratio is pair.one_board
    head = Compared(
        baseline=a.label,
        other=b.label,
        ratio=plain * _factor(a, b, per),
        low=None,
        high=None,
        simultaneous_low=None,
        simultaneous_high=None,
        ratios=tuple(
            UnitRatio(per=unit, ratio=plain * _factor(a, b, unit), low=None, high=None)
            for unit in a.per_generation
            if unit in b.per_generation
        ),
        method="none",
        method_told="no interval",
        verdict="cannot tell",
        within_margin=False,
        p_different=None,
        p_equivalent=None,
        repeats_to_decide=None,
        to_decide="; ".join(f"{side.label}: {side.no_doubt}" for side in (a, b) if side.no_doubt),
        budget=(),
        cancels=ONE_BOARD if one_board else cancels_told(a.meters, b.meters, _cancels(found)),
        boards=pair.boards,
        as_run=_view(pair.as_run if pair.boards is not None else None),
        one_board=_view(pair.one_board),
        judged="one board" if one_board else "as run",
        across=tuple(f"across {each.kind}: {each.told}" for each in found),
        marks=_marks(a, b),
        differs=tuple(_differs(a, b)),
        caveats=(
            *(f"{side.label}: {code}" for side in (a, b) for code in side.caveats),
            *(pair.boards.caveats if pair.boards is not None else ()),
        ),
        notes=tuple(dict.fromkeys((*a.notes, *b.notes, *_few(a, b)))),
    )
    return head if known is None else head.model_copy(update=_statements(head, *known, margin, count))


def _view(ratio: LogRatio | None) -> View | None:
    if ratio is None:
        return None
    low, high = ratio.interval(CONFIDENCE)
    return View(ratio=math.exp(ratio.value), low=low, high=high)


def _statements(head: Compared, ratio: LogRatio, judged: Judged, margin: float, count: int) -> dict[str, object]:
    """Interval, verdict and budget: all that needs the doubt of both sides."""
    each_confidence = 1 - (1 - CONFIDENCE) / count
    low, high = ratio.interval(CONFIDENCE)
    together = ratio.interval(each_confidence)
    needed = None
    if judged.verdict == "cannot tell":
        needed = repeats_to_decide(ratio, margin, each_confidence)
    to_unit = [(each, each.ratio / head.ratio) for each in head.ratios]
    return {
        "low": low,
        "high": high,
        "simultaneous_low": together[0],
        "simultaneous_high": together[1],
        "ratios": tuple(
            each.model_copy(update={"low": low * factor, "high": high * factor}) for each, factor in to_unit
        ),
        "method": ratio.spread.method,
        "method_told": _method_told(ratio),
        "verdict": judged.verdict,
        "within_margin": judged.within_margin,
        "p_different": judged.p_different,
        "p_equivalent": judged.p_equivalent,
        "repeats_to_decide": needed,
        "to_decide": to_decide_told(ratio, judged, needed),
        "budget": budget(ratio),
    }


def _method_told(ratio: LogRatio) -> str:
    first, second = ratio.spread.repeats
    if ratio.spread.method == "paired":
        return f"paired, {first} pairs on the same inputs"
    return f"unpaired (Welch), {first} and {second} repeats"


def _few(a: Side, b: Side) -> list[str]:
    """Welch's degrees of freedom are estimated too: of two repeats badly."""
    few = [f"{side.label} has {side.repeats}" for side in (a, b) if 1 < side.repeats < FEWEST_REPEATS]
    return [f"few repeats ({', '.join(few)}): the interval may hold less often than it says"] if few else []


def _marks(a: Side, b: Side) -> str:
    mine, theirs = a.mark or "measured", b.mark or "measured"
    return mine if mine == theirs else f"{theirs} against {mine}"


def _differs(a: Side, b: Side) -> list[str]:
    names = [name for name in a.fields if name in b.fields or a.kind == b.kind == "run"]
    names += [name for name in b.fields if name not in a.fields and a.kind == b.kind == "run"]
    return differences([{name: side.fields[name] for name in names if name in side.fields} for side in (a, b)])


# --- the table --------------------------------------------------------------------------------------------


def _figure(side: Side, per: Unit) -> SideFigure:
    count, estimate = side.per_generation[per], side.estimate_j
    return SideFigure(
        label=side.label,
        name=side.name,
        mark=side.mark,
        boundary=BOUNDARIES[side.boundary],
        gpu=side.gpu,
        repeats=side.repeats,
        energy_j=side.energy_j / count,
        low_j=None if estimate is None else estimate.low / count,
        high_j=None if estimate is None else estimate.high / count,
    )


def _correction(count: int) -> str:
    if count <= 1:
        return "one comparison: no correction"
    return (
        f"{count} comparisons: verdicts of difference and of equivalence are each corrected by Holm (1979); the "
        f"simultaneous intervals hold together with {CONFIDENCE:.0%} (Bonferroni)"
    )
