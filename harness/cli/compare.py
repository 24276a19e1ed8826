"""`harness compare`: which of two or more takes less energy, by how much, and how sure that is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from harness.cli.compare_names import Meant, sides_meant
from harness.cli.echo import echo
from harness.cli.options import Json, Results
from harness.cli.selection import EXIT_UNREADABLE, print_unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.compare.base import Across

EXIT_MORE = 1
MOST = 10.0  # the largest share that an option takes
Name = TypeVar("Name", bound=str)


def compare_command(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C ...]",
            help="Run ids (or their beginning), CAMPAIGN/RUN_ID, folders, campaigns, imported runs, or study:MODEL; "
            "the first is the baseline. One campaign alone: its models against each other.",
        ),
    ],
    per: Annotated[
        str, typer.Option(metavar="UNIT", help="Energy per generation, token (written), image or megapixel (made).")
    ] = "generation",
    boundary: Annotated[
        str, typer.Option(metavar="NAME", help="gpu (those that ran the model, gross), above-idle, node-gpus or node.")
    ] = "gpu",
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Every pair, not all against the first.")] = False,
    margin: Annotated[str, typer.Option(metavar="X%", help="A difference up to this counts as none.")] = "5%",
    across: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Compare although these differ: boundary,gpu,unit,origin; said beside it."),
    ] = None,
    one_board: Annotated[
        bool,
        typer.Option(
            "--one-board",
            help="Judge as if all had run on one board: the difference of the boards, as their campaigns' calibrations "
            "show it, is taken out. See harness run --calibrate.",
        ),
    ] = False,
    fail_if_more_than: Annotated[
        str | None,
        typer.Option(
            metavar="X%",
            help="Exit code 1 where more than this above the baseline is shown (95 %), 2 where it cannot be checked.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="With it: exit code 1 unless more than that is ruled out.")
    ] = False,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Ratios of energy with 95 % intervals and verdicts: less, more, equivalent, or cannot tell."""
    from harness.cli.compare_tables import print_comparison
    from harness.cli.tables import console
    from harness.compare.base import BOUNDARIES, UNITS
    from harness.compare.comparison import compare_sides
    from harness.compare.groups import by_model, matched
    from harness.compare.verdicts import Limit
    from harness.errors import UserInputError

    unit, energy = _one_of("--per", per, UNITS), _one_of("--boundary", boundary, tuple(BOUNDARIES))
    allowed = _across(across)
    same = _fraction("--margin", margin, 0.0)
    limit = None
    if fail_if_more_than is not None:
        limit = Limit(_fraction("--fail-if-more-than", fail_if_more_than, -1.0), strict)
    if strict and limit is None:
        raise UserInputError("--strict belongs to --fail-if-more-than.", "harness compare A B --fail-if-more-than 5%")
    found = Meant()
    try:
        groups = sides_meant(what, results, energy, allowed, found)
        if len(groups) == 1 and len(what) == 1:
            groups = by_model(groups[0])
        sets, unmatched = matched(groups) if groups else ([], [])
        left_out = [*found.left_out, *unmatched]
        comparison = compare_sides(sets, energy, unit, all_pairs, same, allowed, left_out, limit, one_board)
    finally:
        print_unreadable(found.unreadable)
    if as_json:
        echo(comparison.model_dump_json(indent=2))
    else:
        print_comparison(comparison, console())
    for line in comparison.check.lines if comparison.check is not None else ():
        echo(line, err=as_json or line.startswith("fails"))
    if comparison.check is not None and comparison.check.failed:
        raise typer.Exit(EXIT_MORE)
    if found.unreadable or (comparison.check is not None and comparison.check.unchecked):
        raise typer.Exit(EXIT_UNREADABLE)


# --- options ----------------------------------------------------------------------------------------------


def _one_of(option: str, value: str, known: Sequence[Name]) -> Name:
    from harness.errors import UserInputError

    found = next((each for each in known if each == value), None)
    if found is None:
        raise UserInputError(f"{option} cannot be {value!r}.", f"Choose from {', '.join(known)}.")
    return found


def _across(listed: str | None) -> frozenset[Across]:
    from harness.compare.base import ACROSS

    names = [name.strip() for name in (listed or "").split(",") if name.strip()]
    return frozenset(_one_of("--across", name, ACROSS) for name in names)


def _fraction(option: str, text: str, above: float) -> float:
    """5% or 0.05. Bare numbers of 1 and more could be either."""
    from harness.errors import UserInputError

    written = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(%?)\s*", text, re.ASCII)
    if written is None:
        raise UserInputError(f"{option} cannot be {text!r}: it is not a share.", "Write one such as 5% or 0.05.")
    value = float(written[1]) / (100 if written[2] else 1)
    if not written[2] and 1 <= abs(value) <= 100 * MOST:
        raise UserInputError(f"{option} {text} could be per cent or a fraction.", f"Write {option} {text.strip()}%.")
    if not above < value <= MOST and not (above < 0 and value == 0):
        raise UserInputError(
            f"{option} cannot be {text!r}: it must lie above {above:.0%} and be {MOST:.0%} at most.",
            f"Write a share such as {option} 5%.",
        )
    return value
