"""`harness outlook`: what one generation's energy becomes over years of use, always as a range; trends, levers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from harness.cli.echo import echo
from harness.cli.explain import FactorOption, PueOption, named_factors, one_run
from harness.cli.options import Grid, Json, Results, grid_of

if TYPE_CHECKING:
    from rich.console import Console

    from harness.footprint.break_even import Training
    from harness.footprint.conversion import Boundary
    from harness.footprint.outlook import Outlook
    from harness.footprint.propagation import Input
    from harness.footprint.trends import Range


def outlook_command(
    energy: Annotated[
        list[str] | None, typer.Argument(metavar="ENERGY", help="Of one generation: 0.34Wh. Trends alone without it.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Take the energy of a run.")] = None,
    results: Results = Path("results"),
    boundary: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What ENERGY is of: device (GPUs), node (if not said) or facility."),
    ] = None,
    per_day: Annotated[
        str | None, typer.Option("--per-day", metavar="N", help="Generations a day today; default: web searches.")
    ] = None,
    growth: Annotated[
        str, typer.Option(metavar="G", help="Of use in a year: 10%..40%; 20% is from none to that.")
    ] = "0%",
    years: Annotated[int, typer.Option(metavar="N", help="How far to look ahead, up to 30.")] = 5,
    lever: Annotated[
        list[str] | None, typer.Option("--lever", metavar="NAME", help="Apply a claimed lever; the list names them.")
    ] = None,
    grid: Grid = None,
    pue: PueOption = None,
    factor: FactorOption = None,
    as_json: Json = False,
) -> None:
    """Project years of use: kWh, cost, CO2e, water as ranges; break-even with training; trends, forecasts, levers."""
    from harness.errors import UserInputError
    from harness.footprint.break_even import Usage, references
    from harness.footprint.conversion import choose
    from harness.footprint.defaults import DEFAULTS
    from harness.footprint.factors import chosen
    from harness.footprint.outlook import outlook, parse_growth

    for word in energy or ():
        if word.startswith("--"):  # a negative amount looks like an option, so that options are not checked before
            raise UserInputError(f"There is no option {word}.", "See: harness outlook --help")
    if energy and run is not None:
        raise UserInputError("Give an energy or a run, not both.")
    start = _of_run(run, results) if run is not None else _of_amount(" ".join(energy), boundary) if energy else None
    asked = chosen("searches-per-day", DEFAULTS["searches-per-day"] if per_day is None else per_day)
    told = outlook(
        start,
        Usage(asked, parse_growth(growth), years),
        choose(named_factors(None if grid is None else grid_of(grid), pue, factor)),
        [*references(), *_table_5()] if start else [],
        lever or [],
    )
    if as_json:
        echo(told.model_dump_json(indent=2))
    else:
        _print(told)


def _of_amount(text: str, boundary: str | None) -> tuple[Boundary, Input]:
    from harness.errors import UserInputError
    from harness.footprint.amounts import parse_amount
    from harness.footprint.conversion import Boundary
    from harness.footprint.propagation import Input

    known: tuple[Boundary, ...] = get_args(Boundary)
    found = next((each for each in known if each == (boundary or "node")), None)
    if found is None:
        raise UserInputError(f"There is no boundary {boundary!r}.", f"Choose from {', '.join(known)}.")
    amount = parse_amount(text)
    if amount.energy_kwh is None:
        raise UserInputError(f"An outlook starts from an energy, and {text!r} is a mass.", "As in: 0.34Wh")
    source = "given by the user"
    if boundary is None:
        source += (
            "; no --boundary was given: taken as the node's, so that PUE comes on top; a maker's figure may hold PUE "
            "already (--boundary facility) or be of the GPUs alone (--boundary device)"
        )
    label = "energy per generation"
    return found, Input(
        name="energy_kwh", label=label, value=amount.energy_kwh, unit="kWh", origin="given", source=source
    )


def _of_run(name: str, results: Path) -> tuple[Boundary, Input]:
    from harness.footprint.explain import whole_machine

    return whole_machine(one_run(name, results).record)


def _table_5() -> list[Training]:
    """Training and fine-tuning of the study's BLOOMz models, as its Table 5 prints them."""
    from harness.footprint.break_even import Training
    from harness.footprint.propagation import Input
    from harness.study.catalog import PAPER, trainings_kwh

    source = f"{PAPER}, Table 5; its boundary is inferred: GPU hours x rated power, as of BLOOM's own figure"
    return [
        Training(
            model.rpartition("/")[2],
            Input(name="training", label=model, value=kwh, unit="kWh", origin="recorded", source=source),
            "energy",
            "device",
        )
        for model, kwh in trainings_kwh().items()
    ]


def _print(told: Outlook) -> None:
    from rich.markup import escape
    from rich.table import Table

    from harness.cli.tables import console, print_line, print_table
    from harness.units import J_PER_KWH, J_PER_WH, format_mass, format_si

    out = console()
    mark = ", simulated" if told.simulated else ""

    def wh(ends: Range) -> str:
        return _ends(*(format_si(end * J_PER_KWH / J_PER_WH, "Wh") for end in (ends.low, ends.high)))

    def plain(ends: Range) -> str:
        return _ends(*(f"{_number(end)} {ends.unit}" for end in (ends.low, ends.high)))

    if told.energy_per_generation is not None:
        claimed = "".join(f"; {words}" for words in told.years[0].claimed)
        title = f"Projection: a year of use, by the facility, as ranges{mark}{claimed}"
        table = Table(title=title, title_justify="left")
        cost = "electricity cost (claimed)" if claimed else "electricity cost"
        for name in ("year", "generations", "energy", cost, "CO2e, location-based", "water"):
            table.add_column(name, justify="left" if name == "year" else "right")
        for year in told.years:
            grams = [format_mass(end) for end in (year.carbon.low, year.carbon.high)]
            litres = [f"{_number(end / 1000)} m³" for end in (year.water.low, year.water.high)]
            when = "today's use" if year.year == 0 else f"+{year.year}"
            cells = (_count(year.generations), wh(year.energy), plain(year.cost), _ends(*grams), _ends(*litres))
            tails = (", held" if year.year else ", no range", *[", no range"] * 4)
            table.add_row(
                when, *(cell if " to " in cell else cell + tail for cell, tail in zip(cells, tails, strict=True))
            )
        print_table(table, out)
        for said in told.assumptions:
            print_line(out, f"- {said}")
        _print_doubts(out, "these ranges", told.years[-1].unknown, told.years[-1].unverified)
        _print_break_even(told, out)
    table = Table(title="Projection: published trends carried forward", title_justify="left")
    for name in ("what", "trend", "from", "if it goes on", "range, from stopping", "source"):
        table.add_column(name, justify="left", overflow="fold")
    for trend in told.trends:
        table.add_row(
            trend.name,
            trend.says,
            f"{_number(trend.from_value)} {trend.unit} ({trend.from_year})",
            f"{plain(trend.if_it_goes_on)} after {trend.years} year{'s' if trend.years > 1 else ''}"
            + (", no range published" if trend.if_it_goes_on.low == trend.if_it_goes_on.high else ""),
            plain(trend.projection),
            escape("; ".join(dict.fromkeys(f"{each.source} [{each.checked_text}]" for each in trend.factors))),
        )
    print_table(table, out)
    for forecast in told.forecasts:
        sources = "; ".join(dict.fromkeys(each.source for each in forecast.factors))
        print_line(
            out,
            f"forecast, not measured: {forecast.name}: {forecast.says}; stated "
            f"{forecast.stated:,.4g}, ARK's trend of training cost gives {plain(forecast.recomputed)} "
            f"({forecast.arithmetic}). {sources}",
        )
    for lever in told.levers:
        state = "applied" if lever.applied else "not applied"
        print_line(
            out,
            f"lever {lever.name}, {lever.claimed}: x {_count(lever.multiplier)} of {lever.of}; {state}. "
            f"{lever.factor.source} [{lever.factor.checked_text}]",
        )


def _print_break_even(told: Outlook, out: Console) -> None:
    from rich.table import Table

    from harness.cli.tables import print_line, print_table

    years = len(told.years) - 1
    claimed = "; ".join(words for words in told.break_even[0].claimed) if told.break_even else ""
    table = Table(
        title="Projection: break-even, generations until inference has used what training did"
        f"{', simulated' if told.simulated else ''}{f' ({claimed})' if claimed else ''}",
        title_justify="left",
    )
    for name in ("training", "of", "its amount", "boundary", "made alike", "generations", "days at today's use"):
        table.add_column(name, justify="right" if name in ("generations", "days at today's use") else "left")
    for each in told.break_even:
        doubts = "".join(f", {words}" for words in each.unverified if words.startswith("training"))
        table.add_row(
            each.training,
            each.of,
            _amount(each.amount, each.unit) + doubts,
            each.boundary,
            each.alike,
            _count(each.generations),
            "never" if each.days is None else _count(each.days),
        )
    print_table(table, out)
    print_line(
        out,
        "Each training has the boundary of its source; both sides are of the node (CO2e: of the facility, PUE "
        "included). Ranges reach from today's energy per generation to that of hardware "
        f"{years} year{'s' if years > 1 else ''} on, by its published trend. "
        "That BLOOMz's trainings (Table 5 of the study) are of the GPUs alone is inferred.",
    )
    unknown = dict.fromkeys(name for each in told.break_even for name in each.unknown)
    unverified = dict.fromkeys(words for each in told.break_even for words in each.unverified)
    _print_doubts(out, "break-even", tuple(unknown), tuple(unverified))


def _print_doubts(out: Console, what: str, unknown: tuple[str, ...], unverified: tuple[str, ...]) -> None:
    from harness.cli.tables import print_line

    if unknown:
        print_line(out, f"No range is known in {what} of {', '.join(unknown)}: counted as exact.")
    if unverified:
        print_line(out, f"From memory, or claimed without a source, in {what}: {', '.join(unverified)}.")


def _count(ends: Range) -> str:
    return _ends(*(_number(end) for end in (ends.low, ends.high)))


def _ends(low: str, high: str) -> str:
    """Two ends as a range, what they share after the number said once."""
    number, _, unit = low.partition(" ")
    return low if low == high else f"{number if unit == high.partition(' ')[2] else low} to {high}"


def _number(value: float) -> str:
    """Three digits, large numbers in words."""
    from harness.units import format_significant

    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if 0.9995 * size <= value < 1e15:
            return f"{format_significant(value / size)} {word}"
    return format_significant(value)


def _amount(value: float, unit: str) -> str:
    from harness.units import J_PER_KWH, J_PER_WH, format_mass, format_si

    return format_si(value * J_PER_KWH / J_PER_WH, "Wh", 4) if unit == "kWh" else format_mass(value, 4)
