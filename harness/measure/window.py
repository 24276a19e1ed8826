"""One window: counter edge, work, synchronize, counter edge.

with metered(sources, clock, synchronize) as window:
    with window.busy():
        engine.run(batch)
        synchronize()
window.readings
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness.clock import Clock
from harness.errors import MeasurementInvalid, SourceUnavailable
from harness.power.base import PowerSource

POLL_S = 0.0005
EDGE_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class WindowReadings:
    """What was read at the edges of one window; energies are raw counter values in joules.

    `stamp_interval_s` is how exactly the edges are known in time, None when they are not aligned to a counter.
    `failures`: what sources answered instead of a counter value. `phases_spread`: the batches started at evenly spread
    phases of the sensor's period (measure/delays).
    """

    start_s: float
    end_s: float
    busy_spans_s: tuple[tuple[float, float], ...]
    edges_j: dict[str, tuple[float | None, float | None]]
    aligned_source: str | None
    stamp_interval_s: float | None
    phases_spread: bool = False
    failures: tuple[str, ...] = ()
    under_load: bool = False

    @property
    def busy_s(self) -> float:
        """Time in which work ran."""
        return sum(end - start for start, end in self.busy_spans_s)

    @property
    def duration_s(self) -> float:
        """From edge to edge."""
        return self.end_s - self.start_s


@dataclass
class OpenWindow:
    """A window in progress; `readings` is there once it has closed."""

    clock: Clock
    spans_s: list[tuple[float, float]] = field(default_factory=list)
    closed: WindowReadings | None = None

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Mark the time in which the engine works. The caller synchronizes before leaving."""
        start_s = self.clock.now_s()
        yield
        self.spans_s.append((start_s, self.clock.now_s()))

    @property
    def busy_s(self) -> float:
        """Time in which work ran so far."""
        return sum(end - start for start, end in self.spans_s)

    @property
    def last_busy_s(self) -> float:
        """Duration of the last piece of work."""
        start_s, end_s = self.spans_s[-1]
        return end_s - start_s

    @property
    def readings(self) -> WindowReadings:
        """What was read.

        Raises:
            MeasurementInvalid: The window is still open.
        """
        if self.closed is None:
            raise MeasurementInvalid("The window has not been closed.", "Leave the with-block first.")
        return self.closed


@dataclass(frozen=True)
class Edge:
    """What every source's counter said at one moment, and how exactly that moment is known."""

    at_s: float
    energies_j: dict[str, float | None]
    stamp_interval_s: float | None
    failures: tuple[str, ...]


def find_edge(sources: Sequence[PowerSource], lead: PowerSource | None, clock: Clock, poll_s: float) -> Edge:
    """Wait for the lead's counter to move and stamp it; then read the others, as they stand."""
    energies: dict[str, float | None] = {}
    failures: list[str] = []

    def read_j(source: PowerSource) -> float | None:
        """One failure voids this window, not the run: drivers time out and come back."""
        try:
            return source.read_energy_j()
        except SourceUnavailable as error:
            failures.append(error.message)
            return None

    at_s, interval_s = clock.now_s(), None
    if lead is not None:
        seen_s = clock.now_s()  # before each call: a value is at least as old as the asking for it
        first_j = read_j(lead)
        deadline_s = seen_s + EDGE_TIMEOUT_S
        while True:
            clock.sleep_s(poll_s)
            asked_s = clock.now_s()
            current_j, now_s = read_j(lead), clock.now_s()
            if first_j is not None and current_j is not None and current_j != first_j:
                energies[lead.info.id], at_s, interval_s = current_j, (seen_s + now_s) / 2, now_s - seen_s
                break
            if now_s > deadline_s:
                energies[lead.info.id], at_s = current_j, now_s
                break
            seen_s, first_j = asked_s, current_j if first_j is None else first_j
    for source in sources:
        if source.info.id not in energies:
            energies[source.info.id] = read_j(source)
    return Edge(at_s, energies, interval_s, tuple(dict.fromkeys(failures)))


@contextmanager
def metered(
    sources: Sequence[PowerSource],
    clock: Clock,
    synchronize: Callable[[], None],
    use_counter: bool = True,
    poll_s: float = POLL_S,
) -> Iterator[OpenWindow]:
    """Meter what happens in the block, from one increment of the counter to another.

    The first source that runs the model and has a counter leads; the others are read at the same moments.
    A counter that does not move within 1 s leaves that edge unaligned (`stamp_interval_s` None).

    Args:
        sources: All sources of the machine.
        clock: The clock that stamps the edges.
        synchronize: Waits for the device; called before each edge is sought.
        use_counter: False leaves edges unaligned, for energy by sampling alone.
        poll_s: Pause between looks at the counter.
    """
    window = OpenWindow(clock)
    lead = leading(sources, use_counter)
    synchronize()
    start = find_edge(sources, lead, clock, poll_s)
    active = [source.info for source in sources if source.info.runs_model]
    if any(lead is None or info.counter_step_j is None for info in active):
        # Readings are moved back by their mean age and smeared by as much: what begins now must stay inside.
        clock.sleep_s(max((info.sensor_period_s + info.sensor_window_s for info in active), default=0.0) / 2)
    yield window
    synchronize()
    # What ends with the work is shown up to a period later, and may be counted another period after that.
    clock.sleep_s(max((2 * info.sensor_period_s + info.sensor_window_s for info in active), default=0.0))
    end = find_edge(sources, lead, clock, poll_s)
    window.closed = between_edges(start, end, tuple(window.spans_s), lead)


def leading(sources: Sequence[PowerSource], use_counter: bool) -> PowerSource | None:
    """The first source that runs the model and has a counter: edges are sought on it. None without one."""
    lead = next((s for s in sources if s.info.runs_model and s.info.counter_step_j is not None), None)
    return lead if use_counter else None


def between_edges(
    start: Edge,
    end: Edge,
    spans_s: tuple[tuple[float, float], ...],
    lead: PowerSource | None,
    under_load: bool = False,
) -> WindowReadings:
    """The window from one edge to another, in which work ran in these spans."""
    intervals = (start.stamp_interval_s, end.stamp_interval_s)
    known = [interval for interval in intervals if interval is not None]
    return WindowReadings(
        start_s=start.at_s,
        end_s=end.at_s,
        busy_spans_s=spans_s,
        edges_j={key: (start.energies_j[key], end.energies_j[key]) for key in start.energies_j},
        aligned_source=lead.info.id if lead is not None and len(known) == 2 else None,
        stamp_interval_s=max(known) if len(known) == 2 else None,
        failures=tuple(dict.fromkeys((*start.failures, *end.failures))),
        under_load=under_load,
    )
