"""Tables of `harness study` on a terminal. No arithmetic beyond units."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.tables import console, print_table
from harness.footprint.factors import factor
from harness.study.accounting import Accounting, Range, StudyAccounting
from harness.study.claims import Claim
from harness.study.compare import Compared
from harness.study.general import GeneralPurpose, GroupFigures
from harness.study.models import ModelFigures
from harness.study.tables import StudyTables
from harness.units import format_plus_minus, format_significant

_AGREES = {"rounded": "yes", "truncated": "cut off", "no": "[red]no[/]", True: "yes", False: "[red]no[/]", None: "-"}
_VERDICTS = {
    "holds": "[green]holds[/]",
    "holds-cut-off": "[green]holds[/], cut off",
    "only-otherwise": "[yellow]only otherwise[/]",
    "never-run": "[red]never run[/]",
    "does-not-hold": "[red]does not hold[/]",
}
_LEFT = frozenset(
    ("task", "model", "sd agrees", "agrees", "kind", "verdict", "claim", "what the data gives", "boundary")
)


def print_tables(tables: StudyTables) -> None:
    """Tables 2, 3, 5 and the totals, printed values beside."""
    out = console()
    table = _table("Table 2: kWh per 1,000 inferences, whole node as recorded, query phase")
    _columns(
        table, "task", "runs", "models", "mean", "printed", "agrees", "sd", "printed", "sd agrees", "median", "printed"
    )
    for task, row in tables.table2.items():
        median = "-" if row.published_median_kwh is None else f"{row.published_median_kwh:g}"
        table.add_row(
            *(task, str(row.runs), str(row.models), f"{row.mean_kwh:.5f}", f"{row.published_mean_kwh:g}"),
            *(_AGREES[row.agrees], f"{row.sd_kwh:.5f}", f"{row.published_sd_kwh:g}", _AGREES[row.sd_agrees]),
            *(f"{row.median_kwh:.5f}", median),
        )
    print_table(table, out)
    table = _table("Table 3: multi-purpose models, per 1,000 inferences, nine datasets")
    _columns(table, "model", "runs", "kWh", "printed", "agrees", "g CO2e", "printed", "agrees")
    for model, each in tables.table3.items():
        table.add_row(
            *(model, str(each.runs), f"{each.mean_kwh:.5f}", f"{each.published_mean_kwh:g}", _AGREES[each.kwh_agrees]),
            *(f"{each.mean_g_co2e:.3f}", f"{each.published_mean_g_co2e:g}", _AGREES[each.g_co2e_agrees]),
        )
    print_table(table, out)
    table = _table("Table 5: inferences that take as much energy as training and fine-tuning (their kWh as printed)")
    _columns(table, "model", "kWh per inference", "printed", "inferences", "printed", "difference")
    for model, parity in tables.table5.items():
        table.add_row(
            *(model, f"{parity.kwh_per_inference:.4g}", f"{parity.published_kwh_per_inference:g}"),
            *(f"{parity.parity_inferences:,.0f}", f"{parity.published_parity_inferences:,.0f}"),
            f"{parity.relative_difference:+.1%}",
        )
    print_table(table, out)
    totals = tables.totals
    out.print(
        f"All {totals.rows:,} rows of {totals.runs:,} runs: {totals.energy_kwh:,.2f} kWh, of which GPUs "
        f"{totals.gpu_energy_kwh:,.2f} kWh; {totals.emissions_kg:.2f} kg CO2e. Emissions over energy: "
        f"{tables.intensity_g_per_kwh:g} g/kWh, {tables.rows_of_other_intensity} rows otherwise.\n"
        f"cut off: the printed digits are there, cut off instead of rounded. sd: over runs of all models and datasets.",
        soft_wrap=True,
    )


def print_models(figures: Sequence[ModelFigures], counts: str) -> None:
    """One table per task, the paper's models first."""
    out = console()
    for group, row_task in dict.fromkeys((row.row == "other", row.task) for row in figures):
        what = f"{row_task or 'multi-purpose, all tasks'}{', models not of the 88' if group else ''}"
        table = _table(what)
        _columns(table, "model", "kind", "parameters", "runs", "kWh", "sd", "seconds", "active GPU", "by dataset, kWh")
        for row in figures:
            if (row.row == "other", row.task) == (group, row_task):
                table.add_row(*_model_cells(row))
        print_table(table, out)
    out.print(
        f"{counts}. kWh: per 1,000 inferences, the whole node as recorded, with a 95 % interval of the scatter of runs "
        "alone; active GPU: kWh, estimated. Image tasks with resized inputs, as in the paper.",
        soft_wrap=True,
    )
    for note in dict.fromkeys(f"{row.model}: {row.note}" for row in figures if row.note):
        out.print(f"note: {escape(note)}", soft_wrap=True)


def _model_cells(row: ModelFigures) -> list[str]:
    known = [each for each in row.datasets if each.dataset is not None]
    by_dataset = ", ".join(f"{each.dataset} {format_significant(each.mean_kwh)}" for each in known)
    return [
        escape(row.model),
        row.family or ("made for it" if row.kind == "task-specific" else "prompted"),
        "-" if row.parameters is None else f"{row.parameters / 1e6:,.0f} M",
        str(row.runs),
        format_plus_minus(row.energy_kwh.value, row.energy_kwh.half_width),
        format_significant(row.sd_kwh, 2),
        f"{row.duration_s:,.1f}",
        format_significant(row.active_gpu_kwh),
        f"{len(known)} datasets" if len(known) > 3 else by_dataset or "datasets not told",
    ]


def print_accounting(accounting: StudyAccounting) -> None:
    """Five boundaries per task, what the node's energy is made of, and models."""
    out = console()
    table = _table("kWh per 1,000 inferences under five boundaries (ranges: what the assumptions allow)")
    _columns(table, "task", "node", "8 GPUs", "active GPU", "above idle", "fair share", "node / active", "active W")
    for task, row in accounting.tasks.items():
        table.add_row(task, *_accounting_cells(row))
    print_table(table, out)
    table = _table("What the recorded energy is made of")
    _columns(table, "task", "active GPU", "7 idle GPUs", "memory, assumed", "CPU, assumed")
    named = [(task, row.shares) for task, row in accounting.tasks.items()]
    for task, share in [*named, ("all, with the 8 multi-purpose", accounting.overall)]:
        parts = (share.active_gpu, share.idle_gpus, share.ram_assumed, share.cpu_assumed)
        table.add_row(task, *(f"{part:.1%}" for part in parts))
    print_table(table, out)
    table = _table("The same by model (ranges: --json)")
    _columns(table, "model", "node", "8 GPUs", "active GPU", "above idle", "fair share", "node / active", "active W")
    for task, row in accounting.tasks.items():
        table.add_row(f"[bold]{task}[/]")
        for model in row.models:
            table.add_row(escape(model.model), *_accounting_cells(model, ranges=False))
        table.add_section()
    table.add_row("[bold]multi-purpose[/]")
    for model in accounting.multi_purpose:
        name = escape(model.model) + ("" if model.in_paper else " *")
        table.add_row(name, *_accounting_cells(model, ranges=False))
    print_table(table, out)
    for name, words in accounting.assumptions.items():
        out.print(f"{name}: {words}", soft_wrap=True)
    below = sum(row.runs_below_idle for row in accounting.tasks.values())
    out.print(
        f"{below} runs come out below idle: noise of the baseline, kept in the means. * of none of the 88 for "
        "these tasks."
    )


def print_general_purpose(found: GeneralPurpose) -> None:
    """Who does a task at what energy, then slopes."""
    out = console()
    table = _table("Per 1,000 inferences: models made for the task, and general ones prompted for it")
    _columns(
        table,
        "task",
        "kind",
        "models",
        "kWh node",
        "x node",
        "kWh active GPU",
        "x GPU",
        "seconds",
        "x time",
        "words",
        "J per word",
    )
    for task, each in found.tasks.items():
        table.add_row(task, "task-specific", *_group_cells(each.task_specific))
        for family, group in each.families.items():
            table.add_row("", family, *_group_cells(group))
        table.add_section()
    print_table(table, out)
    table = _table("Energy grows as parameters to the power of (± one standard error)")
    _columns(table, "task", "node", "r²", "active GPU", "r²", "multi-purpose, node", "r²")
    for task, slope in found.slopes.items():
        cells = []
        for other in (slope, found.slopes_active_gpu.get(task), found.slopes_multi_purpose.get(task)):
            text = "-" if other is None else f"{other.slope:.2f} ± {other.standard_error:.2f}"
            cells += [text, "-" if other is None else f"{other.r_squared:.2f}"]
        table.add_row(task, *cells)
    print_table(table, out)
    for task, each in found.tasks.items():
        words = each.energy_on_words
        if words is not None:
            out.print(
                f"{task}: over {words.n} models and datasets, node energy grows as answer words to the power of "
                f"{words.slope:.2f} ± {words.standard_error:.2f} (r² {words.r_squared:.2f})"
            )
    out.print(
        "x: times the task-specific models. untuned: not taught to follow instructions, not of the 88 for these tasks. "
        "words: mean of an answer. In the slopes: " + "; ".join(found.notes) + ".",
        soft_wrap=True,
    )


def print_claims(claims: Sequence[Claim]) -> None:
    """Claim, number, what the data gives, verdict."""
    out = console()
    table = _table("What is quoted from the study, recomputed from its data")
    _columns(table, "claim", "quoted", "arithmetic as the words mean it", "what the data gives", "verdict")
    for claim in claims:
        least = "at least " if claim.relation == "at-least" else ""
        table.add_row(
            f"{escape(claim.says)} [dim]({escape(claim.source)})[/]",
            f"{least}{claim.published:,.9g} {claim.unit}",
            escape(claim.arithmetic),
            escape(claim.verdict_text),
            _VERDICTS[claim.verdict],
        )
        table.add_section()
    print_table(table, out)
    out.print("only otherwise: the words do not give the number, another reading does. Every reading: --json.")
    car = factor("car", "epa-2023")
    out.print(f"miles: {car.value_text} {car.unit}, {car.checked_text}; {escape(car.note or '')}", soft_wrap=True)


def print_compared(rows: Sequence[Compared]) -> None:
    """Each run's boundaries beside the study's, and why where not."""
    out = console()
    table = _table("kWh per 1,000 generations beside the study")
    _columns(table, "model", "task", "boundary", "yours", "study", "yours / study")
    whose: dict[str, dict[str, None]] = {}
    for row in rows:
        kind = "replay, simulated" if row.replay else "simulated"
        mark = f" [magenta]{kind}[/]" if row.simulated else ""
        name, task = (
            f"{escape(row.model)}{mark}",
            (row.task or "not told") + (f", {row.dataset}" if row.dataset else ""),
        )
        if row.why_not is not None:
            table.add_row(name, task, "", "", "", f"not comparable: {escape(row.why_not)}")
        for side in row.sides:
            ratio = _ratio(side.ratio, side.why_not)
            table.add_row(
                name, task, side.boundary, _ours(side.ours_kwh, side.ours_low_kwh), f"{side.study_kwh:.4g}", ratio
            )
            name, task = "", ""
        if row.per_unit is not None:
            unit = row.per_unit
            ratio = _ratio(unit.ratio, unit.why_not)
            ours, theirs = f"{unit.ours_j:.4g} J", f"{unit.study_j:.4g} J"
            table.add_row(name, task, f"active GPU, per {unit.unit}", ours, theirs, ratio)
        table.add_section()
        for note in row.notes:
            whose.setdefault(note, {})[row.run_id] = None
    print_table(table, out)
    compared = sum(bool(row.notes) for row in rows)
    for note, runs in whose.items():
        of = "" if len(runs) == compared else f" ({', '.join(list(runs)[:3])}{', ...' if len(runs) > 3 else ''})"
        out.print(f"note: {escape(note)}{escape(of)}", soft_wrap=True)
    _print_reference(out)


def _print_reference(out: Console) -> None:
    out.print(
        "study: harness/data/study.csv; its active GPU is estimated, see harness study accounting.", soft_wrap=True
    )


def _ratio(ratio: float | None, why_not: str | None) -> str:
    return f"not comparable: {escape(why_not or '')}" if ratio is None else format_significant(ratio)


def _ours(value: float | None, low: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.4g}" if low is None else format_plus_minus(value, value - low)


def _accounting_cells(row: Accounting, ranges: bool = True) -> list[str]:
    def with_range(value: str, span: Range | None, digits: int = 3) -> str:
        return f"{value} ({_range(span, digits)})" if ranges and span else value

    return [
        format_significant(row.node_kwh),
        format_significant(row.gpus_kwh),
        with_range(format_significant(row.active_gpu_kwh), row.active_gpu_range_kwh),
        with_range(format_significant(row.above_idle_kwh), row.above_idle_range_kwh),
        format_significant(row.fair_share_kwh),
        "-"
        if row.node_over_active is None
        else with_range(f"{row.node_over_active:.1f}", row.node_over_active_range, 2),
        f"{row.active_gpu_w:.0f}",
    ]


def _range(span: Range, digits: int = 3) -> str:
    high = "no bound" if span.high is None else format_significant(span.high, digits)
    return f"{format_significant(span.low, digits)} to {high}"


def _group_cells(group: GroupFigures) -> list[str]:
    def ratio(value: float | None) -> str:
        return "1" if value is None else f"{value:.1f}"

    return [
        str(group.models),
        format_significant(group.node_kwh),
        ratio(group.ratio_node),
        format_significant(group.active_gpu_kwh),
        ratio(group.ratio_active_gpu),
        f"{group.duration_s:,.1f}",
        ratio(group.ratio_duration),
        "-" if group.output_words is None else f"{group.output_words:.1f}",
        "-" if group.node_j_per_word is None else format_significant(group.node_j_per_word),
    ]


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left")


def _columns(table: Table, *names: str) -> None:
    for name in names:
        left = name in _LEFT or " as " in name or name.startswith(("by dataset", "yours / study"))
        table.add_column(name, justify="left" if left else "right", overflow="fold")
