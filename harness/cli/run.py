"""`harness run`: measure what a config asks for."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, cast

import typer

from harness.cli.echo import echo
from harness.cli.options import Car, Grid, Json, Phone, Results, editions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records import RunRecord
    from harness.run.config import Plan
    from harness.run.estimate import Range
    from harness.run.executors import Executor
    from harness.run.lanes import Lanes
    from harness.run.runner import CampaignResult
    from harness.specs import RunSpec

EXIT_RUNS_FAILED = 1
EXIT_INTERRUPTED = 130


class ExecutorName(StrEnum):
    """Where runs are made."""

    subprocess = "subprocess"
    ray = "ray"


def run_command(
    config: Annotated[Path, typer.Argument(help="A YAML config; the shipped ones are under configs/.")],
    results: Results = Path("results"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be run, and run nothing.")] = False,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="No child process per run: faster, but a crash ends the campaign.")
    ] = False,
    replay: Annotated[
        bool,
        typer.Option(
            "--replay", help="Run no model: replay what the 88-model study found for each run, on a simulated node."
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Make only those runs again that failed, and none that was never made."),
    ] = False,
    parallel: Annotated[
        bool,
        typer.Option(
            "--parallel", help="A run on each GPU at once, where sources.gpus name different ones. See README."
        ),
    ] = False,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Fixed loads on every board first, so that compare can tell boards from models. "
            "Without it, as the config says.",
        ),
    ] = None,
    allow_outside: Annotated[
        bool,
        typer.Option(
            "--allow-outside", help="Let the config name prompts, sensor profiles and models outside its own folder."
        ),
    ] = False,
    executor: Annotated[
        ExecutorName,
        typer.Option(help="Where runs are made: in subprocesses here, or on the nodes of a Ray cluster."),
    ] = ExecutorName.subprocess,
    address: Annotated[
        str, typer.Option(help="--executor ray: host:port of the cluster's head; auto: one started on this machine.")
    ] = "auto",
    phone: Phone = None,
    car: Car = None,
    grid: Grid = None,
    as_json: Json = False,
) -> None:
    """Measure every run of a config that has no complete result yet, and print the campaign's table.

    Runs that failed before are tried again.

    Exit code 0: all complete; 1: some runs failed; 2: nothing could be run; 130: stopped.
    """
    import contextlib
    import sys

    from harness.cli.plan import print_plan
    from harness.cli.progress import Unheard
    from harness.errors import UserInputError
    from harness.run.calibration import local_calibrations
    from harness.run.config import load_plan
    from harness.run.estimate import earlier_records, estimate
    from harness.run.executors import InProcessExecutor, SubprocessExecutor
    from harness.run.gpu_lock import gpus_held, real_gpus
    from harness.run.lanes import SERIAL, gpu_lanes, refuse_parallel
    from harness.run.preflight import preflight
    from harness.run.runner import pending
    from harness.store.manifest import utc_now

    chosen = editions(phone, car, grid)
    plan = load_plan(config, allow_outside)
    if replay:
        from harness.study.replay import replay_plan

        plan = replay_plan(plan)
    todo = pending(plan, results, retry_failed)
    if in_process and not all(spec.on_virtual_clock for spec in todo):
        raise UserInputError(
            "--in-process is for the virtual clock: two runs with real engines in one process disturb each other.",
            "Leave it out.",
        )
    if executor is ExecutorName.ray and (in_process or parallel):
        raise UserInputError("--executor ray makes runs on other machines.", "Leave --in-process and --parallel out.")
    if parallel:
        if in_process:
            raise UserInputError("--in-process makes one run at a time.", "Leave it or --parallel out.")
        refuse_parallel(todo)
    if calibrate is not None:
        plan = replace(plan, options=plan.options.model_copy(update={"calibration": calibrate}))
    calibrated, now = plan.options.calibration, utc_now()
    used = (
        todo if todo or not calibrate else list(plan.specs)
    )  # asked for by name, boards are calibrated afterwards too
    earlier = earlier_records(results) if used else []
    if dry_run:
        first = local_calibrations(used, {spec.sources: spec.sources.gpus for spec in used}, now) if calibrated else ()
        lanes, at_once = SERIAL, "one run after another"
        if parallel and todo:
            lanes = gpu_lanes({spec.sources: tuple(map(str, spec.sources.gpus)) for spec in todo})
            at_once = f"up to {lanes.at_once} at once, each on GPUs of its own"
        elif executor is ExecutorName.ray:
            at_once = "as many at once as the cluster has GPUs for; the time below is of one after another"
        print_plan(plan, todo, [estimate(spec, earlier) for spec in todo], as_json, first, lanes, at_once)
        return
    first, boards = (), frozenset[str]()
    if executor is ExecutorName.ray:
        maker, lanes, first = _on_cluster(address, todo, used if calibrated else [], now)
    else:
        gpus = preflight(used)
        boards = real_gpus(used, gpus)
        if calibrated:
            first = local_calibrations(used, gpus, now)
            gpus |= {spec.sources: tuple(map(str, spec.sources.gpus)) for spec in first}
        lanes = gpu_lanes(gpus) if parallel else SERIAL
        maker = InProcessExecutor() if in_process else SubprocessExecutor()
    each_s = [estimate(spec, earlier).duration_s for spec in (*first, *todo)]
    estimate_s = None if None in each_s else lanes.duration_s([*first, *todo], each_s)
    live = not as_json and bool(first or todo)
    with gpus_held(boards):
        outcome = _run(plan, results, maker, live, estimate_s, lanes, retry_failed, first)
    with contextlib.redirect_stdout(Unheard(sys.stdout)):
        _print_outcome(plan, outcome, chosen, replay, as_json)
    if outcome.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if outcome.failed:
        raise typer.Exit(EXIT_RUNS_FAILED)


def _on_cluster(
    address: str, todo: list[RunSpec], calibrated: list[RunSpec], now_utc: str
) -> tuple[Executor, Lanes, tuple[RunSpec, ...]]:
    """Ray, as many runs at once as its nodes have GPUs for, and calibrations. Sources are opened there, not here."""
    from harness.run.calibration import cluster_calibrations
    from harness.run.ray import RayExecutor

    executor = RayExecutor(address)
    try:
        lanes = executor.lanes([*todo, *calibrated])
        first = cluster_calibrations(calibrated, lanes.nodes(), now_utc)
        return executor, executor.lanes([*first, *todo]), first
    except BaseException:
        executor.close()
        raise


def _run(
    plan: Plan,
    results: Path,
    executor: Executor,
    live: bool,
    estimate_s: Range | None,
    lanes: Lanes,
    only_failed: bool,
    first: Sequence[RunSpec],
) -> CampaignResult:
    import contextlib
    import sys

    from harness.cli.progress import LiveListener, PlainListener, Unheard
    from harness.cli.tables import Screen
    from harness.run.runner import run_campaign

    interrupt_on_signals()
    err = Screen(file=cast("IO[str]", Unheard(sys.stderr)), highlight=False)
    with contextlib.closing(executor):
        if err.is_terminal and live:
            with LiveListener(err, estimate_s) as listener:
                return run_campaign(plan, results, executor, listener, lanes, only_failed, first)
        return run_campaign(plan, results, executor, PlainListener(err, estimate_s), lanes, only_failed, first)


def interrupt_on_signals() -> None:
    """A scheduler's stop and a lost terminal are as a Ctrl-C; unless they are ignored already, as nohup has it."""
    import signal

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for polite in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(polite) is not signal.SIG_IGN:
            signal.signal(polite, interrupt)


def _print_outcome(
    plan: Plan,
    outcome: CampaignResult,
    chosen: object,
    replay: bool,
    as_json: bool,
) -> None:
    import json
    import shlex
    import sys

    from rich.markup import escape

    from harness.cli.tables import console, print_results
    from harness.report.calibrations import calibration_lines, calibration_row
    from harness.report.results import Editions, result_row
    from harness.run.runner import pending

    assert isinstance(chosen, Editions)
    records = _stored(plan, outcome.folder)
    rows = [result_row(record, chosen, spec.accounting) for spec, record in records]
    calibrations = [calibration_row(record) for record in outcome.calibrations]
    means = []
    if replay:
        from harness.study.replay import replayed_means

        means = replayed_means(record for _, record in records)
    left = len(pending(plan, outcome.folder.parent))
    if as_json:
        document: dict[str, object] = {
            "campaign": plan.campaign,
            "folder": str(outcome.folder),
            "completed": len(outcome.complete),
            "failed": len(outcome.failed),
            "tried_again": len(outcome.overtaken),
            "recovered": len(outcome.recovered),
            "adopted": outcome.adopted,
            "calibrations": [each.model_dump(mode="json") for each in calibrations],
            "skipped": outcome.skipped,
            "interrupted": outcome.interrupted,
            "runs": [row.model_dump(mode="json") for row in rows],
        }
        if replay:
            document["replayed"] = [mean.model_dump(mode="json") for mean in means]
        echo(json.dumps(document, indent=2))
        return
    out = console()
    print_results(rows, out)
    if means:
        from harness.cli.replay_tables import print_replayed

        print_replayed(means, out)
    again = escape(shlex.join(["harness", *sys.argv[1:]]))  # as it was typed, with every option
    for line in calibration_lines(calibrations):
        out.print(escape(line), soft_wrap=True)
    whole = sum(record.status == "complete" for record in outcome.recovered)
    out.print(
        f"{len(outcome.complete)} complete, {len(outcome.failed)} failed, "
        f"{f'{whole} recovered, ' if whole else ''}{outcome.skipped} already done. "
        f"Results: {escape(str(outcome.folder))}",
        soft_wrap=True,
    )
    for record in (*outcome.overtaken, *outcome.failed):
        if told := _followed(record, plan, again=record in outcome.overtaken):
            out.print(escape(told), soft_wrap=True)
    for record in outcome.recovered:
        out.print(escape(_kept(record)), soft_wrap=True)
    if outcome.adopted:
        told = "in place and not in the manifest: put there, or the manifest was damaged. Their past is not known"
        out.print(escape(f"Entered as adopted, {told}: {', '.join(outcome.adopted)}."), soft_wrap=True)
    if outcome.interrupted:
        out.print(f"Stopped with {left} left. Finished runs are kept; resume with: {again}", soft_wrap=True)
    elif outcome.failed:
        out.print(f"Failed runs are tried again by: {again}", soft_wrap=True)


def _stored(plan: Plan, folder: Path) -> list[tuple[RunSpec, RunRecord]]:
    """The plan's runs as they are stored, in its order; one measured at half its batch is followed by that."""
    from harness.store.files import RECORD, read_record

    found: dict[str, tuple[RunSpec, RunRecord]] = {}
    for spec in plan.specs:
        run_id: str | None = spec.run_id
        while run_id is not None and run_id not in found and (folder / run_id / RECORD).exists():
            record = read_record(folder / run_id / RECORD)
            found[run_id] = spec, record
            run_id = record.scheduled.halved_as if record.scheduled is not None else None
    return list(found.values())


def _followed(record: RunRecord, plan: Plan, again: bool) -> str:
    """What became of an attempt that failed; nothing of one that nothing followed."""
    assert record.failure is not None
    half = record.scheduled.halved_as if record.scheduled is not None else None
    if half is None:
        return f"{record.run_id}: {record.failure.message} Tried again." if again else ""
    if any(spec.run_id == half for spec in plan.specs):
        lacks = "" if again else ", which has no complete result"
        return f"{record.run_id}: {record.failure.message} Half the batch is another run of the plan{lacks}: {half}."
    return f"{record.run_id}: {record.failure.message} Run at half the batch instead: {half}."


def _kept(record: RunRecord) -> str:
    """What was found of a run whose runner was killed, or could not store it."""
    if record.status == "complete":
        return f"{record.run_id} was finished by an earlier start that could not store it; it is kept."
    return f"{record.run_id}: {len(record.measurements)} windows of an earlier start that could not end are kept."
