"""`harness equivalents`: an energy or a mass of CO2e in phone charges, car distance, CO2e and web searches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from harness.footprint.equivalents import Equivalents
    from harness.footprint.factors import Factor

# What a row is called, the quantity it shows, and the kind of factor that leads to it.
_ROWS = (
    ("energy", "energy_kwh", "grid"),
    ("phone charges", "phone_charges", "phone"),
    ("car distance", "car_km", "car"),
    ("car distance", "car_miles", "car"),
    ("CO2e", "carbon_g_co2e", "grid"),
    ("web searches", "web_searches", "web-search"),
)


def equivalents_command(
    amount: Annotated[
        list[str] | None,
        typer.Argument(help="An energy or a mass of CO2e: 11.49kWh, 42 kJ, 1594 g, 0.5 t CO2e."),
    ] = None,
    phone: Annotated[
        str | None, typer.Option(metavar="EDITION", help="Edition of the energy of one smartphone charge.")
    ] = None,
    car: Annotated[
        str | None, typer.Option(metavar="EDITION", help="Edition of the CO2e of one mile or km by car.")
    ] = None,
    grid: Annotated[
        str | None, typer.Option(metavar="NAME", help="Grid whose CO2e per kWh links energy and mass.")
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="List editions and grids with source; * marks the defaults.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON document.")] = False,
) -> None:
    """Convert an energy or a mass of CO2e into things people know, each with its factor and source."""
    import difflib

    from harness.errors import UserInputError
    from harness.footprint.amounts import parse_amount
    from harness.footprint.equivalents import DEFAULT_CAR, DEFAULT_GRID, DEFAULT_PHONE, equivalents

    for word in amount or ():
        if word.startswith("--"):  # a negative amount looks like an option, so that options are not checked before
            near = difflib.get_close_matches(word, ["--phone", "--car", "--grid", "--list", "--json"], n=1)
            raise UserInputError(f"There is no option {word}.", f"Did you mean {near[0]}?" if near else "See --help.")
    if show_list:
        if amount:
            raise UserInputError("--list takes no amount.")
        _list(as_json)
        return
    if not amount:
        raise UserInputError(
            "An amount is missing.", "Try: harness equivalents 11.49kWh, or harness equivalents --list"
        )
    parsed = parse_amount(" ".join(amount))
    result = equivalents(
        parsed.energy_kwh,
        parsed.carbon_g_co2e,
        phone=DEFAULT_PHONE if phone is None else phone,
        car=DEFAULT_CAR if car is None else car,
        grid=DEFAULT_GRID if grid is None else grid,
    )
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        _print_result(result)


def _print_result(result: Equivalents) -> None:
    from rich.console import Console

    from harness.footprint.equivalents import quantity_text, sentence, span_text

    from_energy = result.derived_from == "energy"
    table = _new_table("what", "amount", "range", "factor", "edition")
    for label, name, kind in _ROWS:
        span = result.ranges.get(name)
        used = result.factor(kind)
        given = name == ("energy_kwh" if from_energy else "carbon_g_co2e")
        table.add_row(
            label,
            quantity_text(name, getattr(result, name)).removesuffix(" CO2e"),
            span_text(name, span).removesuffix(" CO2e") if span else "",
            "as given" if given else f"{used.value_text} {used.unit}",
            "" if given else used.edition,
        )
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(sentence(result))
    console.print(
        f"\n{'CO2e and car distance' if from_energy else 'Energy, phone charges and web searches'} rest on the "
        f"grid {result.factor('grid').edition}. Ranges are those of the factors; the amount is taken as exact.\n"
    )
    console.print(_sources_table(result.factors))
    for caveat in result.caveats:
        console.print(f"Caveat: {caveat.message}")


def _sources_table(factors: tuple[Factor, ...]) -> Table:
    from rich.table import Table

    table = Table.grid("factor", "source", padding=(0, 2, 0, 0))
    for used in factors:
        name = f"{used.kind} {used.edition}" + (f"\n({used.year})" if used.year else "")
        table.add_row(name, "\n".join(part for part in (used.source, used.url, used.note) if part))
    table.columns[0].no_wrap = True
    table.columns[1].overflow = "fold"
    return table


def _list(as_json: bool) -> None:
    import json

    from rich.console import Console

    from harness.footprint.equivalents import DEFAULT_CAR, DEFAULT_GRID, DEFAULT_PHONE, WEB_SEARCH
    from harness.footprint.factors import editions

    defaults = {"phone": DEFAULT_PHONE, "car": DEFAULT_CAR, "grid": DEFAULT_GRID, "web-search": WEB_SEARCH}
    factors = [each for kind in defaults for each in editions(kind)]
    if as_json:
        document = {"defaults": defaults, "factors": [each.model_dump(mode="json") for each in factors]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    sources = list(dict.fromkeys(each.source for each in factors))
    table = _new_table("kind", "edition", "value", "unit", "year", "source")
    for each in factors:
        table.add_row(
            each.kind,
            each.edition + (" *" if defaults[each.kind] == each.edition else ""),
            each.value_text,
            each.unit,
            each.year or "",
            f"{sources.index(each.source) + 1}" + (" ?" if each.verified == "unverified" else ""),
        )
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print("* default    ? value from memory, not checked against its source\n\nSources:")
    for number, source in enumerate(sources, 1):
        console.print(f"{number:>3}  {source}", soft_wrap=True)
    console.print("\nRanges, notes and addresses: harness equivalents --list --json")


def _new_table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        right = column in {"amount", "value"}
        table.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=column == "edition")
    return table
