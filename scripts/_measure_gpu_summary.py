"""summary.json and README.md of a folder that scripts/measure_gpu fills: what was found, how, and what was left out."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _measure_gpu_context import Context
from _measure_gpu_parts import beside_study
from _measure_gpu_plan import NOMINAL_S, label

from harness.measure.run_caveats import all_caveats
from harness.records import RunRecord
from harness.run.environment import describe_environment
from harness.specs import RunSpec
from harness.units import format_plus_minus, format_significant

SIMULATED = (
    "**Simulated: no real GPU drew any of this energy, and no model ran.** The runs are of the simulated engine, "
    "whose costs are assumed: the numbers show that the script works, and nothing of any model or board."
)
REAL = "Weights are random: speed and energy of the architectures, no meaningful output. Nothing was downloaded."
REHEARSED = (
    "A rehearsal of the time plan: windows on the wall clock; a model's load and the sensor's pattern were waited."
)
CAVEAT = (
    "Another GPU, another software stack, random weights: the study ran trained weights on an A100-SXM4-80GB with "
    "transformers and diffusers of September 2023, batch 1, 1,000 inputs, in float32, the libraries' default, unless "
    "its code asked for another; here in {dtype}. Both sides are the gross energy of the one GPU that ran the model. "
    "Ours is of the time in which batches ran; the study's, estimated from its node's counters, is of its whole query "
    "phase, the time between inputs included. The ratio is no verdict on either."
)
BATCHED = (
    "The study asked one input at a time, so there is nothing of it to divide by: what batching does to the same work "
    "here, beside the study's batch 1, is no comparison of machines."
)


STUDY_PROMPTS = 1000


def label_of(spec: RunSpec) -> str:
    """A run in a few words."""
    image = None if spec.image is None else {"width": spec.image.width, "height": spec.image.height}
    steps = spec.image.steps if spec.image is not None else spec.text.new_tokens if spec.text is not None else 0
    return label(spec.model.id, spec.batch_size, spec.prompts.words if image is None else None, steps, image)


def write_summary(context: Context, about: dict[str, Any]) -> None:
    """Bring both files up to date with what is there, by rename, so that a kill leaves whole ones."""
    summary = summary_of(context, about)
    _replace(context.out / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False))
    _replace(context.out / "README.md", "\n".join(readme(summary)) + "\n")


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def summary_of(context: Context, about: dict[str, Any]) -> dict[str, Any]:
    """Everything that a reader needs without the records."""
    device = context.device
    stored = context.records()
    found = {part["name"]: part["found"] for part in about["parts"]}
    return {
        "simulated": device.simulated,
        "rehearsed": device.rehearsed,
        "device": {"name": device.name, "driver": device.driver, "memory_bytes": device.memory_bytes},
        **{key: about[key] for key in ("started_at_utc", "command", "minutes", "packages")},
        "page": (context.out / "report.html").exists(),
        "lacking": sorted(about["lacking"]),
        "not_preloaded": about["not_preloaded"],
        "environment": describe_environment(device.driver).model_dump(mode="json"),
        "parts": [{key: value for key, value in part.items() if key != "found"} for part in about["parts"]],
        "sensor": found.get("sensor"),
        "overhead": found.get("overhead"),
        "runs": [row_of(record) for record in stored if record.summary is not None],
        "planned_by": {"start_s": context.costs.start_s, "step_s": context.costs.step_s},
        "phases": found.get("report"),
        "weights": found.get("weights"),
        "study": [beside for record in stored if (beside := beside_study(record)) is not None],
    }


def row_of(record: RunRecord) -> dict[str, Any]:
    """One complete run: energy per generation and per token or image, with 95 % intervals, joules."""
    summary, spec = record.summary, record.spec
    assert summary is not None
    per_unit = summary.energy_j_per_output_token or summary.energy_j_per_image
    return {
        "campaign": record.campaign,
        "run_id": record.run_id,
        "label": label_of(spec),
        "batch_size": spec.batch_size,
        "simulated": record.simulated,
        "weights": "none" if spec.engine == "simulated" else spec.model.weights,
        "dtype": spec.dtype,
        "windows": summary.windows,
        "rejected": sum(window.rejected for window in record.measurements),
        "window_s": statistics.median(window.busy_s for window in record.measurements),
        "generations": summary.generations,
        "prompts": spec.prompts.count if spec.prompts.count == STUDY_PROMPTS else None,
        "gpu_energy_j": _interval(summary.gpu_energy_j),
        "true_gpu_energy_j": summary.true_gpu_energy_j,
        "unit": "token" if summary.energy_j_per_output_token else "image",
        "gpu_energy_j_per_unit": _interval(per_unit),
        "power_w": summary.power_w,
        "duration_s": summary.duration_s,
        "caveats": sorted({caveat.code for caveat in all_caveats(record)}),
    }


def _interval(estimate: Any) -> dict[str, float] | None:
    return None if estimate is None else {"value": estimate.value, "low": estimate.low, "high": estimate.high}


# --- README -----------------------------------------------------------------------------------------------


def readme(summary: dict[str, Any]) -> Iterator[str]:
    """Lines of Markdown."""
    device, simulated = summary["device"], summary["simulated"]
    yield f"# {device['name']}{' (simulated)' if simulated else ''}: what scripts/measure_gpu found"
    yield from ("", SIMULATED if simulated else REAL, "")
    yield from _how(summary)
    yield from _parts(summary["parts"])
    yield from _sensor(summary["sensor"])
    yield from _overhead(summary["overhead"])
    yield from _runs(summary["runs"], simulated)
    yield from _phases(summary["phases"])
    yield from _weights(summary["weights"], simulated)
    yield from _study(summary["study"], simulated, ", ".join(sorted({row["dtype"] for row in summary["runs"]})))


def _how(summary: dict[str, Any]) -> Iterator[str]:
    device, here = summary["device"], summary["environment"]
    memory = f", {device['memory_bytes'] / 2**30:.0f} GiB" if device["memory_bytes"] else ""
    yield "## How it was made"
    yield ""
    yield f"- `{summary['command']}`, started {summary['started_at_utc']}, {summary['minutes']:g} minutes"
    yield f"- board: {device['name']}{memory}, driver {device['driver'] or 'none (simulated or not told)'}"
    yield f"- machine: {here['cpu_model']}, {here['cpu_count']} CPUs, {here['platform']}, Python {here['python']}"
    yield f"- harness {here['harness_version']}, commit {here['git_commit'] or 'unknown'}"
    yield f"- packages: {', '.join(f'{name} {version}' for name, version in here['packages'].items())}"
    yield f"- wheels: {summary['packages']}; lacking: {', '.join(summary['lacking']) or 'nothing'}"
    if summary["not_preloaded"]:
        yield f"- imported by each run anew: {', '.join(f'{n} ({why})' for n, why in summary['not_preloaded'].items())}"
    yield "- records and power over time: `runs/`, by the configs in `configs/`; `summary.json` holds the figures"
    if summary["page"]:
        yield "- `report.html` shows them"
    if summary["rehearsed"]:
        yield f"- {REHEARSED}"
    elif summary["simulated"]:
        yield f"- windows are as long as in a run of {NOMINAL_S / 60:g} minutes, on a virtual clock"
        yield "- every simulated model costs the same: batches of 8 and 64 were run of one text generator only"
    yield ""


def _parts(parts: list[dict[str, Any]]) -> Iterator[str]:
    yield "## What was done, and what was left out"
    yield ""
    yield "| part | what | state | runs | took | share |"
    yield "|---|---|---|---:|---:|---:|"
    for part in parts:
        state = " ".join(filter(None, (part["state"], part["reason"])))
        runs = f"{part['runs']['done']} of {part['runs']['planned']}" if part["runs"] else "-"
        times = f"{part['took_s']:.1f} s | {part['share_s']:.0f} s"
        yield f"| {part['name']} | {part['told']} | {state} | {runs} | {times} |"
    yield ""
    dropped = [each for part in parts for each in part["dropped"]]
    yield "Left out:" if dropped else "Of the parts that were done nothing was left out."
    yield ""
    for reason in dict.fromkeys(each["reason"] for each in dropped):
        yield f"- {'; '.join(each['what'] for each in dropped if each['reason'] == reason)}: {reason}"
    yield from [""] if dropped else []


def _sensor(found: dict[str, Any] | None) -> Iterator[str]:
    if found is None:
        return
    findings = found["findings"]
    yield "## The sensor and the counter"
    yield ""
    yield "`sensor.yaml` is the profile that every run here used; ± is one standard uncertainty."
    yield ""
    for name, words in found["explained"].items():
        value = findings[name]
        if isinstance(value, dict) and "value" in value:
            yield f"- {name}: {format_significant(value['value'], 4)} ± {format_significant(value['u'], 2)}; {words}"
        elif isinstance(value, dict):
            yield f"- {name}: {_agreement(value)}; {words}"
        elif value is not None:
            shown = format_significant(value, 4) if isinstance(value, float) else value
            yield f"- {name}: {shown}; {words}"
    yield from (f"- {caveat['code']}: {caveat['message']}" for caveat in found["caveats"])
    yield ""


def _agreement(value: dict[str, Any]) -> str:
    """The counter's power against the integral of the sampled one, and whether they agree within two sigma."""
    counter, sampled, off = (value[name] for name in ("counter_w", "sampled_w", "difference_fraction"))
    agrees = abs(off["value"]) <= 2 * off["u"]
    return (
        f"counter {counter['value']:.2f} W, integrated power {sampled['value']:.2f} W, differing by "
        f"{off['value']:+.3%} ± {off['u']:.3%}: they {'agree' if agrees else 'do NOT agree'} within two uncertainties"
    )


def _overhead(found: dict[str, Any] | None) -> Iterator[str]:
    if not found:
        return
    yield "## What the meter costs"
    yield ""
    for unit, each in found.items():
        if "left_out" in each:
            continue
        goal, resolved = f"{each['goal_fraction']:.1%}", f"{each['resolvable_fraction']:.2%}"
        verdict = f"below {goal}" if each["below_goal"] else f"not shown to be below {goal}"
        if resolves_no_less(each):
            verdict += f"; this could not be resolved below {resolved}"
        yield (
            f"- {each['model']}, batch {each['batch_size']}, engine {each['engine']}, power {each['power']}: "
            f"{each['off_per_s']:.4g} {unit}/s with the meter off, "
            f"{each['cost_fraction']:+.3%} of it lost with it on (95 %: {each['cost_low']:+.3%} to "
            f"{each['cost_high']:+.3%}; {each['pairs']} pairs of turns of {each['turn_s']:.2f} s; resolvable: "
            f"±{resolved}): {verdict}"
        )
        yield (
            f"  - a typical pair (median, sign test): {each['typical_fraction']:+.3%} (95 %: "
            f"{each['typical_low']:+.3%} to {each['typical_high']:+.3%}); the sampler took "
            f"{each['sampler_core_fraction']:.2%} of a core at {each['sampler_period_s'] * 1000:.0f} ms"
        )
        yield f"  - the edges of a window take {each['window_edges_s']:.2f} s: time around the work, not in it"
    yield ""


def resolves_no_less(each: dict[str, Any]) -> bool:
    """Whether the interval is too wide to tell a cost of the goal from none."""
    wide: bool = each["resolvable_fraction"] > each["goal_fraction"]
    return wide


def _runs(rows: list[dict[str, Any]], simulated: bool) -> Iterator[str]:
    if not rows:
        return
    mark = ", simulated" if simulated else ""
    yield f"## Energy of the GPU that ran the model, gross{mark}"
    yield ""
    units = "J per generation, 95 % | J per token or image, 95 %"
    yield f"| campaign | run | {units} | power | windows | generations, prompts | caveats{mark} |"
    yield "|---|---|---:|---:|---:|---|---|---|"
    for row in rows:
        per_unit = f"{_pm(row['gpu_energy_j_per_unit'])} /{row['unit']}" if row["gpu_energy_j_per_unit"] else "-"
        rejected = f", {row['rejected']} more rejected" if row["rejected"] else ""
        asked = (
            f", {min(row['generations'], row['prompts']):,.0f} of {row['prompts']:,} prompts" if row["prompts"] else ""
        )
        yield (
            f"| {row['campaign']} | {row['label']} | {_pm(row['gpu_energy_j'])} | {per_unit} "
            f"| {row['power_w']:.0f} W | {row['windows']} of {row['window_s']:.1f} s{rejected} "
            f"| {row['generations']:,.0f}{asked} | {', '.join(row['caveats']) or '-'} |"
        )
    yield ""
    yield (
        "Prompts are taken in a shuffled order, as many as the time allows, from the start again when all were asked: "
        "the study asked each of 1,000 once."
    )
    yield ""


def _pm(interval: dict[str, float]) -> str:
    return format_plus_minus(interval["value"], (interval["high"] - interval["low"]) / 2)


def _phases(found: dict[str, Any] | None) -> Iterator[str]:
    if not found or not found["fits"]:
        return
    yield "## By phase"
    yield ""
    for fit in found["fits"]:
        mark = ", simulated" if fit["simulated"] else ""
        yield f"{fit['setting']['model']}{mark}, {len(fit['runs'])} runs, {fit['boundary']}:"
        yield ""
        for phase in fit["phases"]:
            half = (phase["energy_j"]["high"] - phase["energy_j"]["low"]) / 2
            true_j = phase["true_value_j"]
            told = "" if true_j is None else f" (true, simulated: {format_significant(true_j, 4)})"
            yield f"- {phase['name']}: {format_plus_minus(phase['energy_j']['value'], half)} {phase['unit']}{told}"
        yield from (f"- {each['name']} is in {each['into']}: {each['reason']}" for each in fit["untold"])
        yield from (f"- {warning}" for warning in fit["warnings"])
        yield ""


def _weights(found: dict[str, Any] | None, simulated: bool) -> Iterator[str]:
    if not found:
        return
    yield "## How much the weights' values matter"
    yield ""
    if simulated:
        yield "The simulated engine has no weights: every ratio has to be 1, and only the way it is made is shown."
        yield ""
    yield (
        f"{found['model']}, {found['batch_size']} prompts of {found['words']} words at once, {found['new_tokens']} new "
        f"tokens, {found['dtype']}; {found['rounds']} rounds of windows in turns, in one process, over random weights:"
    )
    yield ""
    for each in found["comparisons"]:
        told = "; ".join(f"{name} {_ratio(each[key])}" for name, key in QUANTITIES.items())
        yield f"- {each['other']}: {told}: {_verdict(each['energy'])}"
    yield ""


QUANTITIES = {"energy": "energy", "duration": "busy", "power": "power"}


def _ratio(value: dict[str, Any]) -> str:
    within = "no interval" if value["low"] is None else f"95 %: {value['low']:.4f} to {value['high']:.4f}"
    return f"{value['ratio']:.4f} ({within})"


def _verdict(energy: dict[str, Any]) -> str:
    if energy["low"] is None:
        return "too few rounds to tell"
    return "more energy" if energy["low"] > 1 else "less energy" if energy["high"] < 1 else "no difference shown"


def _study(rows: list[dict[str, Any]], simulated: bool, dtype: str) -> Iterator[str]:
    if not rows:
        return
    yield "## Beside the study's same models"
    yield ""
    yield CAVEAT.format(dtype=dtype)
    yield ""
    single = [row for row in rows if row["batch_size"] == 1]
    larger = [row for row in rows if row["batch_size"] > 1]
    yield from _study_table(single, simulated)
    if larger:
        yield "### Larger batches"
        yield ""
        yield BATCHED
        yield ""
        yield from _study_table(larger, simulated)


def _study_table(rows: list[dict[str, Any]], simulated: bool) -> Iterator[str]:
    """Rows with their notes: of a note that some rows alone have, their models."""
    if not rows:
        return
    mark = " (simulated)" if simulated else ""
    batched = any(row["batch_size"] > 1 for row in rows)
    last = "" if batched else " this / study |"
    yield f"| model | batch | kWh per 1,000, this{mark} | kWh per 1,000, study (batch 1, estimated) |{last}"
    yield f"|---|---:|---:|---:|{'' if batched else '---:|'}"
    for row in rows:
        side = next(each for each in row["sides"] if each["boundary"] == "active GPU, gross")
        ours = _pm({"value": side["ours_kwh"], "low": side["ours_low_kwh"], "high": side["ours_high_kwh"]})
        ratio = format_significant(side["ratio"], 3) if side["ratio"] is not None else f"- ({side['why_not']})"
        study = format_significant(side["study_kwh"], 3)
        yield f"| {row['model']} | {row['batch_size']} | {ours} | {study} |{'' if batched else f' {ratio} |'}"
    yield ""
    for note in dict.fromkeys(note for row in rows for note in row["notes"]):
        of = list(dict.fromkeys(row["model"] for row in rows if note in row["notes"]))
        every = len(of) == len({row["model"] for row in rows})
        yield f"- {note}" if every else f"- {', '.join(of)}: {note}"
    yield ""
