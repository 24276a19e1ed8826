"""Plain lines on a terminal, of which none can be a command to it. Consoles of rich have their own: cli/tables."""

from __future__ import annotations

import typer

from harness.plain_text import visible


def echo(text: str = "", err: bool = False, nl: bool = True) -> None:
    """Write a line to standard output, or to standard error; control characters spelled out."""
    typer.echo(visible(text), err=err, nl=nl)
