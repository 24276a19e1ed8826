"""The clock that measuring and waiting share: the machine's own, or a virtual one that waits in no time."""

from __future__ import annotations

import time
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

    def now_s(self) -> float:
        """Virtual time in seconds."""
        return self._now_s

    def sleep_s(self, duration_s: float) -> None:
        """Advance the virtual time."""
        if duration_s > 0:
            self._now_s += duration_s
