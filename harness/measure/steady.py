"""One served window: ramp up, edge, hold the load, edge, drain. The edges lie inside the work.

A server answers many requests at once, so there are no batches to put a window around. The window opens when the load
that was asked for is on and closes before it is taken off; what ramp-up and drain draw is metered beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harness.clock import Clock
from harness.errors import HarnessError
from harness.measure.base import ServedWorkload
from harness.measure.window import POLL_S, WindowReadings, between_edges, find_edge, leading
from harness.power.base import PowerSource

LOOK_S = 5.0  # between two looks at what must be followed while the load is held
Broke = Callable[[float, float], None]


@dataclass(frozen=True)
class SteadyReadings:
    """A window under load and what lies around it, each with its own edges.

    `reached`: the load was on before the window opened. `worked_s`: from the first request to the end of the last.
    `own_cpu_fraction`: what this process, which sends and reads, took of one core while the window was open.
    """

    ramp_up: WindowReadings
    window: WindowReadings
    drain: WindowReadings
    worked_s: tuple[float, float]
    reached: bool
    own_cpu_fraction: float


def metered_steady(
    sources: Sequence[PowerSource],
    clock: Clock,
    workload: ServedWorkload,
    window_s: float,
    use_counter: bool = True,
    follow: Callable[[], None] = lambda: None,
    broke: Broke = lambda began_s, ended_s: None,
) -> SteadyReadings:
    """Meter a load from rest to rest.

    Args:
        sources: All sources of the machine.
        clock: Stamps the edges.
        workload: Puts the load on and takes it off.
        window_s: How long the load is held between the inner edges, at least.
        use_counter: False leaves edges unaligned, for energy by sampling alone.
        follow: Called every few seconds while the load is held.
        broke: Told from when to when there was a load that failed, before the failure goes on.

    Raises:
        HarnessError: The load could not be put on, or its requests do not end.
    """
    lead = leading(sources, use_counter)
    active = [source.info for source in sources if source.info.runs_model]
    rest = find_edge(sources, lead, clock, POLL_S)
    began_s = clock.now_s()
    with _taken_off(workload, clock, broke):
        reached = workload.begin()
        opened = find_edge(sources, lead, clock, POLL_S)
        own_cpu_s = time.process_time()
        until_s = opened.at_s + window_s
        while (left_s := until_s - clock.now_s()) > 0:
            clock.sleep_s(min(left_s, LOOK_S))
            follow()
        closed = find_edge(sources, lead, clock, POLL_S)
        own_cpu_s = time.process_time() - own_cpu_s
    ended_s = max(closed.at_s, clock.now_s())
    # What ends with the work is shown up to a period later, and may be counted another period after that.
    clock.sleep_s(max((2 * info.sensor_period_s + info.sensor_window_s for info in active), default=0.0))
    rested = find_edge(sources, lead, clock, POLL_S)
    return SteadyReadings(
        ramp_up=between_edges(rest, opened, ((began_s, opened.at_s),), lead),
        window=between_edges(opened, closed, ((opened.at_s, closed.at_s),), lead, under_load=True),
        drain=between_edges(closed, rested, ((closed.at_s, ended_s),), lead),
        worked_s=(began_s, ended_s),
        reached=reached,
        own_cpu_fraction=own_cpu_s / (closed.at_s - opened.at_s),
    )


@contextmanager
def _taken_off(workload: ServedWorkload, clock: Clock, broke: Broke) -> Iterator[None]:
    """Whatever happens to a load, it is taken off."""
    began_s = clock.now_s()
    try:
        try:
            yield
        finally:
            workload.end()
    except HarnessError:
        broke(began_s, clock.now_s())
        raise
