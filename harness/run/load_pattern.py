"""Drives a GPU through the loads that `harness sensor characterize` needs, with quick looks at its driver beside.

idle | steady load | rest | square load 1 | square load 2 | in step with the sensor, seen | the same, unseen | rest

The periods of the square loads and the phases of the loads in step follow from what the looks have shown so far. Who
looks is a sampler (on a real clock in a process of its own), who works the board is a `SquareLoad`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from harness.clock import Clock
from harness.measure.base import Progress
from harness.measure.characterize import Recording, kernel_of, power_updates, rise_s
from harness.power.base import PowerSource, Reading
from harness.power.publications import Publications
from harness.power.sampler import Sampler
from harness.power.sensor_fit import SensorFit
from harness.power.trace import PowerTrace
from harness.records import SourceInfo
from harness.simulation.gpu import SimulatedNode

# Shares of the whole time. The rest after the steady load must outlast the board's own settling (2 s on record).
SHARES = {
    "idle": 0.10,
    "load": 0.16,
    "rest": 0.18,
    "square 1": 0.18,
    "square 2": 0.18,
    "seen": 0.08,
    "unseen": 0.08,
    "end": 0.04,
}
TOLD = {
    "load": "steady load",
    "rest": "rest after the load",
    "square 1": "square load, slower than the sensor",
    "square 2": "square load, faster than the sensor",
    "seen": "load in step with the sensor, where it looks",
    "unseen": "load in step with the sensor, where it does not look",
    "end": "rest",
}
GOLDEN = (1 + 5**0.5) / 2  # of all ratios the worst to be approximated by a fraction: no phase comes back soon


class SquareLoad(Protocol):
    """Works the board on demand."""

    def hold(self, until_s: float) -> None:
        """Full load from now until then, on the clock both share; returns when the board is idle again."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


@dataclass
class SimulatedLoad:
    """Full load on a board of a simulated node."""

    node: SimulatedNode
    index: int

    def hold(self, until_s: float) -> None:
        """Load the board, wait, and take the load away, whatever happens meanwhile."""
        self.node.set_load(self.index, 1.0)
        try:
            self.node.clock.sleep_s(until_s - self.node.clock.now_s())
        finally:
            self.node.set_load(self.index, 0.0)

    def close(self) -> None:
        """Nothing to release."""


@dataclass
class PowerAndCounter:
    """A source of which every look tells power and counter, and nothing else: temperature and clocks cost time."""

    inner: PowerSource

    @property
    def info(self) -> SourceInfo:
        """The board's."""
        return self.inner.info

    def read(self, slow: bool = True) -> Reading:
        """Power, then at once the counter."""
        power = self.inner.read(slow=False)
        return Reading(t_s=power.t_s, power_w=power.power_w, energy_j=self.inner.read_energy_j())

    def read_energy_j(self) -> float | None:
        """The board's."""
        return self.inner.read_energy_j()

    def foreign_processes(self) -> tuple[int, ...] | None:
        """The board's."""
        return self.inner.foreign_processes()

    def close(self) -> None:
        """Release the board."""
        self.inner.close()


@dataclass
class LoadPattern:
    """One pass through all phases. `recording` holds what has been seen so far."""

    clock: Clock
    load: SquareLoad
    sampler: Sampler
    source_id: str
    duration_s: float
    report: Callable[[Progress], None] = lambda progress: None
    spans_s: list[tuple[float, float]] = field(default_factory=list)
    phases_s: dict[str, tuple[float, float]] = field(default_factory=dict)

    def run(self) -> tuple[Recording, SensorFit]:
        """All phases: everything seen, and the kernel found on the way.

        Raises:
            MeasurementInvalid: The readings do not follow the load.
        """
        self._end_s = self.clock.now_s() + self.duration_s
        self.sampler.start()
        try:
            self._rest("idle")
            with self._phase("load") as until_s:
                self._hold(until_s)
            self._rest("rest")
            seen = self.recording()
            longest_s = max(power_updates(seen).period_s or 0.0, rise_s(seen))
            self._squares("square 1", longest_s * GOLDEN)
            self._squares("square 2", longest_s / GOLDEN)
            seen = self.recording()
            updates, fit = power_updates(seen), kernel_of(seen)
            self._in_step("seen", updates, fit, 0.0)
            self._in_step("unseen", updates, fit, 0.5)
            self._rest("end")
        finally:
            trace = self.sampler.stop()
        return self._recorded(trace), fit

    def recording(self) -> Recording:
        """What has been seen so far."""
        return self._recorded(self.sampler.trace())

    def _recorded(self, trace: PowerTrace) -> Recording:
        t_s, power_w, energy_j = (trace.column(name, self.source_id) for name in ("t_s", "power_w", "energy_j"))
        return Recording(t_s, power_w, energy_j, np.array(self.spans_s).reshape(-1, 2), dict(self.phases_s))

    # --- phases ---

    @contextmanager
    def _phase(self, name: str) -> Iterator[float]:
        """Begin a phase; yields when it is to end."""
        start_s = self.clock.now_s()
        self.report(Progress(TOLD.get(name, name), left_s=max(0.0, self._end_s - start_s)))
        yield start_s + SHARES[name] * self.duration_s
        self.phases_s[name] = (start_s, self.clock.now_s())

    def _rest(self, name: str) -> None:
        with self._phase(name) as until_s:
            self._wait(until_s)

    def _squares(self, name: str, period_s: float) -> None:
        """On for the first half of each period, off for the second, to the end of the phase."""
        with self._phase(name) as until_s:
            self._cycles(self.clock.now_s(), period_s, until_s)

    def _in_step(self, name: str, updates: Publications, fit: SensorFit, shift: float) -> None:
        """Half of each of the sensor's periods on: the half that readings see, or (shift 0.5) the other one."""
        assert updates.period_s is not None
        assert updates.phase_s is not None
        period_s = updates.period_s
        sees_until_s = updates.phase_s - fit.best.delay_s
        with self._phase(name) as until_s:
            first_s = sees_until_s - 3 / 8 * period_s + shift * period_s
            periods = np.ceil((self.clock.now_s() - first_s) / period_s)
            self._cycles(first_s + float(periods) * period_s, period_s, until_s)

    def _cycles(self, first_s: float, period_s: float, until_s: float) -> None:
        number = 0
        while (on_s := first_s + number * period_s) + period_s <= until_s:
            self._wait(on_s)
            self._hold(on_s + period_s / 2)
            number += 1
        self._wait(until_s)

    # --- the board ---

    def _hold(self, until_s: float) -> None:
        start_s = self.clock.now_s()
        self.load.hold(until_s)
        self.spans_s.append((start_s, self.clock.now_s()))

    def _wait(self, until_s: float) -> None:
        self.clock.sleep_s(until_s - self.clock.now_s())
