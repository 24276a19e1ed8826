"""Boards told apart by calibrations: what is taken out of a ratio, what that costs, and what it cannot do."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from compare_records import BOARD, OTHER_BOARD, record_of
from fakes import source_info

from harness.compare.base import BoardLoad, Side
from harness.compare.boards import board_load, boards_differ, nearest
from harness.compare.comparison import compare_sides
from harness.compare.sides import side_of
from harness.errors import UserInputError
from harness.records import SourceInfo


def load_on(board: SourceInfo, load: str, energies_j: list[float]) -> BoardLoad:
    """A calibration's figure. Each window takes 100 requests and 10 s: 10 J a request are 100 W."""
    each = board_load(side_of(record_of(energies_j, load, sources=(board,)), "gpu", "any"), load)
    assert each is not None
    return each


def side(board: SourceInfo, energy_j: float, model: str, *loads: BoardLoad) -> Side:
    made = side_of(record_of([energy_j] * 5, model, sources=(board,)), "gpu", model)
    return made.model_copy(update={"calibrations": loads})


def both(a_loads: dict[str, float], b_loads: dict[str, float], a_j: float = 30.0, b_j: float = 33.0) -> list[Side]:
    mine = [load_on(BOARD, load, [energy_j] * 5) for load, energy_j in a_loads.items()]
    its = [load_on(OTHER_BOARD, load, [energy_j] * 5) for load, energy_j in b_loads.items()]
    return [side(BOARD, a_j, "a", *mine), side(OTHER_BOARD, b_j, "b", *its)]


def weights(per_w: float, x_per_w: float, y_per_w: float) -> tuple[float, float]:
    """Of loads x and y on a line over 1/P, read at 1/P = per_w."""
    share = (per_w - y_per_w) / (x_per_w - y_per_w)
    return share, 1 - share


def test_what_boards_differ_by_is_taken_out_and_their_gains_with_it():
    sides = both({"x": 40.0, "y": 20.0}, {"x": 40.0 * 1.04, "y": 20.0 * 1.02})
    (as_run,) = compare_sides([sides], "gpu").comparisons
    (on_one,) = compare_sides([sides], "gpu", one_board=True).comparisons
    assert (as_run.judged, on_one.judged) == ("as run", "one board")
    # d of each load over its 1/P (400 W and 416 W; 200 W and 204 W), read at the mean of 1/300 W and 1/330 W
    of_x, of_y = math.log(1.04), math.log(1.02)
    loads_per_w = (1 / 400 + 1 / 416) / 2, (1 / 200 + 1 / 204) / 2
    a, b = (weights(per_w, *loads_per_w) for per_w in (1 / 300, 1 / 330))
    x, y = weights((1 / 300 + 1 / 330) / 2, *loads_per_w)
    between = x * of_x + y * of_y
    assert 0 < x < 1  # between the loads, nearer to x
    assert as_run.boards is not None
    assert as_run.boards.ratio == pytest.approx(math.exp(between))
    assert as_run.boards.by_load == pytest.approx({"x": 1.04, "y": 1.02})
    assert as_run.ratio == pytest.approx(1.1)
    assert on_one.ratio == pytest.approx(1.1 / math.exp(between))
    assert as_run.as_run == on_one.as_run
    assert as_run.one_board == on_one.one_board
    assert as_run.as_run is not None
    assert on_one.one_board is not None
    assert (as_run.as_run.ratio, as_run.as_run.low) == (pytest.approx(as_run.ratio), as_run.low)
    assert (on_one.one_board.ratio, on_one.one_board.low) == (pytest.approx(on_one.ratio), on_one.low)

    terms = {term.name: term.relative_u for term in on_one.budget}
    assert "sensor gain" not in terms
    furthest = max(abs(between - each) for each in (of_x, of_y, *(p * of_x + q * of_y for p, q in (a, b))))
    assert terms["boards differ from load to load"] == pytest.approx(furthest / math.sqrt(3))
    assert terms["scatter of the calibrations"] == pytest.approx(0, abs=1e-12)
    # 0.5 W in 300 W of the run, less its share in 400 W and 200 W of the loads; the same on the other board
    mine = 0.5 * (1 / 300 - (x / 400 + y / 200))
    its = 0.5 * (1 / 330 - (x / 416 + y / 204))
    assert terms["sensor offset"] == pytest.approx(math.hypot(mine, its))
    assert {term.name: term.relative_u for term in as_run.budget}["sensor gain"] == pytest.approx(
        math.hypot(0.01, 0.01)
    )


def test_a_board_that_draws_more_all_the_time_is_told_at_the_power_of_the_runs():
    """12 W more: 3 % at 400 W and 6 % at 200 W; of runs that draw 150 W, below both loads, it is 8 %."""
    sides = both({"x": 40.0, "y": 20.0}, {"x": 41.2, "y": 21.2}, a_j=15.0, b_j=16.2)
    (told,) = compare_sides([sides], "gpu", one_board=True).comparisons
    assert told.ratio == pytest.approx(1, abs=0.003)  # the line is one of logs
    assert told.low is not None
    assert told.high is not None
    assert told.low < 1 < told.high
    assert told.verdict != "more"
    assert told.boards is not None
    assert told.boards.ratio == pytest.approx(1.08, abs=0.003)


def test_calibrations_that_scatter_widen_what_they_correct():
    flat = load_on(BOARD, "x", [40.0] * 5)
    rough = load_on(OTHER_BOARD, "x", [39.0, 40.0, 41.0, 40.0, 40.0])  # sd 0.7071 of five: u 0.3162 J, t 2.7764
    assert flat.relative_u == pytest.approx(0, abs=1e-12)
    assert rough.relative_u == pytest.approx(0.316228 / 40 * 2.776445 / 1.959964, rel=1e-5)
    a = side(BOARD, 30.0, "a", flat, load_on(BOARD, "y", [20.0] * 5))
    b = side(OTHER_BOARD, 30.0, "b", rough, load_on(OTHER_BOARD, "y", [20.0] * 5))
    found = boards_differ(a, b)
    assert found is not None
    # a line through 400 W and 200 W, read at 300 W: two thirds of what the first load shows, a third of the second
    assert found.scatter_relative_u == pytest.approx(rough.relative_u * 2 / 3)


def test_a_model_on_two_boards_weighs_each_by_its_share():
    third = source_info(id="GPU-2")
    loads = [load_on(board, load, [40.0 * more] * 5) for load in "xy" for board, more in ((BOARD, 1), (third, 1.1))]
    a = side(BOARD, 30.0, "a", *loads[::2])
    spread = side(OTHER_BOARD, 30.0, "b")
    own = [(BOARD, 0.25), (third, 0.75)]
    meters = tuple(
        side(board, 30.0, "b").meters[0].model_copy(update={"energy_fraction": share, "offset_per_w": share / 300})
        for board, share in own
    )
    found = boards_differ(a, spread.model_copy(update={"meters": meters, "calibrations": tuple(loads)}))
    assert found is not None
    assert found.ratio == pytest.approx(1.1**0.75)


def test_one_load_shows_a_difference_and_does_not_correct_and_none_shows_nothing():
    sides = both({"x": 40.0}, {"x": 42.0, "y": 20.0})
    (told,) = compare_sides([sides], "gpu").comparisons
    assert told.boards is not None
    assert told.boards.ratio == pytest.approx(1.05)
    assert (told.boards.load_relative_u, told.one_board) == (None, None)
    for uncalibrated in (sides, both({"x": 40.0}, {"y": 42.0}), both({}, {})):
        with pytest.raises(UserInputError, match="different boards without calibrations of both"):
            compare_sides([uncalibrated], "gpu", one_board=True)
    assert boards_differ(*both({"x": 40.0}, {"y": 42.0})) is None


def test_on_one_board_there_is_nothing_to_take_out():
    loads = [load_on(BOARD, load, [40.0] * 5) for load in "xy"]
    sides = [side(BOARD, 30.0, "a", *loads), side(BOARD, 33.0, "b", *loads)]
    (plain,) = compare_sides([sides], "gpu").comparisons
    (told,) = compare_sides([sides], "gpu", one_board=True).comparisons
    assert told == plain
    assert (told.boards, told.judged) == (None, "as run")


def test_boards_of_two_makes_are_shown_to_differ_and_never_made_one():
    h100 = source_info(id="GPU-9", device_name="NVIDIA H100")
    loads = [load_on(board, load, [energy_j] * 5) for load in "xy" for board, energy_j in ((BOARD, 40.0), (h100, 20.0))]
    sides = [side(BOARD, 30.0, "a", *loads[::2]), side(h100, 20.0, "b", *loads[1::2])]
    (told,) = compare_sides([sides], "gpu", across={"gpu"}).comparisons
    assert told.boards is not None
    assert told.boards.ratio == pytest.approx(0.5)
    assert told.one_board is None
    with pytest.raises(UserInputError, match="calibrations compare boards of one make"):
        compare_sides([sides], "gpu", across={"gpu"}, one_board=True)


def test_wider_boundaries_hold_boards_that_no_load_ran_on():
    sides = both({"x": 40.0, "y": 20.0}, {"x": 41.0, "y": 20.0})
    assert boards_differ(*(each.model_copy(update={"boundary": "node-gpus"}) for each in sides)) is None


def test_of_several_calibrations_of_a_board_the_nearest_in_time_counts():
    start = datetime(2026, 11, 29, tzinfo=UTC)
    early, late = (load_on(BOARD, "x", [energy_j] * 5) for energy_j in (40.0, 41.0))
    other = load_on(OTHER_BOARD, "x", [42.0] * 5)
    loads = [(start, early), (start + timedelta(hours=10), late), (start, other)]
    assert nearest(loads, start + timedelta(hours=4)) == (early, other)
    assert nearest(loads, start + timedelta(hours=6)) == (late, other)
