"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.report.results import Editions

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document and nothing else on standard output.")]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of all campaigns.")]
Phone = Annotated[str | None, typer.Option(metavar="EDITION", help="Edition of the energy of a smartphone charge.")]
Car = Annotated[str | None, typer.Option(metavar="EDITION", help="Edition of the CO2e of driving a car.")]
Grid = Annotated[str | None, typer.Option(metavar="NAME", help="Grid whose CO2e per kWh applies.")]


def editions(phone: str | None, car: str | None, grid: str | None) -> Editions:
    """The editions asked for, the defaults elsewhere."""
    from harness.footprint.equivalents import DEFAULT_CAR, DEFAULT_GRID, DEFAULT_PHONE
    from harness.report.results import Editions

    return Editions(phone=phone or DEFAULT_PHONE, car=car or DEFAULT_CAR, grid=grid or DEFAULT_GRID)
