"""True power of a simulated board as a piecewise formula, so that energy and sensor response are exact.

Within one stretch of constant utilisation the board draws

    P(t) = steady * (1 + drift * warmth(t)) + uplift * exp(-s / tau_uplift) + sum_k a_k sin(w_k t + phi_k)

with s the time since the stretch began, warmth relaxing to the utilisation with the thermal time constant, uplift only
after a load, and the ripple only under load. Constants, exponentials and sines integrate, and pass a first-order
filter, in closed form: no step size, no integration error.
"""

from __future__ import annotations

import math
import random

import numpy as np

from harness.simulation.profiles import GpuProfile
from harness.stats import FloatArray

# Ripple of a busy board: frequency in Hz and amplitude as a fraction of (power - idle). Assumed; incommensurate with
# every sensor period on record.
RIPPLE = ((0.731, 0.010), (7.37, 0.012), (23.17, 0.012))

# Columns of one stretch.
_START, _ENERGY, _FILTER, _STEADY, _WARM, _UPLIFT, _RIPPLE, _WARMTH, _TARGET, _LOAD = range(10)


class TruePowerModel:
    """Exact power, energy and first-order response of one board under a row of loads."""

    def __init__(self, profile: GpuProfile, seed: int, start_s: float) -> None:
        rng = random.Random(f"{seed}-ripple")
        self._profile = profile
        self._omega = np.array([2 * math.pi * frequency for frequency, _ in RIPPLE])
        self._amplitude = np.array([amplitude for _, amplitude in RIPPLE])
        self._phase = np.array([rng.uniform(0, 2 * math.pi) for _ in RIPPLE])
        self._tau_filter = profile.sensor.tau_s
        self._stretches = np.zeros((256, 10))
        self._count = 1
        first = self._stretches[0]
        first[_START], first[_STEADY], first[_FILTER] = start_s, profile.idle_w, profile.idle_w

    def set_load(self, t_s: float, utilisation: float) -> None:
        """From `t_s` on the board works at this fraction of its power limit above idle.

        Raises:
            ValueError: Earlier than the last change, or outside [0, 1].
        """
        last = self._stretches[self._count - 1]
        if t_s < last[_START]:
            raise ValueError(f"load events must come in order: {t_s} after {last[_START]}")
        if not 0 <= utilisation <= 1:
            raise ValueError(f"utilisation must lie in [0, 1], got {utilisation}")
        profile = self._profile
        at = np.array([t_s])
        energy, filtered, warmth = self.energy_j(at)[0], self.first_order_w(at)[0], self.warmth(at)[0]
        uplift = last[_UPLIFT] * math.exp(-(t_s - last[_START]) / profile.uplift_tau_s)
        if last[_LOAD] > 0 and utilisation == 0:
            uplift = profile.uplift_w
        if self._count == len(self._stretches):
            self._stretches = np.concatenate([self._stretches, np.zeros_like(self._stretches)])
        steady = profile.idle_w + (profile.power_limit_w - profile.idle_w) * utilisation
        row = self._stretches[self._count]
        row[_START], row[_ENERGY], row[_FILTER] = t_s, energy, filtered
        row[_STEADY] = steady * (1 + profile.drift_fraction * utilisation)
        row[_WARM] = steady * profile.drift_fraction * (warmth - utilisation)
        row[_UPLIFT] = uplift if utilisation == 0 else 0.0
        row[_RIPPLE] = steady - profile.idle_w
        row[_WARMTH], row[_TARGET], row[_LOAD] = warmth, utilisation, utilisation
        self._count += 1

    def _at(self, t_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        index = np.searchsorted(self._stretches[: self._count, _START], t_s, side="right") - 1
        stretch = self._stretches[np.maximum(index, 0)]
        return stretch, t_s - stretch[:, _START]

    def utilisation(self, t_s: FloatArray) -> FloatArray:
        """Load at those times, as a fraction, shape (n,)."""
        return self._at(t_s)[0][:, _LOAD]

    def warmth(self, t_s: FloatArray) -> FloatArray:
        """0 when cold, 1 when fully warm, shape (n,)."""
        stretch, since = self._at(t_s)
        fade = np.exp(-since / self._profile.thermal_tau_s)
        warm: FloatArray = stretch[:, _TARGET] + (stretch[:, _WARMTH] - stretch[:, _TARGET]) * fade
        return warm

    def power_w(self, t_s: FloatArray) -> FloatArray:
        """True power at those times, watts, shape (n,)."""
        stretch, since = self._at(t_s)
        sines = np.sin(t_s[:, None] * self._omega + self._phase) @ self._amplitude
        power: FloatArray = (
            stretch[:, _STEADY]
            + stretch[:, _WARM] * np.exp(-since / self._profile.thermal_tau_s)
            + stretch[:, _UPLIFT] * np.exp(-since / self._profile.uplift_tau_s)
            + stretch[:, _RIPPLE] * sines
        )
        return power

    def energy_j(self, t_s: FloatArray) -> FloatArray:
        """True energy since the start, joules, shape (n,)."""
        stretch, since = self._at(t_s)
        thermal, uplift = self._profile.thermal_tau_s, self._profile.uplift_tau_s
        start = stretch[:, _START, None] * self._omega + self._phase
        ripple = (np.cos(start) - np.cos(t_s[:, None] * self._omega + self._phase)) @ (self._amplitude / self._omega)
        energy: FloatArray = (
            stretch[:, _ENERGY]
            + stretch[:, _STEADY] * since
            + stretch[:, _WARM] * thermal * -np.expm1(-since / thermal)
            + stretch[:, _UPLIFT] * uplift * -np.expm1(-since / uplift)
            + stretch[:, _RIPPLE] * ripple
        )
        return energy

    def first_order_w(self, t_s: FloatArray) -> FloatArray:
        """Output of the sensor's first-order filter (tau of its profile), watts, shape (n,)."""
        stretch, since = self._at(t_s)
        started = self._forced_w(stretch, np.zeros_like(since), stretch[:, _START])
        memory: FloatArray = (stretch[:, _FILTER] - started) * np.exp(-since / self._tau_filter)
        return self._forced_w(stretch, since, t_s) + memory

    def _forced_w(self, stretch: FloatArray, since: FloatArray, t_s: FloatArray) -> FloatArray:
        thermal, uplift, tau = self._profile.thermal_tau_s, self._profile.uplift_tau_s, self._tau_filter
        shift = np.arctan(self._omega * tau)
        damped = self._amplitude / np.sqrt(1 + (self._omega * tau) ** 2)
        sines = np.sin(t_s[:, None] * self._omega + self._phase - shift) @ damped
        forced: FloatArray = (
            stretch[:, _STEADY]
            + stretch[:, _WARM] * thermal / (thermal - tau) * np.exp(-since / thermal)
            + stretch[:, _UPLIFT] * uplift / (uplift - tau) * np.exp(-since / uplift)
            + stretch[:, _RIPPLE] * sines
        )
        return forced
