"""A served window's Measurement: what failed requests drew is set apart, ramp-up and drain stand beside it. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.errors import MeasurementInvalid
from harness.measure.assembly import Idles, RawWindow, assembled
from harness.measure.base import ServedWorkload
from harness.measure.budget import Method, TrueEnergy, null_power, source_energy
from harness.measure.energy import busy_energy_j
from harness.measure.served import Account, percentiles
from harness.measure.served_caveats import served_caveats
from harness.measure.steady import SteadyReadings
from harness.measure.uncertainty import combined_u_j
from harness.measure.window import WindowReadings
from harness.power.trace import PowerTrace
from harness.records import Measurement, Served, ServedPhase, SourceEnergy, SourceInfo, UncertaintyTerm
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
    apart = [_failed_apart(source, window.duration_s, inside, truths[source.source_id]) for source in whole.sources]
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
            "busy_s": (whole.busy_s - inside.served.retry_wait_s) * (1 - fraction),
            "sources": tuple(apart),
            "served": served,
            "caveats": (*whole.caveats, *served_caveats(served)),
        }
    )
    return measurement, idles, replace(inside, served=served)


def _failed_apart(source: SourceEnergy, duration_s: float, account: Account, truth: TrueEnergy | None) -> SourceEnergy:
    """What failures cost: waits in which nothing was in flight, and, of the rest, their share of the time in flight.

    A wait is taken at idle power. A server may go on working on what was given up, though: up to the power of the
    rest, all of it is in doubt. The share is known to between nothing and twice that. Both doubts are rectangular, and
    are added, as the same server makes them.
    """
    fraction, wait_s = account.served.failed_fraction, account.served.retry_wait_s
    wait_j = source.idle_power_w * wait_s
    failed_j = fraction * (source.energy_j - wait_j)
    if fraction == 0 and wait_s == 0:
        return source.model_copy(update={"failed_energy_j": 0.0})
    rest_w = (source.energy_j - wait_j) / max(duration_s - wait_s, 1e-9)
    term = UncertaintyTerm(
        name="failed requests",
        standard_uncertainty_j=(failed_j + max(0.0, rest_w - source.idle_power_w) * wait_s) / math.sqrt(3),
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


# --- all windows of a run -------------------------------------------------------------------------------


def pooled(accounts: Sequence[Account], totals: tuple[int, dict[str, int]]) -> Served | None:
    """What the server did in several windows; None of none. Times are pooled, not their percentiles averaged.

    Args:
        accounts: Of the accepted windows.
        totals: Attempts of the whole run, and how many failed by reason.
    """
    if not accounts:
        return None
    windows = [account.served for account in accounts]
    duration_s = math.fsum(window.duration_s for window in windows)

    def by_time(name: str) -> float:
        return math.fsum(getattr(window, name) * window.duration_s for window in windows) / duration_s

    def total(name: str) -> float:
        return math.fsum(getattr(window, name) for window in windows)

    def count(name: str) -> int:
        return sum(getattr(window, name) for window in windows)

    def total_known(name: str) -> float | None:
        values = [getattr(window, name) for window in windows]
        return math.fsum(values) if None not in values else None

    inputs = total_known("input_tokens")
    cached = [window.cached_tokens for window in windows if window.cached_tokens is not None]
    return windows[0].model_copy(
        update={
            **{name: count(name) for name in COUNTS},
            **{name: total(name) for name in ("requests_in_part", "output_tokens", "retry_wait_s")},
            **{name: by_time(name) for name in ("mean_in_flight", "sent_rate_hz", "answered_rate_hz")},
            "duration_s": duration_s,
            "reached": all(window.reached for window in windows),
            "attempts_failed": added(window.attempts_failed for window in windows),
            "input_tokens": None if inputs is None else int(inputs),
            "cached_tokens": sum(cached) if cached else None,
            "reasoning_tokens": total_known("reasoning_tokens"),
            "reasoning_by_pieces": any(window.reasoning_by_pieces for window in windows),
            "ttft": percentiles([value for account in accounts for value in account.ttft_s]),
            "inter_token": percentiles([value for account in accounts for value in account.inter_token_s]),
            "latency": percentiles([value for account in accounts for value in account.latency_s]),
            "late": percentiles([value for account in accounts for value in account.late_s]),
            "failed_fraction": _failed_share(windows),
            "failed_energy_j": total_known("failed_energy_j"),
            "retry_wait_energy_j": total_known("retry_wait_energy_j"),
            "own_cpu_fraction": max((window.own_cpu_fraction or 0.0) for window in windows),
            "ramp_up": _phases([window.ramp_up for window in windows]),
            "drain": _phases([window.drain for window in windows]),
            "all_attempts": totals[0],
            "all_failed": totals[1],
        }
    )


COUNTS = (
    "requests_sent",
    "requests_answered",
    "requests_given_up",
    "requests_not_sent",
    "attempts_retried",
    "fewer_tokens",
    "more_tokens",
    "without_usage",
    "contradicting_usage",
    "fewer_than_pieces",
    "pieces",
    "in_flight_growth",
)


def added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Several counts by reason as one, most frequent first."""
    total: dict[str, int] = {}
    for each in counts:
        for reason, number in each.items():
            total[reason] = total.get(reason, 0) + number
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def _failed_share(windows: Sequence[Served]) -> float:
    in_flight_s = math.fsum(window.mean_in_flight * window.duration_s for window in windows)
    failed_s = math.fsum(window.failed_fraction * window.mean_in_flight * window.duration_s for window in windows)
    return failed_s / in_flight_s if in_flight_s > 0 else 0.0


def _phases(phases: Sequence[ServedPhase | None]) -> ServedPhase | None:
    """All ramps, or all drains, as one; their doubts are mostly shared, so they are added."""
    known = [phase for phase in phases if phase is not None]
    energies = [phase.energy_j for phase in known]
    doubts = [phase.uncertainty_j for phase in known]
    truths = [phase.true_energy_j for phase in known]
    return ServedPhase(
        duration_s=math.fsum(phase.duration_s for phase in known),
        energy_j=_sum_known(energies),
        uncertainty_j=_sum_known(doubts),
        true_energy_j=_sum_known(truths),
        output_tokens=math.fsum(phase.output_tokens for phase in known),
        attempts_failed=added([phase.attempts_failed for phase in known]),
    )


def _sum_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None
