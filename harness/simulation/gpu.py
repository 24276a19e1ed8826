"""A simulated node: true power -> what its sensors publish and its counters count, with the truth kept beside.

Every number is a function of (profile, seed, start time, load log), so two processes that share the log see the same
GPU. Each board has a gain and an offset of its own, drawn by seed from ±5 % and ±3 W: what an uncalibrated user
does not know, this GPU does not tell either.

Several threads may use one node: whatever changes it holds `SimulatedNode.lock`. A change of load holds it from looking
at the clock on, so that no reading in between is published without it. Lists only ever grow: looking up what is
published needs no lock.
"""

from __future__ import annotations

import math
import os
import random
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.clock import Clock, RealClock
from harness.simulation.load import FileLoadLog, LoadLog, MemoryLoadLog
from harness.simulation.power import TruePowerModel
from harness.simulation.profiles import GpuProfile, board

MAX_GAIN_ERROR = 0.05
MAX_OFFSET_W = 3.0
PUBLICATION_DELAY_S = 0.002
AVERAGE_WINDOW_S = 1.0
FOREIGN_PID = 424_242

Condition = Literal["mig", "foreign-process", "no-counter", "throttled"]


@dataclass(frozen=True)
class NodeState:
    """Everything that makes a simulated node, picklable, so that another process can open the same one."""

    gpu: str
    gpu_count: int
    seed: int
    counter: Literal["sensor", "truth"]
    start_s: float
    load_path: Path | None
    conditions: tuple[Condition, ...] = ()


class SimulatedGpu:
    """One board. Times are on the node's clock; asking for the past is allowed, the future is not."""

    def __init__(self, state: NodeState, index: int, lock: threading.RLock) -> None:
        self._lock = lock
        self.profile: GpuProfile = board(state.gpu)
        self.index = index
        self.uuid = "GPU-" + str(uuid.UUID(int=random.Random(f"uuid-{state.seed}-{index}").getrandbits(128), version=4))
        rng = random.Random(f"board-{state.seed}-{index}")
        self.gain = 1 + rng.uniform(-MAX_GAIN_ERROR, MAX_GAIN_ERROR)
        self.offset_w = rng.uniform(-MAX_OFFSET_W, MAX_OFFSET_W)
        self.counter_start_j = rng.uniform(1e6, 1e8)
        self.conditions = state.conditions
        self.mig_enabled = "mig" in state.conditions
        self.has_counter = "no-counter" not in state.conditions and self.profile.sensor.counter_step_j is not None
        self._counter_kind = state.counter
        self._model = TruePowerModel(self.profile, state.seed * 8 + index, state.start_s)
        self._sensor = self.profile.sensor
        self._first_s = state.start_s + rng.uniform(0, self._sensor.period_s)
        self._published_w: list[float] = []
        self._counted_j: list[float] = []  # by the end of each published reading

    def set_load(self, t_s: float, utilisation: float) -> None:
        """Change the board's load from `t_s` on, as a fraction of its range above idle."""
        with self._lock:
            self._publish_until(t_s)
            self._model.set_load(t_s, utilisation)

    # --- truth ---

    def true_power_w(self, t_s: float) -> float:
        """What the board really draws, watts."""
        return self._model.power_w(t_s)

    def true_energy_j(self, start_s: float, end_s: float) -> float:
        """What the board really drew between two instants, joules."""
        return self._model.energy_j(end_s) - self._model.energy_j(start_s)

    # --- what the driver shows ---

    def power_w(self, t_s: float) -> float:
        """The instant field: the last published reading, watts."""
        return self._published_w[self._last_published(t_s)]

    def average_power_w(self, t_s: float) -> float:
        """The average field: mean of the readings published over the last second, watts."""
        index = self._last_published(t_s)
        width = max(1, round(AVERAGE_WINDOW_S / self._sensor.period_s))
        readings_w = self._published_w[max(0, index - width + 1) : index + 1]
        return sum(readings_w) / len(readings_w)

    def counter_j(self, t_s: float) -> float:
        """The energy counter, joules, in whole steps; None-like boards have `has_counter` False."""
        index = self._last_published(t_s)
        if self._counter_kind == "truth":
            counted = self.true_energy_j(self._first_s, self._first_s + index * self._sensor.period_s)
        else:
            counted = self._counted_j[index]
        step = self._sensor.counter_step_j or 0.001
        return math.floor((self.counter_start_j + counted) / step) * step

    def utilisation(self, t_s: float) -> float:
        """Load now, as a fraction."""
        return self._model.utilisation(t_s)

    def temperature_c(self, t_s: float) -> float:
        """Chip temperature, degrees Celsius."""
        profile = self.profile
        warmth = self._model.warmth(t_s)
        return profile.idle_temperature_c + (profile.full_temperature_c - profile.idle_temperature_c) * warmth

    def clock_hz(self, t_s: float) -> float:
        """Streaming-multiprocessor clock, hertz."""
        return self.profile.boost_clock_hz if self.utilisation(t_s) > 0 else self.profile.idle_clock_hz

    def throttle_reasons(self, t_s: float) -> int:
        """NVML clocks-event-reasons bits: 1 when idle, 8 (hardware slowdown) if the node is throttled under load."""
        if self.utilisation(t_s) == 0:
            return 0x1
        return 0x8 if "throttled" in self.conditions else 0x0

    def compute_processes(self, own_pid: int | None = None) -> tuple[tuple[int, int], ...]:
        """(process id, bytes) of the processes on the board: the harness, and a foreign one if asked for."""
        own = ((own_pid if own_pid is not None else os.getpid(), 512 * 1024**2),)
        foreign = ((FOREIGN_PID, 2 * 1024**3),) if "foreign-process" in self.conditions else ()
        return own + foreign

    # --- sensor ---

    def _last_published(self, t_s: float) -> int:
        with self._lock:
            self._publish_until(t_s)
        index = math.floor((t_s - PUBLICATION_DELAY_S - self._first_s) / self._sensor.period_s)
        return min(max(index, 0), len(self._published_w) - 1)

    def _publish_until(self, t_s: float) -> None:
        due = max(1, math.floor((t_s - self._first_s) / self._sensor.period_s) + 1)
        for number in range(len(self._published_w), due):
            at_s = self._first_s + number * self._sensor.period_s
            reading_w = max(0.0, round(self.gain * self._seen_w(at_s) + self.offset_w, 3))
            before_j = self._counted_j[-1] if self._counted_j else 0.0
            self._published_w.append(reading_w)
            self._counted_j.append(before_j + reading_w * self._sensor.period_s)

    def _seen_w(self, at_s: float) -> float:
        if self._sensor.kernel == "first_order":
            return self._model.first_order_w(at_s)
        width_s = self._sensor.window_s
        return (self._model.energy_j(at_s) - self._model.energy_j(at_s - width_s)) / width_s


class SimulatedNode:
    """A machine with 1 to 8 simulated GPUs behind one load log, and one re-entrant lock for its threads."""

    def __init__(self, state: NodeState, clock: Clock | None = None) -> None:
        self.state = state
        self.clock: Clock = clock if clock is not None else RealClock()
        self.lock = threading.RLock()
        self.gpus = tuple(SimulatedGpu(state, index, self.lock) for index in range(state.gpu_count))
        self._log: LoadLog = FileLoadLog(state.load_path) if state.load_path else MemoryLoadLog()
        self._seen_rows = 0

    def set_load(self, gpu_index: int, utilisation: float) -> None:
        """From now on this GPU works at that fraction of its range above idle."""
        with self.lock:
            self._log.append(self.clock.now_s(), gpu_index, utilisation)
            self.refresh()

    def refresh(self) -> None:
        """Take in what any process wrote to the load log."""
        with self.lock:
            for t_s, gpu_index, utilisation in self._log.rows(self._seen_rows):
                self.gpus[int(gpu_index)].set_load(t_s, utilisation)
                self._seen_rows += 1

    def gpu_by_uuid(self, gpu_uuid: str) -> SimulatedGpu:
        """The GPU of that UUID.

        Raises:
            KeyError: There is none.
        """
        for gpu in self.gpus:
            if gpu.uuid == gpu_uuid:
                return gpu
        raise KeyError(gpu_uuid)
