"""One RunSpec in one process: the only place where power, tasks and engines meet (who answers: run/engine_choice).

`run_task` runs it, tells its progress as JSON lines on a pipe, and leaves record.json and trace.parquet in the scratch
folder named in the task. Whatever goes wrong becomes a Failure there.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.engines.base import Engine, Loadable
from harness.engines.openai import OpenAIEngine
from harness.errors import HarnessError, MeasurementInvalid, StoreError
from harness.frozen import Frozen
from harness.measure.base import Progress, ServedWorkload
from harness.measure.session import Session, SessionResult
from harness.measure.summary import host_energy, summarize
from harness.power.base import ReferenceMeter
from harness.power.host import CodeCarbonMeter
from harness.records import CrossCheck, Environment, Failure, Preparation, RunRecord, SourceInfo, WorkCounts
from harness.run.doubts import of_cuts, of_engine, of_prompts, of_references, of_weights
from harness.run.engine_choice import cuda_version_of, engine_of, save_images, template_of
from harness.run.environment import describe_environment
from harness.run.journal import SAMPLES_FILE, UNTOLD, Journal, write_what_fits
from harness.run.lanes import HELD, HOLD
from harness.run.sources import OpenedSources, opened_sources, refuse_shared, served_pids
from harness.served_records import Attempts
from harness.specs import RunSpec
from harness.store.files import write_run
from harness.tasks.base import Request, endless_batches
from harness.tasks.prompts import load_requests

TRACEBACK_LINES = 20
HOLD_LOOK_S = 0.05

Report = Callable[[Progress], None]


class WorkerTask(Frozen):
    """What the parent hands to a worker."""

    spec: RunSpec
    campaign: str
    scratch: str


@dataclass
class EngineWorkload:
    """An engine and an endless row of batches, as the session wants them."""

    engine: Engine
    batches: Iterator[tuple[Request, ...]]

    def prepare(self, batch_count: int) -> Sequence[Any]:
        """The next batches, prepared."""
        return [self.engine.prepare(batch) for batch in itertools.islice(self.batches, batch_count)]

    def run(self, batch: Any) -> WorkCounts:
        """Run one."""
        return self.engine.run(batch)

    def synchronize(self) -> None:
        """Wait for the device."""
        self.engine.synchronize()


@dataclass
class _Run:
    """What is known so far; a failure keeps it."""

    spec: RunSpec
    campaign: str
    started_at_utc: str
    phase: str = "start"
    environment: Environment | None = None
    sources: tuple[SourceInfo, ...] = ()
    session: Session | None = None
    journal: Journal | None = None


def execute(spec: RunSpec, campaign: str, scratch: Path, report: Report) -> RunRecord:
    """Run one spec and write its record, complete or failed, into `scratch`.

    Raises:
        StoreError: The record itself cannot be written.
    """
    run = _Run(spec, campaign, _utc_now())

    def told(progress: Progress) -> None:
        run.phase = progress.phase
        report(progress)

    try:
        record = _measure(run, scratch, told)
    except HarnessError as error:
        record = failed_record(run.spec, campaign, run.started_at_utc, _failure_of(error, run.phase), run)
    except Exception as error:  # the worker's edge: any other error is a bug or a library's, kept with its traceback
        tail = "".join(traceback.format_exception(error)).splitlines()[-TRACEBACK_LINES:]
        failure = Failure(
            kind="exception",
            message=f"{type(error).__name__}: {error}",
            phase=run.phase,
            stderr_tail="\n".join(tail),
        )
        record = failed_record(run.spec, campaign, run.started_at_utc, failure, run)
    return _write(run, record, scratch)


def _write(run: _Run, record: RunRecord, scratch: Path) -> RunRecord:
    """Write record and trace; on a disk too full for that as much as fits, at least the reason or the windows."""
    windows, trace = run.session.kept if run.session and run.session.kept else ((), None)
    try:
        return write_what_fits(scratch, record, trace)
    except StoreError as error:
        if windows:  # the journal has them, and would go with a record
            if run.journal is not None:
                run.journal.catch_up()
            raise
        reason = failed_record(run.spec, run.campaign, run.started_at_utc, _failure_of(error, "write"))
        with suppress(StoreError):
            write_run(scratch, reason, None)
            return reason
        raise


def failed_record(
    spec: RunSpec, campaign: str, started_at_utc: str, failure: Failure, known: _Run | None = None
) -> RunRecord:
    """A record of a run without a result; windows that were measured are kept."""
    session = known.session if known else None
    kept = session.kept if session else None
    attempts = None
    if session is not None and isinstance(session.workload, ServedWorkload):
        sent, failed = session.workload.totals()
        attempts = Attempts(sent=sent, failed=failed, last_load=session.kept_load, windows=session.kept_windows)
    return RunRecord(
        run_id=spec.run_id,
        campaign=campaign,
        origin=_origin(spec),
        spec=spec,
        environment=known.environment if known else None,
        sources=known.sources if known else (),
        measurements=kept[0] if kept else (),
        served=session.kept_served if session else None,
        attempts=attempts,
        started_at_utc=started_at_utc,
        finished_at_utc=_utc_now(),
        status="failed",
        failure=failure,
    )


def _measure(run: _Run, scratch: Path, report: Report) -> RunRecord:
    spec = run.spec
    report(Progress("open sources"))
    with opened_sources(spec.sources, scratch) as opened:
        run.sources = tuple(source.info for source in opened.sources)
        run.environment = describe_environment(_driver(run.sources))
        if not spec.measure.allow_shared_gpu:
            refuse_shared(opened.sources, served_pids(spec))
        report(Progress("read prompts"))
        requests = (Request(0, ""),) if spec.replay else load_requests(spec.prompts, spec.task)  # a replay asks nothing
        report(Progress("load model"))
        engine = engine_of(spec, opened, scratch)
        try:
            engine.load()
            _wait_while_held(scratch, report)
            run.environment = run.environment.model_copy(update={"cuda": cuda_version_of(spec)})
            references = _reference_meters(spec, run.sources)
            try:
                so_far = failed_record(spec, run.campaign, run.started_at_utc, UNTOLD, run)
                run.journal = Journal(scratch, so_far, durable=not spec.on_virtual_clock)
                run.session = _session(spec, opened, engine, requests, references, scratch, report, run.journal)
                result = run.session.run()
            finally:
                for meter in references:
                    meter.close()
            save_images(spec, engine, requests, scratch)
            return _complete(run, opened, engine, result, references, len(requests))
        finally:
            engine.close()


def _session(
    spec: RunSpec,
    opened: OpenedSources,
    engine: Engine | OpenAIEngine,
    requests: Sequence[Request],
    references: Sequence[ReferenceMeter],
    scratch: Path,
    report: Report,
    journal: Journal,
) -> Session:
    batches = endless_batches(requests, spec.batch_size, spec.seed)
    return Session(
        sources=opened.sources,
        sampler=opened.sampler(scratch / SAMPLES_FILE, spec.measure.sample_period_s),
        clock=opened.clock,
        spec=spec.measure,
        workload=(
            engine.keeper(itertools.chain.from_iterable(batches))
            if isinstance(engine, OpenAIEngine)
            else EngineWorkload(engine, batches)
        ),
        seed=spec.seed,
        batch_size=spec.batch_size,
        references=references,
        truth=opened.truth,
        report=report,
        own_pids=engine.pids if isinstance(engine, OpenAIEngine) else frozenset,
        keep=journal.keep,
    )


def _wait_while_held(scratch: Path, report: Report) -> None:
    """Runs on other GPUs may still load their models, which would disturb this one's windows."""
    if (scratch / HOLD).exists():
        report(Progress(HELD))
    while (scratch / HOLD).exists():
        time.sleep(HOLD_LOOK_S)


def _reference_meters(spec: RunSpec, sources: Sequence[SourceInfo]) -> list[ReferenceMeter]:
    gpu_count = sum(info.kind == "gpu" for info in sources)
    return [CodeCarbonMeter(gpu_count) for name in spec.measure.cross_check if name == "codecarbon"]


def _complete(
    run: _Run,
    opened: OpenedSources,
    engine: Loadable,
    result: SessionResult,
    references: Sequence[ReferenceMeter],
    prompt_count: int,
) -> RunRecord:
    spec, sources = run.spec, result.sources
    summary = summarize(result.measurements, sources, opened.host_missing, spec.measure.target_relative_halfwidth)
    return RunRecord(
        run_id=spec.run_id,
        campaign=run.campaign,
        origin=_origin(spec),
        spec=spec,
        environment=run.environment,
        started_at_utc=run.started_at_utc,
        finished_at_utc=_utc_now(),
        status="complete",
        parameter_count=engine.parameter_count,
        template=template_of(spec, engine),
        sources=sources,
        idle=result.idle,
        warm_up=result.warm_up,
        missed_deadlines=result.trace.missed_deadlines,
        measurements=result.measurements,
        host=host_energy(result.measurements, sources, opened.host_missing),
        cross_checks=tuple(_cross_check(index, meter, result, sources) for index, meter in enumerate(references)),
        server=engine.info if isinstance(engine, OpenAIEngine) else None,
        served=result.served,
        summary=summary,
        preparation=_preparation(result, opened, spec),
        caveats=(
            *opened.caveats,
            *of_engine(opened, engine),
            *of_prompts(spec, prompt_count, result.served),
            *of_cuts(result.measurements),
            *of_weights(spec),
            *result.caveats,
            *of_references(result),
        ),
    )


def _preparation(result: SessionResult, opened: OpenedSources, spec: RunSpec) -> Preparation | None:
    """What preparing inputs took, per generation; no figure where its windows cannot carry one."""
    if not result.preparation:
        return None
    target = spec.measure.target_relative_halfwidth
    try:
        summary = summarize(result.preparation, result.sources, opened.host_missing, target)
    except MeasurementInvalid:
        return Preparation(windows=result.preparation)
    return Preparation(windows=result.preparation, summary=summary)


def _cross_check(
    index: int, meter: ReferenceMeter, result: SessionResult, sources: tuple[SourceInfo, ...]
) -> CrossCheck:
    """The other tool's joules beside ours: every GPU of the machine, from edge to edge, windows that both have."""
    gpus = {info.id for info in sources if info.kind == "gpu"}
    windows = [
        (measurement, readings[index])
        for measurement, readings in zip(result.measurements, result.references, strict=True)
        if not measurement.rejected
    ]
    return CrossCheck(
        tool=meter.name,
        version=meter.version,
        windows=len(windows),
        gpu_energy_j=_sum_known([reading.gpu_energy_j for _, reading in windows]),
        harness_gpu_energy_j=sum(s.energy_j for m, _ in windows for s in m.sources if s.source_id in gpus),
        cpu_energy_j=_sum_known([reading.cpu_energy_j for _, reading in windows]),
        cpu_provenance=meter.cpu_provenance,
        dram_energy_j=_sum_known([reading.dram_energy_j for _, reading in windows]),
        dram_provenance=meter.dram_provenance,
        note=f"Its window opens before and closes after ours. {meter.note}",
    )


def _sum_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _failure_of(error: HarnessError, phase: str) -> Failure:
    """What is said of it, and whole what a library said that it comes from."""
    causes, cause = [], error.__cause__
    while cause is not None:
        causes += f"{type(cause).__name__}: {cause}".splitlines()
        cause = cause.__cause__
    tail = "\n".join(causes[:TRACEBACK_LINES])
    return Failure(kind=error.kind, message=error.message, hint=error.hint, phase=phase, stderr_tail=tail)


def _origin(spec: RunSpec) -> Any:
    return "simulated" if spec.sources.kind == "simulated" else "measured"


def _driver(sources: Sequence[SourceInfo]) -> str | None:
    return next((info.driver for info in sources if info.driver), None)


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _end_with_parent() -> None:
    """Ask Linux to end this process when its parent is killed: nobody would keep its record."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def run_task(path: str, progress_fd: int) -> int:
    """What a worker process does. Exit code 0 with a complete record, 1 with a failed one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when a run ends
    _end_with_parent()
    os.set_inheritable(progress_fd, False)  # the parent waits for its end: no helper may hold it open
    task = WorkerTask.model_validate_json(Path(path).read_text(encoding="utf-8"))

    def report(progress: Progress) -> None:
        os.write(progress_fd, (json.dumps(asdict(progress)) + "\n").encode())

    record = execute(task.spec, task.campaign, Path(task.scratch), report)
    return 0 if record.status == "complete" else 1
