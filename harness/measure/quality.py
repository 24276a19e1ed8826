"""What makes a window weaker (Caveat) or void (rejected). Pure; thresholds from protocol.md."""

from __future__ import annotations

import numpy as np

from harness.measure.window import WindowReadings
from harness.power.trace import PowerTrace
from harness.records import Caveat, SourceEnergy, SourceInfo, WorkCounts

MIN_PERIODS = 3.0
MAX_REJECTED_FRACTION = 0.2
DISAGREEMENT_COVERAGE = 2.58  # 99 %: the check is made on every window, and should not cry wolf
# NVML clocks-event reasons that lower a clock against the model's will: software and hardware power cap, hardware
# slowdown, thermal (software, hardware), power brake. Idle (1) and application clocks (2) are not among them.
THROTTLE_BITS = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
POWER_CAP_BIT = 0x4


def too_short(readings: WindowReadings, period_s: float) -> Caveat | None:
    """Busy for less than three sensor periods: no joules can be stated."""
    if readings.busy_s >= MIN_PERIODS * period_s:
        return None
    return Caveat(
        code="too-short",
        message=f"The engine ran for {readings.busy_s * 1000:.0f} ms; this sensor renews its reading every "
        f"{period_s * 1000:.0f} ms and needs three of them. Ask for more requests per window.",
    )


def throttled(trace: PowerTrace, info: SourceInfo) -> Caveat | None:
    """The driver lowered the clocks of a GPU that ran the model."""
    raw = trace.column("throttle", info.id)
    masks = raw[~np.isnan(raw)].astype(np.int64)
    share = float(np.mean((masks & THROTTLE_BITS) != 0)) if len(masks) else 0.0
    if share == 0:
        return None
    seen = int(np.bitwise_or.reduce(masks)) & THROTTLE_BITS
    why = "its power limit" if seen == POWER_CAP_BIT else f"throttle reasons {seen:#x}"
    return Caveat(code="throttled", message=f"{info.device_name} ran at {why} in {share:.0%} of the samples.")


def no_work(work: WorkCounts) -> Caveat | None:
    """Nothing came back, so there is nothing to divide the energy by."""
    return None if work.requests else Caveat(code="no-work", message="No request was answered in the window.")


def counter_disagrees(info: SourceInfo, energy: SourceEnergy) -> Caveat | None:
    """Counter and integrated power differ by more than the 99 % interval of their difference."""
    if energy.method != "counter" or energy.sampled_energy_j is None or energy.sampled_uncertainty_j is None:
        return None
    difference_j = energy.energy_j - energy.sampled_energy_j
    explained_j = DISAGREEMENT_COVERAGE * energy.sampled_uncertainty_j
    if abs(difference_j) <= explained_j:
        return None
    return Caveat(
        code="counter-disagrees",
        message=f"{info.device_name}: the counter says {energy.energy_j:.4g} J, sampled power "
        f"{energy.sampled_energy_j:.4g} J; {explained_j:.2g} J would be explained.",
    )


def counter_stuck(readings: WindowReadings, expected: bool) -> Caveat | None:
    """The counter did not move within a second at one of the edges."""
    if not expected or readings.aligned_source is not None:
        return None
    return Caveat(code="counter-stuck", message="The energy counter did not move within 1 s at an edge of the window.")


def samples_missed(trace: PowerTrace) -> Caveat | None:
    """More than 5 % of the samples came late, or the sampler died."""
    if trace.missed_deadlines is None:
        return Caveat(code="sampler-died", message="The power sampler ended early; its trace is incomplete.")
    total = len(trace.rows) // max(1, len(trace.source_ids)) + trace.missed_deadlines
    share = trace.missed_deadlines / max(1, total)
    if share <= 0.05:
        return None
    return Caveat(code="samples-missed", message=f"{share:.0%} of the power samples came late.")


def unknown_sensor(info: SourceInfo) -> Caveat | None:
    """The board is not on record: conservative sensor values were assumed."""
    if info.sensor_profile != "unknown":
        return None
    return Caveat(
        code="unknown-sensor",
        message=f"The power sensor of {info.device_name} is not on record; the least favourable one is assumed.",
    )


def not_steady(duration_s: float, reason: str) -> Caveat:
    """Warm-up ended by its budget, not by being steady."""
    return Caveat(code="not-steady", message=f"Warm-up ended after {duration_s:.0f} s while {reason}.")


def not_narrow_enough(reached: float, target: float, why: str) -> Caveat:
    """The repeats ended before their interval was narrow enough."""
    return Caveat(
        code="target-not-reached",
        message=f"The repeats' interval is ±{reached:.1%}, wider than the ±{target:.1%} asked for: {why}.",
    )
