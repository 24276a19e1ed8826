"""`harness sensor`: the group of commands about built-in power sensors. Each command has one function.

A further command is one file with one function, registered in the list below.
"""

from __future__ import annotations

import typer

from harness.cli.echo import echo
from harness.cli.options import Json
from harness.cli.sensor_characterize import characterize_command
from harness.cli.sensor_fit import fit_command
from harness.cli.sensor_integrate import integrate_command
from harness.cli.sensor_simulate import simulate_command

sensor_app = typer.Typer(
    help="What a GPU's built-in power sensor does to true power: simulate, fit, integrate, characterize.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@sensor_app.command("profiles")
def profiles_command(as_json: Json = False) -> None:
    """List the sensors on record, each with its source and what of it is not to be trusted."""
    import json

    from harness.power.profiles import sensor_profiles, unavailable_fields

    if as_json:
        document = {
            "profiles": [each.model_dump(mode="json") for each in sensor_profiles()],
            "unavailable": [
                {"matches": matches, "driver_branch": branch, "nvml_field": field}
                for matches, branch, field in unavailable_fields()
            ],
        }
        echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for each in sensor_profiles():
        shape = f"{each.kernel} {each.window_s * 1000:g} ms every {each.period_s * 1000:g} ms"
        mean = f", mean of {each.mean_of}" if each.mean_of > 1 else ""
        echo(f"{each.name}: {shape}{mean} ({each.nvml_field})")
        echo(f"    {each.source}. {each.note}.")
        if each.not_trusted:
            echo(f"    Not to be trusted: {each.not_trusted}.")


# --- commands that live in files of their own: import the function above, add one line here ---
sensor_app.command("simulate")(simulate_command)
sensor_app.command("fit")(fit_command)
sensor_app.command("integrate")(integrate_command)
sensor_app.command("characterize")(characterize_command)
