"""How two boards of one make differ, by the fixed loads that both worked on, and what is left of a ratio without it.

Two boards of one make take different energies for the same work, and their sensors read them differently. A calibration
runs the same loads L on each board, read by the same sensor as the runs. With the energies c of the loads and E of the
runs, both as read,

    ln(E_B / E_A) = ln(model B / model A) + d        d_L = ln(c_L,B / c_L,A),  d = mean of d_L

so that ln(E_B / E_A) - d compares the models as if on one board, as far as the boards differ for the models as they do
for the loads. What that brings and costs:

- The sensors' gains are in E and in c alike and drop out; of the offsets, as much as powers of run and load differ.
- The calibrations scatter too: their standard uncertainties are added in quadrature.
- No model is a calibration load. How far the d_L lie apart shows how much boards' differences depend on the load: the
  model's own d is taken to lie anywhere within that distance to either side of their mean (rectangular; assumed).

Sides of several boards (a model spread over GPUs) weigh each board by its share of their energy. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from statistics import fmean

from harness.compare.base import BoardLoad, BoardsDiffer, Doubt, Meter, Side, Term
from harness.compare.ratio import LogRatio, normal_factor
from harness.stats import student_t_quantile

FEWEST_LOADS = 2  # one cannot show how much a difference depends on the load
CONFIDENCE = 0.95
BOUNDARIES = ("gpu", "above-idle")  # in wider ones idle boards count, which the loads say nothing of


def board_load(calibration: Side, load: str) -> BoardLoad | None:
    """What a calibration says of its board; None where it is of several, or has no doubt.

    Args:
        calibration: The side of a calibration's record.
        load: Its name, and whatever else makes it the same work.
    """
    if len(calibration.meters) != 1 or calibration.doubt is None:
        return None
    (meter,) = calibration.meters
    return BoardLoad(
        meter=meter.identity,
        load=load,
        name=calibration.name,
        energy_j=calibration.energy_j,
        relative_u=_relative_u(calibration.doubt, calibration.repeats),
        offset_per_w=meter.offset_per_w,
    )


def nearest(loads: Iterable[tuple[datetime, BoardLoad]], at: datetime) -> tuple[BoardLoad, ...]:
    """Of each board and load, the calibration that was made nearest to a time.

    Args:
        loads: Calibrations of one campaign, with their times.
        at: When the run was made.
    """
    found: dict[tuple[str, str], tuple[datetime, BoardLoad]] = {}
    for when, each in loads:
        key = each.meter, each.load
        if key not in found or abs(when - at) < abs(found[key][0] - at):
            found[key] = when, each
    return tuple(each for _, each in found.values())


def _relative_u(doubt: Doubt, repeats: int) -> float:
    """As in ratio.LogRatio: the larger of scatter, widened for few repeats, and what is stated; and the run's own."""
    t = student_t_quantile(CONFIDENCE, repeats - 1) / normal_factor(CONFIDENCE)
    return math.hypot(max(t * doubt.scatter, doubt.stated), doubt.run)


def same_boards(a: Side, b: Side) -> bool:
    """Whether both sides were read from the same boards, in the same way."""
    return _shares(a).keys() == _shares(b).keys()


def boards_differ(a: Side, b: Side) -> BoardsDiffer | None:
    """The difference of the boards of b from those of a; None where they are the same, or no load shows it.

    Returns:
        `ratio` of the energies of the same work, b's boards over a's, as read; its doubt in parts.
    """
    shares_a, shares_b = _shares(a), _shares(b)
    if a.boundary != b.boundary or a.boundary not in BOUNDARIES or same_boards(a, b):
        return None
    loads_a, loads_b = _loads(a), _loads(b)
    if loads_a is None or loads_b is None:
        return None
    both = [load for load in loads_a if load in loads_b]
    if not both:
        return None
    by_load = {load: _log_energy(loads_b[load], shares_b) - _log_energy(loads_a[load], shares_a) for load in both}
    scatters = [_scatter(loads_a[load], shares_a, loads_b[load], shares_b) for load in both]
    apart = max(by_load.values()) - min(by_load.values())
    value = fmean(by_load.values())
    scatter_u = math.hypot(*scatters) / len(both)
    half = normal_factor(CONFIDENCE) * math.hypot(scatter_u, apart / 2 / math.sqrt(3))
    return BoardsDiffer(
        ratio=math.exp(value),
        low=math.exp(value - half),
        high=math.exp(value + half),
        by_load={load: math.exp(each) for load, each in by_load.items()},
        calibrations=tuple(
            sorted({each.name for loads in (loads_a, loads_b) for load in both for each in loads[load].values()})
        ),
        scatter_relative_u=scatter_u,
        load_relative_u=apart / math.sqrt(3) if len(both) >= FEWEST_LOADS else None,
        offset_relative_u=_offset_u(a, b, loads_a, loads_b, both),
    )


def as_on_one_board(ratio: LogRatio, boards: BoardsDiffer) -> LogRatio | None:
    """The ratio as if on one board; None where one load alone cannot tell how well it speaks of a model.

    Args:
        ratio: ln(other / baseline), as read on the boards of each.
        boards: How these differ.
    """
    if boards.load_relative_u is None:
        return None
    kept = tuple(term for term in ratio.shared if term.name not in ("sensor gain", "sensor offset"))
    more, closer = "more calibrations", "calibrate with what resembles the models"
    own = (
        _term("sensor offset", boards.offset_relative_u, "calibrate against a meter"),
        _term("scatter of the calibrations", boards.scatter_relative_u, more),
        _term("boards differ from load to load", boards.load_relative_u, closer),
    )
    return replace(ratio, value=ratio.value - math.log(boards.ratio), shared=(*own, *kept))


def _term(name: str, relative_u: float, reduced_by: str) -> Term:
    return Term(name=name, relative_u=relative_u, averages=False, counted=True, reduced_by=reduced_by)


def _shares(side: Side) -> dict[str, float]:
    """Each board's share of the side's energy."""
    return {meter.identity: meter.energy_fraction for meter in side.meters}


def _loads(side: Side) -> dict[str, dict[str, BoardLoad]] | None:
    """By load and board, those that every board of the side has; None where one has none."""
    found: dict[str, dict[str, BoardLoad]] = {}
    for each in side.calibrations:
        found.setdefault(each.load, {})[each.meter] = each
    boards = {meter.identity for meter in side.meters}
    return {load: each for load, each in found.items() if each.keys() >= boards} or None


def _log_energy(loads: dict[str, BoardLoad], shares: dict[str, float]) -> float:
    return math.fsum(share * math.log(loads[board].energy_j) for board, share in shares.items())


def _scatter(
    a: dict[str, BoardLoad], shares_a: dict[str, float], b: dict[str, BoardLoad], shares_b: dict[str, float]
) -> float:
    """A calibration that is on both sides counts by the difference of its shares."""
    weights: dict[BoardLoad, float] = {}
    for loads, shares, sign in ((a, shares_a, -1), (b, shares_b, 1)):
        for board, share in shares.items():
            each = loads[board]
            weights[each] = weights.get(each, 0.0) + sign * share
    return math.hypot(*(weight * each.relative_u for each, weight in weights.items()))


def _offset_u(
    a: Side,
    b: Side,
    loads_a: dict[str, dict[str, BoardLoad]],
    loads_b: dict[str, dict[str, BoardLoad]],
    both: Sequence[str],
) -> float:
    """What offsets shift in the runs and not in the loads.

    As in ratio.shared_terms: boards of one side may err alike and are added; those of both sides, of one and of the
    other are three lots.
    """
    mine, theirs = (
        {m.identity: _own_offset(m, loads, both) * m.offset_u_w for m in side.meters}
        for side, loads in ((a, loads_a), (b, loads_b))
    )
    shared = mine.keys() & theirs.keys()
    lots = (
        [theirs[board] - mine[board] for board in shared],
        [each for board, each in mine.items() if board not in shared],
        [each for board, each in theirs.items() if board not in shared],
    )
    return math.hypot(*(math.fsum(map(abs, lot)) for lot in lots))


def _own_offset(meter: Meter, loads: dict[str, dict[str, BoardLoad]], both: Sequence[str]) -> float:
    """1/W: the run's, without what the loads have of it too."""
    return meter.offset_per_w - meter.energy_fraction * fmean(loads[load][meter.identity].offset_per_w for load in both)
