"""Runs of scripts/measure_gpu: as many of a campaign as its time allows, each planned by what those before it took."""

from __future__ import annotations

import time
from typing import Any

import yaml
from _measure_gpu_context import Context, LeftOut
from _measure_gpu_plan import (
    LAST_CAMPAIGN,
    NOMINAL_S,
    SHORTEST_WINDOW_S,
    Asked,
    Part,
    config_of,
    runs_of,
    too_large,
)

from harness.campaign import CampaignOptions, Retry
from harness.measure.base import Progress
from harness.records import RunRecord
from harness.run.config import Plan, load_plan
from harness.run.retries import Attempt
from harness.run.runner import run_campaign
from harness.specs import RunSpec

PROFILE = "sensor.yaml"
ONCE = CampaignOptions(order="as-written", retry=Retry(driver=0))  # the time is planned
SLACK_S = 10.0  # a run that has begun may end late by this; what follows has less
REHEARSED_LOAD_S = 3.0  # what a rehearsal waits for a model that is not there
LEAST_VIRTUAL_S = 0.5


class Quiet:
    """Nobody watches a single run."""

    def run_started(self, index: int, total: int, attempt: Attempt) -> None:
        """Said by the campaign."""

    def run_progress(self, spec: RunSpec, progress: Progress) -> None:
        """Not shown."""

    def run_finished(self, record: RunRecord, again: bool) -> None:
        """Said by the campaign."""


def campaign(part: Part, context: Context) -> list[RunRecord]:
    """Run as much of a campaign as its time allows; every run is stored when it ends.

    Raises:
        KeyboardInterrupt: It was stopped.
        LeftOut: No run was done, or too few would be.
    """
    name = part.name
    asked = [run for run in runs_of(name, context.device.simulated) if _fits_memory(run, context)]
    counts = context.counts[name] = {"planned": len(asked), "done": 0}
    _refuse_too_few(part, asked, context)
    done: list[RunRecord] = []
    begun: list[dict[str, Any]] = []
    for index, each in enumerate(asked):
        left_s, needed_s = time_for(part, len(done), context), shortest_s(each, context)
        if left_s < needed_s:
            reason = f"{max(0.0, left_s):.0f} s were left for it, and a run takes {needed_s:.0f} s"
            context.drop(each.label, reason)
            continue
        begun.append(planned(each, asked[index:], part, context))
        spec = _specs(name, begun, context)[-1]
        limited = spec.model_copy(update={"timeout_s": max(1.0, min(left_s + SLACK_S, context.end_s))})
        start_s = time.monotonic()
        if context.device.rehearsed:
            time.sleep(REHEARSED_LOAD_S)
        result = run_campaign(Plan(name, (limited,), ONCE), context.runs, context.executor, Quiet())
        if result.interrupted:
            raise KeyboardInterrupt
        took_s = time.monotonic() - start_s
        for record in result.failed:
            context.drop(each.label, record.failure.message if record.failure else "it failed")
        for record in result.complete if not context.device.virtual else ():
            context.costs.learn(each, record, took_s)
        done += result.complete
        counts["done"] = len(done)
        state = "done" if result.complete else "failed"
        context.say(f"  {each.label}: {state} in {took_s:.1f} s, windows of {spec.measure.window_s:g} s")
        context.kept()
    if not done:
        raise LeftOut("no run of it was done")
    return done


def planned(each: Asked, left: list[Asked], part: Part, context: Context) -> dict[str, Any]:
    """A run as a config writes it, its windows as long as those that are left to do can all have them.

    Where not all that the part needs fit into its own time, none has long windows at the others' cost.
    """
    costs, left_s = context.costs, context.left_s(part.name)
    if context.device.virtual:
        window_s = costs.window_s(runs_of(part.name, True), part.share * NOMINAL_S)
    elif part.fewest > 1 and len(costs.fitting(left, left_s)) < part.fewest - context.counts[part.name]["done"]:
        window_s = SHORTEST_WINDOW_S
    else:
        window_s = costs.window_s(left, left_s)
    return each.run | {"measure": costs.measure(each, window_s)}


def shortest_s(each: Asked, context: Context) -> float:
    """The least that a run takes on the wall."""
    return LEAST_VIRTUAL_S if context.device.virtual else context.costs.run_s(each, SHORTEST_WINDOW_S)


def time_for(part: Part, done: int, context: Context) -> float:
    """Seconds that a part's next run may take: until it has what it cannot do without, it borrows from those to come.

    A part that one run is enough for never borrows: what follows it is worth as much.
    """
    return context.left_s(LAST_CAMPAIGN if part.fewest > 1 and done < part.fewest else part.name)


def _refuse_too_few(part: Part, asked: list[Asked], context: Context) -> None:
    """Do not begin what cannot be finished: the parts that follow have the time.

    Raises:
        LeftOut: Fewer runs fit than the part needs.
    """
    left_s = time_for(part, 0, context)
    fits = len(asked) if context.device.virtual else len(context.costs.fitting(asked, left_s))
    if left_s > 0 and fits < part.fewest:
        raise LeftOut(f"{left_s:.0f} s are left for it: {fits} runs fit, and fewer than {part.fewest} tell nothing")


def _fits_memory(asked: Asked, context: Context) -> bool:
    reason = too_large(asked.model, asked.run["task"], context.device)
    if reason is not None:
        context.drop(asked.label, reason)
    return reason is None


def _specs(name: str, runs: list[dict[str, Any]], context: Context) -> tuple[RunSpec, ...]:
    """The runs so far, by a config that stays beside the results."""
    folder = context.out / "configs"
    folder.mkdir(exist_ok=True)
    profile = f"../{PROFILE}" if (context.out / PROFILE).exists() else None
    config = config_of(name, runs, context.device, profile)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
    return load_plan(path, allow_outside=True).specs  # our own: the profile is above it
