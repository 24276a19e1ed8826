"""What makes a window weaker (Caveat) or void (rejected). Pure; thresholds from protocol.md."""

from __future__ import annotations

import numpy as np

from harness.measure.window import WindowReadings
from harness.power.trace import PowerTrace
from harness.records import Caveat, SourceEnergy, SourceInfo, WorkCounts

MIN_PERIODS = 3.0
MAX_REJECTED_FRACTION = 0.2
DISAGREEMENT_COVERAGE = 2.58  # 99 %: the check is made on every window, and should not cry wolf
MAX_CLOCK_CHANGE = 0.03  # two to three of the 15 MHz steps that boards take by themselves
IMPLAUSIBLE_LIMITS = 1.5  # a board may pass its power limit for milliseconds, not for a window
LONGEST_GAP_PERIODS = 3.0
LOCKED_RESULTANT = 0.6
FEWEST_LOCKED = 8  # batches; the resultant of fewer random phases passes 0.6 by chance in more than 5 % of windows
LONGEST_LOCKED_PERIODS = 20.0
FEWEST_SPREAD = 5  # batches at different phases whose scatter says what the sensor misses (stats.phased_mean_u)
# NVML clocks-event reasons. Slowed down against its will: hardware slowdown, thermal (software, hardware), power
# brake. Held at its own power limit: software power cap. Idle (1) and application clocks (2) are neither.
SLOWDOWN_BITS = 0x8 | 0x20 | 0x40 | 0x80
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


def slowed_down(working: PowerTrace, info: SourceInfo) -> Caveat | None:
    """Heat, hardware protection or a power brake lowered the clocks: another board would have drawn otherwise."""
    share, seen = _reasons(working, info, SLOWDOWN_BITS)
    if share == 0:
        return None
    why = f"throttle reasons {seen:#x}"
    return Caveat(
        code="throttled", message=f"{info.device_name} was slowed down ({why}) in {share:.0%} of the samples."
    )


def power_capped(working: PowerTrace, info: SourceInfo) -> Caveat | None:
    """The board ran at its power limit: what heavy work does on a sound board, but the limit is part of the result."""
    share, _ = _reasons(working, info, POWER_CAP_BIT)
    if share == 0:
        return None
    limit = f" of {info.power_limit_w:.0f} W" if info.power_limit_w is not None else ""
    return Caveat(
        code="power-capped", message=f"{info.device_name} ran at its power limit{limit} in {share:.0%} of the samples."
    )


def _reasons(working: PowerTrace, info: SourceInfo, bits: int) -> tuple[float, int]:
    raw = working.column("throttle", info.id)
    masks = raw[~np.isnan(raw)].astype(np.int64)
    if len(masks) == 0:
        return 0.0, 0
    return float(np.mean((masks & bits) != 0)), int(np.bitwise_or.reduce(masks)) & bits


def clock_stepped(working: PowerTrace, info: SourceInfo) -> Caveat | None:
    """The clock in the last third of the work differs from that in the first."""
    clocks_hz = working.column("clock_hz", info.id)
    clocks_hz = clocks_hz[~np.isnan(clocks_hz)]
    third = len(clocks_hz) // 3
    if third < 3:
        return None
    first_hz, last_hz = float(np.median(clocks_hz[:third])), float(np.median(clocks_hz[-third:]))
    if abs(last_hz - first_hz) <= MAX_CLOCK_CHANGE * first_hz:
        return None
    return Caveat(
        code="clock-step",
        message=f"The clock of {info.device_name} went from {first_hz / 1e6:.0f} to {last_hz / 1e6:.0f} MHz meanwhile.",
    )


def implausible(info: SourceInfo, energy: SourceEnergy, duration_s: float) -> Caveat | None:
    """More joules than the board can draw, or none at all: the counter jumped."""
    mean_w = energy.energy_j / duration_s
    if mean_w > 0 and (info.power_limit_w is None or mean_w <= IMPLAUSIBLE_LIMITS * info.power_limit_w):
        return None
    limit = f"; its limit is {info.power_limit_w:.0f} W" if info.power_limit_w is not None else ""
    return Caveat(
        code="implausible-power",
        message=f"{info.device_name} is said to have drawn {mean_w:.4g} W on average{limit}.",
    )


def samples_lost(trace: PowerTrace, info: SourceInfo, start_s: float, end_s: float) -> Caveat | None:
    """A stretch of the window without a power reading, longer than three periods of the sensor."""
    known_s, _ = trace.power(info.id)
    if len(known_s) == 0:
        return None  # a source without power readings is metered by its counter; one without either is void elsewhere
    t_s = known_s[(known_s >= start_s) & (known_s <= end_s)]
    gap_s = float(np.max(np.diff(np.concatenate([[start_s], t_s, [end_s]]))))
    if gap_s <= LONGEST_GAP_PERIODS * max(info.sensor_period_s, trace.period_s):
        return None
    return Caveat(
        code="samples-lost", message=f"No power of {info.device_name} was read for {gap_s:.2f} s of the window."
    )


def no_work(work: WorkCounts) -> Caveat | None:
    """Nothing came back, so there is nothing to divide the energy by."""
    return None if work.requests else Caveat(code="no-work", message="No request was answered in the window.")


def locked_in(readings: WindowReadings, info: SourceInfo, kappa: float) -> Caveat | None:
    """The batches start at nearly the same phase of the sensor's period: it sees the same moments again and again.

    The phases' resultant length is 1 where all are equal and about 1/sqrt(n) where they are random (Rayleigh's
    statistic). Batches much longer than the period cannot be misread by much; evenly spread ones not at all.
    """
    starts_s = np.array([start for start, _ in readings.busy_spans_s])
    if kappa == 0 or readings.phases_spread or len(starts_s) < FEWEST_LOCKED:
        return None
    cycle_s = float(np.median(np.diff(starts_s)))
    if not info.sensor_window_s < cycle_s <= LONGEST_LOCKED_PERIODS * info.sensor_period_s:
        return None
    resultant = float(np.abs(np.mean(np.exp(2j * np.pi * starts_s / info.sensor_period_s))))
    if resultant <= LOCKED_RESULTANT:
        return None
    return Caveat(
        code="lock-in",
        message=f"Batches of {cycle_s * 1000:.0f} ms keep step with the sensor's {info.sensor_period_s * 1000:.0f} ms: "
        "it may have seen the same moments of each. Allow random_delays.",
    )


def beat_not_excluded(readings: WindowReadings, info: SourceInfo, kappa: float) -> Caveat | None:
    """Too few batches at spread phases to show whether the power swings in step with the sensor inside a batch."""
    count = len(readings.busy_spans_s)
    if kappa == 0 or count == 0 or (readings.phases_spread and count >= FEWEST_SPREAD):
        return None
    if readings.under_load:
        return Caveat(
            code="beat-not-excluded",
            message=f"This sensor sees {1 - kappa:.0%} of the time: where a server's power swings in step with it "
            "(decode steps of about its period), it is read wrong, which only the windows' scatter shows.",
            window_only=True,
        )
    longest_s = max(end - start for start, end in readings.busy_spans_s)
    if not readings.phases_spread and longest_s < info.sensor_window_s:
        return None  # shorter than what a reading sees: averaged by the sensor itself
    return Caveat(
        code="beat-not-excluded",
        message=f"The window holds {count} batch{'es' if count > 1 else ''} of {longest_s:.2g} s, and this sensor sees "
        f"{1 - kappa:.0%} of the time: power that swings in step with it inside a batch is read wrong, which only the "
        "windows' scatter shows. A longer window, or a counter that harness sensor characterize finds to see all.",
        window_only=True,
    )


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


def counter_stuck(readings: WindowReadings, expected: bool, sampled_instead: bool) -> Caveat | None:
    """The counter did not move within a second at one of the edges."""
    if not expected or readings.aligned_source is not None:
        return None
    instead = " Sampled power was integrated instead." if sampled_instead else ""
    return Caveat(
        code="counter-stuck",
        message=f"The energy counter did not move within 1 s at an edge of the window.{instead}",
    )


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
