"""Accuracy benchmark: the loads, the virtual boards that they run on, and how they are played.

Everything here is a function of seeds, so that processes in different virtual environments see the same GPU do the same
work. Imports nothing but the harness's simulation: it also runs where Zeus lives. The loads are assumed, not measured
on any model; the recordings are real.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from harness.clock import VirtualClock
from harness.power.recording import read_recording
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.simulation.profiles import board
from harness.simulation.recorded import RecordedPowerModel, Recording

TRACES = Path(__file__).resolve().parents[2] / "shared" / "data" / "traces"
CounterKind = Literal["sensor", "truth"]
Batch = tuple[tuple[float, float], ...]  # (duration in s, load as a fraction), one after another
WARM_S = 120.0  # what a board was at work before it is measured: its thermal time constant is 25 s
# Of a board that waits for a request: a process that holds it keeps its clocks up (5050_A100 and TR_A100: 1410 MHz at
# 0 % use), which the simulation ties to a load above zero.
WAITING = 0.02
LONGEST_DETUNING = 0.01  # of a beating load's period: within 10 s at most one beat at the sensor's own period


@dataclass(frozen=True)
class Cell:
    """One board doing one kind of work in windows of one length."""

    load: str
    counter: CounterKind
    window_s: float
    board: int
    seed: int

    @property
    def key(self) -> str:
        """Names it, and seeds everything in it that is not the board's own."""
        return f"{self.load}/{self.counter}/{self.window_s:g}/{self.board}/{self.seed}"


@dataclass(frozen=True)
class LoadClass:
    """A kind of work: on which board, in which batches, and what it is in words."""

    name: str
    words: str
    beat_s: float | None  # time between two coincidences with the sensor's period, the shortest; None: it has no beat
    gpu: str
    batches: Callable[[random.Random, float], Iterator[Batch]]  # (random, the sensor's period) -> endless batches
    recording: str | None = None


# --- synthetic loads ------------------------------------------------------------------------------------


def steady(rng: random.Random, period_s: float) -> Iterator[Batch]:
    """Batches of 1 s at one level."""
    load = rng.uniform(0.4, 0.9)
    while True:
        yield ((1.0, load),)


def decoding(rng: random.Random, period_s: float) -> Iterator[Batch]:
    """Batches of 32 to 128 tokens: a prefill burst, then steps of 5 to 40 ms, each with a pause of the host in it."""
    prefill_s, step_s, load = rng.uniform(0.03, 0.2), rng.uniform(0.005, 0.04), rng.uniform(0.3, 0.55)
    pause_s = step_s * rng.uniform(0.05, 0.25)
    while True:
        step = ((step_s - pause_s, load), (pause_s, 0.08))
        yield ((prefill_s, 0.9), *(step * rng.randint(32, 128)))


def diffusing(rng: random.Random, period_s: float) -> Iterator[Batch]:
    """Images of 0.3 to 5 s: denoising steps of 20 to 80 ms, each with a lighter part, then a VAE decode."""
    step_s, image_s, decode_s = rng.uniform(0.02, 0.08), math.exp(rng.uniform(math.log(0.3), math.log(5))), 0.15
    light_s, load = step_s * rng.uniform(0.05, 0.2), rng.uniform(0.75, 0.95)
    step = ((step_s - light_s, load), (light_s, 0.35))
    image = (*(step * max(1, round((image_s - decode_s) / step_s))), (decode_s, 0.6))
    while True:
        yield image


def serving(rng: random.Random, period_s: float) -> Iterator[Batch]:
    """Stretches of 1 s: requests arrive at random (Poisson) and are served one by one in 20 to 200 ms."""
    service_s, load = rng.uniform(0.02, 0.2), rng.uniform(0.5, 0.9)
    rate_per_s = rng.uniform(0.3, 0.7) / service_s
    clock_s = free_s = 0.0
    arrival_s = rng.expovariate(rate_per_s)
    while True:
        end_s, steps = clock_s + 1.0, []
        while clock_s < end_s:
            while arrival_s <= clock_s:  # queue up what has come
                free_s = max(free_s, arrival_s) + service_s
                arrival_s += rng.expovariate(rate_per_s)
            busy = free_s > clock_s
            until_s = min(end_s, free_s if busy else arrival_s)
            steps.append((until_s - clock_s, load if busy else WAITING))
            clock_s = until_s
        yield tuple(step for step in steps if step[0] > 0)


def bursts(rng: random.Random, period_s: float) -> Iterator[Batch]:
    """Square bursts whose period is 1, 2 or 3 times the sensor's, off by up to 1 % (uniform); one burst is a batch."""
    cycle_s = rng.choice((1, 2, 3)) * period_s * (1 + rng.uniform(-LONGEST_DETUNING, LONGEST_DETUNING))
    high_s = cycle_s * rng.uniform(0.3, 0.7)
    high, low = rng.uniform(0.6, 0.9), rng.uniform(WAITING, 0.1)
    while True:
        yield ((high_s, high), (cycle_s - high_s, low))


def bursts_inside(rng: random.Random, period_s: float) -> Iterator[Batch]:
    """The same bursts, about 2 s of them in one batch: nothing can be shifted within."""
    source = bursts(rng, period_s)
    burst = next(source)
    count = max(1, round(2.0 / (burst[0][0] + burst[1][0])))
    while True:
        yield burst * count


# --- recordings -----------------------------------------------------------------------------------------


def pieces(duration_s: float) -> Callable[[random.Random, float], Iterator[Batch]]:
    """Pieces of a recording, played as recorded."""

    def batches(rng: random.Random, period_s: float) -> Iterator[Batch]:
        while True:
            yield ((duration_s, 1.0),)

    return batches


# Rounds within the recordings. 5050_A100: 70 bursts, from the start of the sixth to that of the 76th (load.csv).
ROUNDS_S = {"TR_A100": (-0.5, 8.0), "TR_3090": (-0.5, 9.0), "5050_A100": (0.521754, 7.825447)}
BURST_S = (ROUNDS_S["5050_A100"][1] - ROUNDS_S["5050_A100"][0]) / 70


@cache
def recording(name: str) -> tuple[Recording, float]:
    """One round of a recording, and the power of that board at rest before it, watts."""
    t_s, watts = read_recording(TRACES / name / "pmd.csv", "watts")
    at_rest = watts[t_s < -0.05]
    return Recording.cut(t_s.tolist(), watts.tolist(), *ROUNDS_S[name]), float(at_rest.mean())


def beat_s(cycle_s: float, period_s: float) -> float:
    """Time from one coincidence of a load's cycle with a sensor's period to the next, seconds."""
    return 1 / abs(1 / cycle_s - 1 / period_s)


A100, RTX_3090 = "A100-SXM4-80GB", "RTX-3090"
A100_PERIOD_S = board(A100).sensor.period_s
BURSTS_BEAT_S = beat_s((1 + LONGEST_DETUNING) * A100_PERIOD_S, A100_PERIOD_S)  # of two or three periods: longer
RECORDED_BEAT_S = beat_s(BURST_S, A100_PERIOD_S)
LOADS = (
    LoadClass("steady", "one level", None, A100, steady),
    LoadClass("llm-decode", "prefill, then decode steps of 5-40 ms", None, A100, decoding),
    LoadClass("diffusion", "denoising steps of 20-80 ms, VAE decode", None, A100, diffusing),
    LoadClass("serving", "Poisson arrivals, 20-200 ms each", None, A100, serving),
    LoadClass("beat", "bursts at 1, 2, 3 sensor periods ± 1 %, a batch each", BURSTS_BEAT_S, A100, bursts),
    LoadClass("beat-inside", "the same, batches of 2 s", BURSTS_BEAT_S, A100, bursts_inside),
    LoadClass(
        "5050_A100", "recorded bursts, 104 ms, a batch each", RECORDED_BEAT_S, A100, pieces(BURST_S), "5050_A100"
    ),
    LoadClass("5050_A100x10", "the same, ten bursts a batch", RECORDED_BEAT_S, A100, pieces(10 * BURST_S), "5050_A100"),
    LoadClass("TR_A100", "recorded step, up and down", None, A100, pieces(0.5), "TR_A100"),
    LoadClass("TR_3090", "recorded step, up and down", None, RTX_3090, pieces(0.5), "TR_3090"),
)


def load_class(name: str) -> LoadClass:
    """The load of that name."""
    return next(load for load in LOADS if load.name == name)


def available_loads() -> tuple[str, ...]:
    """Those whose recording, if they need one, is there."""
    return tuple(
        load.name for load in LOADS if load.recording is None or (TRACES / load.recording / "pmd.csv").exists()
    )


# --- boards and playing ---------------------------------------------------------------------------------


def node_of(cell: Cell) -> SimulatedNode:
    """The board of a cell, warm from work of the same kind, at rest for a random while."""
    load, rng = load_class(cell.load), random.Random(f"node/{cell.key}")
    profile = board(load.gpu)
    clock = VirtualClock(0.0)
    state = NodeState(load.gpu, 1, 1000 * cell.seed + cell.board, cell.counter, 0.0, None)
    models = None
    if load.recording is not None:
        round_, idle_w = recording(load.recording)
        models = [RecordedPowerModel(profile, round_, idle_w, 0.0, rng.uniform(0, round_.duration_s))]
    node = SimulatedNode(state, clock, models)
    batch = next(load.batches(rng, profile.sensor.period_s))
    node.set_load(0, math.fsum(share * took_s for took_s, share in batch) / math.fsum(took_s for took_s, _ in batch))
    clock.sleep_s(WARM_S)
    node.set_load(0, 0.0)
    clock.sleep_s(rng.uniform(3.0, 4.0))
    return node


class Work:
    """What a board has to do: endless batches, cut into windows of one length."""

    def __init__(self, cell: Cell) -> None:
        load = load_class(cell.load)
        period_s = board(load.gpu).sensor.period_s
        self._batches = load.batches(random.Random(f"work/{cell.key}"), period_s)
        self._window_s = cell.window_s

    def batch(self) -> Batch:
        """One batch, for warming up; not longer than a window."""
        return cut(next(self._batches), self._window_s)[0]

    def window(self) -> list[Batch]:
        """Batches that take exactly one window; the last is broken off there."""
        left_s, batches = self._window_s, []
        while left_s > 1e-9:
            batch, took_s = cut(next(self._batches), left_s)
            batches.append(batch)
            left_s -= took_s
        return batches


def cut(batch: Batch, longest_s: float) -> tuple[Batch, float]:
    """The beginning of a batch, and how long it takes."""
    kept: list[tuple[float, float]] = []
    left_s = longest_s
    for duration_s, load in batch:
        if left_s <= 1e-9:
            break
        kept.append((min(duration_s, left_s), load))
        left_s -= kept[-1][0]
    return tuple(kept), math.fsum(duration_s for duration_s, _ in kept)


def play(node: SimulatedNode, batch: Batch) -> None:
    """Run a batch on the node's clock; the board is at rest afterwards."""
    for duration_s, load in batch:
        node.set_load(0, load)
        node.clock.sleep_s(duration_s)
    node.set_load(0, 0.0)
