"""What a built-in sensor does to true power: the model, from watts on the board to readings in the driver.

A reading published at t is  round(gain * mean(k(t - delay), k(t - delay - period), ...) + offset),  where k(u) is the
kernel's output at u: the mean of power over [u - width, u] (boxcar), or the answer of dy/dt = (power - y) / tau (first
order). True power is taken as a straight line between its samples, and both kernels are exact for that. Before the
first sample power is held at the first value, after the last one at the last. Pure.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.frozen import Kernel
from harness.power.profiles import SensorProfile
from harness.stats import FloatArray

HELD = "Before the truth's first sample its first value is held, after its last sample the last one."

IndexArray = np.ndarray[Any, np.dtype[np.intp]]

_BLOCK = 500.0  # time constants per block of the scan: exp(500) is still a float
_FORGOTTEN = 40.0  # a step of so many time constants leaves nothing (1e-18) of what was before


class BoxcarResponse:
    """Mean of true power over the last `width_s`, at any time; one pass over the truth serves every width."""

    def __init__(self, t_s: FloatArray, power_w: FloatArray) -> None:
        """Sum the truth once.

        Args:
            t_s: Sample times, seconds, strictly rising, shape (n,), n >= 1.
            power_w: True power there, watts, shape (n,).
        """
        self._t_s, self._power_w = t_s, power_w
        self._half_slope = _slopes(t_s, power_w) / 2
        steps_j = (power_w[1:] + power_w[:-1]) / 2 * np.diff(t_s)
        self._energy_j = np.concatenate([[0.0], np.cumsum(steps_j)])

    def energy_j(self, at_s: FloatArray, left: IndexArray | None = None) -> FloatArray:
        """Energy since the first sample, joules; negative before it. `left`: `samples_before` these times, if known."""
        left = samples_before(self._t_s, at_s) if left is None else left
        since_s = at_s - self._t_s[left]
        energy_j: FloatArray = (
            self._energy_j[left] + (self._power_w[left] + self._half_slope[left] * np.maximum(since_s, 0.0)) * since_s
        )
        return energy_j

    def at(self, at_s: FloatArray, width_s: float, left: IndexArray | None = None) -> FloatArray:
        """Mean power over [at - width, at], watts, shape of `at_s`."""
        mean_w: FloatArray = (self.energy_j(at_s, left) - self.energy_j(at_s - width_s)) / width_s
        return mean_w


class FirstOrderResponse:
    """First-order answer to true power, at any time; one pass over the truth serves one time constant."""

    def __init__(self, t_s: FloatArray, power_w: FloatArray, tau_s: float) -> None:
        """Filter the truth once. Arguments as BoxcarResponse; `tau_s` > 0."""
        self._t_s, self._tau_s = t_s, tau_s
        self._slope = _slopes(t_s, power_w)
        behind_w = self._slope * tau_s  # how far a ramp that lasts stays behind
        self._ramp_w, self._decay_w = power_w - behind_w, _lag(t_s, power_w, tau_s) + behind_w

    def at(self, at_s: FloatArray, left: IndexArray | None = None) -> FloatArray:
        """Filtered power, watts, shape of `at_s`. `left`: `samples_before` these times, if known."""
        left = samples_before(self._t_s, at_s) if left is None else left
        since_s = np.maximum(at_s - self._t_s[left], 0.0)
        answer_w: FloatArray = (
            self._ramp_w[left] + self._slope[left] * since_s + self._decay_w[left] * np.exp(-since_s / self._tau_s)
        )
        return answer_w


def samples_before(t_s: FloatArray, at_s: FloatArray) -> IndexArray:
    """For every time the last sample that is not later; the first one where there is none."""
    left: IndexArray = np.maximum(np.searchsorted(t_s, at_s, side="right") - 1, 0)
    return left


def _slopes(t_s: FloatArray, power_w: FloatArray) -> FloatArray:
    """Watts per second from every sample to the next; 0 after the last."""
    slopes: FloatArray = np.append(np.diff(power_w) / np.diff(t_s), 0.0)
    return slopes


def _lag(t_s: FloatArray, power_w: FloatArray, tau_s: float) -> FloatArray:
    """Filter output minus power at every sample.

    Over a step h with a ramp from p0 to p1 the lag z follows z1 = z0 exp(-h/tau) + (p1 - p0) tau/h (exp(-h/tau) - 1).
    The recursion is a cumulative sum of terms scaled by exp(+t/tau), taken in blocks that no float overflows.
    """
    steps = np.diff(t_s) / tau_s
    pushed_w = np.concatenate([[0.0], np.diff(power_w) * np.expm1(-steps) / steps])
    if len(steps) == 0 or steps.min() > _FORGOTTEN:
        return pushed_w
    age = (t_s - t_s[0]) / tau_s
    starts = np.unique(np.append(np.searchsorted(age, np.arange(0.0, age[-1], _BLOCK)), len(t_s)))
    lag_w = np.empty_like(pushed_w)
    carry_w, carry_age = 0.0, 0.0
    for start, end in itertools.pairwise(starts):
        grown = np.exp(age[start:end] - age[start])
        carry_w *= float(np.exp(carry_age - age[start]))
        lag_w[start:end] = (carry_w + np.cumsum(pushed_w[start:end] * grown)) / grown
        carry_w, carry_age = float(lag_w[end - 1]), float(age[end - 1])
    return lag_w


def kernel_response(
    t_s: FloatArray, power_w: FloatArray, at_s: FloatArray, kernel: Kernel, window_s: float
) -> FloatArray:
    """The kernel's output at any times.

    Args:
        t_s: Truth: sample times, seconds, strictly rising, shape (n,), n >= 1.
        power_w: Truth: watts, shape (n,).
        at_s: Where to answer, shape (m,), any order, inside the truth or not.
        window_s: Boxcar width, or 2 tau.

    Returns:
        Watts, shape (m,).
    """
    if kernel == "boxcar":
        return BoxcarResponse(t_s, power_w).at(at_s, window_s)
    return FirstOrderResponse(t_s, power_w, window_s / 2).at(at_s)


# --- readings -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Readings:
    """What a driver published: times in seconds, rising, and watts; both of shape (m,), m >= 1."""

    t_s: FloatArray
    power_w: FloatArray

    def at(self, at_s: FloatArray) -> FloatArray:
        """What a poll at these times sees: the last reading published, watts. Earlier polls see the first one."""
        seen: FloatArray = self.power_w[np.maximum(np.searchsorted(self.t_s, at_s, side="right") - 1, 0)]
        return seen


def simulate_readings(
    t_s: FloatArray,
    power_w: FloatArray,
    profile: SensorProfile,
    phase_s: float = 0.0,
    from_s: float | None = None,
    to_s: float | None = None,
) -> Readings:
    """Every reading that a sensor publishes while the truth lasts, and the one in force when it begins.

    Args:
        t_s: Truth: sample times, seconds, strictly rising, shape (n,), n >= 1.
        power_w: Truth: watts, shape (n,).
        profile: The sensor; its gain, offset, delay and resolution are applied.
        phase_s: Readings are published at phase_s + k period_s for all whole k, on the clock of `t_s`.
        from_s: Instead of the truth's first time: readings in force from here on.
        to_s: Instead of the truth's last time.

    Returns:
        Publication times and readings. Where the kernel reaches out of the truth its end values are held (HELD).
    """
    period_s = profile.period_s
    start_s = float(t_s[0]) if from_s is None else from_s
    end_s = float(t_s[-1]) if to_s is None else to_s
    first, last = np.floor((start_s - phase_s) / period_s), np.floor((end_s - phase_s) / period_s)
    at_s = phase_s + np.arange(first - (profile.mean_of - 1), max(first, last) + 1) * period_s
    seen_w = kernel_response(t_s, power_w, at_s - profile.delay_s, profile.kernel, profile.window_s)
    if profile.mean_of > 1:
        sums = np.cumsum(np.concatenate([[0.0], seen_w]))
        seen_w = (sums[profile.mean_of :] - sums[: -profile.mean_of]) / profile.mean_of
        at_s = at_s[profile.mean_of - 1 :]
    return Readings(at_s, quantised(profile.gain * seen_w + profile.offset_w, profile.resolution_w))


def quantised(power_w: FloatArray, resolution_w: float) -> FloatArray:
    """Whole multiples of the resolution, as they come; 0 leaves the values alone."""
    return np.round(power_w / resolution_w) * resolution_w if resolution_w > 0 else power_w
