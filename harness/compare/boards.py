"""How two boards of one make differ, by the fixed loads that both worked on, and what is left of a ratio without it.

Two boards of one make take different energies for the same work, and their sensors read them differently. A calibration
runs the same loads L on each board, read by the same sensor as the runs. With the energies c of the loads and E of the
runs, both as read,

    ln(E_B / E_A) = ln(model B / model A) + d        d_L = ln(c_L,B / c_L,A)

A factor, as a sensor's gain, moves all d_L alike; x watts that one board draws or shows beside it (idle, leakage, an
offset) move d_L by x / P_L, since work at little power takes longer for its joules. So d is a straight line in 1/P,
drawn through the loads and read where the runs are, at the mean of their 1/P. What that brings and costs:

- The sensors' gains are in E and in c alike and drop out; of their offsets, what the two runs' powers differ by.
- The calibrations scatter too, the more the further the line is drawn out: w_L u_L, in quadrature.
- A board may differ for arithmetic and not for memory, which is no line in 1/P, and no model is a calibration load. So
  the runs' d is taken to lie anywhere within the largest distance of what was read from the line to any of the d_L, and
  to the line at either run's own power (rectangular; assumed). Above idle there is no such line, nor where both loads
  draw the same: the mean is taken then, and the whole distance of the d_L.

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

NEAR = 0.1  # relative: loads whose 1/P differ by less carry no line
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
        caveats=calibration.caveats,
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
    at = _Line(loads_a, loads_b, both, (a, b))
    by_load = {load: _log_energy(loads_b[load], shares_b) - _log_energy(loads_a[load], shares_a) for load in both}
    scatters = [_scatter(loads_a[load], shares_a, loads_b[load], shares_b) for load in both]
    value = math.fsum(at.weights[load] * by_load[load] for load in both)
    others = (*by_load.values(), *(at.read(by_load, per_w) for per_w in at.runs_per_w))
    apart = max(by_load.values()) - min(by_load.values())
    further = max(abs(value - each) for each in others) if at.is_drawn else apart
    scatter_u = math.hypot(*(at.weights[load] * u for load, u in zip(both, scatters, strict=True)))
    load_u = further / math.sqrt(3)
    half = normal_factor(CONFIDENCE) * math.hypot(scatter_u, load_u)
    codes = {
        f"{each.name}: {code}"
        for loads in (loads_a, loads_b)
        for load in both
        for each in loads[load].values()
        for code in each.caveats
    }
    return BoardsDiffer(
        ratio=math.exp(value),
        low=math.exp(value - half),
        high=math.exp(value + half),
        by_load={load: math.exp(each) for load, each in by_load.items()},
        calibrations=tuple(
            sorted({each.name for loads in (loads_a, loads_b) for load in both for each in loads[load].values()})
        ),
        caveats=tuple(sorted(codes)),
        scatter_relative_u=scatter_u,
        load_relative_u=load_u if len(both) >= FEWEST_LOADS else None,
        offset_relative_u=_offset_u(a, b, loads_a, loads_b, at.weights),
    )


class _Line:
    """d over 1/P: through two loads, or their mean where they draw the same power, or none is told (above idle).

    `weights`: of each load, 1 together, at the mean 1/P of the two runs. `runs_per_w`: theirs, 1/W; of several boards
    the sum of their shares over their powers.
    """

    def __init__(
        self,
        loads_a: dict[str, dict[str, BoardLoad]],
        loads_b: dict[str, dict[str, BoardLoad]],
        both: Sequence[str],
        sides: tuple[Side, Side],
    ) -> None:
        self._both = tuple(both)
        self._per_w = [
            fmean(each.offset_per_w for loads in (loads_a, loads_b) for each in loads[load].values()) for load in both
        ]
        self.runs_per_w = tuple(math.fsum(meter.offset_per_w for meter in side.meters) for side in sides)
        self.is_drawn = len(both) == FEWEST_LOADS and max(self._per_w) - min(self._per_w) > NEAR * max(self._per_w)
        self.weights = self._weights(fmean(self.runs_per_w))

    def _weights(self, per_w: float) -> dict[str, float]:
        if not self.is_drawn:
            return dict.fromkeys(self._both, 1 / len(self._both))
        first, second = self._per_w
        share = (per_w - second) / (first - second)
        return dict(zip(self._both, (share, 1 - share), strict=True))

    def read(self, by_load: dict[str, float], per_w: float) -> float:
        """d at a power."""
        weights = self._weights(per_w)
        return math.fsum(weights[load] * by_load[load] for load in self._both)


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
    weights: dict[str, float],
) -> float:
    """What offsets shift in the runs and not in the loads.

    As in ratio.shared_terms: boards of one side may err alike and are added; those of both sides, of one and of the
    other are three lots.
    """
    mine, theirs = (
        {m.identity: _own_offset(m, loads, weights) * m.offset_u_w for m in side.meters}
        for side, loads in ((a, loads_a), (b, loads_b))
    )
    shared = mine.keys() & theirs.keys()
    lots = (
        [theirs[board] - mine[board] for board in shared],
        [each for board, each in mine.items() if board not in shared],
        [each for board, each in theirs.items() if board not in shared],
    )
    return math.hypot(*(math.fsum(map(abs, lot)) for lot in lots))


def _own_offset(meter: Meter, loads: dict[str, dict[str, BoardLoad]], weights: dict[str, float]) -> float:
    """1/W: the run's, without what the loads have of it too."""
    in_loads = math.fsum(weight * loads[load][meter.identity].offset_per_w for load, weight in weights.items())
    return meter.offset_per_w - meter.energy_fraction * in_loads
