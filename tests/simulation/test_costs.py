"""The simulated engine's phases: their true energies, by hand and against the board that draws them."""

from __future__ import annotations

import pytest
from fakes import run_spec

from harness.clock import VirtualClock
from harness.engines.simulated import SimulatedEngine
from harness.simulation.costs import image_batch, mean_load, text_batch, true_phase_energies_j
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.specs import RunSpec
from harness.tasks.base import Request

NODE = {"kind": "simulated", "node": {"steady": True, "clock": "virtual"}}


def truth_of(**changes) -> dict[str, float]:
    truth = true_phase_energies_j(run_spec(**({"sources": NODE} | changes)))
    assert truth is not None
    return truth


def test_true_text_energies_are_those_worked_by_hand():
    # An A100 of 60 to 400 W: 366 W at full load; 0.55/31 of 340 W per request; 179 W for one request.
    truth = truth_of()
    per_request_w = 340 * 0.55 / 31
    assert truth["prefill"] == pytest.approx(366 * 4e-6)
    assert truth["decode"] == pytest.approx(per_request_w * 0.006)
    assert truth["decode step"] == pytest.approx((179 - per_request_w) * 0.006)
    assert truth["fixed"] == pytest.approx((179 - per_request_w) * 0.004)
    assert truth["request"] == pytest.approx(per_request_w * 0.004)


def test_true_image_energies_are_those_worked_by_hand():
    truth = truth_of(task="text-to-image", text=None, image={})
    assert truth["denoising"] == pytest.approx(179 * 0.0297 / 0.262144)
    assert truth["decoder"] == pytest.approx(179 * 0.012 / 0.262144)
    assert truth["text encoder"] == pytest.approx(179 * 0.003 + 340 * 0.55 / 31 * 0.004)


def test_mean_load_weighs_phases_by_their_time():
    # 4 ms + 600 ms at 0.35, 4 ms of prefill at 0.9
    assert mean_load(text_batch(1, 1000, 100)) == pytest.approx((0.604 * 0.35 + 0.004 * 0.9) / 0.608)
    # 4 ms at 0.9, and 32 images at 0.35, each of them 3 + 50 x 29.7 + 12 ms
    assert mean_load(image_batch(32, 50, 512 * 512)) == pytest.approx((0.004 * 0.9 + 48.0 * 0.35) / 48.004)


@pytest.mark.parametrize("batch_size", [1, 5, 32])
@pytest.mark.parametrize("gpus", [(0,), (0, 1)])
def test_a_batch_draws_the_sum_of_its_phases(batch_size, gpus):
    sources = {"kind": "simulated", "gpus": gpus, "node": {"steady": True, "gpu_count": 2, "idle_w": 80.0}}
    spec = run_spec(sources=sources, text={"new_tokens": 500}, batch_size=batch_size)
    drawn_j, work = energy_of_one_batch(spec, 700)
    truth = true_phase_energies_j(spec)
    assert truth is not None
    expected_j = (
        truth["fixed"]
        + truth["request"] * batch_size
        + truth["prefill"] * work.input_tokens
        + truth["decode step"] * 500
        + truth["decode"] * 500 * batch_size
    )
    assert drawn_j == pytest.approx(expected_j, rel=0.003)  # the board's ripple does not end on whole waves


def test_an_image_batch_draws_the_sum_of_its_phases():
    spec = run_spec(sources=NODE, task="text-to-image", text=None, image={"steps": 30, "width": 768}, batch_size=3)
    drawn_j, _ = energy_of_one_batch(spec, 10)
    truth, megapixels = true_phase_energies_j(spec), 512 * 768 / 1e6
    assert truth is not None
    per_image_j = truth["text encoder"] + megapixels * (30 * truth["denoising"] + truth["decoder"])
    assert drawn_j == pytest.approx(truth["fixed"] + 3 * per_image_j, rel=0.003)


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": {"kind": "simulated"}},  # it warms
        {"engine": "transformers", "sources": NODE},
        {"sources": NODE, "batch_size": 33},  # a full board
        {"sources": {"kind": "simulated", "node": {"steady": True, "faults": [{"kind": "counter-reset", "at_s": 1}]}}},
    ],
)
def test_there_is_no_truth_where_power_is_not_one_per_load(changes):
    assert true_phase_energies_j(run_spec(**changes)) is None


def energy_of_one_batch(spec: RunSpec, words: int):
    node_spec = spec.sources.node
    assert node_spec is not None
    state = NodeState(node_spec.gpu, node_spec.gpu_count, 0, "truth", 0.0, None, idle_w=node_spec.idle_w, steady=True)
    node = SimulatedNode(state, VirtualClock(0.0))
    engine = SimulatedEngine(spec, node, tuple(int(gpu) for gpu in spec.sources.gpus))
    work = engine.run(engine.prepare([Request(0, "word " * words)] * spec.batch_size))
    end_s = node.clock.now_s()
    return sum(node.gpus[int(gpu)].true_energy_j(0.0, end_s) for gpu in spec.sources.gpus), work
