"""`harness schema`: the JSON Schema of a stored record."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from harness.cli.echo import echo
from harness.cli.options import Json


def schema_command(
    imported: Annotated[bool, typer.Option("--imported", help="That of a run of another tool.")] = False,
    as_json: Json = False,
) -> None:
    """Print the JSON Schema of record.json."""
    from harness.imported import ImportedRecord
    from harness.records import json_schema

    schema = ImportedRecord.model_json_schema() if imported else json_schema()
    echo(json.dumps(schema, indent=None if as_json else 2))
