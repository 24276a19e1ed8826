"""Batches start at evenly spread phases of the sensor's period."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.delays import GOLDEN_FRACTION, STEPS, PhaseSpread, group_length_s, phase_step, spread_plan
from harness.power.profiles import undersampled_fraction


def start_phases(first: float, count: int, batch_s: float, period_s: float = 0.1) -> list[float]:
    """Phases at which `count` batches of one length start."""
    starts, now_s, phases = PhaseSpread(period_s, first, GOLDEN_FRACTION, 0.0), 17.03, []
    for _ in range(count):
        wait_s = starts.wait_s(now_s)
        assert 0 <= wait_s < period_s
        now_s += wait_s
        phases.append(math.fmod(now_s, period_s) / period_s)
        now_s += batch_s
        starts.worked(batch_s)
    return phases


def test_phases_step_by_the_golden_fraction():
    phases = start_phases(first=0.25, count=4, batch_s=0.1)
    assert phases == pytest.approx([(0.25 + k * GOLDEN_FRACTION) % 1 for k in range(4)], abs=1e-9)


@given(first=st.floats(0, 0.999), batch_s=st.floats(0.05, 2.0), count=st.integers(2, 80))
def test_no_two_phases_come_closer_than_the_golden_sequence_lets_them(first, batch_s, count):
    # Three-distance theorem: among n points the smallest gap is at least 1 / (sqrt(5) n + 1), whatever was run between.
    phases = np.sort(start_phases(first, count, batch_s))
    gaps = np.diff(np.append(phases, phases[0] + 1))
    assert gaps.min() > 1 / (math.sqrt(5) * count + 1) - 1e-6
    assert gaps.max() < 2.7 / count


def test_work_is_grouped_until_a_wait_is_due():
    starts = PhaseSpread(0.1, 0.5, GOLDEN_FRACTION, group_s=0.1)
    assert starts.wait_s(0.0) == pytest.approx(0.05)
    starts.worked(0.06)
    assert starts.wait_s(0.11) == 0.0
    starts.worked(0.06)
    assert starts.wait_s(0.17) == pytest.approx(0.1 * ((0.5 + GOLDEN_FRACTION - 0.7) % 1))


def test_without_groups_only_the_first_start_waits():
    starts = PhaseSpread(0.1, 0.5, GOLDEN_FRACTION, group_s=math.inf)
    assert starts.wait_s(0.0) == pytest.approx(0.05)
    for _ in range(20):
        starts.worked(3.0)
        assert starts.wait_s(1.0) == 0.0


@pytest.mark.parametrize(
    ("batch_s", "period_s", "window_s", "group_s"),
    [
        (0.1, 0.1, 0.025, 0.05),  # in step with the sensor: every batch
        (0.3, 0.1, 0.025, 0.05),  # three periods: still in step
        (2.0, 0.1, 0.025, 0.05),
        (60.0, 0.1, 0.025, 0.05),  # cheap, and what swings inside may keep step
        (0.03, 0.1, 0.025, 0.1),  # shorter than half a period: one wait per period of work
        (0.02, 0.1, 0.025, math.inf),  # the sensor averages over it
        (0.1, 0.1, 0.1, math.inf),  # a sensor that sees everything
        (0.15, 0.1, 0.113, 0.05),  # one that sees a part of each period twice
        (0.1, 0.02, 0.01, 0.01),
    ],
)
def test_waits_are_due_where_the_load_could_beat(batch_s, period_s, window_s, group_s):
    kappa = undersampled_fraction(period_s, window_s)
    assert group_length_s("auto", batch_s, period_s, window_s, kappa) == group_s


def test_user_may_insist_on_waits_or_on_none():
    assert group_length_s("never", 0.1, 0.1, 0.025, 0.75) == math.inf
    assert group_length_s("always", 30.0, 0.1, 0.1, 0.0) == 0.0


def test_steps_are_noble_numbers():
    # [0; 1, 1, 1, ...] and [0; 2, 1, 1, ...] = 1 / (2 + 0.618...), [0; 1, 2, 1, ...] = 1 / (1 + 0.381...)
    root = math.sqrt(5)
    for step in ((root - 1) / 2, 2 / (3 + root), 1 / (1 + 2 / (3 + root))):
        assert min(abs(step - known) for known in STEPS) < 1e-12
    assert sorted(STEPS) == STEPS


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("count", [20, 50, 100])
def test_every_step_spreads_the_phases_evenly(step, count):
    phases = np.sort(np.arange(count) * step % 1)
    gaps = np.diff(np.append(phases, phases[0] + 1))
    assert gaps.max() < 5.5 / count  # random phases: ln(count) / count and more, about 5 to 8


@given(st.floats(0.02, 3.0))
def test_chosen_step_keeps_the_wait_short(batch_s):
    step = phase_step(batch_s, 0.1)
    wait = (step - batch_s / 0.1) % 1.0  # fraction of a period between the end of a batch and the next phase
    # The widest gap is from the largest step, [0; 1, 4, 1, ...] = 0.8220, to the smallest, [0; 4, 1, ...] = 0.2165
    assert 0.02 < wait < 1 - 0.8220 + 0.2166 + 0.03
    assert step in STEPS


def test_grouped_batches_are_planned_as_one():
    plan = spread_plan("auto", 0.03, 0.1, 0.025, 0.75)  # four of them fill a period: 0.12 s
    assert plan.spreads
    assert plan.step == phase_step(0.12, 0.1)


def test_plan_without_waits_spreads_nothing():
    assert not spread_plan("auto", 0.1, 0.1, 0.1, 0.0).spreads
    assert not spread_plan("never", 0.1, 0.1, 0.025, 0.75).spreads
