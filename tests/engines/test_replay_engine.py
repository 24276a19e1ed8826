"""A replayed inference takes the study's time and draws the study's power, exactly."""

from __future__ import annotations

import pytest
from fakes import run_spec

from harness.clock import VirtualClock
from harness.engines.replay import ReplayEngine
from harness.errors import UserInputError
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.specs import ReplaySpec, RunSpec
from harness.tasks.base import Request


def node_of(idle_w: float = 60.0) -> SimulatedNode:
    state = NodeState("A100-SXM4-80GB", 8, 3, "truth", 0.0, None, idle_w=idle_w, steady=True)
    return SimulatedNode(state, VirtualClock())


def spec_of(active_gpu_w: float) -> tuple[RunSpec, ReplaySpec]:
    replay = ReplaySpec(
        study="study-2023",
        dataset="wikitext",
        runs=10,
        duration_s=0.5,
        active_gpu_w=active_gpu_w,
        idle_gpu_w=60.0,
        memory_unmetered_s=0.0,
        node_energy_j=1.0,
        node_scatter_j=1.0,
    )
    return run_spec(replay=replay), replay


def test_two_hundred_watts_for_ten_seconds_and_seven_boards_at_idle() -> None:
    node = node_of()
    engine = ReplayEngine(*spec_of(200.0), node, 0)
    engine.load()
    work = engine.run(engine.prepare([Request(0, "")] * 20))
    assert node.clock.now_s() == pytest.approx(10.0)
    assert (work.requests, work.output_tokens) == (20, 200)
    # the ripple of 1 % has its whole periods almost in 10 s
    assert node.gpus[0].true_energy_j(0.0, 10.0) == pytest.approx(2000.0, rel=2e-3)
    for idler in node.gpus[1:]:
        assert idler.true_energy_j(0.0, 10.0) == pytest.approx(600.0)


def test_a_steady_board_draws_the_same_before_and_after_and_no_uplift() -> None:
    node = node_of()
    engine = ReplayEngine(*spec_of(200.0), node, 0)
    engine.run(200)
    end_s = node.clock.now_s()
    node.clock.sleep_s(5.0)
    assert node.gpus[0].true_power_w(end_s + 0.01) == pytest.approx(60.0)
    assert node.gpus[0].true_energy_j(0.0, 20.0) == pytest.approx(node.gpus[0].true_energy_j(80.0, 100.0), rel=2e-3)


@pytest.mark.parametrize("active_gpu_w", [50.0, 60.0, 401.0])
def test_a_power_that_the_board_cannot_draw_is_refused(active_gpu_w: float) -> None:
    engine = ReplayEngine(*spec_of(active_gpu_w), node_of(), 0)
    with pytest.raises(UserInputError, match=f"draws 60 to 400 W and cannot replay {active_gpu_w:.0f} W"):
        engine.load()
