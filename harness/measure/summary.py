"""What all accepted windows of a run say, per generation. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.errors import MeasurementInvalid
from harness.measure.energy import busy_energy_j, idle_share_j
from harness.measure.quality import MAX_REJECTED_FRACTION
from harness.measure.uncertainty import run_u_j, window_u_j
from harness.records import HostEnergy, Measurement, SourceEnergy, SourceInfo, Summary, WorkCounts
from harness.stats import Estimate, combined, repeatability

Part = tuple[float, float, float]  # energy, its own uncertainty, its common uncertainty: joules per generation


def summarize(
    measurements: Sequence[Measurement],
    sources: Sequence[SourceInfo],
    host_missing: str | None,
    target_relative_halfwidth: float,
) -> Summary:
    """Energy per generation over the accepted windows.

    Args:
        measurements: Every window, rejected ones included.
        sources: Every source of the machine; those with `runs_model` make `gpu_energy_j`.
        host_missing: Why CPU or DRAM is not measured; None if both are.
        target_relative_halfwidth: What the stopping rule asked for.

    Raises:
        MeasurementInvalid: Fewer than two accepted windows, or more than a fifth rejected.
    """
    accepted = [window for window in measurements if not window.rejected]
    rejected = len(measurements) - len(accepted)
    if rejected > MAX_REJECTED_FRACTION * len(measurements):
        reasons = sorted(
            {c.message for window in measurements if window.rejected for c in window.caveats if not c.window_only}
        )
        raise MeasurementInvalid(
            f"{rejected} of {len(measurements)} windows were rejected, so no figure is stated: {' '.join(reasons)}",
            "harness show RUN lists them; the record keeps every window.",
        )
    if len(accepted) < 2:
        raise MeasurementInvalid("Fewer than two windows were measured.", "Raise max_duration_s or max_repeats.")
    infos = {info.id: info for info in sources}
    active = {info.id for info in sources if info.runs_model}
    gpus = {info.id for info in sources if info.kind == "gpu"}
    gross = [_part(window, infos, active, "gross") for window in accepted]
    gpu_energy = _estimate(gross)
    scatter = repeatability([energy for energy, _, _ in gross])
    work = _total_work(accepted)
    complete_node = host_missing is None
    return Summary(
        generations=round(work.requests),
        windows=len(accepted),
        rejected_windows=rejected,
        gpu_energy_j=gpu_energy,
        gpu_repeatability_j=scatter,
        gpu_idle_j=_estimate([_part(window, infos, active, "idle") for window in accepted]),
        gpu_above_idle_j=_estimate([_part(window, infos, active, "above") for window in accepted]),
        node_gpus_energy_j=_estimate([_part(window, infos, gpus, "gross") for window in accepted]),
        node_energy_j=(
            _estimate([_part(window, infos, set(infos), "gross") for window in accepted]) if complete_node else None
        ),
        node_missing=host_missing,
        energy_j_per_output_token=_per(gpu_energy, work.requests, work.output_tokens),
        energy_j_per_answer_token=_per(gpu_energy, work.requests, _answer_tokens(accepted, work)),
        energy_j_per_image=_per(gpu_energy, work.requests, work.images),
        duration_s=math.fsum(window.busy_s for window in accepted) / work.requests,
        power_w=gpu_energy.value * work.requests / math.fsum(window.busy_s for window in accepted),
        target_reached=scatter.half_width <= target_relative_halfwidth * abs(scatter.value),
        true_gpu_energy_j=_true_energy(accepted, active),
    )


def host_energy(measurements: Sequence[Measurement], sources: Sequence[SourceInfo], reason: str | None) -> HostEnergy:
    """CPU and DRAM energy over all accepted windows while the engine ran."""
    accepted = [window for window in measurements if not window.rejected]
    return HostEnergy(
        cpu_energy_j=_host_part(accepted, {info.id for info in sources if info.kind == "cpu"}),
        dram_energy_j=_host_part(accepted, {info.id for info in sources if info.kind == "dram"}),
        reason=reason,
    )


def _host_part(accepted: Sequence[Measurement], ids: set[str]) -> float | None:
    if not ids:
        return None
    return math.fsum(busy_energy_j(source) for window in accepted for source in _of(window, ids))


def _of(window: Measurement, ids: set[str]) -> list[SourceEnergy]:
    return [source for source in window.sources if source.source_id in ids]


def _part(window: Measurement, infos: dict[str, SourceInfo], ids: set[str], which: str) -> Part:
    """One window's energy per generation over some sources.

    Gain errors of several boards are added, not squared: boards of one make may err alike.
    """
    energy_j = own_square = common_j = 0.0
    for source in _of(window, ids):
        info = infos[source.source_id]
        gross_j, idle_j = busy_energy_j(source), idle_share_j(window, source)
        idle_u_j = window.busy_s * source.idle_power_u_w
        gross_u_j = window_u_j(source.budget)
        offset_j = window.busy_s * info.offset_u_w
        if which == "gross":
            energy_j += gross_j
            own_square += gross_u_j**2
            common_j += math.hypot(gross_j * info.gain_relative_u, offset_j, run_u_j(source.budget))
        elif which == "idle":
            energy_j += idle_j
            own_square += idle_u_j**2
            common_j += math.hypot(idle_j * info.gain_relative_u, offset_j)
        else:  # above idle: the offset is in both and drops out
            energy_j += gross_j - idle_j
            own_square += gross_u_j**2 + idle_u_j**2
            common_j += math.hypot((gross_j - idle_j) * info.gain_relative_u, run_u_j(source.budget))
    requests = window.work.requests
    return energy_j / requests, math.sqrt(own_square) / requests, common_j / requests


def _estimate(parts: Sequence[Part]) -> Estimate:
    common = math.fsum(common_u for _, _, common_u in parts) / len(parts)
    return combined([energy for energy, _, _ in parts], [own_u for _, own_u, _ in parts], common)


def _per(per_generation: Estimate, generations: float, count: float) -> Estimate | None:
    return per_generation.scaled(generations / count) if count else None


def _answer_tokens(windows: Sequence[Measurement], work: WorkCounts) -> float:
    """Output tokens that are no reasoning; 0 where no server tells them apart."""
    reasoning = [window.served.reasoning_tokens for window in windows if window.served is not None]
    known = [tokens for tokens in reasoning if tokens is not None]
    return work.output_tokens - math.fsum(known) if known and len(known) == len(windows) else 0


def _total_work(windows: Sequence[Measurement]) -> WorkCounts:
    total = WorkCounts()
    for window in windows:
        total = total + window.work
    return total


def _true_energy(windows: Sequence[Measurement], active: set[str]) -> float | None:
    per_window: list[float] = []
    for window in windows:
        known = [source.true_busy_energy_j for source in _of(window, active)]
        if not known or any(value is None for value in known):
            return None
        per_window.append(math.fsum(v for v in known if v is not None) / window.work.requests)
    return math.fsum(per_window) / len(per_window)
