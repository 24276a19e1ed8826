"""Power that is known by hand: a source with scripted watts, work that draws them, and the records around them.

A FakeSource draws 100 W from time 0 on a virtual clock until told otherwise. Its counter is renewed every 100 ms, so
an edge falls on a multiple of 100 ms, and its power reading is the true power now, so that nothing has to be
estimated to know what a test should find.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.clock import VirtualClock
from harness.power.base import Reading
from harness.power.trace import COLUMNS, PowerTrace
from harness.records import Measurement, SourceEnergy, SourceInfo, UncertaintyTerm, WorkCounts
from harness.specs import ModelSpec, RunSpec, TextOptions

COUNTER_PERIOD_S = 0.1


def source_info(**changes: Any) -> SourceInfo:
    """A board that sees everything (kappa 0) every 100 ms, known to 1 % and 0.5 W, with a 1 mJ counter."""
    content: dict[str, Any] = {
        "id": "GPU-0",
        "kind": "gpu",
        "scope": "device",
        "device_name": "Fake GPU",
        "sensor_profile": "fake",
        "sensor_period_s": 0.1,
        "sensor_window_s": 0.1,
        "gain_relative_u": 0.01,
        "offset_u_w": 0.5,
        "counter_step_j": 0.001,
        "provenance": "simulated",
        "runs_model": True,
    }
    return SourceInfo.model_validate(content | changes)


@dataclass
class FakeSource:
    """A PowerSource whose watts are scripted with `draw`.

    `counter_zero_at_s`: the counter falls to 0 there, as after a driver reload. `counter_stuck_from_s`: it never moves
    again. `has_power` False: it answers no watts, like RAPL.
    """

    clock: VirtualClock
    info: SourceInfo = field(default_factory=source_info)
    idle_w: float = 100.0
    counter_start_j: float = 1_000_000.0
    counter_zero_at_s: float | None = None
    counter_stuck_from_s: float | None = None
    has_power: bool = True
    foreign: tuple[int, ...] | None = ()
    temperature_c: float | None = 50.0
    throttle: int | None = 0
    closed: bool = False
    _from_s: list[float] = field(default_factory=lambda: [0.0])
    _power_w: list[float] = field(default_factory=list)
    _before_j: list[float] = field(default_factory=lambda: [0.0])

    def __post_init__(self) -> None:
        self._power_w.append(self.idle_w)

    def draw(self, power_w: float, from_s: float | None = None) -> None:
        """From now on, or from later than all before, it draws this."""
        from_s = self.clock.now_s() if from_s is None else from_s
        self._before_j.append(self._until_j(from_s))
        self._from_s.append(from_s)
        self._power_w.append(power_w)

    def power_at(self, t_s: float) -> float:
        """True power, watts."""
        return self._power_w[max(0, bisect.bisect_right(self._from_s, t_s) - 1)]

    def true_energy_j(self, start_s: float, end_s: float) -> float:
        """Energy really drawn between two instants."""
        return self._until_j(end_s) - self._until_j(start_s)

    def _until_j(self, t_s: float) -> float:
        index = max(0, bisect.bisect_right(self._from_s, t_s) - 1)
        return self._before_j[index] + self._power_w[index] * (t_s - self._from_s[index])

    def read(self, slow: bool = True) -> Reading:
        """The watts now."""
        now_s = self.clock.now_s()
        return Reading(
            t_s=now_s,
            power_w=self.power_at(now_s) if self.has_power else None,
            energy_j=self.read_energy_j(),
            temperature_c=self.temperature_c if slow else None,
            throttle=self.throttle if slow else None,
        )

    def read_energy_j(self) -> float | None:
        """The counter as it was renewed last."""
        if self.info.counter_step_j is None:
            return None
        now_s = self.clock.now_s()
        if self.counter_stuck_from_s is not None:
            now_s = min(now_s, self.counter_stuck_from_s)
        renewed_s = math.floor(now_s / COUNTER_PERIOD_S + 1e-6) * COUNTER_PERIOD_S
        if self.counter_zero_at_s is not None and renewed_s >= self.counter_zero_at_s:
            return self.true_energy_j(self.counter_zero_at_s, renewed_s)
        return self.counter_start_j + self.true_energy_j(0.0, renewed_s)

    def foreign_processes(self) -> tuple[int, ...] | None:
        """As scripted."""
        return self.foreign

    def close(self) -> None:
        """Remembered."""
        self.closed = True


@dataclass
class FakeWorkload:
    """Batches of `requests` that take `batch_s` and draw `busy_w` on the given sources, `idle_w` after."""

    clock: VirtualClock
    sources: Sequence[FakeSource]
    batch_s: float = 0.25
    busy_w: float = 300.0
    idle_w: float = 100.0
    requests: int = 4
    prepared: int = 0
    ran: int = 0

    def prepare(self, batch_count: int) -> Sequence[Any]:
        """Numbered batches."""
        self.prepared += batch_count
        return list(range(self.prepared - batch_count, self.prepared))

    def run(self, batch: Any) -> WorkCounts:
        """Draw the power, take the time."""
        for source in self.sources:
            source.draw(self.busy_w)
        self.clock.sleep_s(self.batch_s)
        for source in self.sources:
            source.draw(self.idle_w)
        self.ran += 1
        return WorkCounts(requests=self.requests, input_tokens=5 * self.requests, output_tokens=10 * self.requests)

    def synchronize(self) -> None:
        """run() returns when all is done."""


def trace_of(*series: tuple[Sequence[float], Sequence[float]], missed: int | None = 0, **columns: Any) -> PowerTrace:
    """A trace of sources GPU-0, GPU-1, ... from (times, watts) each; other columns of the first source by name."""
    rows = []
    for index, (t_s, power_w) in enumerate(series):
        part = np.full((len(t_s), len(COLUMNS)), np.nan)
        part[:, 0], part[:, 1], part[:, 2] = t_s, index, power_w
        for name, values in columns.items() if index == 0 else ():
            part[:, COLUMNS.index(name)] = values
        rows.append(part)
    together = np.concatenate(rows)
    order = np.argsort(together[:, 0], kind="stable")
    return PowerTrace(tuple(f"GPU-{index}" for index in range(len(series))), 0.02, together[order], missed)


def source_energy_of(**changes: Any) -> SourceEnergy:
    """A window of 3,000 J: 100 J of them in gaps, 10 J known together, 6 J drawn anew, idle at 50 W."""
    content: dict[str, Any] = {
        "source_id": "GPU-0",
        "energy_j": 3000.0,
        "uncertainty_j": math.hypot(10.0, 6.0),
        "budget": (
            UncertaintyTerm(name="sensor gain", standard_uncertainty_j=10.0, common=True, reduced_by="a meter"),
            UncertaintyTerm(name="window edges", standard_uncertainty_j=6.0, common=False, reduced_by="time"),
        ),
        "method": "counter",
        "sample_count": 500,
        "idle_power_w": 50.0,
        "idle_power_u_w": 0.2,
        "gap_energy_j": 100.0,
    }
    return SourceEnergy.model_validate(content | changes)


def measurement_of(*sources: SourceEnergy, **changes: Any) -> Measurement:
    """A window of 11 s, 10 s of them busy, in which 100 requests were answered."""
    content: dict[str, Any] = {
        "label": "repeat-1",
        "start_s": 0.0,
        "end_s": 11.0,
        "busy_s": 10.0,
        "sources": sources or (source_energy_of(),),
        "work": WorkCounts(requests=100, input_tokens=500, output_tokens=1000),
    }
    return Measurement.model_validate(content | changes)


def run_spec(**changes: Any) -> RunSpec:
    """Text generation on the simulated engine."""
    content: dict[str, Any] = {
        "task": "text-generation",
        "model": ModelSpec(id="assumed/small-text"),
        "engine": "simulated",
        "text": TextOptions(),
        "sources": {"kind": "simulated"},
    }
    return RunSpec.model_validate(content | changes)
