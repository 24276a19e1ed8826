"""Runs a plan: skips what is complete, keeps going after a failure, tries again what may pass, stops cleanly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.campaign import Scheduled
from harness.errors import StoreError
from harness.measure.base import Progress
from harness.records import Caveat, RunRecord
from harness.run.config import Plan
from harness.run.executors import Executor, clear_scratch
from harness.run.journal import UNTOLD, forget_place, note_place, noted_place, recovered
from harness.run.lanes import HELD, SERIAL, Gate, Lanes
from harness.run.order import ordered
from harness.run.retries import Attempt, next_attempt
from harness.specs import RunSpec
from harness.store.files import (
    RECORD,
    abandoned_scratch,
    campaign_lock,
    keep_attempt,
    new_scratch,
    read_record,
    remove_scratch,
    rewrite_record,
    run_of,
)
from harness.store.manifest import adopt, append, keep, mend, read_manifest, started, unentered
from harness.store.validate import stranger


class Listener(Protocol):
    """Someone who watches a campaign. Called by one thread at a time."""

    def run_started(self, index: int, total: int, attempt: Attempt) -> None:
        """A run begins; `index` counts from 1 among those that are left to do."""
        ...

    def run_progress(self, spec: RunSpec, progress: Progress) -> None:
        """News from a run."""
        ...

    def run_finished(self, record: RunRecord, again: bool) -> None:
        """A run is stored, complete or failed; `again`: it is tried again, or half its batch stands for it."""
        ...


@dataclass
class CampaignResult:
    """What became of a plan. `interrupted` means that it was stopped before its end.

    `calibrations`: complete or failed; neither `complete` nor `failed` counts them.
    `overtaken`: attempts that failed and were followed by another one, or whose half is a run of the plan and complete;
    where it is not, they are among the `failed`. `recovered`: what a runner had left that was
    killed, complete or with the windows that were. `adopted`: run_ids of what was in place and not in the manifest.
    `skipped`: those that were complete before this start.
    """

    folder: Path
    complete: list[RunRecord] = field(default_factory=list)
    failed: list[RunRecord] = field(default_factory=list)
    calibrations: list[RunRecord] = field(default_factory=list)
    overtaken: list[RunRecord] = field(default_factory=list)
    recovered: list[RunRecord] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    skipped: int = 0
    interrupted: bool = False


def pending(plan: Plan, results: Path, only_failed: bool = False) -> list[RunSpec]:
    """The specs that have no result yet, in the order of the campaign.

    Args:
        only_failed: Leave out those that were never tried.

    Raises:
        StoreError: A record is there but cannot be read: it is left alone, and nothing is run.
    """
    folder, options = results / plan.campaign, plan.options
    specs = ordered(plan.specs, options.order, options.order_seed)
    if only_failed:
        specs = tuple(spec for spec in specs if (folder / spec.run_id / RECORD).exists())
    return [spec for spec in specs if not _has_result(folder, spec.run_id, options.retry.halve_batch)]


def _has_result(folder: Path, run_id: str, halves: bool) -> bool:
    """Complete, or out of memory and complete at half the batch where the config allows that."""
    path = folder / run_id / RECORD
    if not path.exists():
        return False
    record = read_record(path)
    half = record.scheduled.halved_as if record.scheduled is not None and halves else None
    return record.status == "complete" or (half is not None and _has_result(folder, half, False))


def run_campaign(
    plan: Plan,
    results: Path,
    executor: Executor,
    listener: Listener,
    lanes: Lanes = SERIAL,
    only_failed: bool = False,
    calibrations: Sequence[RunSpec] = (),
) -> CampaignResult:
    """Run what is left of a plan, the calibrations before it.

    A failed run is stored and the next one starts; it is tried again on the next start, and at once where that may
    help. Ctrl-C ends the runs in progress, keeps every finished run and every finished window, and returns with
    `interrupted` set.

    Raises:
        StoreError: A result cannot be written, or another process runs the campaign. What is stored stays as it is.
    """
    folder = results / plan.campaign
    before = pending(plan, results)  # what cannot be read stops here, before anything is written
    _check_writable(folder)
    with campaign_lock(folder):
        found, adopted = _recover(folder), _adopt(folder)
        todo = pending(plan, results, only_failed)
        result = CampaignResult(folder, skipped=len(plan.specs) - len(before), recovered=found, adopted=adopted)
        if todo or calibrations:
            order = ordered(plan.specs, plan.options.order, plan.options.order_seed)
            planned = [spec.run_id for spec in (*calibrations, *order)]
            append(folder, started(plan.options, lanes.at_once, planned))
            todo = [*calibrations, *todo]
        _Start(plan, executor, listener, lanes, result).run([Attempt(spec) for spec in todo])
        _fail_without_half(plan, result)
    return result


def _fail_without_half(plan: Plan, result: CampaignResult) -> None:
    """A run whose half is one of the plan's was left to that, which may have failed or never been made."""
    planned = {spec.run_id for spec in plan.specs}
    for record in tuple(result.overtaken):
        half = record.scheduled.halved_as if record.scheduled is not None else None
        if half in planned and half is not None and not _has_result(result.folder, half, halves=False):
            result.overtaken.remove(record)
            result.failed.append(record)


def _recover(folder: Path) -> list[RunRecord]:
    """Keep what a killed runner has left, and remove the rest of it."""
    found = []
    for scratch in abandoned_scratch(folder):
        record = recovered(scratch)
        if record is not None and record.run_id == run_of(scratch):  # another one was put there by someone else
            clear_scratch(scratch)
            if (stood := noted_place(scratch)) is not None:
                record = _placed(record, stood)
                rewrite_record(scratch, record)
                forget_place(scratch)
            place = folder / record.run_id / RECORD
            if place.exists() and read_record(place).status == "complete":
                keep_attempt(scratch, folder, record.run_id)
            else:
                keep(scratch, folder, record)
            found.append(record)
        remove_scratch(scratch)
    return found


def _adopt(folder: Path) -> list[str]:
    """Enter the runs that the manifest does not know, or not for sure, as far as they are sound. Returns their names.

    Raises:
        StoreError: One was changed, or is of another campaign. It is left alone, and nothing is run.
    """
    adopted, manifest = [], read_manifest(folder)
    for run_folder in unentered(folder, manifest):
        record = read_record(run_folder / RECORD)
        if fault := stranger(run_folder, record, manifest):
            raise StoreError(
                f"{run_folder} is not in the manifest, or in a damaged line of it, and is not as a runner would have "
                f"left it: {fault}",
                "Was it changed, or copied from elsewhere? Move it away and run again.",
            )
        adopt(run_folder, record)
        adopted.append(record.run_id)
    if manifest is not None and manifest.damaged:
        mend(folder, manifest)
    return adopted


@dataclass
class _Start:
    """One start of a campaign, under its lock."""

    plan: Plan
    executor: Executor
    listener: Listener
    lanes: Lanes
    result: CampaignResult
    begun: int = 0
    total: int = 0
    stopping: bool = False
    to_come: set[str] = field(default_factory=set)  # run_ids of what is waiting or in flight
    writing: threading.RLock = field(default_factory=threading.RLock)  # one writer, one teller

    def run(self, todo: list[Attempt]) -> None:
        """Run them all, each as soon as its lane is free."""
        self.total = len(todo)
        self.to_come = {attempt.spec.run_id for attempt in todo}
        in_flight: dict[futures.Future[Attempt | None], Attempt] = {}
        with _pool(self.lanes.threads) as pool:
            try:
                while todo or in_flight:
                    starting = self.lanes.startable(todo, in_flight.values())
                    gate = Gate(len(starting)) if self.lanes.in_rounds and len(starting) > 1 else None
                    for attempt in starting:
                        todo.remove(attempt)
                    beside = tuple(attempt.spec.run_id for attempt in starting) if gate else ()
                    for attempt in starting:
                        in_flight[pool.submit(self._one, attempt, gate, beside)] = attempt
                    for future in futures.wait(in_flight, return_when=futures.FIRST_COMPLETED).done:
                        del in_flight[future]
                        if (again := future.result()) is not None:
                            todo.insert(0, again)
            except BaseException as error:
                self.stopping = True
                self.executor.close()
                if not isinstance(error, KeyboardInterrupt):
                    raise
                self.result.interrupted = True

    def _one(self, attempt: Attempt, gate: Gate | None, beside: tuple[str, ...]) -> Attempt | None:
        """Make one attempt and keep it. Returns the one that should follow it."""
        with self.writing:
            self.begun += 1
            position = self.begun
            self.listener.run_started(position, self.total, attempt)
        scratch = new_scratch(self.result.folder, attempt.spec.run_id)
        place = self._place(attempt, position, beside)
        note_place(scratch, place)
        try:
            record = self._measured(attempt.spec, scratch, gate)
            if record is None:
                again = None
            else:
                again = None if self.stopping else next_attempt(attempt, record, self.plan.options.retry)
                self._keep(scratch, record, place, again)
        except StoreError:
            raise  # what could not be stored stays in the scratch folder: the next start keeps it
        except KeyboardInterrupt:
            if (record := recovered(scratch)) is not None:
                clear_scratch(scratch)
                self._keep(scratch, record, place, None)
            remove_scratch(scratch)
            raise
        remove_scratch(scratch)
        return None if again is None or self._is_planned(again) else again

    def _measured(self, spec: RunSpec, scratch: Path, gate: Gate | None) -> RunRecord | None:
        """The record, complete or failed; None where the campaign was stopped before anything was measured."""
        if gate is not None:
            gate.hold(scratch)
        try:
            record = self.executor.run(spec, self.plan.campaign, scratch, self._told(spec, scratch, gate))
        finally:
            if gate is not None:
                gate.ended(scratch)
        if self.stopping and record.failure is not None:
            return record.model_copy(update={"failure": UNTOLD}) if record.measurements else None
        return record

    def _told(self, spec: RunSpec, scratch: Path, gate: Gate | None) -> Callable[[Progress], None]:
        def told(progress: Progress) -> None:
            if gate is not None and progress.phase == HELD:
                gate.passed(scratch)
            with self.writing:
                self.listener.run_progress(spec, progress)

        return told

    def _is_planned(self, again: Attempt) -> bool:
        """Half of a batch may be a run of the plan anyway."""
        planned = {spec.run_id for spec in self.plan.specs}
        return again.halved_from is not None and again.number == 1 and again.spec.run_id in planned

    def _place(self, attempt: Attempt, position: int, beside: tuple[str, ...]) -> Scheduled:
        """Where the attempt stands in the campaign."""
        options = self.plan.options
        return Scheduled(
            order=options.order,
            order_seed=options.order_seed,
            position=position,
            attempt=attempt.number,
            earlier=attempt.earlier,
            halved_from=attempt.halved_from,
            beside=tuple(other for other in beside if other != attempt.spec.run_id),
        )

    def _keep(self, scratch: Path, record: RunRecord, place: Scheduled, again: Attempt | None) -> None:
        """Move it into place, enter it, tell of it."""
        run_id = record.run_id
        half = again.spec.run_id if again is not None and again.spec.run_id != run_id else None
        record = _placed(record, place.model_copy(update={"halved_as": half}))
        with self.writing:
            rewrite_record(scratch, record)
            forget_place(scratch)
            keep(scratch, self.result.folder, record)
            if again is None or again.spec.run_id != run_id:
                self.to_come.discard(run_id)
            followed = again is not None
            if again is not None and not self._is_planned(again):
                self.total += 1
            elif again is not None:
                half_id = again.spec.run_id
                followed = half_id in self.to_come or _has_result(self.result.folder, half_id, halves=False)
            if followed:
                self.result.overtaken.append(record)
            elif record.spec.calibration is not None:
                self.result.calibrations.append(record)
            else:
                (self.result.complete if record.status == "complete" else self.result.failed).append(record)
            self.listener.run_finished(record, followed)


def _placed(record: RunRecord, place: Scheduled) -> RunRecord:
    """The record with where it stood, and what that did to it."""
    return record.model_copy(
        update={"scheduled": place, "caveats": (*record.caveats, *_of_company(record, place))},
    )


def _of_company(record: RunRecord, scheduled: Scheduled) -> list[Caveat]:
    """What other runs on the machine did to this one. A simulated machine is each run's own."""
    if not scheduled.beside or record.simulated:
        return []
    others = ", ".join(scheduled.beside)
    return [
        Caveat(
            code="node-shared",
            message=f"Other GPUs of the machine ran {others} meanwhile: the node's energy includes theirs.",
        )
    ]


class _InPlace(futures.Executor):
    """Runs what is submitted at once, in the caller's thread: a Ctrl-C reaches it where it is."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        """Run it. What it raises is raised here."""
        future: futures.Future[Any] = futures.Future()
        future.set_result(function(*args, **kwargs))
        return future


def _pool(threads: int) -> futures.Executor:
    return _InPlace() if threads == 1 else futures.ThreadPoolExecutor(threads, thread_name_prefix="run")


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"Cannot write results under {folder}: {error.strerror or error}.",
            "Make the folder writable, or choose another with --results.",
        ) from error
