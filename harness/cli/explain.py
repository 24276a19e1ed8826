"""`harness explain`: how one run's energy becomes CO2e, water, cost and SCI, line by line with sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.echo import echo
from harness.cli.options import Grid, Json, Results, grid_of
from harness.cli.selection import select_runs

if TYPE_CHECKING:
    from harness.errors import StoreError
    from harness.footprint.explain import ExplainedLine, Explanation
    from harness.footprint.factors import Factor
    from harness.footprint.propagation import Input
    from harness.store.files import StoredRun

MOST_GENERATIONS = 10**15

PueOption = Annotated[
    str | None, typer.Option("--pue", metavar="PUE", help="Facility over IT energy: an edition (google-2025) or 1.2.")
]
FactorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--factor",
        metavar="KIND=X",
        help="Any other factor by edition or number: wue-onsite=0.3, electricity-price=12 (cents), server-lifetime=4.",
    ),
]


def explain_command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run id or its beginning, or its folder.")],
    results: Results = Path("results"),
    number: Annotated[
        str | None,
        typer.Option(
            "--of", metavar="NUMBER", help="Only what leads to: device, node, facility, co2e, water, cost, sci ..."
        ),
    ] = None,
    grid: Grid = None,
    pue: PueOption = None,
    factor: FactorOption = None,
    market: Annotated[
        str | None,
        typer.Option("--market-based", metavar="X", help="Beside it CO2e by contracts: google-2025, or g/kWh."),
    ] = None,
    per: Annotated[int, typer.Option("--per", metavar="N", help="Generations that the chain is for.")] = 1000,
    as_json: Json = False,
) -> None:
    """The chain from a run's joules to CO2e, water, cost and SCI: formula, inputs, factor and source of each line."""
    import difflib

    from harness.errors import UserInputError
    from harness.footprint.conversion import choose
    from harness.footprint.explain import NUMBERS, explain, leading_to, when_it_ran
    from harness.footprint.factors import chosen

    if number is not None and number not in NUMBERS:
        near = difflib.get_close_matches(number, NUMBERS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Choose from {', '.join(NUMBERS)}."
        raise UserInputError(f"There is no number {number!r} to explain.", hint)
    if not 1 <= per <= MOST_GENERATIONS:
        raise UserInputError(f"--per is a number of generations from 1 to {MOST_GENERATIONS:,}, not {per:,}.")
    record = one_run(run, results).record
    place = None if grid is None else grid_of(grid, when_it_ran(record))
    choices = choose(named_factors(place, pue, factor))
    told = explain(record, choices, None if market is None else chosen("grid-market", market), per)
    if number is not None:
        told = leading_to(told, number)
    if as_json:
        echo(told.model_dump_json(indent=2))
    else:
        _print(told)


def one_run(name: str, results: Path) -> StoredRun:
    """The one run that a name means.

    Raises:
        UserInputError: There is none, or several.
        StoreError: Its record cannot be read.
    """
    from harness.errors import UserInputError

    if not name.strip():
        raise UserInputError("The name of the run is empty.", f"See what there is: harness list --results {results}")
    unreadable: list[StoreError] = []
    found = select_runs([name], results, unreadable)
    if unreadable and not found:
        raise unreadable[0]
    if not found:
        raise UserInputError(f"There is no run {name!r}.", f"See what there is: harness list --results {results}")
    if len(found) > 1:
        names = ", ".join(each.record.run_id for each in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UserInputError(f"{name!r} means {len(found)} runs, and one is explained at a time.", f"{names}{more}")
    return found[0]


def named_factors(grid: Factor | None, pue: str | None, others: list[str] | None) -> dict[str, str | Factor]:
    """Factors by kind from the options.

    Raises:
        UserInputError: A --factor that is no KIND=X, or a kind given twice.
    """
    from harness.errors import UserInputError

    named: dict[str, str | Factor] = {}
    pairs = [(kind, each) for kind, each in (("grid", grid), ("pue", pue)) if each is not None]
    for text in others or ():
        kind, sign, value = text.partition("=")
        if not sign or not value.strip():
            raise UserInputError(f"{text!r} does not name a factor.", "Write it as in: --factor wue-onsite=0.3")
        pairs.append((kind.strip().lower(), grid_of(value) if kind.strip().lower() == "grid" else value.strip()))
    for kind, each in pairs:
        if kind in named:
            raise UserInputError(f"The factor {kind} is given twice.")
        named[kind] = each
    return named


def _print(told: Explanation) -> None:
    from harness.cli.tables import console, print_line

    out = console()
    mark = f", {told.mark}" if told.mark else ""
    unit = "generation" if told.generations == 1 else "generations"
    out.print(f"{told.run_id}: {told.generations:,} {unit}{mark}", markup=False, style="bold")
    for line in told.lines:
        marked = f"  [{told.mark}]" if told.mark else ""
        print_line(out, f"\n{line.label}: {line_text(line)}{marked}", style="bold")
        print_line(out, f"  {line.name} = {line.formula}")
        for each in line.used:
            print_line(out, f"    {input_text(each)}")
    for name, reason in told.missing.items():
        print_line(out, f"\nnot told: {name}: {reason}")
    if told.sentences:
        print_line(
            out,
            "\nIn other terms, each with what it is of, measurement and factors together; by "
            f"{', '.join(told.sentence_factors)}:",
        )
    for said in told.sentences:
        print_line(out, said)
    print_line(
        out,
        "\nRanges: every input anywhere in its own range (of measured ones: the 95 % interval). u: standard "
        "uncertainty, each input varied alone, in quadrature; an input used twice moves once.",
    )
    for caveat in told.caveats:
        print_line(out, f"Caveat: {caveat.message}")


def line_text(line: ExplainedLine) -> str:
    """Value, range and standard uncertainty of a line, and what of it has no range or is from memory."""
    from harness.units import format_significant

    value, low, high, u = (format_significant(x) for x in (line.value, line.low, line.high, line.standard_uncertainty))
    unknown = f"; no range known of {', '.join(line.unknown)}" if line.unknown else ""
    doubts = f"; {', '.join(line.unverified)}" if line.unverified else ""
    return f"{value} {line.unit} ({low} to {high}; u = {u}{unknown}{doubts})"


def input_text(each: Input) -> str:
    """Name, value, range and source of an input."""
    from harness.units import format_significant

    ends = ""
    if each.low is not None or each.high is not None:
        low, high = (each.value if end is None else end for end in (each.low, each.high))
        doubtful = each.factor.unverified_ends if each.factor is not None else ()
        marks = [" unverified" if end in doubtful else "" for end in ("low", "high")]
        told = f" ({format_significant(low, 4)}{marks[0]} to {format_significant(high, 4)}{marks[1]})"
        ends = "" if low == high else told
    value = f"{each.name} = {format_significant(each.value, 4)}{f' {each.unit}' if each.unit != '1' else ''}{ends}"
    if each.factor is None:
        return f"{value}: {each.label}; {each.origin}; {each.source}"
    parts = (
        each.factor.year,
        each.factor.scope,
        each.factor.source,
        f"[{each.factor.checked_text}]",
        each.factor.url,
        each.factor.note,
    )
    return f"{value}: {each.factor.name}; {'; '.join(part for part in parts if part)}"
