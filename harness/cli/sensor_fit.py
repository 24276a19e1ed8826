"""`harness sensor fit`: from a meter's recording and the driver's readings to the sensor between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.echo import echo
from harness.cli.options import Json

if TYPE_CHECKING:
    from harness.power.sensor_fit import SensorFit

_ROWS = (
    ("width", "width_s", 1000, "ms"),
    ("tau", "tau_s", 1000, "ms"),
    ("period", "period_s", 1000, "ms"),
    ("delay", "delay_s", 1000, "ms"),
    ("gain", "gain", 1, ""),
    ("offset", "offset_w", 1, "W"),
)


def fit_command(
    truth: Annotated[Path, typer.Argument(metavar="TRUTH.csv", help="True power: columns time_s and watts.")],
    reported: Annotated[Path, typer.Argument(metavar="REPORTED.csv", help="Polls of the driver: time_s and a column.")],
    column: Annotated[str, typer.Option(metavar="NAME", help="Column of REPORTED.csv that holds the readings, watts.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Write the sensor as a profile for other commands.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find kernel, width or tau, period, delay, gain and offset of a sensor, and whether the data can tell."""
    import json

    from harness.power.profiles import write_profile
    from harness.power.recording import read_recording, read_truth
    from harness.power.sensor_fit import field_of_column, fit_document, fit_profile, fit_sensor

    fit = fit_sensor(*read_truth(truth), *read_recording(reported, column))
    document = fit_document(fit)
    if out is not None:
        source = f"harness sensor fit, column {column} of {reported.name}"
        write_profile(fit_profile(fit, out.stem, source, field_of_column(column, fit.spans)), out)
    if as_json:
        echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    _print(fit, document)
    if out is not None:
        echo(f"Profile written to {out}.")


def _print(fit: SensorFit, document: dict[str, Any]) -> None:
    echo(fit.message)
    echo(f"kernel   {document['kernel']}" + ("" if fit.distinguishable else "  (not certain)"))
    for label, key, factor, unit in _ROWS:
        if key in document:
            value, u = document[key], document[f"{key}_u"]
            doubt = "" if u is None else f" ± {u * factor:.2g}"
            echo(f"{label:8} " + ("not known" if value is None else f"{value * factor:.6g}{doubt} {unit}".rstrip()))
    echo(f"± is one standard uncertainty, without the meter's own; {fit.n} readings, worth {fit.n_effective:.0f}.")
