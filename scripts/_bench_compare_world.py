"""Pairs of runs whose true ratio is known: boards with errors of their own, windows that scatter, inputs that vary.

Everything is drawn from what the records themselves state of their doubt, so that a comparison that treats it rightly
covers the truth as often as it says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.measure.summary import summarize
from harness.records import Measurement, RunRecord, SourceEnergy, SourceInfo, UncertaintyTerm, WorkCounts
from harness.specs import ModelSpec, RunSpec, TextOptions

REQUESTS = 100
HALF_GAIN, HALF_OFFSET_W = 0.05, 3.0
CALIBRATED_GAIN_U, CALIBRATED_OFFSET_U_W = 0.0075, 0.5
EDGES_U, LAG_U = 0.001, 0.002  # of a window's energy


@dataclass(frozen=True)
class Board:
    """One board: what is stated of it, and the gain and offset errors that it has."""

    info: SourceInfo
    gain: float
    offset_w: float


def board(rng: np.random.Generator, calibrated: bool) -> Board:
    """Errors drawn from the stated doubt: rectangular as NVML's own bounds, normal after a calibration."""
    gain_u = CALIBRATED_GAIN_U if calibrated else HALF_GAIN / math.sqrt(3)
    offset_u_w = CALIBRATED_OFFSET_U_W if calibrated else HALF_OFFSET_W / math.sqrt(3)
    info = SourceInfo(
        id=f"GPU-{rng.integers(2**60)}",
        kind="gpu",
        scope="device",
        device_name="drawn board",
        sensor_profile="drawn",
        sensor_period_s=0.1,
        sensor_window_s=0.1,
        gain_relative_u=gain_u,
        offset_u_w=offset_u_w,
        provenance="simulated",
        runs_model=True,
    )
    if calibrated:
        return Board(info, 1 + rng.normal(0, gain_u), rng.normal(0, offset_u_w))
    return Board(info, 1 + rng.uniform(-HALF_GAIN, HALF_GAIN), rng.uniform(-HALF_OFFSET_W, HALF_OFFSET_W))


@dataclass(frozen=True)
class Load:
    """What a run draws: true J per generation, power, scatter of its windows (relative sd)."""

    energy_j: float
    power_w: float
    scatter: float


def load(rng: np.random.Generator, energy_j: float) -> Load:
    """Power of a working board, windows that scatter by 0.1 to 3 %."""
    return Load(energy_j, float(rng.uniform(80, 400)), float(np.exp(rng.uniform(np.log(0.001), np.log(0.03)))))


def run(
    rng: np.random.Generator, on: Board, drawn: Load, inputs: np.ndarray, model: str, same_inputs: bool
) -> RunRecord:
    """A record of as many windows as there are inputs, each of which makes its window dearer or cheaper.

    `same_inputs`: the windows' token counts are those of the inputs, as where two runs were fed alike.
    """
    lag = rng.uniform(-1, 1) * math.sqrt(3) * LAG_U  # the same in all windows of this run
    windows = []
    for index, dearer in enumerate(inputs):
        true_j = REQUESTS * drawn.energy_j * dearer * (1 + drawn.scatter * rng.normal())
        busy_s = REQUESTS * drawn.energy_j / drawn.power_w
        read_j = true_j * (1 + lag + EDGES_U * rng.normal()) * on.gain + on.offset_w * busy_s
        tokens = round(1e6 * dearer) if same_inputs else int(rng.integers(10**6))
        work = WorkCounts(requests=REQUESTS, input_tokens=tokens, output_tokens=10 * REQUESTS)
        windows.append(_window(index, read_j, busy_s, on.info, work))
    spec = RunSpec(
        task="text-generation",
        model=ModelSpec(id=model),
        engine="simulated",
        text=TextOptions(),
        sources={"kind": "simulated"},
    )
    return RunRecord(
        run_id=spec.run_id,
        campaign="drawn",
        origin="simulated",
        spec=spec,
        environment=None,
        started_at_utc="2026-11-29T12:00:00+00:00",
        finished_at_utc="2026-11-29T12:01:00+00:00",
        status="complete",
        sources=(on.info,),
        measurements=tuple(windows),
        summary=summarize(windows, (on.info,), "no host", 0.02),
    )


def _window(index: int, read_j: float, busy_s: float, info: SourceInfo, work: WorkCounts) -> Measurement:
    terms = (
        ("sensor gain", read_j * info.gain_relative_u, True, False),
        ("sensor offset", busy_s * info.offset_u_w, True, False),
        ("window edges", read_j * EDGES_U, False, True),
        ("lag at the edges", read_j * LAG_U, False, False),
    )
    budget = tuple(
        UncertaintyTerm(name=name, standard_uncertainty_j=abs(u_j), common=common, averages=averages, reduced_by="any")
        for name, u_j, common, averages in terms
    )
    source = SourceEnergy(
        source_id=info.id,
        energy_j=read_j,
        uncertainty_j=math.hypot(*(term.standard_uncertainty_j for term in budget)),
        budget=budget,
        method="counter",
        sample_count=0,
        idle_power_w=50.0,
        idle_power_u_w=0.2,
        gap_energy_j=0.0,
    )
    return Measurement(
        label=f"repeat-{index + 1}", start_s=0.0, end_s=busy_s, busy_s=busy_s, sources=(source,), work=work
    )


def runs(rng: np.random.Generator, ratios: list[float], paired: bool, same_board: bool) -> list[RunRecord]:
    """A baseline and a run for each ratio: true energies are the baseline's times the ratio.

    Half of the boards are calibrated. Inputs vary by up to 5 % between windows, the same for all runs where paired.
    """
    count, vary = int(rng.integers(5, 13)), float(rng.uniform(0.002, 0.05))
    shared = 1 + vary * rng.normal(size=count)
    on = board(rng, calibrated=bool(rng.random() < 0.5))
    energy_j = float(np.exp(rng.uniform(np.log(0.1), np.log(1000))))
    records = []
    for index, ratio in enumerate([1.0, *ratios]):
        inputs = shared if paired else 1 + vary * rng.normal(size=int(rng.integers(5, 13)))
        mine = on if same_board else board(rng, calibrated=bool(rng.random() < 0.5))
        records.append(run(rng, mine, load(rng, energy_j * ratio), inputs, f"drawn-{index}", paired))
    return records
