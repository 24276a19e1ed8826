"""One run's measurement, start to finish: idle, warm-up, windows with null windows until narrow enough, idle again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.clock import Clock
from harness.errors import MeasurementInvalid
from harness.measure.assembly import Idles, RawWindow, assembled, idle_power
from harness.measure.base import Progress, ServedWorkload, Workload
from harness.measure.budget import TrueEnergy, mean_age_s, null_power, source_method
from harness.measure.delays import GOLDEN_FRACTION, SpreadPlan, spread_plan
from harness.measure.period import keeps_phase, with_seen_period
from harness.measure.run_caveats import run_caveats
from harness.measure.served import Account
from harness.measure.served_assembly import Rest, assembled_steady, broken_load
from harness.measure.served_caveats import served_caveats
from harness.measure.served_pooling import pooled
from harness.measure.siblings import with_strays_rejected
from harness.measure.steady import metered_steady
from harness.measure.stopping import enough, gross_j, relative_halfwidth, repeats_interval, seconds_left
from harness.measure.warm_up import warm_up, warm_up_served
from harness.measure.window import OpenWindow, WindowReadings, metered
from harness.power.base import PowerSource, ReferenceMeter, ReferenceReading
from harness.power.profiles import unseen_fraction
from harness.power.sampler import Sampler
from harness.power.trace import PowerTrace
from harness.records import Caveat, IdlePower, Measurement, SourceInfo, WarmUp, WorkCounts
from harness.served_records import Served, ServedPhase
from harness.specs import MeasureSpec
from harness.stats import Estimate

HOST_COUNTER_S = 30.0  # a 65 kJ counter, the smallest known, wraps after 80 s at 800 W
MIN_BUSY_PERIODS = 5.0  # of the sensor; below three no joules can be stated
PREPARATION_WINDOWS = 3


@dataclass(frozen=True)
class SessionResult:
    """Everything a run's measurement yields. `sources`: as the run came to know them."""

    sources: tuple[SourceInfo, ...]
    measurements: tuple[Measurement, ...]
    idle: tuple[IdlePower, ...]
    warm_up: WarmUp
    references: tuple[tuple[ReferenceReading, ...], ...]
    caveats: tuple[Caveat, ...]
    trace: PowerTrace
    served: Served | None = None
    preparation: tuple[Measurement, ...] = ()


@dataclass(frozen=True)
class _Repeat:
    """One window, the null window after it, and what other tools read and a server did meanwhile."""

    measurement: Measurement
    idles: Idles
    references: tuple[ReferenceReading, ...]
    account: Account | None = None


@dataclass
class Session:
    """Measures one workload. Sources, sampler, clock and workload are passed in, so it runs on any of them."""

    sources: Sequence[PowerSource]
    sampler: Sampler
    clock: Clock
    spec: MeasureSpec
    workload: Workload | ServedWorkload
    seed: int
    batch_size: int
    references: Sequence[ReferenceMeter] = ()
    truth: TrueEnergy | None = None
    report: Callable[[Progress], None] = lambda progress: None
    own_pids: Callable[[], frozenset[int]] = frozenset  # processes that work for us although we did not start them
    keep: Callable[[Measurement], None] = lambda window: None  # told every window at once: the process may be killed
    kept: tuple[tuple[Measurement, ...], PowerTrace] | None = None  # what there is, also when run() failed
    kept_served: Served | None = None
    kept_windows: Served | None = None  # of rejected windows too
    kept_load: ServedPhase | None = None  # the load that failed

    def run(self) -> SessionResult:
        """Measure.

        Raises:
            MeasurementInvalid: No window could be measured.
            HarnessError: From the workload.
        """
        self._first_phase = random.Random(f"delays-{self.seed}").random()  # that of each repeat is spread as well
        self._infos = [source.info for source in self.sources]
        self._host_read_s = self.clock.now_s()
        self._repeats: list[_Repeat] = []
        self._active = {info.id for info in self._infos if info.runs_model}
        lead = next((source for source in self.sources if source.info.runs_model), None)
        if lead is None:
            raise MeasurementInvalid("No source runs the model.", "Name at least one GPU in sources.gpus.")
        self._lead = lead.info
        self.sampler.start()
        try:
            self.report(Progress("idle"))
            self._first_null = self._null_window(self.spec.idle_s)
            before = self._idles(self._first_null)
            self.report(Progress("warm-up"))
            warmed, batch_s, caveats = self._warm_up(lead)
            self._worked_until_s = self.clock.now_s()
            self._null_window(self.spec.null_window_s)  # every window follows a rest of the same length
            self.report(Progress("measure"))
            repeats = self._repeat(batch_s)
            self.report(Progress("idle after load"))
            self.clock.sleep_s(self._worked_until_s + self.spec.settle_s - self.clock.now_s())
            after = self._idles(self._null_window(self.spec.idle_s))
            preparation = self._prepare_metered() if self.spec.meter_preparation else ()
        finally:
            trace = self.sampler.stop()
            self.kept = self._judged(), trace
            self.kept_served = self._served([m for m in self.kept[0] if not m.rejected])
            self.kept_windows = self._served(self.kept[0])
        measurements = self._judged()
        nulls = [repeat.idles for repeat in repeats]
        idle = tuple(idle_power(info.id, index, before, nulls, after) for index, info in enumerate(self._infos))
        profiles = [source.info for source in self.sources]
        caveats += run_caveats(measurements, trace, profiles, self._infos, self.spec)
        served = self.kept_served
        caveats += served_caveats(served) if served is not None else ()
        return SessionResult(
            tuple(self._infos),
            measurements,
            idle,
            warmed,
            tuple(repeat.references for repeat in repeats),
            tuple(caveats),
            trace,
            served,
            preparation,
        )

    def _warm_up(self, lead: PowerSource) -> tuple[WarmUp, float, list[Caveat]]:
        given = self.sources, lead, self.clock, self.spec
        if isinstance(self.workload, ServedWorkload):
            warmed, caveats = warm_up_served(
                *given, self.workload, self._trace_covering, self.report, self._keep_broken_load
            )
            return warmed, 0.0, caveats
        return warm_up(*given, self.workload, self._trace_covering, self.report)

    # --- idle ---

    def _null_window(self, duration_s: float) -> WindowReadings:
        with metered(self.sources, self.clock, self.workload.synchronize, self._use_counter) as window:
            self.clock.sleep_s(duration_s)
        return window.readings

    def _idles(self, null: WindowReadings) -> Idles:
        trace = self._trace_covering(null)
        powers: Idles = []
        for info in self._infos:
            try:
                method = source_method(info, null, self.spec.energy_method)
                powers.append(null_power(info, null, trace, method))
            except MeasurementInvalid:
                powers.append(None)
        return powers

    # --- windows ---

    @property
    def _use_counter(self) -> bool:
        return self.spec.energy_method != "sampled"

    @property
    def _counter_expected(self) -> bool:
        return self._use_counter and self._lead.counter_step_j is not None

    def _batches_per_window(self, batch_s: float) -> int:
        if self.spec.requests_per_window is not None:
            return math.ceil(self.spec.requests_per_window / self.batch_size)
        shortest_s = max(self.spec.window_s, self._shortest_busy_s)
        return max(1, math.ceil(shortest_s / max(batch_s, 1e-6)))

    @property
    def _shortest_busy_s(self) -> float:
        """A window with less work than this says little; one of a fixed number of requests has to be what it is."""
        return 0.0 if self.spec.requests_per_window is not None else MIN_BUSY_PERIODS * self._lead.sensor_period_s

    def _look_at_period(self) -> None:
        """See in the samples how often the readings of the GPUs that work are renewed."""
        trace = self.sampler.trace()
        for index, info in enumerate(self._infos):
            if info.runs_model and info.kind == "gpu":
                self._infos[index] = with_seen_period(info, *trace.power(info.id))
        self._lead = next(info for info in self._infos if info.runs_model)

    def _spread(self, batch_s: float) -> SpreadPlan:
        lead = self._lead
        seen_by_counter = self._use_counter and lead.counter_integrates == "power"
        kappa = 0.0 if seen_by_counter else unseen_fraction(lead)
        return spread_plan(self.spec.random_delays, batch_s, lead.sensor_period_s, lead.sensor_window_s, kappa)

    def _repeat(self, batch_s: float) -> list[_Repeat]:
        batch_count = self._batches_per_window(batch_s)
        start_s = self.clock.now_s()
        repeats = self._repeats
        while True:
            if not repeats or not keeps_phase(self._lead, batch_s):  # every window shows more of it
                self._look_at_period()
            repeats.append(self._one_repeat(len(repeats), batch_count, self._spread(batch_s)))
            self.keep(repeats[-1].measurement)
            measurements = self._judged()
            elapsed_s = self.clock.now_s() - start_s
            interval = repeats_interval(measurements, self._active)
            self._report_repeat(repeats[-1].measurement, len(measurements), interval, elapsed_s)
            if enough(self.spec, len(measurements), interval, elapsed_s):
                return repeats

    def _judged(self) -> tuple[Measurement, ...]:
        """Every window so far, each judged by itself and against the others."""
        windows = [repeat.measurement for repeat in self._repeats]
        return with_strays_rejected(windows, self._active, self.spec.max_temperature_change_c)

    def _one_repeat(self, index: int, batch_count: int, plan: SpreadPlan) -> _Repeat:
        if isinstance(self.workload, ServedWorkload):
            return self._steady_repeat(index, self.workload)
        batches = self.workload.prepare(batch_count)
        rested_since_s = self._worked_until_s
        starts = plan.starts(math.fmod(self._first_phase + index * GOLDEN_FRACTION, 1.0))
        foreign = self._foreign_processes()
        for meter in self.references:
            meter.start()
        work = WorkCounts()
        with metered(self.sources, self.clock, self.workload.synchronize, self._use_counter) as window:
            for batch in self._and_more(batches, window):
                self.clock.sleep_s(starts.wait_s(self.clock.now_s()))
                with window.busy():
                    work = work + self.workload.run(batch)
                    self.workload.synchronize()
                starts.worked(window.last_busy_s)
                self._follow_host_counters()
        self._worked_until_s = window.readings.busy_spans_s[-1][1]
        other_tools = tuple(meter.stop() for meter in self.references)
        null = self._null_window(self.spec.null_window_s)
        foreign = foreign or self._foreign_processes()
        readings = replace(window.readings, phases_spread=plan.spreads and self._phases_kept(window))
        raw = RawWindow(
            f"repeat-{index + 1}", readings, null, self._trace_covering(null), work, rested_since_s, foreign
        )
        measurement, idles = assembled(raw, self._infos, self.spec, self._counter_expected, self._truth_of)
        return _Repeat(measurement, idles, other_tools)

    def _prepare_metered(self) -> tuple[Measurement, ...]:
        """Windows in which inputs are prepared, batch after batch, and nothing runs."""
        assert not isinstance(self.workload, ServedWorkload)
        found = []
        for index in range(PREPARATION_WINDOWS):
            self.report(Progress("prepare", repeat=index + 1, max_repeats=PREPARATION_WINDOWS))
            rested_since_s, foreign, count = self._worked_until_s, self._foreign_processes(), 0
            with metered(self.sources, self.clock, self.workload.synchronize, self._use_counter) as window:
                while window.busy_s < max(self.spec.window_s, self._shortest_busy_s):
                    with window.busy():
                        self.workload.prepare(1)
                    count += 1
                    self._follow_host_counters()
            self._worked_until_s = window.readings.busy_spans_s[-1][1]
            null = self._null_window(self.spec.null_window_s)
            work = WorkCounts(requests=count * self.batch_size)
            label = f"preparation-{index + 1}"
            trace = self._trace_covering(null)
            raw = RawWindow(label, window.readings, null, trace, work, rested_since_s, foreign, gpu_works=False)
            found.append(assembled(raw, self._infos, self.spec, self._counter_expected, self._truth_of)[0])
        return tuple(found)

    def _steady_repeat(self, index: int, workload: ServedWorkload) -> _Repeat:
        """A load on a server: put on, held for a window, taken off."""
        rested_since_s = self._worked_until_s
        foreign = self._foreign_processes()
        for meter in self.references:
            meter.start()
        window_s = max(self.spec.window_s, self._shortest_busy_s)
        steady = metered_steady(
            self.sources,
            self.clock,
            workload,
            window_s,
            self._use_counter,
            self._follow_host_counters,
            self._keep_broken_load,
        )
        self._worked_until_s = steady.worked_s[1]
        other_tools = tuple(meter.stop() for meter in self.references)
        null = self._null_window(self.spec.null_window_s)
        foreign = foreign or self._foreign_processes()
        rest = Rest(null, self._trace_covering(null), rested_since_s, foreign)
        measurement, idles, account = assembled_steady(
            f"repeat-{index + 1}",
            steady,
            rest,
            workload,
            self._infos,
            self.spec,
            self._counter_expected,
            self._truth_of,
        )
        return _Repeat(measurement, idles, other_tools, account)

    def _keep_broken_load(self, began_s: float, ended_s: float) -> None:
        """The run fails with it: what it drew is kept, apart from every window."""
        assert isinstance(self.workload, ServedWorkload)
        shown_s = max(2 * info.sensor_period_s + info.sensor_window_s for info in self._infos if info.runs_model)
        around_s = began_s - shown_s / 2, ended_s + shown_s  # where readings tell of rest again
        readings = WindowReadings(*around_s, ((began_s, ended_s),), {}, None, None)
        account, trace = self.workload.account(began_s, ended_s, False), self._trace_covering(readings)
        self.kept_load = broken_load(readings, account, self._first_null, trace, self._infos, self._truth_of)

    def _served(self, measurements: Sequence[Measurement]) -> Served | None:
        """What the server did in these windows."""
        if not isinstance(self.workload, ServedWorkload):
            return None
        labels = {measurement.label for measurement in measurements}
        mine = [repeat for repeat in self._repeats if repeat.measurement.label in labels]
        accounts = [repeat.account for repeat in mine if repeat.account is not None]
        return pooled(accounts, self.workload.totals())

    def _phases_kept(self, window: OpenWindow) -> bool:
        return keeps_phase(self._lead, max(end_s - start_s for start_s, end_s in window.spans_s))

    def _follow_host_counters(self) -> None:
        """A CPU's counter may wrap within minutes: look often enough to notice every time it does."""
        if self.clock.now_s() - self._host_read_s < HOST_COUNTER_S:
            return
        for source in self.sources:
            if source.info.kind != "gpu":
                source.read_energy_j()
        self._host_read_s = self.clock.now_s()

    def _and_more(self, batches: Sequence[Any], window: OpenWindow) -> Iterator[Any]:
        """The batches prepared, and as many more as it takes if they turn out faster than in the warm-up."""
        assert not isinstance(self.workload, ServedWorkload)
        yield from batches
        while window.busy_s < self._shortest_busy_s:
            yield from self.workload.prepare(1)

    def _truth_of(self, info: SourceInfo) -> TrueEnergy | None:
        return self.truth if info.provenance == "simulated" else None

    def _foreign_processes(self) -> tuple[int, ...]:
        pids: list[int] = []
        for source in self.sources:
            if source.info.runs_model:
                pids.extend(source.foreign_processes() or ())
        return tuple(pid for pid in pids if pid not in self.own_pids()) if pids else ()

    def _trace_covering(self, readings: WindowReadings) -> PowerTrace:
        """The trace, once it tells of all of the window: readings speak of the past."""
        until_s = readings.end_s + max(mean_age_s(info) for info in self._infos)
        self.clock.sleep_s(until_s - self.clock.now_s())
        for _ in range(5):
            trace = self.sampler.trace()
            if all((trace.column("t_s", info.id)[-1:] > until_s).any() for info in self._infos):
                return trace
            self.clock.sleep_s(self.spec.sample_period_s)
        return trace

    # --- news ---

    def _report_repeat(self, measurement: Measurement, count: int, interval: Estimate | None, elapsed_s: float) -> None:
        busy_s = measurement.busy_s
        self.report(
            Progress(
                "measure",
                repeat=count,
                max_repeats=self.spec.max_repeats,
                power_w=gross_j(measurement, self._active) / busy_s if busy_s else None,
                energy_j=interval.value if interval else None,
                relative_halfwidth=relative_halfwidth(interval),
                left_s=seconds_left(self.spec, count, interval, elapsed_s),
            )
        )
