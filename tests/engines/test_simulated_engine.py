"""Time, work and load of the simulated engine, and a real engine that drives a simulated board."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes import run_spec

from harness.clock import VirtualClock
from harness.engines.simulated import LoadingEngine, SimulatedEngine, utilisation_of
from harness.errors import OutOfMemory
from harness.records import WorkCounts
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.tasks.base import Request

IMAGE: dict[str, Any] = {"task": "text-to-image", "text": None}


def node_of(gpu_count: int = 1, gpu: str = "A100-SXM4-80GB") -> SimulatedNode:
    return SimulatedNode(NodeState(gpu, gpu_count, 0, "sensor", 0.0, None), VirtualClock(0.0))


def engine_of(node: SimulatedNode | None = None, gpus: tuple[int, ...] = (0,), **spec: Any) -> SimulatedEngine:
    return SimulatedEngine(run_spec(**spec), node or node_of(), gpus)


def requests(count: int, words: int = 10) -> list[Request]:
    return [Request(index, " ".join(["word"] * words)) for index in range(count)]


# --- time and work ---


def test_text_batch_takes_a_time_per_token():
    # 4 ms, 6 ms per new token however many requests, 4 µs per input token: 2 * 10 words * 1.3
    duration_s, work = engine_of(text={"new_tokens": 10}).prepare(requests(2))
    assert duration_s == pytest.approx(0.004 + 26 * 4e-6 + 10 * 0.006)
    assert work == WorkCounts(requests=2, input_tokens=26, output_tokens=20)


def test_image_batch_takes_a_time_per_step_image_and_pixel():
    # 4 ms; per image 3 ms of text encoder; at 512 x 512 29.7 ms per step, 12 ms of decoder, at twice the pixels twice
    duration_s, work = engine_of(**IMAGE, image={"steps": 20, "height": 1024}).prepare(requests(3))
    assert duration_s == pytest.approx(0.004 + 3 * 0.003 + 20 * 3 * 0.0297 * 2 + 3 * 0.012 * 2)
    assert work == WorkCounts(requests=3, input_tokens=39, images=3, output_pixels=3 * 1024 * 512, denoising_steps=60)


def test_prompts_are_cut_to_the_tokens_allowed():
    _, work = engine_of(text={"new_tokens": 10, "max_input_tokens": 8}).prepare([*requests(2), *requests(1, words=2)])
    assert work.input_tokens == 8 + 8 + 3  # two of 13 tokens, one of 2.6


def test_run_waits_on_the_nodes_clock_with_the_board_under_load():
    node = node_of()
    engine = engine_of(node, text={"new_tokens": 100})
    prepared = engine.prepare(requests(32))
    node.clock.sleep_s(1.0)
    work = engine.run(prepared)
    engine.synchronize()
    assert work.requests == 32
    assert node.clock.now_s() == pytest.approx(1.0 + prepared[0])
    assert node.gpus[0].utilisation(0.999) == 0.0
    assert node.gpus[0].utilisation(1.0) == pytest.approx(0.9)
    assert node.gpus[0].utilisation(node.clock.now_s()) == 0.0


def test_true_energy_of_a_batch_is_its_power_times_its_time():
    node = node_of()
    engine = engine_of(node, **IMAGE, image={"steps": 100})
    engine.run(engine.prepare(requests(32)))  # 96 s at 35 % of 60 to 400 W, warming by 0.7 %
    end_s = node.clock.now_s()
    assert end_s == pytest.approx(0.004 + 32 * (0.003 + 100 * 0.0297 + 0.012))
    mean_w = node.gpus[0].true_energy_j(0.0, end_s) / end_s
    assert 179.0 < mean_w < 179.0 * 1.007
    assert node.gpus[0].true_energy_j(end_s - 10.0, end_s) / 10.0 == pytest.approx(179.0 * 1.007, rel=0.002)


def test_preparing_costs_neither_time_nor_power():
    node = node_of()
    engine_of(node).prepare(requests(8))
    assert node.clock.now_s() == 0.0
    assert node.gpus[0].utilisation(0.0) == 0.0


def test_every_selected_board_works_and_no_other():
    node = node_of(gpu_count=3)
    engine = engine_of(node, gpus=(0, 2))
    engine.run(engine.prepare(requests(1)))
    assert [gpu.utilisation(0.01) > 0 for gpu in node.gpus] == [True, False, True]


@pytest.mark.parametrize(("batch_size", "load"), [(1, 0.35), (2, 0.35 + 0.55 / 31), (32, 0.9), (64, 0.9)])
def test_load_rises_with_the_batch_up_to_a_full_one(batch_size, load):
    assert utilisation_of(batch_size) == pytest.approx(load)


# --- memory ---


@pytest.mark.parametrize(
    ("gpu", "spec", "fits"),
    [
        ("A100-SXM4-80GB", {**IMAGE, "image": {}, "batch_size": 40}, True),  # 2 GiB each at 512 x 512
        ("A100-SXM4-80GB", {**IMAGE, "image": {}, "batch_size": 41}, False),
        ("RTX-3090", {**IMAGE, "image": {}, "batch_size": 12}, True),
        ("RTX-3090", {**IMAGE, "image": {"height": 1024, "width": 1024}, "batch_size": 4}, False),
        ("RTX-3090", {"batch_size": 384}, True),  # 64 MiB each
        ("RTX-3090", {"batch_size": 385}, False),
    ],
)
def test_batch_has_to_fit_the_simulated_board(gpu, spec, fits):
    engine = engine_of(node_of(gpu=gpu), **spec)
    if fits:
        engine.load()
        return
    with pytest.raises(OutOfMemory, match="GiB"):
        engine.load()


def test_there_are_no_parameters_to_count():
    assert engine_of().parameter_count is None


# --- a real engine on a simulated board ---


@dataclass
class RealEngine:
    """Takes two seconds, and can fail."""

    clock: VirtualClock
    fails: bool = False
    calls: list[str] = field(default_factory=list)
    parameter_count: int | None = 42

    def load(self) -> None:
        self.calls.append("load")

    def prepare(self, batch):
        self.calls.append("prepare")
        return [request.text for request in batch]

    def run(self, prepared) -> WorkCounts:
        self.calls.append("run")
        self.clock.sleep_s(2.0)
        if self.fails:
            raise OutOfMemory("The batch does not fit.")
        return WorkCounts(requests=len(prepared))

    def synchronize(self) -> None:
        self.calls.append("synchronize")

    def close(self) -> None:
        self.calls.append("close")


def test_real_engine_loads_the_board_while_it_runs():
    node = node_of()
    inner = RealEngine(node.clock)
    engine = LoadingEngine(inner, node, (0,))
    engine.load()
    work = engine.run(engine.prepare(requests(4)))
    engine.close()
    assert work == WorkCounts(requests=4)
    assert engine.parameter_count == 42
    assert node.gpus[0].utilisation(1.0) == pytest.approx(utilisation_of(4))
    assert node.gpus[0].utilisation(2.0) == 0.0
    # The load ends when the device has finished, not when run() returns.
    assert inner.calls == ["load", "prepare", "run", "synchronize", "close"]


def test_failing_engine_leaves_the_board_idle():
    node = node_of()
    engine = LoadingEngine(RealEngine(node.clock, fails=True), node, (0,))
    with pytest.raises(OutOfMemory):
        engine.run(engine.prepare(requests(4)))
    assert node.gpus[0].utilisation(node.clock.now_s()) == 0.0
