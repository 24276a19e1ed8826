"""A simulated node: true power -> what its sensors publish and its counters count, with the truth kept beside.

Every number is a function of (profile, seed, start time, load log, faults), so two processes that share the log see
the same GPU. Each board has a gain and an offset of its own, drawn by seed: what an uncalibrated user does not know,
this GPU does not tell either. Recorded boards do not keep to NVML's ±5 % (21 boards against an external meter: 0.89 to
1.15; JimZeyuYang/GPU_Power_Benchmark, 2024), so the draw is normal, with the standard deviation of that rectangle.

The energy counter moves when the sensor publishes, and counts each reading for the period that it ends. One with a
period of its own counts, at each of its steps, what the sensor shows by then: up to a period behind the load.

Several threads may use one node: whatever changes it holds `SimulatedNode.lock`. A change of load holds it from looking
at the clock on, so that no reading in between is published without it. Lists only ever grow: looking up what is
published needs no lock.
"""

from __future__ import annotations

import math
import os
import random
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.clock import Clock, RealClock
from harness.simulated_node import SimulatedFault
from harness.simulation.faults import BoardFaults, utc_stepped_s
from harness.simulation.load import FileLoadLog, LoadLog, MemoryLoadLog
from harness.simulation.power import PowerModel, TruePowerModel
from harness.simulation.profiles import GpuProfile, board, steady

GAIN_SD = 0.05 / math.sqrt(3)
OFFSET_SD_W = 3.0 / math.sqrt(3)
CUT_SD = 3.0  # no board lies further out
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
    faults: tuple[SimulatedFault, ...] = ()
    counter_period_s: float | None = None  # None: the sensor's own
    counter_lag_s: float = 0.0
    idle_w: float | None = None  # None: the board's own
    steady: bool = False

    @property
    def profile(self) -> GpuProfile:
        """The node's boards: those on record, with what this node changes."""
        known = board(self.gpu)
        known = known if self.idle_w is None else replace(known, idle_w=self.idle_w)
        return steady(known) if self.steady else known


class SimulatedGpu:
    """One board. Times are on the node's clock; asking for the past is allowed, the future is not."""

    def __init__(self, state: NodeState, index: int, lock: threading.RLock, model: PowerModel | None = None) -> None:
        self._lock = lock
        self.profile: GpuProfile = state.profile
        self.index = index
        self.uuid = "GPU-" + str(uuid.UUID(int=random.Random(f"uuid-{state.seed}-{index}").getrandbits(128), version=4))
        rng = random.Random(f"board-{state.seed}-{index}")
        self.gain = 1 + _cut_normal(rng, GAIN_SD)
        self.offset_w = _cut_normal(rng, OFFSET_SD_W)
        self.counter_start_j = rng.uniform(1e6, 1e8)
        self.conditions = state.conditions
        self.mig_enabled = "mig" in state.conditions
        self.has_counter = "no-counter" not in state.conditions and self.profile.sensor.counter_step_j is not None
        self._counter_kind = state.counter
        built_in = TruePowerModel(self.profile, state.seed * 8 + index, state.start_s)
        self._model: PowerModel = model if model is not None else built_in
        self._sensor = self.profile.sensor
        self._first_s = state.start_s + rng.uniform(0, self._sensor.period_s)
        self._published_w: list[float] = []
        self._counted_j: list[float] = []  # by the end of each published reading
        own_period_s = state.counter_period_s or self._sensor.counter_period_s
        self._counter_apart = own_period_s is not None
        self._counter_period_s = own_period_s or self._sensor.period_s
        self._counter_first_s = state.start_s + rng.uniform(0, own_period_s) if own_period_s else self._first_s
        self._counter_delay_s = PUBLICATION_DELAY_S + state.counter_lag_s
        self._counter_step_j = self._sensor.counter_step_j or 0.001
        self.faults = BoardFaults(state.faults, index, state.start_s)
        profile = self.profile
        warm_range_c = profile.full_temperature_c - profile.idle_temperature_c
        self._warming_w_per_c = profile.drift_fraction * profile.power_limit_w / warm_range_c
        self._load_since_s = state.start_s
        if self.faults.load_changes_s:
            self._schedule(state.start_s, 0.0)

    def set_load(self, t_s: float, utilisation: float) -> None:
        """Change the board's own load from `t_s` on, as a fraction of its range above idle."""
        with self._lock:
            self._publish_until(t_s)
            self._schedule(t_s, utilisation)

    def _schedule(self, t_s: float, own: float) -> None:
        """This own load from now on, and what faults will make of it later if it stays."""
        if self.faults.load_changes_s:
            self._model.forget_after(max(t_s, self._load_since_s))
            self._load_since_s = t_s
        self._model.set_load(t_s, self.faults.load(own, t_s))
        for change_s in self.faults.load_changes_s:
            if change_s > t_s:
                self._model.set_load(change_s, self.faults.load(own, change_s))

    # --- truth ---

    def true_power_w(self, t_s: float) -> float:
        """What the board really draws, watts."""
        warming_w = self._warming_w_per_c * self.faults.warming_c(t_s) if self.faults.warms else 0.0
        return self._model.power_w(t_s) + warming_w

    def true_energy_j(self, start_s: float, end_s: float) -> float:
        """What the board really drew between two instants, joules."""
        energy_j = self._model.energy_j(end_s) - self._model.energy_j(start_s)
        if self.faults.warms:
            warmed_c_s = self.faults.warming_integral_c_s(end_s) - self.faults.warming_integral_c_s(start_s)
            energy_j += self._warming_w_per_c * warmed_c_s
        return energy_j

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
        with self._lock:
            self._publish_until(t_s)
        update = self._counter_update(t_s - self._counter_delay_s)
        if self.faults.spoils_counter:
            counter_j = self._spoilt_counter_j(update)
        else:
            counter_j = self.counter_start_j + self._counted_by_j(update)
        return math.floor(counter_j / self._counter_step_j) * self._counter_step_j

    def _counter_update(self, at_s: float) -> int:
        """Number of the counter's last step by this time; negative before the first."""
        return math.floor((at_s - self._counter_first_s) / self._counter_period_s)

    def _counted_by_j(self, update: int) -> float:
        if update < 0 and (self._counter_apart or self._counter_kind == "truth"):
            return 0.0
        if self._counter_kind == "truth":
            end_s = self._counter_first_s + update * self._counter_period_s
            return self.true_energy_j(self._counter_first_s, end_s)
        if not self._counter_apart:
            return self._counted_j[min(max(update, 0), len(self._counted_j) - 1)]
        end_s = self._counter_first_s + update * self._counter_period_s
        number = math.floor((end_s - self._first_s) / self._sensor.period_s)
        if number < 0:
            return 0.0
        shown_s = end_s - self._first_s - number * self._sensor.period_s
        return (self._counted_j[number - 1] if number else 0.0) + self._published_w[number] * shown_s

    def _spoilt_counter_j(self, update: int) -> float:
        faults = self.faults
        at_s = self._counter_first_s + update * self._counter_period_s
        moved_s = faults.counter_moved_s(at_s)
        if moved_s < at_s:
            at_s, update = moved_s, self._counter_update(moved_s)
        total_j = self._counted_by_j(update)
        reset_s = faults.counter_reset_s(at_s)
        total_j += self.counter_start_j if reset_s is None else -self._counted_by_j(self._counter_update(reset_s))
        return max(0.0, total_j + faults.counter_jumped_j(reset_s, at_s))

    def utilisation(self, t_s: float) -> float:
        """Load now, of whoever it is, as a fraction."""
        return self._model.utilisation(t_s)

    def temperature_c(self, t_s: float) -> float:
        """Chip temperature, degrees Celsius."""
        profile = self.profile
        warmth = self._model.warmth(t_s)
        chip_c = profile.idle_temperature_c + (profile.full_temperature_c - profile.idle_temperature_c) * warmth
        return chip_c + self.faults.warming_c(t_s) if self.faults.warms else chip_c

    def clock_hz(self, t_s: float) -> float:
        """Streaming-multiprocessor clock, hertz."""
        if self.utilisation(t_s) == 0:
            return self.profile.idle_clock_hz
        return self.profile.boost_clock_hz * self.faults.clock_fraction(t_s)

    def throttle_reasons(self, t_s: float) -> int:
        """NVML clocks-event-reasons bits: 1 when idle; under load 8 (hardware slowdown) if throttled, and faults'."""
        if self.utilisation(t_s) == 0:
            return 0x1
        return (0x8 if "throttled" in self.conditions else 0x0) | self.faults.throttle_reasons(t_s)

    def compute_processes(self, t_s: float, own_pid: int | None = None) -> tuple[tuple[int, int], ...]:
        """(process id, bytes) of the processes on the board: the harness, and a foreign one if there is."""
        own = ((own_pid if own_pid is not None else os.getpid(), 512 * 1024**2),)
        shared = "foreign-process" in self.conditions or self.faults.foreign_process_listed(t_s)
        return own + (((FOREIGN_PID, 2 * 1024**3),) if shared else ())

    # --- sensor ---

    def _last_published(self, t_s: float) -> int:
        with self._lock:
            self._publish_until(t_s)
        index = math.floor((t_s - PUBLICATION_DELAY_S - self._first_s) / self._sensor.period_s)
        return min(max(index, 0), len(self._published_w) - 1)

    def _publish_until(self, t_s: float) -> None:
        published, due = len(self._published_w), math.floor((t_s - self._first_s) / self._sensor.period_s) + 1
        if published >= due and published:
            return
        for number in range(published, max(1, due)):
            at_s = self._first_s + number * self._sensor.period_s
            if self._published_w and self.faults.sensor_is_stuck(at_s):
                reading_w = self._published_w[-1]
            else:
                reading_w = max(0.0, round(self.gain * self._seen_w(at_s) + self.offset_w, 3))
            before_j = self._counted_j[-1] if self._counted_j else 0.0
            self._published_w.append(reading_w)
            self._counted_j.append(before_j + reading_w * self._sensor.period_s)

    def _seen_w(self, at_s: float) -> float:
        if self._sensor.kernel == "first_order":
            seen_w = self._model.first_order_w(at_s)
            if self.faults.warms:
                seen_w += self._warming_w_per_c * self.faults.warming_filtered_c(at_s, self._sensor.tau_s)
            return seen_w
        return self.true_energy_j(at_s - self._sensor.window_s, at_s) / self._sensor.window_s


def _cut_normal(rng: random.Random, sd: float) -> float:
    """A normal draw around 0; what lies beyond `CUT_SD` is drawn again."""
    while abs(drawn := rng.gauss(0.0, sd)) > CUT_SD * sd:
        pass
    return drawn


class SimulatedNode:
    """A machine with 1 to 8 simulated GPUs behind one load log, and one re-entrant lock for its threads."""

    def __init__(
        self, state: NodeState, clock: Clock | None = None, models: Sequence[PowerModel] | None = None
    ) -> None:
        """A node of its own; `models` stand in for the built-in power model, one per GPU (simulation/recorded)."""
        self.state = state
        self.clock: Clock = clock if clock is not None else RealClock()
        self.lock = threading.RLock()
        given = models if models is not None else [None] * state.gpu_count
        self.gpus = tuple(
            SimulatedGpu(state, index, self.lock, model)
            for index, model in zip(range(state.gpu_count), given, strict=True)
        )
        self._epoch_s = time.time() - self.clock.now_s()
        self._log: LoadLog = FileLoadLog(state.load_path) if state.load_path else MemoryLoadLog()
        self._seen_rows = 0

    def set_load(self, gpu_index: int, utilisation: float) -> None:
        """From now on this GPU works at that fraction of its range above idle."""
        with self.lock:
            self._log.append(self.clock.now_s(), gpu_index, utilisation)
            self.refresh()

    def refresh(self) -> None:
        """Take in what any process wrote to the load log."""
        if self._log.count() == self._seen_rows:
            return
        with self.lock:
            for t_s, gpu_index, utilisation in self._log.rows(self._seen_rows):
                self.gpus[int(gpu_index)].set_load(t_s, utilisation)
                self._seen_rows += 1

    def utc_s(self, t_s: float) -> float:
        """Wall clock, seconds since 1970, at a time of the monotonic clock; unlike that one it may jump."""
        jumped_s = utc_stepped_s(self.state.faults, self.state.start_s, t_s) if self.state.faults else 0.0
        return self._epoch_s + t_s + jumped_s

    def gpu_by_uuid(self, gpu_uuid: str) -> SimulatedGpu:
        """The GPU of that UUID.

        Raises:
            KeyError: There is none.
        """
        for gpu in self.gpus:
            if gpu.uuid == gpu_uuid:
                return gpu
        raise KeyError(gpu_uuid)
