"""Runs a plan: order, skip what is complete, keep going after a failure, stop cleanly when asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.engines.server import refuse_elsewhere
from harness.errors import StoreError
from harness.measure.base import Progress
from harness.records import RunRecord
from harness.run.config import Plan
from harness.run.executors import Executor
from harness.run.sources import opened_sources, refuse_shared, served_pids
from harness.specs import RunSpec, SourcesSpec
from harness.store.files import RECORD, campaign_lock, keep_run, read_record, scratch_folder, sweep_scratch
from harness.tasks.hub import check_prompts


class Listener(Protocol):
    """Someone who watches a campaign."""

    def run_started(self, index: int, total: int, spec: RunSpec) -> None:
        """A run begins; `index` counts from 1 among those that are left to do."""
        ...

    def run_progress(self, progress: Progress) -> None:
        """News from the run."""
        ...

    def run_finished(self, record: RunRecord) -> None:
        """A run is stored, complete or failed."""
        ...


@dataclass
class CampaignResult:
    """What became of a plan. `interrupted` means that it was stopped before its end."""

    folder: Path
    complete: list[RunRecord] = field(default_factory=list)
    failed: list[RunRecord] = field(default_factory=list)
    skipped: int = 0
    interrupted: bool = False


def pending(plan: Plan, results: Path) -> list[RunSpec]:
    """The specs without a complete record, in the order of the plan.

    Raises:
        StoreError: A record is there but cannot be read: it is left alone, and nothing is run.
    """
    return [spec for spec in plan.specs if not _is_complete(results / plan.campaign / spec.run_id)]


def preflight(specs: Sequence[RunSpec]) -> None:
    """See that every dataset is there, and open each kind of source, before anything runs.

    Raises:
        UserInputError: A server is on another machine.
        ModelUnavailable: A dataset of the hub cannot be had.
        SourceUnavailable: With what to do; exit code 2.
    """
    for server in (spec.server for spec in specs if spec.server is not None):
        if server.base_url is not None:
            refuse_elsewhere(server.base_url, server.sources_host)
    for prompts in dict.fromkeys(spec.prompts for spec in specs if spec.replay is None):
        check_prompts(prompts)
    seen: dict[SourcesSpec, bool] = {}
    for spec in specs:
        seen[spec.sources] = seen.get(spec.sources, True) and spec.measure.allow_shared_gpu
    for sources, shared_allowed in seen.items():
        with opened_sources(sources, None) as opened:
            if not shared_allowed:
                refuse_shared(opened.sources, frozenset().union(*map(served_pids, specs)))


def run_campaign(plan: Plan, results: Path, executor: Executor, listener: Listener) -> CampaignResult:
    """Run what is left of a plan, one run at a time.

    A failed run is stored and the next one starts; it is tried again on the next start. Ctrl-C ends the run in
    progress, keeps every finished one and returns with `interrupted` set.

    Raises:
        StoreError: A result cannot be written, or another process runs the campaign. What is stored stays as it is.
    """
    folder = results / plan.campaign
    pending(plan, results)  # what cannot be read stops here, before anything is written
    _check_writable(folder)
    with campaign_lock(folder):
        return _run_pending(plan, results, executor, listener)


def _run_pending(plan: Plan, results: Path, executor: Executor, listener: Listener) -> CampaignResult:
    folder, todo = results / plan.campaign, pending(plan, results)
    result = CampaignResult(folder, skipped=len(plan.specs) - len(todo))
    sweep_scratch(folder)
    try:
        for index, spec in enumerate(todo, start=1):
            listener.run_started(index, len(todo), spec)
            with scratch_folder(folder, spec.run_id) as scratch:
                record = executor.run(spec, plan.campaign, scratch, listener.run_progress)
                keep_run(scratch, folder, spec.run_id)
            (result.complete if record.status == "complete" else result.failed).append(record)
            listener.run_finished(record)
    except KeyboardInterrupt:
        result.interrupted = True
    return result


def _is_complete(run_folder: Path) -> bool:
    path = run_folder / RECORD
    return path.exists() and read_record(path).status == "complete"


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
