"""From a run's record to one side of a comparison. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from harness.compare.base import Boundary, Doubt, Meter, Side, Unit, Window
from harness.errors import MeasurementInvalid
from harness.measure.alike import setting
from harness.measure.consistency import changed
from harness.measure.energy import busy_energy_j, idle_share_j
from harness.measure.run_caveats import all_caveats
from harness.measure.uncertainty import run_u_j, window_u_j
from harness.records import Measurement, RunRecord, SourceEnergy, SourceInfo, Summary
from harness.stats import Estimate, repeatability


def side_of(record: RunRecord, boundary: Boundary, group: str, name: str | None = None) -> Side:
    """A run's energy per generation within a boundary, its doubts kept apart.

    Args:
        record: A complete run.
        boundary: Which energy.
        group: What the user named.
        name: What else to call it than campaign/run id: its folder.

    Raises:
        MeasurementInvalid: The run failed, has no work or not this boundary, or its energy may be zero or less, of
            which no ratio can be told.
    """
    summary = record.summary
    if summary is None:
        why = record.failure.message if record.failure else "no reason was kept."
        raise MeasurementInvalid(f"It has no energy: {why}")
    estimate = _estimate(summary, boundary)
    accepted = [window for window in record.measurements if not window.rejected]
    if len(accepted) < 2:
        raise MeasurementInvalid("Fewer than two of its windows were accepted.")
    if any(window.work.requests <= 0 for window in accepted):
        raise MeasurementInvalid("A window has counted no generation, so there is no energy of one.")
    if told := changed(record):
        raise MeasurementInvalid(told)
    if estimate.low <= 0:
        raise MeasurementInvalid(
            f"Its energy, {estimate.value:.3g} ± {estimate.half_width:.2g} J, may be zero or less: it has no ratio."
        )
    infos = _infos(record.sources, boundary)
    collected = _collect(accepted, infos, boundary == "above-idle")
    energy_j = fmean(collected.energies_j)
    scatter = repeatability(collected.energies_j)
    name = name or f"{record.campaign}/{record.run_id}"
    stem = record.run_id.rpartition("-")[0] or record.run_id
    machine = _machine(record)
    return Side(
        label=stem,
        longer=_longer(record, stem, name),
        name=name,
        identity=hashlib.sha256(record.model_dump_json().encode()).hexdigest(),
        group=group,
        kind="run",
        mark=record.mark,
        simulated=record.simulated,
        boundary=boundary,
        gpu=_gpus(record.sources, boundary),
        task=record.spec.task,
        energy_j=energy_j,
        estimate_j=estimate,
        windows=tuple(_window(each, value) for each, value in zip(accepted, collected.energies_j, strict=True)),
        repeats=len(accepted),
        doubt=Doubt(
            scatter=scatter.standard_uncertainty / energy_j,
            stated=math.hypot(*collected.own_u_j) / len(accepted) / energy_j,
            run=fmean(collected.run_u_j) / energy_j,
        ),
        meters=tuple(_meter(info, machine, collected, accepted, energy_j) for info in infos.values()),
        per_generation=_per_generation(accepted),
        inputs=_inputs(record),
        fields=setting(record) | _work(record),
        caveats=tuple(caveat.code for caveat in all_caveats(record)),
    )


def _longer(record: RunRecord, stem: str, name: str) -> tuple[str, ...]:
    """The stem in its campaign or folder; and the run id alone, which means the run only where it is stored."""
    folder, _, _ = name.rpartition("/")
    alone = (record.run_id,) if folder == record.campaign else ()
    return (*([f"{folder}/{stem}"] if folder else []), *alone)


def _estimate(summary: Summary, boundary: Boundary) -> Estimate:
    found = {
        "gpu": summary.gpu_energy_j,
        "above-idle": summary.gpu_above_idle_j,
        "node-gpus": summary.node_gpus_energy_j,
        "node": summary.node_energy_j,
    }[boundary]
    if found is None:
        raise MeasurementInvalid(f"Its node was not measured: {summary.node_missing or 'no reason was kept'}")
    return found


def _infos(sources: Sequence[SourceInfo], boundary: Boundary) -> dict[str, SourceInfo]:
    if boundary == "node":
        return {info.id: info for info in sources}
    if boundary == "node-gpus":
        return {info.id: info for info in sources if info.kind == "gpu"}
    return {info.id: info for info in sources if info.runs_model}


@dataclass
class _Collected:
    """J per generation: per window, and per source as means over windows."""

    energies_j: list[float] = field(default_factory=list)
    own_u_j: list[float] = field(default_factory=list)
    run_u_j: list[float] = field(default_factory=list)
    of_source_j: dict[str, float] = field(default_factory=dict)
    offset_s: dict[str, float] = field(default_factory=dict)


def _collect(accepted: Sequence[Measurement], infos: dict[str, SourceInfo], above_idle: bool) -> _Collected:
    """As measure/summary combines them, with gain and offset left to the meters."""
    found = _Collected()
    for window in accepted:
        requests, sources = window.work.requests, [each for each in window.sources if each.source_id in infos]
        parts_j = [busy_energy_j(each) - (idle_share_j(window, each) if above_idle else 0.0) for each in sources]
        own = [window_u_j(each.budget) for each in sources]
        own += [window.busy_s * each.idle_power_u_w for each in sources] if above_idle else []
        found.energies_j.append(math.fsum(parts_j) / requests)
        found.own_u_j.append(math.hypot(*own) / requests)
        found.run_u_j.append(math.fsum(run_u_j(each.budget) for each in sources) / requests)
        for each, part_j in zip(sources, parts_j, strict=True):
            mine = each.source_id
            found.of_source_j[mine] = found.of_source_j.get(mine, 0.0) + part_j / requests / len(accepted)
            busy_s = 0.0 if above_idle else window.busy_s / requests / len(accepted)
            found.offset_s[mine] = found.offset_s.get(mine, 0.0) + busy_s
    return found


def _meter(
    info: SourceInfo, machine: str, collected: _Collected, accepted: Sequence[Measurement], energy_j: float
) -> Meter:
    mine = [each for window in accepted for each in window.sources if each.source_id == info.id]
    device = f"{info.device_name} ({info.id}){'' if info.kind == 'gpu' else f' of {machine}'}"
    return Meter(
        identity=f"{device}|{_reading(info, mine)}",
        device=device,
        gain_relative_u=info.gain_relative_u,
        offset_u_w=info.offset_u_w,
        energy_fraction=collected.of_source_j.get(info.id, 0.0) / energy_j,
        offset_per_w=collected.offset_s.get(info.id, 0.0) / energy_j,
    )


def _machine(record: RunRecord) -> str:
    """What tells a machine from another: RAPL calls the first package of each by one name, of GPUs each has its own.

    Host names do not: containers have one each, and machines share "localhost". Without a GPU nothing is known.
    """
    gpus = sorted(info.id for info in record.sources if info.kind == "gpu")
    cpu = record.environment.cpu_model if record.environment is not None else "a CPU not known"
    return f"the machine with {', '.join(gpus)} and {cpu}" if gpus else f"the machine of {record.started_at_utc}"


def _reading(info: SourceInfo, energies: Sequence[SourceEnergy]) -> str:
    """All that decides how a device's errors reach the figure: driver, profile, calibration, method."""
    methods = "+".join(sorted({each.method for each in energies}))
    calibration = f"{info.gain!r} {info.offset_w!r} {info.gain_relative_u!r} {info.offset_u_w!r}"
    return "|".join(map(str, (info.driver, info.sensor_profile, calibration, methods, info.provenance)))


def _gpus(sources: Sequence[SourceInfo], boundary: Boundary) -> str:
    """Makes of the boards; how many there are matters only where every one of the machine counts."""
    gpus = [info for info in sources if info.kind == "gpu"]
    if boundary in ("gpu", "above-idle"):
        return ", ".join(sorted({info.device_name for info in gpus if info.runs_model})) or "not known"
    names = sorted({info.device_name for info in gpus})
    return ", ".join(f"{sum(info.device_name == name for info in gpus)} x {name}" for name in names) or "not known"


def _window(window: Measurement, energy_j: float) -> Window:
    work = window.work
    return Window(
        label=window.label,
        energy_j=energy_j,
        requests=work.requests,
        input_tokens=None if window.served is not None and window.served.input_tokens is None else work.input_tokens,
        input_pixels=work.input_pixels,
    )


def _per_generation(accepted: Sequence[Measurement]) -> dict[Unit, float]:
    requests = math.fsum(window.work.requests for window in accepted)
    counts: dict[Unit, float] = {
        "token": sum(window.work.output_tokens for window in accepted),
        "image": sum(window.work.images for window in accepted),
        "megapixel": sum(window.work.output_pixels for window in accepted) / 1e6,
    }
    found: dict[Unit, float] = {"generation": 1.0}
    return found | {unit: count / requests for unit, count in counts.items() if count > 0}


def _inputs(record: RunRecord) -> str | None:
    """The prompt set and its order. A replay and a server's load have no repeats with the same inputs."""
    spec = record.spec
    if spec.replay is not None or spec.server is not None:
        return None
    where = {"path"} if spec.prompts.sha256 is not None else set()
    return f"{spec.task} {spec.seed} {spec.batch_size} {spec.prompts.model_dump_json(exclude=where)}"


def _work(record: RunRecord) -> dict[str, str]:
    """How much work there is in a run, and on what."""
    spec = record.spec
    devices = sorted({info.device_name for info in record.sources if info.runs_model})
    found = {
        "load": spec.load_label,
        "prompts": f"{spec.prompts.label}, {spec.prompts.count}",
        "gpu": ", ".join(devices),
    }
    if spec.prompts.sha256 is not None:
        found["prompts"] = f"sha256 {spec.prompts.sha256[:12]}, {spec.prompts.count}"
    if spec.text is not None:
        found["new tokens"] = str(spec.text.new_tokens)
        if spec.text.max_input_tokens is not None:
            found["input tokens"] = f"at most {spec.text.max_input_tokens}"
    if spec.image is not None:
        found |= {"steps": str(spec.image.steps), "size": f"{spec.image.width}x{spec.image.height}"}
    return found
