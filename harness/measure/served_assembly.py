"""A served window's Measurement: what failed requests drew is set apart, ramp-up and drain stand beside it. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.errors import MeasurementInvalid
from harness.measure.assembly import Idles, RawWindow, assembled
from harness.measure.base import ServedWorkload
from harness.measure.budget import Method, TrueEnergy, null_power, source_energy
from harness.measure.energy import busy_energy_j
from harness.measure.served import Account
from harness.measure.served_caveats import served_caveats
from harness.measure.steady import SteadyReadings
from harness.measure.uncertainty import combined_u_j
from harness.measure.window import WindowReadings
from harness.power.trace import PowerTrace
from harness.records import Measurement, SourceEnergy, SourceInfo, UncertaintyTerm
from harness.served_records import ServedPhase
from harness.specs import MeasureSpec

TruthOf = Callable[[SourceInfo], TrueEnergy | None]


@dataclass(frozen=True)
class Rest:
    """What lies around a load: the null window after it, the trace of both, and as `RawWindow` has it."""

    null: WindowReadings
    trace: PowerTrace
    rested_since_s: float
    foreign: tuple[int, ...]


def assembled_steady(
    label: str,
    steady: SteadyReadings,
    rest: Rest,
    workload: ServedWorkload,
    infos: Sequence[SourceInfo],
    spec: MeasureSpec,
    counter_expected: bool,
    truth_of: TruthOf,
) -> tuple[Measurement, Idles, Account]:
    """The window as it will be stored, as `assembly.assembled` makes it, and what the server did in it.

    Args:
        label: The window's name.
        steady: What was read of the window, of ramp-up and of drain.
        rest: And around them.
        workload: Knows what was answered when.
        infos: Every source of the machine, in their order.
        spec: What the run allows.
        counter_expected: The board that leads has an energy counter and was asked for it.
        truth_of: The true energy of a simulated source.
    """
    began_s, ended_s = steady.worked_s
    window = steady.window
    spans_s = (began_s, window.start_s), (window.start_s, window.end_s), (window.end_s, ended_s)
    before, inside, after = (workload.account(*span, steady.reached) for span in spans_s)
    raw = RawWindow(
        label=label,
        readings=window,
        null=rest.null,
        trace=rest.trace,
        work=inside.work,
        rested_since_s=rest.rested_since_s,
        foreign=rest.foreign,
        worked_s=steady.worked_s,
        loaded_s=inside.loaded_s,
    )
    fraction = inside.served.failed_fraction
    whole, idles = assembled(raw, infos, spec, counter_expected, truth_of)
    active = {info.id for info in infos if info.runs_model}
    truths = {info.id: truth_of(info) for info in infos}
    apart = [failed_apart(source, window.duration_s, inside, truths[source.source_id]) for source in whole.sources]
    failed_j = [source.failed_energy_j for source in apart if source.source_id in active]
    waits_j = [source.gap_energy_j for source in apart if source.source_id in active]
    methods = {source.source_id: source.method for source in whole.sources}
    phases = [
        phase_of(readings, account, methods, raw.null, raw.trace, infos, idles, truth_of)
        for readings, account in ((steady.ramp_up, before), (steady.drain, after))
    ]
    served = inside.served.model_copy(
        update={
            "failed_energy_j": math.fsum(j for j in failed_j if j is not None) if failed_j else None,
            "retry_wait_energy_j": math.fsum(waits_j) if waits_j else None,
            "own_cpu_fraction": steady.own_cpu_fraction,
            "ramp_up": phases[0],
            "drain": phases[1],
        }
    )
    measurement = whole.model_copy(
        update={
            "busy_s": (whole.busy_s - (inside.served.retry_wait_s or 0.0)) * (1 - fraction),
            "sources": tuple(apart),
            "served": served,
            "caveats": (*whole.caveats, *served_caveats(served)),
        }
    )
    return measurement, idles, replace(inside, served=served)


def failed_apart(source: SourceEnergy, duration_s: float, account: Account, truth: TrueEnergy | None) -> SourceEnergy:
    """What failures cost: waits in which nothing was in flight, and, of the rest, their share of the time in flight.

    A wait is taken at idle power. A server may go on working on what was given up, though: up to the power of the
    rest, all of it is in doubt, but no more than the rest has above idle. The share is known to between nothing and
    twice that. Both doubts are rectangular, and are added, as the same server makes them; of what a wait may have drawn
    in addition, the share would have gone to failures anyway.
    """
    fraction, wait_s = account.served.failed_fraction, account.served.retry_wait_s or 0.0
    wait_j = source.idle_power_w * wait_s
    failed_j = fraction * (source.energy_j - wait_j)
    if fraction == 0 and wait_s == 0:
        return source.model_copy(update={"failed_energy_j": 0.0})
    rest_s = max(duration_s - wait_s, 0.0)
    above_idle_j = max(0.0, source.energy_j - wait_j - source.idle_power_w * rest_s)
    wait_doubt_j = above_idle_j * min(1.0, wait_s / rest_s if rest_s > 0 else 1.0)
    term = UncertaintyTerm(
        name="failed requests",
        standard_uncertainty_j=(failed_j + (1 - fraction) * wait_doubt_j) / math.sqrt(3),
        common=False,
        averages=False,
        reduced_by="a server that answers every request",
    )
    budget = (*source.budget, term)
    true_j = source.true_busy_energy_j
    if true_j is not None and truth is not None:
        true_j = (true_j - math.fsum(truth(source.source_id, *span) for span in account.waits_s)) * (1 - fraction)
    return source.model_copy(
        update={
            "gap_energy_j": source.gap_energy_j + wait_j,
            "failed_energy_j": failed_j,
            "budget": budget,
            "uncertainty_j": combined_u_j(budget),
            "true_busy_energy_j": true_j,
        }
    )


def phase_of(
    readings: WindowReadings,
    account: Account,
    methods: Mapping[str, Method],
    null: WindowReadings,
    trace: PowerTrace,
    infos: Sequence[SourceInfo],
    idles: Idles,
    truth_of: TruthOf,
) -> ServedPhase:
    """What the GPUs that ran the model drew beside any window, gross; doubts of several boards are added.

    Args:
        readings: Where it lies.
        account: What the server did meanwhile.
        methods: By which each source's energy is had; one that is missing cannot be read.
        null: A window without work near it.
        trace: Samples of both.
        infos: Every source of the machine, in their order.
        idles: Power of each in the null window.
        truth_of: The true energy of a simulated source.
    """
    found: list[SourceEnergy] = []
    wanted = [(info, idle) for info, idle in zip(infos, idles, strict=True) if info.runs_model]
    for info, idle in wanted:
        if idle is None or info.id not in methods:
            continue
        try:
            found.append(source_energy(info, readings, null, trace, idle, methods[info.id], truth_of(info)))
        except MeasurementInvalid:
            continue
    known = len(found) == len(wanted)
    true_j = [source.true_busy_energy_j for source in found if source.true_busy_energy_j is not None]
    return ServedPhase(
        duration_s=readings.busy_s,
        energy_j=math.fsum(busy_energy_j(source) for source in found) if known else None,
        uncertainty_j=math.fsum(source.uncertainty_j for source in found) if known else None,
        true_energy_j=math.fsum(true_j) if known and len(true_j) == len(found) else None,
        output_tokens=account.served.output_tokens,
        attempts_failed=account.served.attempts_failed,
    )


def broken_load(
    readings: WindowReadings,
    account: Account,
    null: WindowReadings,
    trace: PowerTrace,
    infos: Sequence[SourceInfo],
    truth_of: TruthOf,
) -> ServedPhase:
    """A load that failed, by sampling: nobody waited for a counter at its ends. Arguments as `phase_of` has them."""
    idles: Idles = []
    for info in infos:
        try:
            idles.append(null_power(info, null, trace, "sampled") if info.runs_model else None)
        except MeasurementInvalid:
            idles.append(None)
    methods: dict[str, Method] = {info.id: "sampled" for info in infos} if readings.busy_s > 0 else {}
    return phase_of(readings, account, methods, null, trace, infos, idles, truth_of)
