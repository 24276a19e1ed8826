"""`harness equivalents`: an energy or a mass of CO2e in things people know, each with its factor and source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.echo import echo
from harness.cli.factors import write_factors
from harness.cli.options import Car, Grid, Json, Phone, grid_of

if TYPE_CHECKING:
    from rich.table import Table

    from harness.footprint.equivalents import Equivalents
    from harness.footprint.water import Water

OPTIONS = [
    *("--phone", "--car", "--grid", "--household", "--flight", "--person", "--for", "--over", "--per"),
    *("--pue", "--wue-on-site", "--wue-off-site", "--list", "--json"),
]


def equivalents_command(
    amount: Annotated[
        list[str] | None,
        typer.Argument(help="An energy or a mass of CO2e: 11.49kWh, 42 kJ, 1594 g, 0.5 t CO2e."),
    ] = None,
    phone: Phone = None,
    car: Car = None,
    grid: Grid = None,
    household: Annotated[
        str | None, typer.Option(metavar="EDITION", help="Edition of a household's electricity per day.")
    ] = None,
    flight: Annotated[
        str | None, typer.Option(metavar="EDITION", help="Edition of the CO2e of a passenger-km by plane.")
    ] = None,
    person: Annotated[
        str | None, typer.Option(metavar="EDITION", help="Edition of the CO2 of one person in a year.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--for", metavar="TEXT", help='What used it, for the sentences: "1,000 images".')
    ] = None,
    over: Annotated[
        float | None, typer.Option("--over", metavar="N", help="The amount is of N things: show it for --per of them.")
    ] = None,
    per: Annotated[float, typer.Option("--per", metavar="N", help="With --over: of how many things.")] = 1.0,
    pue: Annotated[
        str | None,
        typer.Option(
            "--pue", metavar="PUE", help="The amount is IT energy: tell CO2e of the facility, and water. PUE, as 1.2."
        ),
    ] = None,
    on_site: Annotated[
        str | None, typer.Option("--wue-on-site", metavar="WUE", help="Water on site, l per kWh of IT, or an edition.")
    ] = None,
    off_site: Annotated[
        str | None,
        typer.Option("--wue-off-site", metavar="WUE", help="Water in making a kWh of electricity, l, or an edition."),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="List editions and grids with source; * marks the defaults.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Convert an energy or a mass of CO2e into things people know, each with its factor and source."""
    import difflib
    import json

    from harness.errors import UserInputError
    from harness.footprint.amounts import parse_amount, shared
    from harness.footprint.equivalents import KINDS, equivalents
    from harness.footprint.factors import editions
    from harness.footprint.water import QUANTITIES, water

    for word in amount or ():
        if word.startswith("--"):  # a negative amount looks like an option, so that options are not checked before
            near = difflib.get_close_matches(word, OPTIONS, n=1)
            raise UserInputError(f"There is no option {word}.", f"Did you mean {near[0]}?" if near else "See --help.")
    if show_list:
        if amount:
            raise UserInputError("--list takes no amount.")
        write_factors([each for kind in KINDS for each in editions(kind)], as_json)
        return
    if not amount:
        raise UserInputError(
            "An amount is missing.", "Try: harness equivalents 11.49kWh, or harness equivalents --list"
        )
    words = " ".join(amount)
    parsed = shared(parse_amount(words), over, per)
    if over is not None:
        words = f"{per:,.15g} of {over:,.15g}"
    places = {"pue": pue, "wue-onsite": on_site, "wue-offsite": off_site}
    named = {kind: each for kind, each in places.items() if each is not None}
    if named and parsed.energy_kwh is None:
        raise UserInputError(f"Water follows from an energy, and {words!r} is a mass.", "As in: 10kWh --pue 1.2")
    place = None if grid is None else grid_of(grid)
    drawn = water(parsed.energy_kwh, named, place) if named and parsed.energy_kwh is not None else None
    result = equivalents(
        parsed.energy_kwh,
        parsed.carbon_g_co2e,
        pue=drawn.factors[0] if drawn is not None else None,
        grid=place,
        phone=phone,
        car=car,
        household=household,
        flight=flight,
        per_capita=person,
    )
    if as_json:
        document = result.model_dump(mode="json")
        if drawn is not None:
            more = drawn.model_dump(mode="json")
            document |= {name: more[name] for name in QUANTITIES}
            document["ranges"] |= more["ranges"]
            document["unverified"] |= more["unverified"]
            document["boundaries"] |= drawn.boundaries
            document["caveats"] += more["caveats"]
            document["factors"] += more["factors"][1:]  # the PUE stands there already
        echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print_result(result, subject or words, drawn)


def _add_water(drawn: Water, table: Table) -> None:
    """Rows of the facility's energy and the water, each with the factor that made it."""
    from harness.units import J_PER_KWH, J_PER_WH, format_si, format_significant

    def text(name: str, value: float) -> str:
        wh = value * J_PER_KWH / J_PER_WH
        return format_si(wh, "Wh", 4) if name.endswith("_kwh") else f"{format_significant(value)} l"

    of = dict(zip(("facility_energy_kwh", "water_on_site_l", "water_off_site_l"), drawn.factors, strict=True))
    table.add_section()
    for name, formula in drawn.formulas.items():
        span, used = drawn.ranges.get(name), of.get(name)
        table.add_row(
            name.removesuffix("_kwh").removesuffix("_l").replace("_", " "),
            text(name, getattr(drawn, name)),
            f"{text(name, span.low)} to {text(name, span.high)}" if span else "",
            f"{used.value_text} {used.unit}" if used else formula,
            used.edition + (f" ({used.doubt_text})" if used.doubt_text else "") if used else "",
        )


def _print_result(result: Equivalents, subject: str, drawn: Water | None) -> None:
    from rich.table import Table

    from harness.cli.factor_tables import print_used
    from harness.cli.tables import console, print_line, print_table
    from harness.footprint.equivalents import KIND_OF, QUANTITIES
    from harness.footprint.phrases import quantity_text, sentence, span_text

    given = "energy_kwh" if result.derived_from == "energy" else "carbon_g_co2e"
    rows = [given, *(name for name in QUANTITIES if name != given)]
    table = Table()
    for column in ("what", "amount", "range", "factor", "edition"):
        table.add_column(column, justify="right" if column == "amount" else "left", overflow="fold")
    by_pue = f" x PUE {drawn.factors[0].value_text}" if drawn is not None else ""
    for name in rows:
        used, span = result.factor(KIND_OF[name]), result.ranges.get(name)
        table.add_row(
            name.removesuffix("_kwh").removesuffix("_g_co2e").replace("_", " ").replace("carbon", "CO2e"),
            quantity_text(name, getattr(result, name)).removesuffix(" CO2e"),
            span_text(name, span) if span else "",
            "as given"
            if name == given
            else f"{used.value_text} {used.unit}{by_pue if name == 'carbon_g_co2e' else ''}",
            "" if name == given else used.edition + (f" ({used.doubt_text})" if used.doubt_text else ""),
        )
    if drawn is not None:
        _add_water(drawn, table)
    out = console()
    print_table(table, out)
    for name in rows[1:]:
        of = {"as given": "", "IT": ", of its IT energy", "facility": ", of its facility"}[result.boundaries[name]]
        print_line(out, sentence(result, name, subject) + of)
    rest = "CO2e, car, flight, tree and person" if given == "energy_kwh" else "Energy and all that is an energy's"
    not_named = any(caveat.code == "grid-not-named" for caveat in result.caveats)
    rest += f" rest on the grid {result.factor('grid').edition}"
    rest += ", as none was named: their ranges are those of all grids on record in CO2e" if not_named else ""
    print_line(
        out,
        f"\n{rest}. Ranges are those of the factors; the amount is "
        "taken as exact; no range: none is known, which does not make it exact.\n",
    )
    if drawn is not None:
        print_line(
            out,
            f"The amount is taken as IT energy. CO2e, car, flight, tree and person are of the facility, x PUE "
            f"{drawn.factors[0].value_text}; the other things of an energy are of the IT energy as given. PUE counts "
            "once: in water only for that of making electricity.\n",
        )
    print_used((*result.factors, *(drawn.factors[1:] if drawn is not None else ())))
    for caveat in (*result.caveats, *(drawn.caveats if drawn is not None else ())):
        print_line(out, f"Caveat: {caveat.message}")
