"""One window's readings, trace and work made into a Measurement: energies, and every rule it fails. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.errors import MeasurementInvalid
from harness.measure import guards, quality, stuck
from harness.measure.budget import IdlePowerReading, Method, TrueEnergy, null_power, source_energy, source_method
from harness.measure.window import WindowReadings
from harness.power.profiles import unseen_fraction
from harness.power.trace import PowerTrace
from harness.records import Caveat, IdlePower, Measurement, SourceEnergy, SourceInfo, WorkCounts
from harness.specs import MeasureSpec
from harness.stats import FloatArray

Idles = list[IdlePowerReading | None]  # one per source; None where it could not be read


@dataclass(frozen=True)
class RawWindow:
    """What was read of one window and of the null window right after it.

    `rested_since_s`: when the last work before it ended. `foreign`: processes of others seen on its GPUs. `worked_s`:
    from the first work to the last where that reaches beyond the window (a load that is put on and taken off).
    `loaded_s`: when the board had anything to do; None: as the readings' busy spans say. `gpu_works`: False where the
    host prepares inputs and the board's power need not change.
    """

    label: str
    readings: WindowReadings
    null: WindowReadings
    trace: PowerTrace
    work: WorkCounts
    rested_since_s: float
    foreign: tuple[int, ...] = ()
    worked_s: tuple[float, float] | None = None
    loaded_s: tuple[tuple[float, float], ...] | None = None
    gpu_works: bool = True


def assembled(
    raw: RawWindow,
    infos: Sequence[SourceInfo],
    spec: MeasureSpec,
    counter_expected: bool,
    truth_of: Callable[[SourceInfo], TrueEnergy | None],
) -> tuple[Measurement, Idles]:
    """The window as it will be stored, rejected where a rule says so, and the idle power of each source.

    Args:
        raw: What was read.
        infos: Every source of the machine, in their order.
        spec: What the run allows.
        counter_expected: The board that leads has an energy counter and was asked for it.
        truth_of: The true energy of a simulated source.
    """
    readings, null = raw.readings, raw.null
    lead = next(info for info in infos if info.runs_model)
    sampled_instead = spec.energy_method == "auto"
    stuck = quality.counter_stuck(readings, counter_expected, sampled_instead) or quality.counter_stuck(
        null, counter_expected, sampled_instead
    )
    void = [quality.no_work(raw.work), quality.too_short(readings, lead.sensor_period_s)]
    void += [Caveat(code="source-failed", message=told) for told in dict.fromkeys((*readings.failures, *null.failures))]
    weak: list[Caveat | None] = []
    (weak if sampled_instead else void).append(stuck)
    if raw.foreign and not spec.allow_shared_gpu:
        pids = ", ".join(map(str, raw.foreign))
        void.append(Caveat(code="shared-gpu", message=f"Another process used the GPU during the window: {pids}."))
    working = raw.trace.within(readings.busy_spans_s if raw.loaded_s is None else raw.loaded_s)
    energies: list[SourceEnergy] = []
    idles: Idles = []
    wanted = "sampled" if stuck is not None and sampled_instead else spec.energy_method
    for info in infos:
        try:
            method = source_method(info, readings, wanted)
            idle = null_power(info, null, raw.trace, method)
            energy = source_energy(info, readings, null, raw.trace, idle, method, truth_of(info))
        except MeasurementInvalid as error:
            void.append(Caveat(code="window-void", message=error.message))
            idles.append(None)
            continue
        idles.append(idle)
        energies.append(_with_state(energy, info, working))
        weak.append(quality.counter_disagrees(info, energy))
        if info.runs_model and info.kind == "gpu":
            strict, caveats = _contamination(info, energy, method, raw, working, spec)
            void += strict
            weak += caveats
    measurement = Measurement(
        label=raw.label,
        start_s=readings.start_s,
        end_s=readings.end_s,
        busy_s=readings.busy_s,
        sources=tuple(energies),
        work=raw.work,
        batch_durations_s=tuple(end - start for start, end in readings.busy_spans_s),
        caveats=tuple(caveat for caveat in (*void, *weak) if caveat is not None),
        rejected=any(caveat is not None for caveat in void),
    )
    return measurement, idles


def idle_power(source_id: str, index: int, before: Idles, nulls: Sequence[Idles], after: Idles) -> IdlePower:
    """Idle power of one source, number `index` of the machine's: before the load, in the null windows, after it."""
    first, last = before[index], after[index]
    known = [power for powers in nulls if (power := powers[index]) is not None]
    return IdlePower(
        source_id=source_id,
        before_w=first.power_w if first else None,
        null_w=math.fsum(power.power_w for power in known) / len(known) if known else None,
        after_w=last.power_w if last else None,
        null_u_w=math.fsum(power.u_w for power in known) / len(known) if known else None,
    )


Caveats = list[Caveat | None]


def _contamination(
    info: SourceInfo, energy: SourceEnergy, method: Method, raw: RawWindow, working: PowerTrace, spec: MeasureSpec
) -> tuple[Caveats, Caveats]:
    """What rejects the window of a GPU that ran the model, and what only weakens it."""
    readings, null, trace, rested_s = raw.readings, raw.null, raw.trace, raw.rested_since_s
    void: Caveats = [quality.implausible(info, energy, readings.duration_s), quality.clock_stepped(working, info)]
    kappa = unseen_fraction(info)
    if method == "counter" and info.counter_integrates == "power":
        kappa = 0.0
    weak: Caveats = [
        quality.power_capped(working, info),
        quality.locked_in(readings, info, kappa),
        quality.beat_not_excluded(readings, info, kappa),
    ]
    (weak if spec.allow_throttling else void).append(quality.slowed_down(working, info))
    lost = quality.samples_lost(trace, info, readings.start_s, readings.end_s)
    (void if method == "sampled" else weak).append(lost)
    spans_s = readings.busy_spans_s
    if raw.gpu_works and spans_s:
        worked_s = raw.worked_s or (spans_s[0][0], spans_s[-1][1])
        if (stretch := stuck.stuck_stretch(info, trace, worked_s, rested_s, null.end_s)) is not None:
            by_counter = method == "counter" and stretch.whole and stuck.counter_saw_more(info, trace, stretch)
            (weak if by_counter else void).append(stuck.sensor_stuck(info, stretch, by_counter))
    if not spec.allow_shared_gpu:
        worked = readings if raw.worked_s is None else replace(readings, busy_spans_s=(raw.worked_s,))
        void.append(guards.guard_power(info, trace, worked, null, rested_s))
        void.append(guards.guard_utilisation(info, trace, worked, null, rested_s))
    return void, weak


def _with_state(energy: SourceEnergy, info: SourceInfo, working: PowerTrace) -> SourceEnergy:
    """Temperature and clock while work ran."""
    temperatures_c, clocks_hz = (_known(working.column(name, info.id)) for name in ("temperature_c", "clock_hz"))
    return energy.model_copy(
        update={
            "busy_temperature_c": float(np.mean(temperatures_c)) if len(temperatures_c) else None,
            "busy_clock_hz": float(np.median(clocks_hz)) if len(clocks_hz) else None,
        }
    )


def _known(values: FloatArray) -> FloatArray:
    known: FloatArray = values[~np.isnan(values)]
    return known
