"""`harness schema`: the JSON Schema of a stored record."""

from __future__ import annotations

import json

import typer

from harness.cli.options import Json


def schema_command(as_json: Json = False) -> None:
    """Print the JSON Schema of record.json."""
    from harness.records import json_schema

    typer.echo(json.dumps(json_schema(), indent=None if as_json else 2))
