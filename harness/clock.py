"""The clock that measuring and waiting share: the machine's own, or a virtual one that waits in no time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds and a way to wait."""

    def now_s(self) -> float:
        """Monotonic time in seconds; the origin is arbitrary."""
        ...

    def sleep_s(self, duration_s: float) -> None:
        """Wait; zero and negative durations return at once."""
        ...


class RealClock:
    """CLOCK_MONOTONIC: the same origin in every process of the machine."""

    def now_s(self) -> float:
        """Monotonic time in seconds."""
        return time.monotonic()

    def sleep_s(self, duration_s: float) -> None:
        """Wait for real."""
        if duration_s > 0:
            time.sleep(duration_s)


class VirtualClock:
    """Time that moves only when someone waits: a whole campaign in seconds."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s
        self._every_s = (0.0, 0.0)  # from, period
        self._ticks = 0
        self._tick: Callable[[], None] | None = None

    def now_s(self) -> float:
        """Virtual time in seconds."""
        return self._now_s

    def every(self, period_s: float, tick: Callable[[], None] | None) -> None:
        """Call `tick` at every multiple of the period from now on; None ends it."""
        self._every_s, self._ticks, self._tick = (self._now_s, period_s), 0, tick

    def sleep_s(self, duration_s: float) -> None:
        """Advance the virtual time, stopping at every tick on the way."""
        if duration_s <= 0:
            return
        end_s = self._now_s + duration_s
        while self._tick is not None and self._due_s() <= end_s:
            self._now_s = max(self._now_s, self._due_s())
            self._ticks += 1
            self._tick()
        self._now_s = end_s

    def _due_s(self) -> float:
        from_s, period_s = self._every_s
        return from_s + self._ticks * period_s
