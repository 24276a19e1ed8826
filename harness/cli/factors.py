"""`harness list factors` and `harness equivalents --list`: the conversion factors and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.cli.echo import echo

if TYPE_CHECKING:
    from harness.footprint.factors import Factor


def list_factors(about: str | None, as_json: bool) -> None:
    """The factors that are about something, or all of them."""
    from harness.footprint.factors import about as factors_about
    from harness.footprint.factors import load_factors

    write_factors(load_factors() if about is None else factors_about(about), as_json)


def write_factors(factors: Sequence[Factor], as_json: bool) -> None:
    """A list of factors, the defaults marked, as a table or as one JSON document."""
    import json

    from harness.footprint.defaults import DEFAULTS

    if as_json:
        document = {"defaults": DEFAULTS, "factors": [each.model_dump(mode="json") for each in factors]}
        echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    from harness.cli.factor_tables import print_factors

    print_factors(factors, DEFAULTS)
