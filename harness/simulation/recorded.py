"""True power that was recorded once and is played again: whole rounds on end, stopped and continued by the load.

A recording holds each value until the next sample, so that energy and the response of a first-order sensor are exact:
no step size, no integration error. At the end of a round the first sample follows the last; energy and the sensor's
response run on across that seam as if the recording had never ended.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from harness.errors import UserInputError
from harness.simulation.profiles import GpuProfile


@dataclass(frozen=True)
class Recording:
    """One round of true power: `watts[k]` holds from `edges_s[k]` to `edges_s[k + 1]`; the first edge is 0."""

    edges_s: tuple[float, ...]
    watts: tuple[float, ...]

    @classmethod
    def cut(cls, t_s: Sequence[float], watts: Sequence[float], start_s: float, end_s: float) -> Recording:
        """One round out of a recording.

        Args:
            t_s: Sample times, seconds, strictly rising, shape (n,); each value holds until the next time.
            watts: True power, shape (n,).
            start_s, end_s: The round, on the same clock. Edges need not hit a sample. For a seam that the load itself
                could have made, choose a whole number of its own rounds.

        Raises:
            UserInputError: Times do not rise, a value is not finite, or the round is not within the recording.
        """
        if len(t_s) != len(watts) or len(t_s) < 2:
            raise UserInputError(
                f"A recording needs as many times as values, and two at least; got {len(t_s)} and {len(watts)}.",
                "Give both columns of one file.",
            )
        if not all(earlier < later for earlier, later in pairwise(t_s)):
            raise UserInputError("The times of the recording do not rise.", "Sort it by time and drop repeated times.")
        if not all(math.isfinite(value) for value in (*t_s, *watts)):
            raise UserInputError("The recording holds values that are not numbers.", "Cut it where they begin.")
        if not t_s[0] <= start_s < end_s <= t_s[-1]:
            raise UserInputError(
                f"The recording covers {t_s[0]:.3f} to {t_s[-1]:.3f} s, not {start_s:.3f} to {end_s:.3f} s.",
                "Choose a round within it.",
            )
        first = bisect_right(t_s, start_s) - 1
        inside = [index for index in range(first + 1, len(t_s)) if t_s[index] < end_s]
        edges_s = (0.0, *(float(t_s[index]) - start_s for index in inside), end_s - start_s)
        return cls(edges_s, tuple(float(watts[index]) for index in (first, *inside)))

    @property
    def duration_s(self) -> float:
        """Length of one round."""
        return self.edges_s[-1]

    @cached_property
    def energies_j(self) -> tuple[float, ...]:
        """Energy from the start of the round to each edge, joules."""
        steps_j = (
            watts * (end_s - start_s)
            for watts, (start_s, end_s) in zip(self.watts, pairwise(self.edges_s), strict=True)
        )
        return tuple(accumulate(steps_j, initial=0.0))

    def energy_j(self, position_s: float) -> float:
        """Energy from position 0 on, joules, over as many rounds as it takes."""
        rounds, index, since_s = self._at(position_s)
        return rounds * self.energies_j[-1] + self.energies_j[index] + self.watts[index] * since_s

    def power_w(self, position_s: float) -> float:
        """Power at that position of an endless row of rounds, watts."""
        return self.watts[self._at(position_s)[1]]

    def responses_w(self, tau_s: float) -> tuple[float, ...]:
        """What a first-order filter shows at each edge when the rounds have been played for ever, watts."""
        steps = [
            (watts, math.exp((start_s - end_s) / tau_s))
            for watts, (start_s, end_s) in zip(self.watts, pairwise(self.edges_s), strict=True)
        ]
        seen_w, left = 0.0, 1.0  # after a round from rest; what is left of a value it began with
        for watts, decay in steps:
            seen_w, left = watts + (seen_w - watts) * decay, left * decay
        began_w = seen_w / (1 - left)  # the value that a round ends with as it began
        return tuple(accumulate(steps, lambda shown_w, step: step[0] + (shown_w - step[0]) * step[1], initial=began_w))

    def response_w(self, position_s: float, responses_w: Sequence[float], tau_s: float) -> float:
        """Between two edges: the filter's output at a position, watts. `responses_w` as from `responses_w(tau_s)`."""
        _, index, since_s = self._at(position_s)
        watts = self.watts[index]
        return watts + (responses_w[index] - watts) * math.exp(-since_s / tau_s)

    def _at(self, position_s: float) -> tuple[int, int, float]:
        """(whole rounds before, index of the sample, seconds since that sample began)."""
        rounds = math.floor(position_s / self.duration_s)
        within_s = min(max(position_s - rounds * self.duration_s, 0.0), self.duration_s)
        index = min(bisect_right(self.edges_s, within_s) - 1, len(self.watts) - 1)
        return rounds, index, within_s - self.edges_s[index]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A time in which the recording played on, or rested, and the board's state when it began."""

    start_s: float
    load: float
    position_s: float
    warmth: float
    energy_j: float
    filter_w: float


class RecordedPowerModel:
    """Exact power, energy and first-order response of a board that plays a recording. Times in seconds.

    Under a load of 1 the board draws what was recorded, going on from where it last stopped; under a load u, idle
    power and u times what was recorded above it; under none, idle power.
    """

    def __init__(
        self, profile: GpuProfile, recording: Recording, idle_w: float, start_s: float, position_s: float = 0.0
    ) -> None:
        """A board at rest.

        Args:
            profile: Whose sensor and warming apply.
            recording: What a load draws.
            idle_w: What the board draws without one.
            start_s: Begin of time.
            position_s: Where in the recording the first load begins.
        """
        self._recording, self._idle_w = recording, idle_w
        self._tau_s, self._thermal_tau_s = profile.sensor.tau_s, profile.thermal_tau_s
        # A board is fully warm at its power limit; a recording warms it by its mean power.
        above_w = recording.energies_j[-1] / recording.duration_s - idle_w
        self._full_warmth = min(max(above_w / (profile.power_limit_w - profile.idle_w), 0.0), 1.0)
        self._responses_w = recording.responses_w(self._tau_s)
        self._stretches = [_Stretch(start_s, 0.0, position_s, 0.0, 0.0, idle_w)]
        self._starts_s = [start_s]

    def set_load(self, t_s: float, utilisation: float) -> None:
        """From `t_s` on play (above 0) or rest (0).

        Raises:
            ValueError: Earlier than the last change, or outside [0, 1].
        """
        last = self._stretches[-1]
        if t_s < last.start_s:
            raise ValueError(f"load events must come in order: {t_s} after {last.start_s}")
        if not 0 <= utilisation <= 1:
            raise ValueError(f"utilisation must lie in [0, 1], got {utilisation}")
        self._stretches.append(
            _Stretch(
                start_s=t_s,
                load=utilisation,
                position_s=self._position_s(last, t_s - last.start_s),
                warmth=self.warmth(t_s),
                energy_j=self.energy_j(t_s),
                filter_w=self.first_order_w(t_s),
            )
        )
        self._starts_s.append(t_s)

    def forget_after(self, t_s: float) -> None:
        """Take back the changes planned for later than `t_s`; the start stays."""
        while len(self._starts_s) > 1 and self._starts_s[-1] > t_s:
            self._starts_s.pop()
            self._stretches.pop()

    def _at(self, t_s: float) -> tuple[_Stretch, float]:
        stretch = self._stretches[max(0, bisect_right(self._starts_s, t_s) - 1)]
        return stretch, t_s - stretch.start_s

    @staticmethod
    def _position_s(stretch: _Stretch, since_s: float) -> float:
        return stretch.position_s + since_s if stretch.load > 0 else stretch.position_s

    def utilisation(self, t_s: float) -> float:
        """Load, as a fraction."""
        return self._at(t_s)[0].load

    def warmth(self, t_s: float) -> float:
        """0 when cold, 1 when fully warm; the recorded power is not changed by it."""
        stretch, since_s = self._at(t_s)
        steady = stretch.load * self._full_warmth
        return steady + (stretch.warmth - steady) * math.exp(-since_s / self._thermal_tau_s)

    def power_w(self, t_s: float) -> float:
        """True power, watts."""
        stretch, since_s = self._at(t_s)
        above_w = self._recording.power_w(self._position_s(stretch, since_s)) - self._idle_w
        return self._idle_w + stretch.load * above_w

    def energy_j(self, t_s: float) -> float:
        """True energy since the start, joules."""
        stretch, since_s = self._at(t_s)
        idle_j = stretch.energy_j + self._idle_w * since_s
        if stretch.load == 0:
            return idle_j
        position_s = self._position_s(stretch, since_s)
        played_j = self._recording.energy_j(position_s) - self._recording.energy_j(stretch.position_s)
        return idle_j + stretch.load * (played_j - self._idle_w * since_s)

    def first_order_w(self, t_s: float) -> float:
        """Output of the sensor's first-order filter (tau of its profile), watts."""
        stretch, since_s = self._at(t_s)
        began_w = self._forced_w(stretch, 0.0)
        return self._forced_w(stretch, since_s) + (stretch.filter_w - began_w) * math.exp(-since_s / self._tau_s)

    def _forced_w(self, stretch: _Stretch, since_s: float) -> float:
        """What the filter would show had this stretch gone on for ever before."""
        if stretch.load == 0:
            return self._idle_w
        position_s = self._position_s(stretch, since_s)
        shown_w = self._recording.response_w(position_s, self._responses_w, self._tau_s)
        return self._idle_w + stretch.load * (shown_w - self._idle_w)
