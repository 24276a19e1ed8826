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
from bisect import bisect_right
from dataclasses import dataclass
from typing import Protocol

from harness.simulation.profiles import GpuProfile

# Ripple of a busy board: frequency in Hz and amplitude as a fraction of (power - idle). Assumed; incommensurate with
# every sensor period on record.
RIPPLE = ((0.731, 0.010), (7.37, 0.012), (23.17, 0.012))


class PowerModel(Protocol):
    """What a simulated board draws under the loads it was given, whoever computes it. Times in seconds."""

    def set_load(self, t_s: float, utilisation: float) -> None:
        """From `t_s` on the board works at this fraction of its range above idle."""
        ...

    def forget_after(self, t_s: float) -> None:
        """Take back the changes planned for later than `t_s`."""
        ...

    def utilisation(self, t_s: float) -> float:
        """Load, as a fraction."""
        ...

    def warmth(self, t_s: float) -> float:
        """0 when cold, 1 when fully warm."""
        ...

    def power_w(self, t_s: float) -> float:
        """True power, watts."""
        ...

    def energy_j(self, t_s: float) -> float:
        """True energy since the start, joules."""
        ...

    def first_order_w(self, t_s: float) -> float:
        """Output of the sensor's first-order filter (tau of its profile), watts."""
        ...


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A time of constant utilisation, and the board's state when it began."""

    start_s: float
    load: float
    steady_w: float
    warm_w: float  # decays with the thermal time constant
    uplift_w: float  # decays with the uplift's
    ripple_w: float
    warmth: float
    energy_j: float
    filter_w: float  # output of the sensor's first-order filter


class TruePowerModel:
    """Exact power, energy and first-order response of one board under a row of loads. Times in seconds."""

    def __init__(self, profile: GpuProfile, seed: int, start_s: float) -> None:
        rng = random.Random(f"{seed}-ripple")
        self._profile = profile
        self._tau_filter_s = profile.sensor.tau_s
        self._waves: list[tuple[float, float, float]] = []  # angular frequency, amplitude, phase
        for frequency_hz, amplitude in RIPPLE:
            self._waves.append((2 * math.pi * frequency_hz, amplitude, rng.uniform(0, 2 * math.pi)))
        tau_s = self._tau_filter_s
        self._filtered_waves = [
            (omega, amplitude / math.hypot(1, omega * tau_s), phase - math.atan(omega * tau_s))
            for omega, amplitude, phase in self._waves
        ]
        idle_w = profile.idle_w
        self._stretches = [_Stretch(start_s, 0.0, idle_w, 0.0, 0.0, 0.0, 0.0, 0.0, idle_w)]
        self._starts_s = [start_s]

    def set_load(self, t_s: float, utilisation: float) -> None:
        """From `t_s` on the board works at this fraction of its power limit above idle.

        Raises:
            ValueError: Earlier than the last change, or outside [0, 1].
        """
        last = self._stretches[-1]
        if t_s < last.start_s:
            raise ValueError(f"load events must come in order: {t_s} after {last.start_s}")
        if not 0 <= utilisation <= 1:
            raise ValueError(f"utilisation must lie in [0, 1], got {utilisation}")
        profile = self._profile
        warmth = self.warmth(t_s)
        steady_w = profile.idle_w + (profile.power_limit_w - profile.idle_w) * utilisation
        left_w = last.uplift_w * math.exp(-(t_s - last.start_s) / profile.uplift_tau_s)
        uplift_w = profile.uplift_w if last.load > 0 else left_w
        stretch = _Stretch(
            start_s=t_s,
            load=utilisation,
            steady_w=steady_w * (1 + profile.drift_fraction * utilisation),
            warm_w=steady_w * profile.drift_fraction * (warmth - utilisation),
            uplift_w=uplift_w if utilisation == 0 else 0.0,
            ripple_w=steady_w - profile.idle_w,
            warmth=warmth,
            energy_j=self.energy_j(t_s),
            filter_w=self.first_order_w(t_s),
        )
        self._stretches.append(stretch)
        self._starts_s.append(t_s)

    def forget_after(self, t_s: float) -> None:
        """Take back the changes planned for later than `t_s`; the start stays."""
        while len(self._starts_s) > 1 and self._starts_s[-1] > t_s:
            self._starts_s.pop()
            self._stretches.pop()

    def _at(self, t_s: float) -> tuple[_Stretch, float]:
        stretch = self._stretches[max(0, bisect_right(self._starts_s, t_s) - 1)]
        return stretch, t_s - stretch.start_s

    def utilisation(self, t_s: float) -> float:
        """Load, as a fraction."""
        return self._at(t_s)[0].load

    def warmth(self, t_s: float) -> float:
        """0 when cold, 1 when fully warm."""
        stretch, since_s = self._at(t_s)
        return stretch.load + (stretch.warmth - stretch.load) * math.exp(-since_s / self._profile.thermal_tau_s)

    def power_w(self, t_s: float) -> float:
        """True power, watts."""
        stretch, since_s = self._at(t_s)
        ripple = sum(amplitude * math.sin(omega * t_s + phase) for omega, amplitude, phase in self._waves)
        return (
            stretch.steady_w
            + stretch.warm_w * math.exp(-since_s / self._profile.thermal_tau_s)
            + stretch.uplift_w * math.exp(-since_s / self._profile.uplift_tau_s)
            + stretch.ripple_w * ripple
        )

    def energy_j(self, t_s: float) -> float:
        """True energy since the start, joules."""
        stretch, since_s = self._at(t_s)
        thermal_s, uplift_s = self._profile.thermal_tau_s, self._profile.uplift_tau_s
        ripple_s = sum(
            amplitude / omega * (math.cos(omega * stretch.start_s + phase) - math.cos(omega * t_s + phase))
            for omega, amplitude, phase in self._waves
        )
        return (
            stretch.energy_j
            + stretch.steady_w * since_s
            - stretch.warm_w * thermal_s * math.expm1(-since_s / thermal_s)
            - stretch.uplift_w * uplift_s * math.expm1(-since_s / uplift_s)
            + stretch.ripple_w * ripple_s
        )

    def first_order_w(self, t_s: float) -> float:
        """Output of the sensor's first-order filter (tau of its profile), watts."""
        stretch, since_s = self._at(t_s)
        began_w = self._forced_w(stretch, 0.0)
        return self._forced_w(stretch, since_s) + (stretch.filter_w - began_w) * math.exp(-since_s / self._tau_filter_s)

    def _forced_w(self, stretch: _Stretch, since_s: float) -> float:
        """What the filter would show had this stretch gone on for ever before."""
        thermal_s, uplift_s, tau_s = self._profile.thermal_tau_s, self._profile.uplift_tau_s, self._tau_filter_s
        t_s = stretch.start_s + since_s
        ripple = sum(amplitude * math.sin(omega * t_s + phase) for omega, amplitude, phase in self._filtered_waves)
        return (
            stretch.steady_w
            + stretch.warm_w * thermal_s / (thermal_s - tau_s) * math.exp(-since_s / thermal_s)
            + stretch.uplift_w * uplift_s / (uplift_s - tau_s) * math.exp(-since_s / uplift_s)
            + stretch.ripple_w * ripple
        )
