"""`harness doctor`: what this machine lets us meter, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.echo import echo
from harness.cli.options import Json

if TYPE_CHECKING:
    from harness.power.profiles import SensorProfile

EXTRAS = {
    "torch": "models",
    "transformers": "models",
    "diffusers": "models",
    "safetensors": "models",
    "codecarbon": "codecarbon",
}


def doctor_command(
    sensor_profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Say for each GPU whether a run could use this sensor profile."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check GPUs, host sensors and packages. Never fails: what is missing is told with what to do.

    Each GPU's sensor_profile is the one that a run uses: that on record unless --sensor-profile fits it.
    """
    import json

    from harness.power.profiles import read_profile
    from harness.run.environment import describe_environment

    given = read_profile(sensor_profile) if sensor_profile is not None else None
    report = {"gpus": _gpus(given), "host": _host(), "packages": _packages()}
    report["environment"] = describe_environment(None).model_dump(mode="json")
    if as_json:
        echo(json.dumps(report, indent=2))
        return
    _print(report)


def _gpus(sensor_profile: SensorProfile | None) -> dict[str, Any]:
    from dataclasses import asdict

    from harness.clock import RealClock
    from harness.errors import HarnessError
    from harness.power.inventory import nvml_summary

    try:
        summaries = nvml_summary(RealClock(), sensor_profile=sensor_profile)
        told = [{"caveats": [caveat.message for caveat in summary.caveats]} for summary in summaries]
        return {"ok": True, "devices": [asdict(summary) | more for summary, more in zip(summaries, told, strict=True)]}
    except HarnessError as error:
        return {"ok": False, "reason": error.message, "hint": error.hint}


def _host() -> dict[str, Any]:
    from harness.power.host import open_rapl

    sources, reason = open_rapl()
    found = [source.info.id for source in sources]
    for source in sources:
        source.close()
    return {"ok": reason is None, "sources": found, "reason": reason}


def _packages() -> dict[str, Any]:
    from importlib import metadata

    found: dict[str, Any] = {}
    for name, extra in EXTRAS.items():
        try:
            found[name] = {"version": metadata.version(name)}
        except metadata.PackageNotFoundError:
            found[name] = {"version": None, "install": f"pip install 'energy-harness[{extra}]'"}
    return found


def _print(report: dict[str, Any]) -> None:
    from rich.markup import escape

    from harness.cli.tables import console

    out = console()
    good, bad = "[green]ok[/]     ", "[yellow]missing[/]"
    gpus = report["gpus"]
    if gpus["ok"]:
        for device in gpus["devices"]:
            plain = {key: value for key, value in device.items() if key != "caveats"}
            words = ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in plain.items())
            out.print(f"{good} GPU: {escape(words)}", soft_wrap=True)
            for caveat in device["caveats"]:
                out.print(f"[yellow]note[/]    {escape(caveat)}", soft_wrap=True)
    else:
        out.print(f"{bad} GPU: {escape(gpus['reason'])} {escape(gpus['hint'])}", soft_wrap=True)
    host = report["host"]
    mark = good if host["ok"] else bad
    out.print(f"{mark} CPU and DRAM energy: {escape(host['reason'] or ', '.join(host['sources']))}", soft_wrap=True)
    for name, found in report["packages"].items():
        version = found["version"]
        out.print(
            f"{good} {name} {version}" if version else f"{bad} {name}: {escape(found['install'])}", soft_wrap=True
        )
    if not gpus["ok"]:
        out.print("Without a GPU: harness run configs/quickstart.yaml runs on a simulated one.", soft_wrap=True)


def _value(value: Any) -> str:
    if value is None:
        return "not available"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
