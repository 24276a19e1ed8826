"""Which calibrations a start of a campaign begins with: the same fixed loads on every board that its runs may use.

A board is calibrated by the very source, profile and method that its runs are metered by, so that what is wrong with
its sensor is in both and cancels where they are divided. All the rest is the same for every board.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.run.placement import Node
from harness.specs import CALIBRATION, CALIBRATION_LOADS, CalibrationOf, MeasureSpec, ModelSpec, RunSpec, SourcesSpec

NARROW = 0.005  # relative half-width at which a calibration stops: well below what boards differ by
_NOT_ASKED: dict[str, object] = {"cross_check": (), "meter_preparation": False, "requests_per_window": None}


def local_calibrations(
    specs: Sequence[RunSpec], gpus: Mapping[SourcesSpec, Sequence[str | int]], started_at_utc: str
) -> tuple[RunSpec, ...]:
    """Of every board of this machine that one of the runs uses; none for a server that is running already.

    Args:
        specs: The runs that are left to do.
        gpus: The boards of each kind of source, by UUID (or as the config names them, for a plan).
        started_at_utc: The campaign's start, which is part of the run's id: every start has calibrations of its own.

    Returns:
        One after the other, load by load.
    """
    wanted: dict[object, RunSpec] = {}
    for spec in filter(may_be_calibrated, specs):
        for gpu in gpus[spec.sources]:
            _want(wanted, spec, (gpu,), CalibrationOf(campaign_started_at_utc=started_at_utc))
    return _by_load(wanted.values())


def cluster_calibrations(specs: Sequence[RunSpec], nodes: Iterable[Node], started_at_utc: str) -> tuple[RunSpec, ...]:
    """As many on each node as it has GPUs, where one of the runs may be made there.

    The cluster hands out its GPUs: on an idle node each of them gets one, since they start together and take equally
    long. Which board a calibration was of, its record tells; a board that got none is not calibrated.
    """
    wanted: dict[object, RunSpec] = {}
    for node in nodes:
        for spec in filter(may_be_calibrated, specs):
            for number in range(node.gpu_count if node.can_make(spec) else 0):
                which = CalibrationOf(campaign_started_at_utc=started_at_utc, node=node.id, number=number)
                _want(wanted, spec, (0,), which)
    return _by_load(wanted.values())


def may_be_calibrated(spec: RunSpec) -> bool:
    """A replay has no board, and a server that runs already leaves its boards no room."""
    return spec.replay is None and (spec.server is None or spec.server.base_url is None)


def _want(wanted: dict[object, RunSpec], spec: RunSpec, gpus: tuple[str | int, ...], which: CalibrationOf) -> None:
    """One board's calibration, unless a run that is metered alike has asked for it."""
    sources = spec.sources.model_copy(update={"gpus": gpus})
    device = "cpu" if spec.device == "cpu" else "cuda"
    real = spec.engine != "simulated"
    key = sources, which, device, real, spec.measure.energy_method
    if key in wanted:
        return
    measure = _NOT_ASKED | {
        "target_relative_halfwidth": min(NARROW, spec.measure.target_relative_halfwidth),
        "warm_up_max_s": max(MeasureSpec().warm_up_max_s, spec.measure.warm_up_max_s),
    }
    wanted[key] = RunSpec(
        task=CALIBRATION,
        model=ModelSpec(id=CALIBRATION_LOADS[0], weights="random"),
        engine="calibration" if real else "simulated",
        dtype="float32" if device == "cpu" else "float16",
        device=device,
        sources=sources,
        measure=spec.measure.model_copy(update=measure),
        calibration=which,
    )


def _by_load(wanted: Iterable[RunSpec]) -> tuple[RunSpec, ...]:
    """All boards with one load, then all with the next."""
    boards = tuple(wanted)
    return tuple(
        spec.model_copy(update={"model": spec.model.model_copy(update={"id": load})})
        for load in CALIBRATION_LOADS
        for spec in boards
    )
