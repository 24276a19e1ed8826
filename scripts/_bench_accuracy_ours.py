"""Accuracy benchmark: our own windows, as a live run measures them: measure.session.Session, on virtual time."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from _bench_accuracy_world import Batch, Cell, Work, node_of, play

from harness.clock import VirtualClock
from harness.measure.energy import busy_energy_j
from harness.measure.session import Session
from harness.measure.uncertainty import run_u_j, window_u_j
from harness.power.nvml import open_gpus
from harness.power.sampler import VirtualSampler
from harness.records import Measurement, SourceEnergy, WorkCounts
from harness.simulation.gpu import SimulatedGpu, SimulatedNode
from harness.simulation.nvml import installed
from harness.specs import MeasureSpec

# A session asks for one batch while it warms up and for this many to fill a window: what fills it is decided here.
FILL_A_WINDOW = 2
METER_GAIN_U, METER_OFFSET_U_W = 0.005, 0.5  # what a calibration against a meter leaves open, standard uncertainties
PROFILE_PERIOD_OFF = 0.03  # relative: as far as data sheets and recordings of one kind of board lie apart (sensors.csv)
COVERAGE = NormalDist().inv_cdf(0.975)


@dataclass
class PlayedWorkload:
    """Plays a cell's work on its board; a window of it counts as one request."""

    node: SimulatedNode
    work: Work
    _first: bool = True

    def prepare(self, batch_count: int) -> Sequence[Batch]:
        """One batch to warm up, or a window's."""
        if batch_count != FILL_A_WINDOW:
            return [self.work.batch()]
        self._first = True
        return self.work.window()

    def run(self, batch: Any) -> WorkCounts:
        """Play one."""
        play(self.node, batch)
        counted, self._first = int(self._first), False
        return WorkCounts(requests=counted)

    def synchronize(self) -> None:
        """Nothing is left running."""


def our_windows(cell: Cell, count: int) -> list[dict[str, Any]]:
    """A run's windows: truth, figure, standard uncertainty, why one was rejected; calibrated where it errs."""
    node = node_of(cell)
    assert isinstance(node.clock, VirtualClock)
    spec = MeasureSpec(
        min_repeats=count,
        max_repeats=count,
        max_duration_s=3e7,
        requests_per_window=FILL_A_WINDOW,
        idle_s=1.0,
        warm_up_max_s=20.0,  # the board is warm already
    )
    gpu = node.gpus[0]
    with installed(node):
        (source,) = open_gpus([0], "simulated", node.clock, environ={})
        period_s = source.info.sensor_period_s * profile_error(cell)
        source.info = source.info.model_copy(update={"sensor_period_s": period_s})
        try:
            result = Session(
                sources=[source],
                sampler=VirtualSampler([source], node.clock, spec.sample_period_s),
                clock=node.clock,
                spec=spec,
                workload=PlayedWorkload(node, Work(cell)),
                seed=random.Random(f"phases/{cell.key}").getrandbits(31),
                batch_size=1,
                truth=lambda _, start_s, end_s: gpu.true_energy_j(start_s, end_s),
            ).run()
        finally:
            source.close()
    return [_window(window, cell, gpu) for window in result.measurements]


def _window(window: Measurement, cell: Cell, gpu: SimulatedGpu) -> dict[str, Any]:
    found: dict[str, Any] = {
        "busy_s": window.busy_s,
        "window_s": window.end_s - window.start_s,
        "rejected": [caveat.code for caveat in window.caveats if not caveat.window_only] if window.rejected else [],
    }
    found["caveats"] = [caveat.code for caveat in window.caveats]
    if not window.sources:
        return found
    (source,) = window.sources
    found |= {
        "true_j": source.true_busy_energy_j,
        "said_j": busy_energy_j(source),
        "u_j": source.uncertainty_j,
        "largest": _largest(source),
    }
    if cell.counter == "truth":  # exact: any meter would make it worse
        return found | {"method_j": found["said_j"]}
    gain, offset_w = calibration(cell, gpu)
    calibrated_j = (busy_energy_j(source) - offset_w * window.busy_s) / gain
    own_j = math.hypot(window_u_j(source.budget), run_u_j(source.budget)) / gain
    parts_j = (own_j, METER_GAIN_U * calibrated_j, METER_OFFSET_U_W * window.busy_s)
    return found | {
        "calibrated_j": calibrated_j,
        "calibrated_u_j": math.hypot(*parts_j),
        "method_j": (found["said_j"] - gpu.offset_w * window.busy_s) / gpu.gain,
    }


def _largest(source: SourceEnergy) -> str:
    """The largest term of the budget that is not common to all windows."""
    return max((term for term in source.budget if not term.common), key=lambda term: term.standard_uncertainty_j).name


def profile_error(cell: Cell) -> float:
    """The period that the profile states over the board's own: a board is never quite the one that was recorded."""
    return 1 + random.Random(f"profile/{cell.key}").uniform(-PROFILE_PERIOD_OFF, PROFILE_PERIOD_OFF)


def calibration(cell: Cell, gpu: SimulatedGpu) -> tuple[float, float]:
    """Gain and offset as a meter would find them: the sensor's own, each off by a draw of the meter's uncertainty."""
    rng = random.Random(f"meter/{cell.seed}/{cell.board}")
    return gpu.gain * (1 + rng.gauss(0, METER_GAIN_U)), gpu.offset_w + rng.gauss(0, METER_OFFSET_U_W)
