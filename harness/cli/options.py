"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from datetime import datetime

    from harness.footprint.factors import Factor
    from harness.report.results import Editions

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document and nothing else on standard output.")]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of all campaigns.")]
Phone = Annotated[
    str | None, typer.Option(metavar="EDITION", help="Edition of a smartphone charge, or kWh per charge.")
]
Car = Annotated[str | None, typer.Option(metavar="EDITION", help="Edition of driving a car, or g CO2e per mile.")]
Grid = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Whose CO2e per kWh applies: France, us-oregon, gcp-us-west1, 297.6 (g/kWh)."),
]


def editions(phone: str | None, car: str | None, grid: str | None) -> Editions:
    """The editions asked for, the defaults elsewhere."""
    from harness.footprint.defaults import DEFAULTS
    from harness.report.results import Editions

    return Editions(
        phone=DEFAULTS["phone"] if phone is None else phone,
        car=DEFAULTS["car"] if car is None else car,
        grid=grid_of(grid),
    )


def grid_of(name: str | None, when: tuple[datetime, datetime] | None = None) -> Factor:
    """The grid that a user names, also from CodeCarbon's tables where they are installed; the default for none."""
    from harness.footprint.codecarbon_tables import installed_grids
    from harness.footprint.grids import default_grid, find_grid

    return default_grid() if name is None else find_grid(name, installed_grids(), when)
