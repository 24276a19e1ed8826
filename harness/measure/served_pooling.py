"""What a server did in all accepted windows of a run, made of its windows. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from harness.measure.served import Account, percentiles
from harness.served_records import Served, ServedPhase


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
