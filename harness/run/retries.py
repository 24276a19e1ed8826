"""What a failed run is followed by: another attempt, half the batch, or nothing. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from harness.campaign import Retry
from harness.records import RunRecord
from harness.specs import RunSpec

# A driver that does not answer may answer again. A wrong config, a missing model, a crash and a timeout stay what they
# are; a worker killed by the system may have been too large, but nobody knows for how much less there is room.
MAY_PASS = "source_unavailable"
NO_ROOM = "out_of_memory"


@dataclass(frozen=True, eq=False)
class Attempt:
    """One run to be made: its spec, which attempt it is, and why there were others before."""

    spec: RunSpec
    number: int = 1
    earlier: tuple[str, ...] = ()
    halved_from: str | None = None


def halved(spec: RunSpec) -> RunSpec | None:
    """The same run with half the batch; None where there is no half of it."""
    if spec.server is not None or spec.batch_size < 2:
        return None
    return spec.model_copy(update={"batch_size": spec.batch_size // 2})


def next_attempt(attempt: Attempt, record: RunRecord, retry: Retry) -> Attempt | None:
    """What to make next in a failed run's place; None where it would fail again, or nothing is allowed."""
    if record.failure is None:
        return None
    reason = record.failure.message
    if record.failure.kind == MAY_PASS and attempt.number <= retry.driver:
        return Attempt(attempt.spec, attempt.number + 1, (*attempt.earlier, reason), attempt.halved_from)
    if record.failure.kind == NO_ROOM and retry.halve_batch and attempt.halved_from is None:
        half = halved(attempt.spec)
        return Attempt(half, earlier=(*attempt.earlier, reason), halved_from=attempt.spec.run_id) if half else None
    return None
