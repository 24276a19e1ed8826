"""What the doubt of one run's figure is made of, per generation: the table behind its interval. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

from harness.frozen import Frozen
from harness.measure.energy import busy_energy_j
from harness.power.profiles import UNCALIBRATED_GAIN_U, unseen_fraction
from harness.records import Measurement, RunRecord, SourceEnergy, SourceInfo

Kind = Literal["per board", "per run", "per window", "scatter"]
SCATTER = "scatter of the repeats"


class BudgetLine(Frozen):
    """One term: standard uncertainty per generation in joules, and as a fraction of the run's energy.

    `kind`: common to all runs on the board; the same in all windows of the run; drawn anew per window and averaged; or
    the observed scatter of the windows. `counted`: it enters the result. Of the per-window terms together and the
    scatter, which show the same thing, the larger counts.
    """

    term: str
    kind: Kind
    standard_uncertainty_j: float
    relative: float
    counted: bool
    reduced_by: str


class SensorFacts(Frozen):
    """What is assumed or known of one board's sensor, and how well its window samples the load."""

    device_name: str
    sensor_profile: str
    gain_source: str
    period_s: float
    undersampled_fraction: float
    effective_samples: float | None
    method: str


class RunBudget(Frozen):
    """The uncertainty budget of `gpu_energy_j` of one run."""

    run_id: str
    simulated: bool
    replay: bool = False
    boundary: str
    energy_j: float
    low_j: float
    high_j: float
    confidence: float
    standard_uncertainty_j: float
    windows: int
    rejected_windows: int
    lines: tuple[BudgetLine, ...]
    sensors: tuple[SensorFacts, ...]


def run_budget(record: RunRecord) -> RunBudget | None:
    """The budget of a complete run; None for a run without a figure, or whose figure no window bears out.

    Shared terms of several boards are added, since boards of one make may err alike; all others in quadrature.
    """
    summary = record.summary
    if summary is None:
        return None
    active = {info.id: info for info in record.sources if info.runs_model}
    accepted = [window for window in record.measurements if not window.rejected]
    energy = summary.gpu_energy_j
    if not accepted or not energy.value or any(window.work.requests <= 0 for window in accepted):
        return None
    scatter_u_j = summary.gpu_repeatability_j.standard_uncertainty
    own = _own(accepted, active)
    stated_u_j = math.hypot(*(u_j for _, u_j, _ in own))
    stated_counts = _stated_counts(record, stated_u_j)
    lines = [_line(term, "per board", u_j, energy.value, True, by) for term, u_j, by in _common(accepted, active)]
    lines += [_line(term, "per run", u_j, energy.value, True, by) for term, u_j, by in _same_in_all(accepted, active)]
    lines += [_line(term, "per window", u_j, energy.value, stated_counts, by) for term, u_j, by in own]
    lines.append(_line(SCATTER, "scatter", scatter_u_j, energy.value, not stated_counts, "more windows"))
    return RunBudget(
        run_id=record.run_id,
        simulated=record.simulated,
        replay=record.replayed,
        boundary=f"gross energy of the {len(active)} GPU{'s' if len(active) > 1 else ''} that ran the model",
        energy_j=energy.value,
        low_j=energy.low,
        high_j=energy.high,
        confidence=energy.confidence,
        standard_uncertainty_j=energy.standard_uncertainty,
        windows=summary.windows,
        rejected_windows=summary.rejected_windows,
        lines=tuple(lines),
        sensors=tuple(_facts(info, accepted) for info in active.values()),
    )


Term = tuple[str, float, str]  # name, standard uncertainty in J per generation, what reduces it


def _line(term: str, kind: Kind, u_j: float, energy_j: float, counted: bool, reduced_by: str) -> BudgetLine:
    return BudgetLine(
        term=term,
        kind=kind,
        standard_uncertainty_j=u_j,
        relative=u_j / abs(energy_j),
        counted=counted,
        reduced_by=reduced_by,
    )


def _stated_counts(record: RunRecord, stated_u_j: float) -> bool:
    """Whether the budget of the windows, rather than their scatter, made the interval (stats.combined)."""
    assert record.summary is not None
    scatter = record.summary.gpu_repeatability_j
    return 1.96 * stated_u_j >= scatter.half_width


def _common(accepted: Sequence[Measurement], active: dict[str, SourceInfo]) -> list[Term]:
    gain_j = offset_j = 0.0
    for window in accepted:
        for source in _of(window, active):
            info = active[source.source_id]
            gain_j += busy_energy_j(source) * info.gain_relative_u / window.work.requests
            offset_j += window.busy_s * info.offset_u_w / window.work.requests
    by = "calibrate against a meter"
    return [("sensor gain", gain_j / len(accepted), by), ("sensor offset", offset_j / len(accepted), by)]


def _same_in_all(accepted: Sequence[Measurement], active: dict[str, SourceInfo]) -> list[Term]:
    totals_j: dict[str, float] = {}
    reduced_by: dict[str, str] = {}
    for window in accepted:
        for source in _of(window, active):
            for term in source.budget:
                if not term.common and not term.averages:
                    per_generation_j = term.standard_uncertainty_j / window.work.requests
                    totals_j[term.name] = totals_j.get(term.name, 0.0) + per_generation_j
                    reduced_by[term.name] = term.reduced_by
    return [(name, total_j / len(accepted), reduced_by[name]) for name, total_j in totals_j.items()]


def _own(accepted: Sequence[Measurement], active: dict[str, SourceInfo]) -> list[Term]:
    squares: dict[str, float] = {}
    reduced_by: dict[str, str] = {}
    for window in accepted:
        for source in _of(window, active):
            for term in source.budget:
                if not term.common and term.averages:
                    per_generation_j = term.standard_uncertainty_j / window.work.requests
                    squares[term.name] = squares.get(term.name, 0.0) + per_generation_j**2
                    reduced_by[term.name] = term.reduced_by
    return [(name, math.sqrt(square) / len(accepted), reduced_by[name]) for name, square in squares.items()]


def _of(window: Measurement, active: dict[str, SourceInfo]) -> list[SourceEnergy]:
    return [source for source in window.sources if source.source_id in active]


def _facts(info: SourceInfo, accepted: Sequence[Measurement]) -> SensorFacts:
    mine = [source for window in accepted for source in window.sources if source.source_id == info.id]
    known = [source.effective_samples for source in mine if source.effective_samples is not None]
    calibrated = info.gain_relative_u < UNCALIBRATED_GAIN_U
    stated = f"±{info.gain_relative_u:.1%} standard uncertainty"
    return SensorFacts(
        device_name=info.device_name,
        sensor_profile=info.sensor_profile,
        gain_source=f"calibrated, {stated}" if calibrated else f"not calibrated, {stated} (NVML's ±5 %)",
        period_s=info.sensor_period_s,
        undersampled_fraction=unseen_fraction(info),
        effective_samples=median(known) if known else None,
        method=" and ".join(sorted({source.method for source in mine})),
    )
