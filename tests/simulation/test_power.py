"""The closed forms of the simulated board against brute force: quadrature of its power, and of the sensor's memory."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserInputError
from harness.simulation.power import RIPPLE, TruePowerModel
from harness.simulation.profiles import board, simulated_boards

NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)

boards = st.sampled_from(simulated_boards())
loads = st.sampled_from([0.0, 0.0, 0.35, 0.9, 1.0]) | st.floats(min_value=0.0, max_value=1.0)
histories = st.lists(st.tuples(st.floats(min_value=0.0, max_value=1.5), loads), min_size=1, max_size=5)
waits = st.floats(min_value=0.001, max_value=1.5)


def loaded(name, history, seed=1, start_s=100.0):
    """A model that went through these (wait, load) steps; also when they happened."""
    model = TruePowerModel(board(name), seed, start_s)
    now_s, changes = start_s, [start_s]
    for wait_s, utilisation in history:
        now_s += wait_s
        model.set_load(now_s, utilisation)
        changes.append(now_s)
    return model, changes


def quadrature(function, start_s, end_s, changes, step_s):
    """Integral by Gauss and Legendre, cut at every change and into short steps."""
    edges = [start_s, *(t for t in changes if start_s < t < end_s), end_s]
    total = 0.0
    for begin, end in itertools.pairwise(edges):
        pieces = max(1, math.ceil((end - begin) / step_s))
        half = (end - begin) / pieces / 2
        for piece in range(pieces):
            middle = begin + (2 * piece + 1) * half
            total += half * sum(
                weight * function(middle + half * node) for node, weight in zip(NODES, WEIGHTS, strict=True)
            )
    return total


# --- closed forms against brute force ---


@settings(max_examples=40)
@given(boards, histories, waits)
def test_energy_is_the_integral_of_power(name, history, wait_s):
    model, changes = loaded(name, history)
    end_s = changes[-1] + wait_s
    energy_j = quadrature(model.power_w, changes[0], end_s, changes, 0.02)
    assert model.energy_j(end_s) - model.energy_j(changes[0]) == pytest.approx(energy_j, rel=1e-9, abs=1e-6)


@settings(max_examples=40)
@given(boards, histories, waits)
def test_sensor_filter_is_the_fading_memory_of_power(name, history, wait_s):
    model, changes = loaded(name, history)
    tau_s, now_s = board(name).sensor.tau_s, changes[-1] + wait_s

    def remembered(t_s):
        return model.power_w(t_s) * math.exp(-(now_s - t_s) / tau_s) / tau_s

    expected_w = quadrature(remembered, now_s - 35 * tau_s, now_s, changes, tau_s / 2)
    assert model.first_order_w(now_s) == pytest.approx(expected_w, rel=1e-9)


@settings(max_examples=40)
@given(boards, histories, st.lists(st.floats(min_value=0.0, max_value=8.0), min_size=2, max_size=10))
def test_energy_never_falls_and_power_stays_in_the_boards_range(name, history, waits_s):
    model, changes = loaded(name, history)
    profile = board(name)
    instants = [changes[0] + wait_s for wait_s in sorted(waits_s)]
    energies = [model.energy_j(t) for t in instants]
    assert all(later >= earlier - 1e-9 for earlier, later in itertools.pairwise(energies))
    ripple = sum(amplitude for _, amplitude in RIPPLE)
    highest_w = profile.power_limit_w * (1 + profile.drift_fraction + ripple) + profile.uplift_w
    assert all(profile.idle_w * (1 - 1e-9) <= model.power_w(t) <= highest_w for t in instants)
    assert all(0.0 <= model.warmth(t) <= 1.0 for t in instants)


@settings(max_examples=40)
@given(boards, histories, loads)
def test_a_change_of_load_breaks_neither_energy_nor_memory(name, history, load):
    model, changes = loaded(name, history)
    at_s = changes[-1] + 0.4
    before = (model.energy_j(at_s), model.first_order_w(at_s), model.warmth(at_s))
    model.set_load(at_s, load)
    assert (model.energy_j(at_s), model.first_order_w(at_s), model.warmth(at_s)) == pytest.approx(before, rel=1e-9)


@settings(max_examples=20)
@given(boards, histories)
def test_the_past_stays_as_it_was(name, history):
    model, changes = loaded(name, history)
    instants = np.linspace(changes[0], changes[-1] + 0.5, 7).tolist()
    before = [(model.power_w(t), model.energy_j(t), model.first_order_w(t)) for t in instants]
    model.set_load(changes[-1] + 0.6, 0.7)
    assert [(model.power_w(t), model.energy_j(t), model.first_order_w(t)) for t in instants] == before


# --- by hand ---


def test_idle_board_draws_its_idle_power():
    model = TruePowerModel(board("A100-SXM4-80GB"), seed=1, start_s=50.0)
    assert model.power_w(53.0) == 60.0
    assert model.energy_j(60.0) == pytest.approx(600.0)
    assert model.first_order_w(53.0) == 60.0
    assert (model.utilisation(53.0), model.warmth(53.0)) == (0.0, 0.0)


def test_before_its_start_the_board_was_idle():
    model = TruePowerModel(board("RTX-3090"), seed=1, start_s=50.0)
    model.set_load(50.0, 1.0)
    assert model.energy_j(49.9) == pytest.approx(-0.1 * 30.0)
    assert model.power_w(49.9) == 30.0


def test_load_moves_the_board_between_idle_and_its_limit():
    # Half load: 60 + 0.5 * 340 = 230 W; the ripple averages out over long; warmth adds half of 2 %.
    model, _ = loaded("A100-SXM4-80GB", [(0.0, 0.5)], start_s=0.0)
    mean_w = (model.energy_j(2000.0) - model.energy_j(1000.0)) / 1000.0
    assert mean_w == pytest.approx(230.0 * 1.01, rel=1e-4)
    assert model.warmth(1000.0) == pytest.approx(0.5)


def test_board_warms_with_its_time_constant():
    model, _ = loaded("A100-SXM4-80GB", [(0.0, 1.0)], start_s=0.0)
    assert model.warmth(25.0) == pytest.approx(1 - 1 / math.e)
    model.set_load(25.0, 0.0)
    assert model.warmth(50.0) == pytest.approx((1 - 1 / math.e) / math.e)


def test_after_a_load_the_board_draws_more_for_a_while():
    # 25 W more at once, decaying with 0.7 s: 25 * 0.7 = 17.5 J in all.
    model, _ = loaded("A100-SXM4-80GB", [(0.0, 1.0), (0.01, 0.0)], start_s=0.0)
    assert model.power_w(0.01) - 60.0 == pytest.approx(25.0, abs=0.01)
    assert model.power_w(0.71) - 60.0 == pytest.approx(25.0 / math.e, abs=0.01)
    assert model.energy_j(10.01) - model.energy_j(0.01) == pytest.approx(600.0 + 17.5, abs=0.02)


def test_going_idle_twice_does_not_begin_the_decay_anew():
    once, _ = loaded("A100-SXM4-80GB", [(0.0, 1.0), (0.5, 0.0)], start_s=0.0)
    twice, _ = loaded("A100-SXM4-80GB", [(0.0, 1.0), (0.5, 0.0), (0.3, 0.0)], start_s=0.0)
    assert twice.power_w(1.2) == pytest.approx(once.power_w(1.2), rel=1e-12)


def test_last_of_several_loads_at_one_instant_counts():
    model, _ = loaded("A100-SXM4-80GB", [(1.0, 1.0), (0.0, 0.25), (0.0, 0.5)], start_s=0.0)
    plain, _ = loaded("A100-SXM4-80GB", [(1.0, 0.5)], start_s=0.0)
    assert model.utilisation(1.0) == 0.5
    assert model.energy_j(3.0) == pytest.approx(plain.energy_j(3.0), rel=1e-12)


@pytest.mark.parametrize("utilisation", [-0.01, 1.01, math.nan])
def test_load_is_a_share(utilisation):
    with pytest.raises(ValueError, match="utilisation"):
        loaded("RTX-3090", [(0.0, utilisation)])


def test_loads_come_in_order():
    model, _ = loaded("RTX-3090", [(5.0, 0.5)])
    with pytest.raises(ValueError, match="in order"):
        model.set_load(104.9, 0.0)


def test_seed_decides_the_ripple():
    one, _ = loaded("RTX-3090", [(0.0, 1.0)], seed=1)
    same, _ = loaded("RTX-3090", [(0.0, 1.0)], seed=1)
    other, _ = loaded("RTX-3090", [(0.0, 1.0)], seed=2)
    assert one.power_w(101.0) == same.power_w(101.0) != other.power_w(101.0)


# --- boards ---


def test_every_board_has_a_sensor_on_record():
    for name in simulated_boards():
        assert board(name).sensor.name != "unknown"
        assert board(name).idle_w < board(name).power_limit_w


def test_boards_are_found_whatever_the_capitals():
    assert board("rtx-3090") is board("RTX-3090")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("RTX3090", "RTX-3090"),
        ("H-200", "H200"),
        ("A100", "A100-SXM4-80GB"),
        ("H100", "H100-SXM"),
    ],
)
def test_unknown_board_gets_a_suggestion(asked, meant):
    with pytest.raises(UserInputError) as error:
        board(asked)
    assert error.value.message == f"There is no simulated GPU '{asked}'."
    assert f"Did you mean {meant}?" in error.value.hint
