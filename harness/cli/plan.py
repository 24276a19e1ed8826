"""What `harness run --dry-run` shows: the runs in their order, with time and energy as ranges."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.cli.echo import echo

if TYPE_CHECKING:
    from rich.table import Table

    from harness.run.config import Plan
    from harness.run.estimate import Range, RunEstimate
    from harness.run.lanes import Lanes
    from harness.specs import RunSpec


def print_plan(
    plan: Plan,
    todo: Sequence[RunSpec],
    estimates: Sequence[RunEstimate],
    as_json: bool,
    first: Sequence[RunSpec],
    lanes: Lanes,
    at_once: str,
) -> None:
    """The plan as a table, or as one JSON document.

    Args:
        plan: All of it.
        todo: What is left to do, in the order of the campaign.
        estimates: One for each of those.
        as_json: The document instead.
        first: Calibrations before them.
        lanes: Which of them are made at once.
        at_once: That in words.
    """
    if as_json:
        _print_json(plan, todo, estimates, lanes, first)
        return
    from harness.cli.tables import console
    from harness.units import J_PER_KWH, format_duration, format_significant

    out = console()
    out.print(_plan_table(plan, todo, estimates))
    for command in dict.fromkeys(spec.server.command for spec in plan.specs if spec.server is not None):
        if command:
            out.print(f"starts this program on this machine: {shlex.join(command)}", markup=False, soft_wrap=True)
    if any(spec.replay for spec in plan.specs):
        out.print("replay: no model runs; time and power are those of the study's runs, on a simulated node.")
    if first:
        out.print(f"{_calibrations(first)}; not in the estimates below")
    if not todo:
        return
    from harness.run.estimate import BY_SETTINGS, total

    order = plan.options.order
    seed = f", seed {plan.options.order_seed}" if order == "interleaved" else ""
    out.print(f"order: {order}{seed}; {at_once}")
    time_s = lanes.duration_s(todo, [each.duration_s for each in estimates])
    unknown = sum(each.duration_s is None for each in estimates)
    out.print(f"time: {_told(time_s, format_duration)}{_without(unknown, time_s)}")
    if any(each.duration_from == BY_SETTINGS for each in estimates):
        out.print("(where no earlier run tells: without loading, and if a batch takes no longer than window_s)")
    energy_j, unknown = total(each.gpu_energy_j for each in estimates)
    mark = " (simulated)" if all(each.simulated for each in estimates) else ""

    def kwh(joules: float) -> str:
        return f"{format_significant(joules / J_PER_KWH)} kWh"

    told = f"{_told(energy_j, kwh)}{mark if energy_j else ''}{_without(unknown, energy_j)}"
    out.print(f"energy of the GPUs that run the models, warm-up and idle time included: {told}")


def _calibrated(first: Sequence[RunSpec]) -> dict[str, Any]:
    """What comes before the runs, and how long, one after another."""
    from harness.engines.simulated import known_batch_s
    from harness.run.estimate import by_settings_s

    loads = list(dict.fromkeys(spec.model.id for spec in first))
    times_s = [by_settings_s(spec.measure, known_batch_s(spec), spec.batch_size) for spec in first]
    measuring_s = [sum(each[index] for each in times_s) for index in (0, 1)]
    return {"boards": len(first) // max(1, len(loads)), "loads": loads, "measuring_s": measuring_s}


def _calibrations(first: Sequence[RunSpec]) -> str:
    from harness.units import format_duration

    told = _calibrated(first)
    boards, (low_s, high_s) = told["boards"], told["measuring_s"]
    return (
        f"first: calibration of {boards} board{'s' if boards > 1 else ''} ({' and '.join(told['loads'])}), "
        f"{format_duration(low_s)} to {format_duration(high_s)} of measuring one after another"
    )


def _told(known: Range | None, words: object) -> str:
    assert callable(words)
    return f"{words(known[0])} to {words(known[1])}" if known is not None else "not known"


def _without(unknown: int, known: Range | None) -> str:
    return f", and {unknown} run{'s' if unknown > 1 else ''} of which it is not known" if unknown and known else ""


def _print_json(
    plan: Plan,
    todo: Sequence[RunSpec],
    estimates: Sequence[RunEstimate],
    lanes: Lanes,
    first: Sequence[RunSpec],
) -> None:
    import json

    from harness.run.estimate import total

    positions = {spec.run_id: index for index, spec in enumerate(todo, start=1)}
    by_id = {each.run_id: asdict(each) for each in estimates}
    runs = [
        {
            "run_id": spec.run_id,
            "pending": spec.run_id in positions,
            "position": positions.get(spec.run_id),
            "estimate": by_id.get(spec.run_id),
            "spec": spec.model_dump(mode="json"),
        }
        for spec in plan.specs
    ]
    durations_s = [each.duration_s for each in estimates]
    energy_j, energy_unknown = total(each.gpu_energy_j for each in estimates)
    document = {
        "campaign": plan.campaign,
        "options": plan.options.model_dump(mode="json"),
        "total": {
            "at_once": lanes.at_once,
            "duration_s": lanes.duration_s(todo, durations_s),
            "runs_of_unknown_duration": durations_s.count(None),
            "gpu_energy_j": energy_j,
            "runs_of_unknown_energy": energy_unknown,
            "simulated": bool(estimates) and all(each.simulated for each in estimates),
        },
        "calibrations": _calibrated(first),
        "runs": runs,
    }
    echo(json.dumps(document, indent=2))


def _plan_table(plan: Plan, todo: Sequence[RunSpec], estimates: Sequence[RunEstimate]) -> Table:
    """A row per run, those to do first, in their order. Tasks and prompts have a column only where they differ."""
    from rich.markup import escape
    from rich.table import Table

    from harness.units import format_duration

    left = {spec.run_id for spec in todo}
    by_id = {each.run_id: each for each in estimates}
    rows = []
    for spec in [*todo, *(spec for spec in plan.specs if spec.run_id not in left)]:
        node, guess = spec.sources.node, by_id.get(spec.run_id)
        rows.append(
            {
                "run_id": spec.run_id,
                "task": spec.task,
                "model": escape(spec.model.id),
                "prompts": escape(spec.prompts.label),
                "weights": "none" if spec.engine == "simulated" else spec.model.weights,
                "batch": str(spec.batch_size) if spec.server is None else spec.load_label,
                "dtype": spec.dtype,
                "engine": "replay" if spec.replay else spec.engine,
                "energy from": f"{node.gpu_count} simulated {node.gpu}" if node else "NVML",
                "time": _told(guess.duration_s, format_duration) if guess else "done",
            }
        )
    tasks = ", ".join(dict.fromkeys(row["task"] for row in rows))
    title = f"Plan of {escape(plan.campaign)} ({tasks}): {len(todo)} of {len(plan.specs)} runs to do"
    table = Table(title=title, title_justify="left")
    names = [name for name in rows[0] if name not in ("task", "prompts") or len({row[name] for row in rows}) > 1]
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return table
