"""How often a board's power reading is renewed, as this run's own samples show it. Pure.

A profile's period is that of another board or driver: recordings and data sheets differ by up to 3 %. Two seconds of
work are twenty periods, after which 1 % is a fifth of a period, and batches that were to be spread evenly may all start
alike.
"""

from __future__ import annotations

import math

from harness.power.publications import publications
from harness.records import Caveat, SourceInfo
from harness.stats import FloatArray

UNSEEN_PERIOD_U = 0.03 / math.sqrt(3)  # relative, of a profile's period: within 3 %, rectangular
MOST_DRIFT = 0.05  # of a period: how far a batch's end may lie from the phase that it was planned for
LONGEST_SEEN = 1.5  # of the profile's period: readings that repeat hide every other renewal, and show a multiple of it
FEWEST_POLLS = 3.0  # in a period: with fewer, a lost poll here and there makes other periods fit
LARGEST_JITTER = 0.5  # of a polling step, of the changes about their grid; polls alone make 0.29 of it
PERIODS_DIFFER = 0.05  # relative: no longer the same sensor, and worth saying


def with_seen_period(info: SourceInfo, t_s: FloatArray, power_w: FloatArray) -> SourceInfo:
    """The source with the period that its samples show; as it was where polls too slow or readings too steady hide it.

    Args:
        info: A source.
        t_s: Poll times, seconds, strictly rising, shape (n,).
        power_w: What was read, watts, shape (n,).
    """
    if len(t_s) < 2:
        return info
    found = publications(t_s, power_w)
    if found.period_s is None or found.jitter_s is None:
        return info
    expected = FEWEST_POLLS * found.step_s <= found.period_s <= LONGEST_SEEN * info.sensor_period_s
    if not expected or found.jitter_s > LARGEST_JITTER * found.step_s:
        return info
    return info.model_copy(update={"sensor_period_s": found.period_s, "sensor_period_u_s": found.period_doubt_s})


def keeps_phase(info: SourceInfo, batch_s: float) -> bool:
    """Whether the period is known so well that the phase after a batch of this length is."""
    period_s, u_s = info.sensor_period_s, info.sensor_period_u_s
    relative_u = UNSEEN_PERIOD_U if u_s is None else u_s / period_s
    return batch_s / period_s * relative_u <= MOST_DRIFT


def period_disagrees(profile: SourceInfo, seen: SourceInfo) -> Caveat | None:
    """Samples show another period than the profile says; they are believed."""
    if abs(seen.sensor_period_s - profile.sensor_period_s) <= PERIODS_DIFFER * profile.sensor_period_s:
        return None
    return Caveat(
        code="period-disagrees",
        message=f"Readings of {seen.device_name} are renewed every {seen.sensor_period_s * 1000:.4g} ms, not every "
        f"{profile.sensor_period_s * 1000:.4g} ms as its profile {profile.sensor_profile} says; the readings are "
        "believed. harness sensor characterize finds the rest.",
    )
