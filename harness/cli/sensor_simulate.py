"""`harness sensor simulate`: from true power to the readings that a sensor would publish."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.echo import echo
from harness.cli.options import Json

MOST_OUTSIDE_S = 10.0  # how far outside the truth a poll may lie; its end values are held there


def simulate_command(
    truth: Annotated[Path, typer.Argument(metavar="TRUTH.csv", help="True power: columns time_s and watts.")],
    profile: Annotated[
        str, typer.Option(metavar="NAME|FILE.yaml", help="A sensor that `harness sensor profiles` lists, or a file.")
    ],
    at: Annotated[
        Path | None,
        typer.Option(metavar="TIMES.csv", help="Poll at this file's time_s instead of listing every publication."),
    ] = None,
    phase_s: Annotated[
        float | None,
        typer.Option(help="Readings are published at this time, on the clock of time_s, and every period from it."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Draw the phase at random from this seed.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="CSV", help="Write columns time_s, power_w to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a built-in sensor would have published for a recording of true power."""
    import json
    import random

    from harness.errors import UserInputError
    from harness.power.profiles import named_profile
    from harness.power.recording import read_times, read_truth
    from harness.power.sensor import HELD, simulate_readings

    if out is None and not as_json:
        raise UserInputError("Nowhere to write the readings.", "Give --out FILE.csv, or --json.")
    if phase_s is not None and seed is not None:
        raise UserInputError("--phase-s and --seed both set the phase.", "Give one of them.")
    sensor = named_profile(profile)
    t_s, power_w = read_truth(truth)
    if t_s[-1] - t_s[0] < sensor.period_s:
        raise UserInputError(
            f"{truth} lasts {t_s[-1] - t_s[0]:.3g} s, less than one period of {sensor.name} ({sensor.period_s:.3g} s).",
            "Record longer: several periods, and what the sensor remembers before them.",
        )
    if phase_s is None:
        phase_s = 0.0 if seed is None else random.Random(f"sensor-phase-{seed}").uniform(0.0, sensor.period_s)
    if at is None:
        readings = simulate_readings(t_s, power_w, sensor, phase_s)
        times_s, readings_w = readings.t_s, readings.power_w
    else:
        times_s = read_times(at)
        outside_s = max(float(t_s[0] - times_s[0]), float(times_s[-1] - t_s[-1]))
        if outside_s > MOST_OUTSIDE_S or times_s[-1] < t_s[0] or times_s[0] > t_s[-1]:
            raise UserInputError(
                f"{at} asks for {times_s[0]:.3f} to {times_s[-1]:.3f} s, "
                f"and {truth} covers only {t_s[0]:.3f} to {t_s[-1]:.3f} s.",
                f"Both files must be on one clock, and polls at most {MOST_OUTSIDE_S:g} s outside the truth.",
            )
        readings = simulate_readings(t_s, power_w, sensor, phase_s, float(times_s[0]), float(times_s[-1]))
        readings_w = readings.at(times_s)
    notes = [HELD]
    if sensor.not_trusted:
        notes.append(f"Of the profile {sensor.name} not to be trusted: {sensor.not_trusted}.")
    if out is not None:
        rows = zip(times_s.tolist(), readings_w.tolist(), strict=True)
        text = "time_s,power_w\n" + "".join(f"{time_s:.6f},{watts:.6g}\n" for time_s, watts in rows)
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserInputError(f"Cannot write {out}: {error.strerror or error}.", "Choose another path.") from error
    if as_json:
        document = {
            "profile": sensor.model_dump(mode="json"),
            "phase_s": phase_s,
            "polled": at is not None,
            "time_s": [round(each, 9) for each in times_s.tolist()],
            "power_w": [round(each, 6) for each in readings_w.tolist()],
            "notes": notes,
        }
        echo(json.dumps(document, ensure_ascii=False))
        return
    shape = "polls of" if at else "readings published by"
    echo(f"{len(times_s)} {shape} {sensor.name} (phase {phase_s:.6f} s) written to {out}.")
    for note in notes:
        echo(note)
