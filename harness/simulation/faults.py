"""Timed faults of a simulated board: what goes wrong, from when to when. Pure functions of time.

A fault (specs.SimulatedFault; `sources.node.faults` in a config) begins `at_s` after the node's start and lasts
`duration_s`, or to the end:

    foreign-load      another process, listed by NVML, adds `value` of the board's range to its load (1 at most)
    hidden-load       the same from a container: NVML does not list the process
    throttle          the clock falls to `value` of itself and the own load with it; reason: hardware slowdown (0x8)
    thermal-throttle  the same; reason: software thermal slowdown (0x20)
    power-cap         the same; reason: software power cap (0x4)
    clock-step        the same without any reason, as when someone sets another application clock
    thermal-drift     the board warms by `value` °C over `duration_s` and stays so; power goes with it
    counter-reset     the energy counter starts at zero again
    counter-stuck     the energy counter does not move; afterwards it has caught up
    counter-jump      the energy counter jumps by `value` J: backwards if negative; 4294967.296 J are 2^32 mJ
    sensor-stuck      the power reading is not renewed; a counter that adds up readings goes on with the old one
    sensor-lost       power, energy and temperature answer an NVML error: `value`, or 10 (timeout)
    gpu-lost          every question about the board is answered "GPU is lost" (15)
    utc-step          the machine's wall clock jumps by `value` s; the monotonic clock does not

A slowed board takes no longer for its work: only power and clock tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.simulated_node import FaultKind, SimulatedFault

NVML_ERROR_TIMEOUT, NVML_ERROR_GPU_IS_LOST = 10, 15
LOADS: tuple[FaultKind, ...] = ("foreign-load", "hidden-load")
REASONS: dict[FaultKind, int] = {"throttle": 0x8, "thermal-throttle": 0x20, "power-cap": 0x4, "clock-step": 0x0}


@dataclass(frozen=True, slots=True)
class Span:
    """A fault on the node's clock. Holds from `start_s` until before `end_s`."""

    kind: FaultKind
    start_s: float
    end_s: float
    value: float

    def holds(self, t_s: float) -> bool:
        """Whether it is there at this time."""
        return self.start_s <= t_s < self.end_s


class BoardFaults:
    """The faults of one board. All times on the node's clock, seconds."""

    def __init__(self, faults: Sequence[SimulatedFault], gpu_index: int, node_start_s: float) -> None:
        spans = sorted(
            (_span(fault, node_start_s) for fault in faults if fault.gpu == gpu_index), key=lambda span: span.start_s
        )

        def of(*kinds: FaultKind) -> tuple[Span, ...]:
            return tuple(span for span in spans if span.kind in kinds)

        self._loads, self._slowdowns, self._drifts = of(*LOADS), of(*REASONS), of("thermal-drift")
        self._listed = of("foreign-load")
        self._errors = of("gpu-lost") + of("sensor-lost")
        self._stuck_counters, self._stuck_sensors = of("counter-stuck"), of("sensor-stuck")
        self._resets, self._jumps = of("counter-reset"), of("counter-jump")
        self.warms = bool(self._drifts)
        self.spoils_counter = bool(self._stuck_counters or self._resets or self._jumps)
        self.answers_errors = bool(self._errors)
        edges_s = {edge_s for span in self._loads + self._slowdowns for edge_s in (span.start_s, span.end_s)}
        self.load_changes_s = tuple(sorted(edge_s for edge_s in edges_s if math.isfinite(edge_s)))

    # --- load, clock, temperature ---

    def load(self, own: float, t_s: float) -> float:
        """What the board does, as a fraction, when its own work would drive it at `own`."""
        slowed = own * self.clock_fraction(t_s)
        foreign = sum(span.value for span in self._loads if span.holds(t_s))
        return min(1.0, slowed + foreign) if foreign else slowed

    def clock_fraction(self, t_s: float) -> float:
        """How much of its clock the board has under load: 1 when nothing is wrong."""
        fraction = 1.0
        for span in self._slowdowns:
            if span.holds(t_s):
                fraction *= span.value
        return fraction

    def throttle_reasons(self, t_s: float) -> int:
        """NVML clocks-event-reasons bits of the slowdowns now."""
        reasons = 0
        for span in self._slowdowns:
            if span.holds(t_s):
                reasons |= REASONS[span.kind]
        return reasons

    def foreign_process_listed(self, t_s: float) -> bool:
        """Whether NVML lists another process now."""
        return any(span.holds(t_s) for span in self._listed)

    def warming_c(self, t_s: float) -> float:
        """How much warmer the surroundings have made the board, degrees Celsius."""
        return self._drifted(t_s, lambda since_s: since_s)

    def warming_integral_c_s(self, t_s: float) -> float:
        """Integral of `warming_c` from the start, kelvin seconds."""
        return self._drifted(t_s, lambda since_s: since_s**2 / 2)

    def warming_filtered_c(self, t_s: float, tau_s: float) -> float:
        """`warming_c` as a first-order filter of this time constant follows it."""
        return self._drifted(t_s, lambda since_s: since_s + tau_s * math.expm1(-since_s / tau_s))

    def _drifted(self, t_s: float, response: Callable[[float], float]) -> float:
        # A ramp that stays is a slope that begins, less the same slope from the ramp's end on.
        total = 0.0
        for span in self._drifts:
            slope = span.value / (span.end_s - span.start_s)
            for sign, from_s in ((1, span.start_s), (-1, span.end_s)):
                if t_s > from_s:
                    total += sign * slope * response(t_s - from_s)
        return total

    # --- sensor and counter ---

    def sensor_is_stuck(self, t_s: float) -> bool:
        """Whether the reading is not renewed now."""
        return any(span.holds(t_s) for span in self._stuck_sensors)

    def counter_moved_s(self, t_s: float) -> float:
        """Up to when the counter counts at `t_s`: that very time, or when it got stuck."""
        for span in reversed(self._stuck_counters):
            if span.holds(t_s):
                t_s = span.start_s
        return t_s

    def counter_reset_s(self, t_s: float) -> float | None:
        """When the counter last started at zero; None if it never did."""
        return max((span.start_s for span in self._resets if span.start_s <= t_s), default=None)

    def counter_jumped_j(self, since_s: float | None, t_s: float) -> float:
        """By how much the counter jumped since a reset (None: since ever), joules."""
        return sum(
            span.value for span in self._jumps if span.start_s <= t_s and (since_s is None or span.start_s > since_s)
        )

    def nvml_error(self, t_s: float, of_sensor: bool) -> int:
        """The return code that a question gets now, 0 if it is answered.

        Args:
            of_sensor: The question is about power, energy or temperature.
        """
        for span in self._errors:
            if span.holds(t_s) and (of_sensor or span.kind == "gpu-lost"):
                return int(span.value)
        return 0


def utc_stepped_s(faults: Sequence[SimulatedFault], node_start_s: float, t_s: float) -> float:
    """By how much the machine's wall clock has jumped, seconds."""
    return sum(fault.value or 0.0 for fault in faults if fault.kind == "utc-step" and node_start_s + fault.at_s <= t_s)


def _span(fault: SimulatedFault, node_start_s: float) -> Span:
    codes: dict[FaultKind, int] = {"sensor-lost": NVML_ERROR_TIMEOUT, "gpu-lost": NVML_ERROR_GPU_IS_LOST}
    start_s = node_start_s + fault.at_s
    end_s = math.inf if fault.duration_s is None else start_s + fault.duration_s
    return Span(fault.kind, start_s, end_s, codes.get(fault.kind, 0) if fault.value is None else fault.value)
