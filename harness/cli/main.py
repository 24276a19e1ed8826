"""The command `harness`. Commands live in files of their own; nothing heavy is imported until one runs."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

import harness
from harness.cli.claims import claims_command
from harness.cli.compare import compare_command
from harness.cli.doctor import doctor_command
from harness.cli.echo import echo
from harness.cli.equivalents import equivalents_command
from harness.cli.explain import explain_command
from harness.cli.imports import import_app
from harness.cli.migrate import migrate_command
from harness.cli.outlook import outlook_command
from harness.cli.phases import phases_command
from harness.cli.report import report_command
from harness.cli.run import run_command
from harness.cli.schema import schema_command
from harness.cli.sensor import sensor_app
from harness.cli.show import list_command, show_command
from harness.cli.study import study_app
from harness.cli.validate import validate_command
from harness.errors import HarnessError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="harness",
    help="Energy per generation of AI models on NVIDIA GPUs, with a stated uncertainty.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run")(run_command)
app.command("show")(show_command)
app.command("list")(list_command)
app.command("report")(report_command)
app.command("compare")(compare_command)
app.command("validate")(validate_command)
app.command("migrate")(migrate_command)
app.command("phases")(phases_command)
app.command("doctor")(doctor_command)
app.command("equivalents", context_settings={"ignore_unknown_options": True})(equivalents_command)
app.command("explain")(explain_command)
app.command("outlook", context_settings={"ignore_unknown_options": True})(outlook_command)
app.command("claims")(claims_command)
app.command("schema")(schema_command)
app.add_typer(sensor_app, name="sensor")
app.add_typer(import_app, name="import")
app.add_typer(study_app, name="study")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Energy per generation of AI models on NVIDIA GPUs, with a stated uncertainty."""
    if version:
        echo(f"harness {harness.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a HarnessError is a sentence and a hint, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to lose a result
    try:
        app()
    except HarnessError as error:
        echo(f"error: {error.message}", err=True)
        if error.hint:
            echo(f"  {error.hint}", err=True)
        sys.exit(EXIT_USER_ERROR)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
