"""One run's measurement, start to finish: idle, warm-up, windows with null windows until narrow enough, idle again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import numpy as np

from harness.clock import Clock
from harness.errors import MeasurementInvalid
from harness.measure import quality
from harness.measure.budget import GapPower, Method, TrueEnergy, gap_power, source_energy, source_method
from harness.measure.energy import busy_energy_j
from harness.measure.window import WindowReadings, metered
from harness.power.base import PowerSource, ReferenceMeter, ReferenceReading
from harness.power.sampler import Sampler
from harness.power.sensor import undersampled_fraction
from harness.power.trace import PowerTrace
from harness.records import Caveat, IdlePower, Measurement, MeasureSpec, SourceInfo, WarmUp, WorkCounts
from harness.stats import Estimate, repeatability

STEADY_RELATIVE = 0.005
STEADY_C_PER_MIN = 1.0


class Workload(Protocol):
    """Batches of one size, ready to be run."""

    def prepare(self, batch_count: int) -> Sequence[Any]:
        """The next batches, prepared outside any window."""
        ...

    def run(self, batch: Any) -> WorkCounts:
        """Run one batch to its end on the device."""
        ...

    def synchronize(self) -> None:
        """Wait until the device is idle."""
        ...


@dataclass(frozen=True)
class Progress:
    """What a person wants to know while waiting. `phase` names the step; None is not yet known."""

    phase: str
    repeat: int | None = None
    max_repeats: int | None = None
    power_w: float | None = None
    energy_j: float | None = None
    relative_halfwidth: float | None = None
    left_s: float | None = None


@dataclass(frozen=True)
class SessionResult:
    """Everything a run's measurement yields."""

    measurements: tuple[Measurement, ...]
    idle: tuple[IdlePower, ...]
    warm_up: WarmUp
    references: tuple[tuple[ReferenceReading, ...], ...]
    caveats: tuple[Caveat, ...]
    trace: PowerTrace


@dataclass
class Session:
    """Measures one workload. Sources, sampler, clock and workload are passed in, so it runs on any of them."""

    sources: Sequence[PowerSource]
    sampler: Sampler
    clock: Clock
    spec: MeasureSpec
    workload: Workload
    seed: int
    batch_size: int
    references: Sequence[ReferenceMeter] = ()
    truth: TrueEnergy | None = None
    report: Callable[[Progress], None] = lambda progress: None

    def run(self) -> SessionResult:
        """Measure.

        Raises:
            MeasurementInvalid: No window could be measured.
            HarnessError: From the workload.
        """
        self._random = random.Random(f"delays-{self.seed}")
        self._infos = [source.info for source in self.sources]
        self._lead = next(info for info in self._infos if info.runs_model)
        self.sampler.start()
        try:
            self.report(Progress("idle"))
            before = self._idle_window(self.spec.idle_s)
            warm_up, batch_s, caveats = self._warm_up()
            measurements, nulls, readings = self._repeat(batch_s)
            self.report(Progress("idle after load"))
            self.clock.sleep_s(self.spec.settle_s)
            after = self._idle_window(self.spec.idle_s)
        finally:
            trace = self.sampler.stop()
        idle = tuple(self._idle(index, before, nulls, after) for index in range(len(self._infos)))
        caveats += self._run_caveats(measurements, trace)
        return SessionResult(measurements, idle, warm_up, readings, tuple(caveats), trace)

    # --- idle ---

    def _null_window(self, duration_s: float) -> WindowReadings:
        with metered(self.sources, self.clock, self.workload.synchronize, self._use_counter) as window:
            self.clock.sleep_s(duration_s)
        return window.readings

    def _idle_window(self, duration_s: float) -> list[GapPower | None]:
        null = self._null_window(duration_s)
        trace = self._trace_covering(null)
        powers: list[GapPower | None] = []
        for info in self._infos:
            try:
                method = source_method(info, null, self.spec.energy_method)
                powers.append(gap_power(info, null, trace, method))
            except MeasurementInvalid:
                powers.append(None)
        return powers

    def _idle(
        self,
        index: int,
        before: list[GapPower | None],
        nulls: list[list[GapPower]],
        after: list[GapPower | None],
    ) -> IdlePower:
        first, last = before[index], after[index]
        null_w = [powers[index].power_w for powers in nulls]
        null_u_w = [powers[index].u_w for powers in nulls]
        return IdlePower(
            source_id=self._infos[index].id,
            before_w=first.power_w if first else None,
            null_w=math.fsum(null_w) / len(null_w) if null_w else None,
            after_w=last.power_w if last else None,
            null_u_w=math.fsum(null_u_w) / len(null_u_w) if null_u_w else None,
        )

    # --- warm-up ---

    def _warm_up(self) -> tuple[WarmUp, float, list[Caveat]]:
        """Run blocks of batches until two agree, the board is no longer warming, or the budget ends."""
        start_s = self.clock.now_s()
        durations_s: list[float] = []
        blocks: list[tuple[float, float | None]] = []
        reason = "no second block fitted into the budget"
        steady = False
        while not steady:
            elapsed_s = self.clock.now_s() - start_s
            if blocks and elapsed_s >= self.spec.warm_up_max_s:
                break
            blocks.append(self._warm_up_block(durations_s))
            steady, reason = self._steady(blocks)
            self.report(
                Progress("warm-up", power_w=blocks[-1][0], left_s=self.spec.warm_up_max_s - elapsed_s)
            )
        duration_s = self.clock.now_s() - start_s
        caveats = [] if steady else [quality.not_steady(duration_s, reason)]
        recent = durations_s[len(durations_s) // 2 :]
        return WarmUp(duration_s=duration_s, blocks=len(blocks), steady=steady), median(recent), caveats

    def _warm_up_block(self, durations_s: list[float]) -> tuple[float, float | None]:
        block_s = self.clock.now_s()
        with metered(self.sources, self.clock, self.workload.synchronize, self._use_counter) as window:
            while self.clock.now_s() - block_s < self.spec.warm_up_block_s or not window.spans_s:
                (batch,) = self.workload.prepare(1)
                with window.busy():
                    self.workload.run(batch)
                    self.workload.synchronize()
                span = window.spans_s[-1]
                durations_s.append(span[1] - span[0])
        readings = window.readings
        lead = next(source for source in self.sources if source.info.id == self._lead.id)
        start_j, end_j = readings.edges_j[self._lead.id]
        if start_j is not None and end_j is not None:
            power_w = (end_j - start_j) / readings.duration_s
        else:
            _, sampled_w = (
                self._trace_covering(readings).between(readings.start_s, readings.end_s).power(self._lead.id)
            )
            power_w = float(np.mean(sampled_w)) if len(sampled_w) else math.nan
        return power_w, lead.read().temperature_c

    def _steady(self, blocks: list[tuple[float, float | None]]) -> tuple[bool, str]:
        if len(blocks) < 2:
            return False, "no second block fitted into the budget"
        (power_a, warm_a), (power_b, warm_b) = blocks[-2:]
        if not abs(power_b - power_a) <= STEADY_RELATIVE * abs(power_b):
            return False, f"power still moved ({power_a:.1f} W, then {power_b:.1f} W)"
        if warm_a is not None and warm_b is not None:
            rate = abs(warm_b - warm_a) / self.spec.warm_up_block_s * 60
            if rate >= STEADY_C_PER_MIN:
                return False, f"the GPU was still warming ({rate:.0f} °C/min)"
        return True, ""

    # --- windows ---

    @property
    def _use_counter(self) -> bool:
        return self.spec.energy_method != "sampled"

    def _batches_per_window(self, batch_s: float) -> int:
        if self.spec.requests_per_window is not None:
            return math.ceil(self.spec.requests_per_window / self.batch_size)
        shortest_s = max(self.spec.window_s, 5 * self._lead.sensor_period_s)
        return max(1, math.ceil(shortest_s / max(batch_s, 1e-6)))

    def _delays(self, batch_s: float) -> bool:
        """A load that comes and goes about as often as the sensor looks would be read wrong, steadily."""
        if self.spec.random_delays != "auto":
            return self.spec.random_delays == "always"
        period_s = self._lead.sensor_period_s
        beats = 0.5 * period_s < batch_s < 2 * period_s
        return beats and undersampled_fraction(period_s, self._lead.sensor_window_s) > 0

    def _repeat(
        self, batch_s: float
    ) -> tuple[tuple[Measurement, ...], list[list[GapPower]], tuple[tuple[ReferenceReading, ...], ...]]:
        batch_count, delays = self._batches_per_window(batch_s), self._delays(batch_s)
        start_s = self.clock.now_s()
        measurements: list[Measurement] = []
        nulls: list[list[GapPower]] = []
        references: list[tuple[ReferenceReading, ...]] = []
        while True:
            measurement, gaps, readings = self._one_repeat(len(measurements), batch_count, delays)
            measurements.append(measurement)
            references.append(readings)
            nulls.append(gaps)
            elapsed_s = self.clock.now_s() - start_s
            interval = self._interval(measurements)
            self._report_repeat(measurements[-1], len(measurements), interval, elapsed_s)
            if self._enough(measurements, interval, elapsed_s):
                return tuple(measurements), nulls, tuple(references)

    def _one_repeat(
        self, index: int, batch_count: int, delays: bool
    ) -> tuple[Measurement, list[GapPower], tuple[ReferenceReading, ...]]:
        batches = self.workload.prepare(batch_count)
        period_s = self._lead.sensor_period_s
        foreign = self._foreign_processes()
        for meter in self.references:
            meter.start()
        work = WorkCounts()
        with metered(self.sources, self.clock, self.workload.synchronize, self._use_counter) as window:
            self.clock.sleep_s(self._random.uniform(0, period_s))  # a fresh phase against the sensor
            for batch in batches:
                with window.busy():
                    work = work + self.workload.run(batch)
                    self.workload.synchronize()
                if delays:
                    self.clock.sleep_s(self._random.uniform(0, period_s))
        other_tools = tuple(meter.stop() for meter in self.references)
        null = self._null_window(self.spec.null_window_s)
        foreign = foreign or self._foreign_processes()
        measurement, gaps = self._assemble(f"repeat-{index + 1}", window.readings, null, work, foreign)
        return measurement, gaps, other_tools

    def _assemble(
        self,
        label: str,
        readings: WindowReadings,
        null: WindowReadings,
        work: WorkCounts,
        foreign: tuple[int, ...],
    ) -> tuple[Measurement, list[GapPower]]:
        trace = self._trace_covering(null)
        caveats = [
            quality.counter_stuck(readings, self._use_counter and self._lead.counter_step_j is not None)
        ]
        void = [quality.too_short(readings, self._lead.sensor_period_s)]
        if foreign and not self.spec.allow_shared_gpu:
            pids = ", ".join(map(str, foreign))
            void.append(
                Caveat(code="shared-gpu", message=f"Another process used the GPU during the window: {pids}.")
            )
        energies, gaps = [], []
        for info in self._infos:
            try:
                method: Method = source_method(info, readings, self.spec.energy_method)
                gap = gap_power(info, null, trace, method)
                energy = source_energy(info, readings, trace, gap, method, self._truth_of(info))
            except MeasurementInvalid as error:
                void.append(Caveat(code="window-void", message=error.message))
                continue
            gaps.append(gap)
            energies.append(energy)
            caveats.append(quality.counter_disagrees(info, energy))
            if info.runs_model:
                caveats.append(quality.throttled(trace.between(readings.start_s, readings.end_s), info))
        found = [caveat for caveat in (*void, *caveats) if caveat is not None]
        measurement = Measurement(
            label=label,
            start_s=readings.start_s,
            end_s=readings.end_s,
            busy_s=readings.busy_s,
            sources=tuple(energies),
            work=work,
            batch_durations_s=tuple(end - start for start, end in readings.busy_spans_s),
            caveats=tuple(found),
            rejected=any(caveat is not None for caveat in void),
        )
        return measurement, gaps if len(gaps) == len(self._infos) else [GapPower(math.nan, math.nan)] * len(
            self._infos
        )

    def _truth_of(self, info: SourceInfo) -> TrueEnergy | None:
        return self.truth if info.provenance == "simulated" else None

    def _foreign_processes(self) -> tuple[int, ...]:
        pids: list[int] = []
        for source in self.sources:
            if source.info.runs_model:
                pids.extend(source.foreign_processes() or ())
        return tuple(pids)

    def _trace_covering(self, readings: WindowReadings) -> PowerTrace:
        """The trace, once it reaches past the window."""
        for _ in range(5):
            trace = self.sampler.trace()
            if len(trace.rows) and trace.rows[-1, 0] > readings.end_s:
                return trace
            self.clock.sleep_s(self.spec.sample_period_s)
        return trace

    # --- stopping ---

    def _interval(self, measurements: Sequence[Measurement]) -> Estimate | None:
        active = {info.id for info in self._infos if info.runs_model}
        values = [
            math.fsum(busy_energy_j(m, s) for s in m.sources if s.source_id in active) / m.work.requests
            for m in measurements
            if not m.rejected
        ]
        return repeatability(values) if len(values) > 1 else None

    def _enough(
        self, measurements: Sequence[Measurement], interval: Estimate | None, elapsed_s: float
    ) -> bool:
        count = len(measurements)
        if count >= self.spec.max_repeats or (count >= 2 and elapsed_s >= self.spec.max_duration_s):
            return True
        if interval is None or interval.n < self.spec.min_repeats:
            # Nothing but rejected windows will not get better by repeating.
            return count >= self.spec.min_repeats and interval is None
        return interval.half_width <= self.spec.target_relative_halfwidth * abs(interval.value)

    def _report_repeat(
        self, measurement: Measurement, count: int, interval: Estimate | None, elapsed_s: float
    ) -> None:
        relative = interval.half_width / abs(interval.value) if interval and interval.value else None
        wanted = self.spec.min_repeats
        if relative is not None:
            wanted = max(wanted, math.ceil(count * (relative / self.spec.target_relative_halfwidth) ** 2))
        left = min(wanted, self.spec.max_repeats) - count
        active = {info.id for info in self._infos if info.runs_model}
        joules = math.fsum(
            busy_energy_j(measurement, s) for s in measurement.sources if s.source_id in active
        )
        self.report(
            Progress(
                "measure",
                repeat=count,
                max_repeats=self.spec.max_repeats,
                power_w=joules / measurement.busy_s if measurement.busy_s else None,
                energy_j=interval.value if interval else None,
                relative_halfwidth=relative,
                left_s=max(0, left) * elapsed_s / count,
            )
        )

    def _run_caveats(self, measurements: Sequence[Measurement], trace: PowerTrace) -> list[Caveat]:
        found = [quality.samples_missed(trace)]
        found += [
            quality.unknown_sensor(info) for info in self._infos if info.runs_model and info.kind == "gpu"
        ]
        interval = self._interval(measurements)
        target = self.spec.target_relative_halfwidth
        if interval and interval.half_width > target * abs(interval.value):
            repeats_spent = len(measurements) >= self.spec.max_repeats
            why = "max_repeats was reached" if repeats_spent else "max_duration_s was spent"
            found.append(quality.not_narrow_enough(interval.half_width / abs(interval.value), target, why))
        return [caveat for caveat in found if caveat is not None]
