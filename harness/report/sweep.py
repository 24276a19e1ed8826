"""Energy per generation and latency against batch size, and the best batch size under a limit. Pure.

Latency is the time that one batch takes: no answer of it is complete before. Of a server, whose batches are its own,
the size is the number of requests kept in flight, and latency the median time to the end of an answer. Whether the best
differs from the next is asked of their difference, in which what a board's runs share (gain and offset) mostly cancels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from pydantic import Field

from harness.errors import UserInputError
from harness.frozen import Frozen
from harness.measure.alike import grouped, setting
from harness.measure.phases_design import row_of
from harness.records import RunRecord
from harness.specs import RunSpec
from harness.stats import Estimate


class SweepPoint(Frozen):
    """One batch size, or number of requests in flight.

    `latency_s`: engine time per generation times batch size, the mean time of a batch; of a server, the median of its
    answers.
    """

    run_id: str
    batch_size: int
    energy_j: Estimate = Field(description="per generation, gross")
    latency_s: float
    within_limit: bool = True


class Best(Frozen):
    """The least energy per generation among the points within the limit.

    `second`: the next by energy. `difference_j`: how much more it takes, with the interval of the difference.
    """

    batch_size: int
    run_id: str
    second_batch_size: int | None = None
    difference_j: Estimate | None = None
    told_apart: bool | None = Field(None, description="None: there is no second one")


class Sweep(Frozen):
    """One model and workload over batch sizes."""

    model: str
    workload: str
    simulated: bool
    replay: bool
    served: bool = Field(False, description="sizes are requests in flight at a server")
    gpu: str
    boundary: str
    latency_limit_s: float | None
    points: tuple[SweepPoint, ...]
    best: Best | None = Field(description="None: no batch size is within the limit")


def sweeps_of(records: Sequence[RunRecord], latency_limit_s: float | None = None) -> list[Sweep]:
    """Every setting and workload that was run at two batch sizes or more.

    Args:
        records: Runs; those without a figure are left out, of several at one batch size the latest counts.
        latency_limit_s: The longest that a batch may take.

    Raises:
        UserInputError: A limit that is not above 0, no runs that vary in batch size, or a limit that no run meets.
    """
    if latency_limit_s is not None and not (math.isfinite(latency_limit_s) and latency_limit_s > 0):
        raise UserInputError(
            f"A latency limit must be a number of seconds above 0, not {latency_limit_s:g}.",
            "It is the time that a whole batch may take, e.g. --latency-limit-s 2.",
        )
    complete = [record for record in records if record.summary is not None and _size(record) is not None]
    groups = [_by_batch(group) for group in grouped(complete, _workload)]
    found = [_sweep(group, latency_limit_s) for group in groups if len(group) > 1]
    if not found:
        count = f"{len(complete)} complete run{'' if len(complete) == 1 else 's'}"
        raise UserInputError(
            f"Nothing varies in batch size: {count}, no two of which differ in batch size alone.",
            "Give batch_size as a list in the config, e.g. batch_size: [1, 8, 32].",
        )
    if latency_limit_s is not None and all(sweep.best is None for sweep in found):
        fastest = min(point.latency_s for sweep in found for point in sweep.points)
        raise UserInputError(
            f"No batch size meets a latency of {latency_limit_s:g} s: the fastest batch took {fastest:.3g} s.",
            "Raise --latency-limit-s, or run smaller batches.",
        )
    return found


def _workload(record: RunRecord) -> dict[str, str]:
    """What is the same along a sweep: the setting, and the work of one request."""
    spec = record.spec
    work = {
        "prompts": spec.prompts.model_dump(mode="json", exclude_defaults=True),
        "text": spec.text.model_dump(mode="json") if spec.text else None,
        "image": spec.image.model_dump(mode="json", exclude={"save_images"}) if spec.image else None,
        "replay": spec.replay.model_dump(mode="json") if spec.replay else None,
    }
    return setting(record) | {"work": json.dumps(work, sort_keys=True)}


def _by_batch(group: Sequence[RunRecord]) -> list[RunRecord]:
    latest: dict[int, RunRecord] = {}
    for record in sorted(group, key=lambda record: record.started_at_utc):
        if (size := _size(record)) is not None:
            latest[size] = record
    return [latest[size] for size in sorted(latest)]


def _size(record: RunRecord) -> int | None:
    """Requests that are worked on together; None for a server that requests reach at random."""
    server = record.spec.server
    return record.spec.batch_size if server is None else server.concurrency


def _sweep(records: Sequence[RunRecord], limit_s: float | None) -> Sweep:
    points = tuple(_point(record, limit_s) for record in records)
    first, about = records[0], setting(records[0])
    return Sweep(
        model=first.spec.model.id,
        workload=_words(first),
        simulated=any(record.simulated for record in records),
        replay=any(record.replayed for record in records),
        served=first.spec.server is not None,
        gpu=", ".join(info.device_name for info in first.sources if info.runs_model),
        boundary=about["boundary"],
        latency_limit_s=limit_s,
        points=points,
        best=_best(records, points),
    )


def _point(record: RunRecord, limit_s: float | None) -> SweepPoint:
    summary = record.summary
    assert summary is not None
    size, latency = _size(record), latency_s(record)
    assert size is not None
    assert latency is not None
    return SweepPoint(
        run_id=record.run_id,
        batch_size=size,
        energy_j=summary.gpu_energy_j,
        latency_s=latency,
        within_limit=limit_s is None or latency <= limit_s,
    )


def latency_s(record: RunRecord) -> float | None:
    """The mean time of a batch, of a server the median time to the end of an answer; None where it is not known."""
    if record.served is not None and record.served.latency is not None:
        return record.served.latency.p50_s
    size = _size(record)
    return None if record.summary is None or size is None else record.summary.duration_s * size


def _words(record: RunRecord) -> str:
    spec = record.spec
    told = [spec.task, work_words(spec), f"prompts {spec.prompts.label}", spec.dtype]
    return ", ".join(part for part in told if part)


def work_words(spec: RunSpec) -> str:
    """How much one request asks for: tokens, or steps and size of an image; empty for neither."""
    if spec.image is not None:
        return f"{spec.image.steps} steps at {spec.image.width} x {spec.image.height}"
    return f"{spec.text.new_tokens} new tokens" if spec.text is not None else ""


def _best(records: Sequence[RunRecord], points: Sequence[SweepPoint]) -> Best | None:
    allowed = [(point, record) for point, record in zip(points, records, strict=True) if point.within_limit]
    allowed.sort(key=lambda each: each[0].energy_j.value)
    if not allowed:
        return None
    (first, record), rest = allowed[0], allowed[1:]
    if not rest:
        return Best(batch_size=first.batch_size, run_id=first.run_id)
    second, next_record = rest[0]
    difference = _difference(record, next_record)
    return Best(
        batch_size=first.batch_size,
        run_id=first.run_id,
        second_batch_size=second.batch_size,
        difference_j=difference,
        told_apart=difference.low > 0,
    )


def _difference(first: RunRecord, second: RunRecord) -> Estimate:
    """Second less first, joules per generation: own doubts in quadrature, shared ones as one error in both."""
    one, two = row_of(first), row_of(second)
    value = two.energy_j / two.batch_size - one.energy_j / one.batch_size
    own = math.hypot(one.own_u_j / one.batch_size, two.own_u_j / two.batch_size)
    shared = [
        two.gain_j / two.batch_size - one.gain_j / one.batch_size,
        two.offset_j / two.batch_size - one.offset_j / one.batch_size,
    ]
    u_j = math.hypot(own, *shared)
    return Estimate(
        value=value,
        low=value - 1.96 * u_j,
        high=value + 1.96 * u_j,
        n=2,
        standard_uncertainty=u_j,
        method="difference of two runs on one board; gain and offset as one error in both",
    )
