"""What makes an energy from sampled power weaker, in words: Caveats of harness.measure.sampled. Pure."""

from __future__ import annotations

from harness.measure.sensor_evidence import Published
from harness.measure.undersampled import Doubt
from harness.power.profiles import SensorProfile
from harness.records import Caveat

PERIODS_DIFFER = 0.1  # relative: a recording's period further from the profile's is said
PADDED = 0.01  # of the energy: an edge term below this means that power is alike on both sides of the edges
FEW_EFFECTIVE = 5.0
NEGLIGIBLE = 0.02  # of the energy: where the bounds of a locked load lie no further apart, lock-in is no matter


def too_short(duration_s: float, shortest_s: float, period_s: float, bound_j: float) -> Caveat:
    """The sensor cannot resolve the window."""
    return Caveat(
        code="too-short",
        message=f"The window lasts {duration_s * 1000:.0f} ms; this sensor renews its reading every "
        f"{period_s * 1000:.0f} ms and resolves no less than {shortest_s * 1000:.0f} ms. "
        f"No energy can be stated, only that it was at most {bound_j:.4g} J.",
    )


def about_readings(seen: Published, sensor: SensorProfile, missing_s: float, duration_s: float) -> tuple[Caveat, ...]:
    """The period is a guess or another than the profile's; readings were not polled."""
    found = []
    if not seen.period_found:
        found.append(
            Caveat(
                code="period-assumed",
                message=f"How often readings are renewed cannot be seen; {seen.period_s * 1000:.4g} ms is assumed.",
            )
        )
    elif abs(seen.period_s - sensor.period_s) > PERIODS_DIFFER * sensor.period_s:
        found.append(
            Caveat(
                code="period-disagrees",
                message=f"Readings are renewed every {seen.period_s * 1000:.4g} ms, not every "
                f"{sensor.period_s * 1000:.4g} ms as the profile {sensor.name} says; the recording is believed.",
            )
        )
    if missing_s > 0:
        found.append(
            Caveat(
                code="samples-lost",
                message=f"Readings of {missing_s:.3f} s of the window ({missing_s / duration_s:.0%}) were not polled; "
                "their neighbours stand for them.",
            )
        )
    return tuple(found)


def about_edges(sensor: SensorProfile, edges_fraction: float) -> tuple[Caveat, ...]:
    """A long memory smears energy across the window's edges. `edges_fraction`: the edge term over the energy."""
    if not sensor.long_memory or edges_fraction <= PADDED:
        return ()
    return (
        Caveat(
            code="average-edges",
            message=f"Each reading tells of {sensor.memory_s:.2g} s and power differs around the window's edges: "
            "energy from outside is counted, energy from inside lost. Pad the window with steady power on both sides "
            f"by {sensor.memory_s:.2g} s, or use the instant reading.",
        ),
    )


def about_sampling(
    doubt: Doubt, period_s: float, kappa: float, energy_j: float, locked_j: tuple[float, float]
) -> tuple[Caveat, ...]:
    """Lock-in is suspected or cannot be excluded; few independent readings.

    Args:
        doubt: About the window's mean power.
        period_s: The sensor's.
        kappa: Share of the time that it does not see.
        energy_j: Of the window.
        locked_j: Its bounds if the load kept step with the sensor.
    """
    if locked_j[1] - locked_j[0] <= NEGLIGIBLE * energy_j:
        return ()
    found = []
    bounds = f"{locked_j[0]:.4g} to {locked_j[1]:.4g} J"
    share, period = f"{1 - kappa:.0%}", f"{period_s * 1000:.4g} ms"
    if doubt.rhythm is not None:
        every = "slowly" if doubt.rhythm.pattern == 1 else f"and are alike every {doubt.rhythm.pattern} readings"
        beat = doubt.rhythm.beat_readings
        cycle = f", one cycle in {beat * period_s:.3g} s" if beat is not None else ""
        found.append(
            Caveat(
                code="lock-in-suspected",
                message=f"Readings swing by {doubt.rhythm.swing_w:.3g} W {every}{cycle}: so does a load whose period "
                f"is close to a multiple or a fraction of the sensor's {period}. The sensor sees {share} of the time; "
                f"if it is so, the levels that the recording shows allow {bounds}. "
                "Random delays between batches exclude it.",
            )
        )
    else:
        look = "are steady" if doubt.steady else "vary, at no rhythm that shows"
        found.append(
            Caveat(
                code="lock-in-not-excluded",
                message=f"Readings {look}, but the sensor sees only {share} of the time: a load in step with its "
                f"{period} could look the same, and the levels that the recording shows then allow {bounds}. "
                "Random delays between batches exclude it.",
            )
        )
    if doubt.n_effective < FEW_EFFECTIVE:
        found.append(
            Caveat(
                code="few-readings",
                message=f"The window is worth {doubt.n_effective:.1f} independent readings; its interval rests on "
                "Student's t and on the levels that the recording shows. A longer window helps.",
            )
        )
    return tuple(found)
