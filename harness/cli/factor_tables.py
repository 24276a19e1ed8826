"""Factors on a terminal: all of them in a table, or those that a result used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from harness.footprint.factors import Factor


def print_factors(factors: Sequence[Factor], defaults: Mapping[str, str]) -> None:
    """Every factor with value, range, unit, year and scope; sources once each, numbered; * marks the defaults."""
    from harness.cli.tables import console, print_line, print_table

    sources = list(dict.fromkeys(each.source for each in factors))
    table = Table(title="Conversion factors", title_justify="left")
    for name in ("kind", "edition", "value", "range", "unit", "year", "scope", "how known", "source"):
        table.add_column(name, justify="right" if name in ("value", "range", "source") else "left", overflow="fold")
    before = factors[0].kind if factors else ""
    for each in factors:
        if each.kind != before:
            table.add_section()
        before = each.kind
        table.add_row(
            each.kind,
            each.edition + (" *" if defaults.get(each.kind) == each.edition else ""),
            each.value_text,
            each.range_text,
            each.unit,
            each.year or "",
            each.scope,
            each.verified,
            str(sources.index(each.source) + 1),
        )
    out = console()
    print_table(table, out)
    if any(defaults.get(each.kind) == each.edition for each in factors):
        out.print("* default", markup=False)
    print_line(
        out,
        "primary, secondary: read in the source, or where it is quoted; derived: computed from a sourced number; "
        "unverified: from memory, never checked against the source named; "
        "claimed: said in the press, no source found; the ends of a range are marked one by one.\n"
        "Sources:",
    )
    for number, source in enumerate(sources, 1):
        print_line(out, f"{number:>3}  {source}")
    out.print("Notes and addresses: the same command with --json", markup=False)


def print_used(factors: Sequence[Factor]) -> None:
    """The factors behind a result: value, source, address, how known, note."""
    from harness.cli.tables import console, print_line

    out = console()
    for used in factors:
        year = f", {used.year}" if used.year else ""
        ends = f" ({used.range_text})" if used.range_text else ""
        print_line(
            out,
            f"{used.name}: {used.value_text} {used.unit}{ends}{year}; {used.scope}. "
            + " ".join(part for part in (used.source, f"[{used.checked_text}]", used.url, used.note) if part),
        )
