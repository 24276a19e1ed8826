"""What a board's sensor and counter do, from quick looks at them under a load whose on and off times are known. Pure.

There is no meter: the load's own times are the truth. So times and shapes can be found (period, kernel, window, delay,
counter step), and whether counter and power agree with each other; not whether either of them is right in watts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.errors import MeasurementInvalid
from harness.measure.counter import COUNTER_UNIT_J, CounterRate, counter_rate, counter_step_j
from harness.measure.energy import published_readings
from harness.measure.findings import Agreement, Quantity, SensorFindings
from harness.power.profiles import NVML_RESOLUTION_W
from harness.power.publications import Publications, publications
from harness.power.sensor_fit import SensorFit, fit_sensor
from harness.stats import FloatArray, effective_sample_size

TRUTH_STEP_S = 0.0005
EDGE_RAMP_S = 1e-6
HISTORY_S = 4.0  # of the load before the readings that are fitted; longer than any kernel on record
SKIP_S = 1.0  # what a sensor or a lagging counter may take to follow a change of load
SETTLED_W, SETTLED_SD = 1.0, 3.0  # settled: the mean of half a second comes this near to the settled idle
SMOOTHED_S = 0.5
RESOLVED_SD = 5.0  # the two halves of the load in step differ by this many standard deviations, or say nothing
FOLLOWS_TOLERANCE = 0.2


@dataclass(frozen=True)
class Recording:
    """Looks at one board, and what it was made to do.

    `t_s`, `power_w`, `energy_j`: one row per look, NaN where nothing was read, shape (n,). `spans_s`: when the board
    worked, shape (m, 2). `phases_s`: begin and end of every phase by name. All on one clock.
    """

    t_s: FloatArray
    power_w: FloatArray
    energy_j: FloatArray
    spans_s: FloatArray
    phases_s: dict[str, tuple[float, float]]

    def looks(self, start_s: float, end_s: float) -> tuple[FloatArray, FloatArray]:
        """Times and watts of the looks in [start_s, end_s] that told watts."""
        use = (self.t_s >= start_s) & (self.t_s <= end_s) & ~np.isnan(self.power_w)
        return self.t_s[use], self.power_w[use]

    @property
    def has_counter(self) -> bool:
        """Any look told joules."""
        return not bool(np.isnan(self.energy_j).all())


# --- what is needed while the load still runs -----------------------------------------------------------


def power_updates(recording: Recording) -> Publications:
    """When the power reading is renewed, from every look since the first load.

    Raises:
        MeasurementInvalid: The reading is renewed too seldom or too irregularly to tell.
    """
    found = publications(*recording.looks(recording.phases_s["load"][0], math.inf))
    if found.period_s is None:
        raise MeasurementInvalid(
            f"The power reading changed {len(found.t_s)} times at no regular period, looked at every "
            f"{found.step_s * 1000:.2g} ms.",
            "Is the GPU under load at all? Give it more time with --seconds.",
        )
    return found


def rise_s(recording: Recording) -> float:
    """How long the reading takes from the steady load's start to within 5 % of its end, seconds."""
    start_s, end_s = recording.phases_s["load"]
    t_s, power_w = recording.looks(start_s, end_s)
    idle_w = float(np.median(recording.looks(*recording.phases_s["idle"])[1]))
    full_w = float(np.median(power_w[t_s >= (start_s + end_s) / 2]))
    below = np.flatnonzero((power_w - idle_w) < 0.95 * (full_w - idle_w))
    early = below[below < np.searchsorted(t_s, start_s + (end_s - start_s) / 4)]  # later dips are the load's own
    return float(t_s[early[-1]] - start_s) if len(early) else 0.0


def kernel_of(recording: Recording) -> SensorFit:
    """The kernel that turns the known square loads into the readings seen.

    Raises:
        MeasurementInvalid: The readings did not follow the load.
    """
    start_s = recording.phases_s["square 1"][0]
    end_s = recording.phases_s["square 2"][1]
    idle_w = float(np.median(recording.looks(*recording.phases_s["idle"])[1]))
    load_w = float(np.median(recording.looks(*_later(recording.phases_s["load"]))[1]))
    truth_s, on = load_curve(recording.spans_s, start_s - HISTORY_S, end_s + 1.0)
    polled_s, polled_w = recording.looks(start_s + SKIP_S, end_s)
    fit = fit_sensor(truth_s, idle_w + (load_w - idle_w) * on, polled_s, polled_w)
    if not fit.told or fit.best.gain <= 0:
        raise MeasurementInvalid(
            f"The power reading does not follow the load: {fit.message}",
            "Check with nvidia-smi that the load ran on this GPU and that nothing else did.",
        )
    return fit


def load_curve(spans_s: FloatArray, start_s: float, end_s: float) -> tuple[FloatArray, FloatArray]:
    """The load as samples: 1 while the board worked, 0 elsewhere, with both sides of every edge.

    Returns:
        t_s, on: strictly rising times and 0 or 1, one shape.
    """
    edges_s = spans_s.ravel()
    both_s = np.concatenate([edges_s - EDGE_RAMP_S, edges_s])
    t_s = np.unique(np.concatenate([np.arange(start_s, end_s, TRUTH_STEP_S), both_s]))
    t_s = t_s[(t_s >= start_s) & (t_s <= end_s)]
    on: FloatArray = (np.searchsorted(edges_s, t_s, side="right") % 2).astype(np.float64)
    return t_s, on


# --- what is found --------------------------------------------------------------------------------------


def findings_of(recording: Recording, fit: SensorFit) -> SensorFindings:
    """Everything that a complete recording tells.

    Args:
        recording: All phases.
        fit: `kernel_of` it.

    Raises:
        MeasurementInvalid: The power reading has no regular period, or a phase is too short for it.
    """
    updates, best = power_updates(recording), fit.best
    assert updates.period_s is not None
    period_s = updates.period_s
    look_s = _poll_interval_s(recording)
    window_u_s = fit.u.get("window_s")
    delay_u_s = fit.u.get("delay_s")
    memory_s = best.window_s + (best.mean_of - 1) * period_s
    step_j = counter_step_j(recording.energy_j) if recording.has_counter else None
    counter = publications(*_counter_looks(recording)) if recording.has_counter else None
    counter_period = None
    if counter is not None and counter.period_s is not None:
        counter_period = _period(counter)
    follows, integrates = _counter_in_step(recording, updates, step_j, memory_s)
    before, right_after, settled, settle_s = _idles(recording, updates, memory_s)
    tau = Quantity(value=best.window_s / 2, u=None if window_u_s is None else window_u_s / 2)
    return SensorFindings(
        poll_interval_s=look_s,
        update_period_s=_period(updates),
        update_jitter_s=updates.jitter_s or 0.0,
        kernel=best.kernel,
        window_s=Quantity(value=best.window_s, u=window_u_s),
        tau_s=tau if best.kernel == "first_order" else None,
        mean_of=best.mean_of,
        seen_fraction=min(1.0, best.window_s / period_s),
        # When a reading became visible is only bracketed by two looks.
        delay_s=Quantity(
            value=best.delay_s, u=None if delay_u_s is None else math.hypot(delay_u_s, look_s / math.sqrt(12))
        ),
        fit_rmse_w=best.rmse_w,
        runner_up=fit.second.kernel,
        runner_up_rmse_w=fit.second.rmse_w,
        distinguishable=fit.distinguishable,
        counter_step_j=step_j,
        counter_period_s=counter_period,
        counter_under_load=_agreement(recording, updates, _later(recording.phases_s["load"]), step_j),
        counter_at_idle=_agreement(recording, updates, _later(recording.phases_s["rest"]), step_j),
        counter_integrates=integrates,
        counter_follows=follows,
        load_w=_mean(_published(updates, *_later(recording.phases_s["load"]))),
        idle_before_w=before,
        idle_right_after_w=right_after,
        idle_settled_w=settled,
        settle_s=settle_s,
    )


def _later(phase_s: tuple[float, float]) -> tuple[float, float]:
    """The later two thirds of a phase: what came before it is forgotten."""
    start_s, end_s = phase_s
    return start_s + (end_s - start_s) / 3, end_s


def _counted(updates: Publications, rate: CounterRate) -> FloatArray:
    """Readings that tell of the time between two increments: the one shown with the first tells of what was before."""
    apart_s = (updates.period_s or 0.0) / 4
    return _published(updates, rate.start_s + apart_s, rate.end_s + apart_s)


def _published(updates: Publications, start_s: float, end_s: float) -> FloatArray:
    """Readings that became visible in [start_s, end_s], watts."""
    readings_w: FloatArray = updates.readings[(updates.t_s >= start_s) & (updates.t_s <= end_s)]
    return readings_w


def _mean(readings_w: FloatArray) -> Quantity:
    """Mean of readings that follow one another; their correlation widens its uncertainty."""
    if len(readings_w) < 2:
        raise MeasurementInvalid(
            "A phase of the load is too short for this sensor: fewer than two readings fell into it.",
            "Give it more time with --seconds.",
        )
    u_w = float(np.std(readings_w, ddof=1)) / math.sqrt(effective_sample_size(readings_w))
    return Quantity(value=float(np.mean(readings_w)), u=max(u_w, NVML_RESOLUTION_W / math.sqrt(12)))


def _poll_interval_s(recording: Recording) -> float:
    return float(np.median(np.diff(recording.t_s)))


def _period(updates: Publications) -> Quantity:
    assert updates.period_s is not None
    assert updates.period_doubt_s is not None
    return Quantity(value=updates.period_s, u=updates.period_doubt_s)


def _counter_looks(recording: Recording) -> tuple[FloatArray, FloatArray]:
    known = ~np.isnan(recording.energy_j)
    return recording.t_s[known], recording.energy_j[known]


def _rate(recording: Recording, start_s: float, end_s: float, step_j: float | None) -> CounterRate | None:
    return counter_rate(*_counter_looks(recording), start_s, end_s, step_j or COUNTER_UNIT_J)


def _agreement(
    recording: Recording, updates: Publications, phase_s: tuple[float, float], step_j: float | None
) -> Agreement | None:
    rate = _rate(recording, *phase_s, step_j)
    if rate is None:
        return None
    sampled = _mean(_counted(updates, rate))
    assert sampled.u is not None
    difference = Quantity(
        value=rate.power_w / sampled.value - 1, u=math.hypot(rate.u_w, sampled.u) / abs(sampled.value)
    )
    return Agreement(
        counter_w=Quantity(value=rate.power_w, u=rate.u_w), sampled_w=sampled, difference_fraction=difference
    )


def _counter_in_step(
    recording: Recording, updates: Publications, step_j: float | None, memory_s: float
) -> tuple[Quantity | None, Literal["readings", "power"] | None]:
    """Does the counter err with the readings where they err most?

    Both phases load the board equally, half of each period; only the phase against the sensor differs. True mean power
    is the same in both, so a counter that sees it shows no difference, and one that adds up readings shows theirs.
    """
    means, rates = [], []
    for name in ("seen", "unseen"):
        start_s, end_s = recording.phases_s[name]
        start_s += min(SKIP_S + memory_s, (end_s - start_s) / 2)
        # The last load may end up to a period before the phase does.
        rate = _rate(recording, start_s, end_s - (updates.period_s or 0.0), step_j)
        if rate is None:
            return None, None
        means.append(_mean(_counted(updates, rate)))
        rates.append(rate)
    # A counter's increments need not come at whole periods of the load: up to a quarter period at half the range.
    idle_w = float(np.median(recording.looks(*recording.phases_s["idle"])[1]))
    load_w = float(np.median(recording.looks(*_later(recording.phases_s["load"]))[1]))
    swing_j = (load_w - idle_w) / 2 * (updates.period_s or 0.0) / 2
    u_rates_w = [math.hypot(rate.u_w, swing_j / math.sqrt(3) / (rate.end_s - rate.start_s)) for rate in rates]
    shown_w = means[0].value - means[1].value
    u_shown_w = math.hypot(*(mean.u or 0.0 for mean in means))
    if abs(shown_w) < max(RESOLVED_SD * u_shown_w, RESOLVED_SD * math.hypot(*u_rates_w)):
        return None, None
    ratio = (rates[0].power_w - rates[1].power_w) / shown_w
    u = math.hypot(*u_rates_w, ratio * u_shown_w) / abs(shown_w)
    follows = Quantity(value=ratio, u=u)
    if abs(ratio - 1) <= FOLLOWS_TOLERANCE:
        return follows, "readings"
    return follows, "power" if abs(ratio) <= FOLLOWS_TOLERANCE else None


def _idles(
    recording: Recording, updates: Publications, memory_s: float
) -> tuple[Quantity, Quantity, Quantity, float | None]:
    """Idle before any load, in the first second after it, and settled; and when it was settled."""
    start_s, end_s = recording.phases_s["rest"]
    period_s = updates.period_s or 0.0
    # Before the first load the reading may stand still for seconds: looks, thinned to the pace of the later updates.
    before = _mean(published_readings(*recording.looks(*_later(recording.phases_s["idle"])), period_s))
    settled_from_s = end_s - (end_s - start_s) / 3
    settled = _mean(_published(updates, settled_from_s, end_s))
    first_s = start_s + period_s + memory_s
    right_after = _mean(_published(updates, first_s, max(start_s + 1.0, first_s + 2 * period_s)))
    settled_w = _published(updates, settled_from_s, end_s)
    width = max(1, round(SMOOTHED_S / period_s))
    # Noise from one reading to the next, which a slow fall of the level does not widen.
    noise_w = float(np.std(np.diff(settled_w))) / math.sqrt(2 * width)
    tolerance_w = max(SETTLED_W, SETTLED_SD * noise_w)
    halves_w = [float(np.mean(half)) for half in np.array_split(settled_w, 2)]
    if abs(halves_w[1] - halves_w[0]) > tolerance_w:
        return before, right_after, settled, None
    rest = (updates.t_s > start_s) & (updates.t_s <= end_s)
    smooth_w = np.convolve(updates.readings[rest], np.full(width, 1 / width), mode="valid")
    near = np.flatnonzero(np.abs(smooth_w - settled.value) <= tolerance_w)
    settle_s = float(updates.t_s[rest][width - 1 :][near[0]] - start_s) if len(near) else None
    return before, right_after, settled, settle_s
