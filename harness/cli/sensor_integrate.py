"""`harness sensor integrate`: energy of a window from recorded readings, with its uncertainty and what weakens it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.echo import echo
from harness.cli.options import Json

if TYPE_CHECKING:
    from harness.measure.sampled import SampledEnergy
    from harness.power.profiles import SensorProfile
    from harness.records import Caveat

GAINS = (0.5, 2.0)  # boards on record: 0.87 to 1.18
LARGEST_OFFSET_W, LONGEST_LAG_S = 200.0, 5.0  # boards on record: 24 W; 0.5 s, the middle of a mean over one second


def integrate_command(
    reported: Annotated[Path, typer.Argument(metavar="REPORTED.csv", help="Recorded readings: time_s and a column.")],
    column: Annotated[str, typer.Option(metavar="NAME", help="Column of watts.")],
    from_s: Annotated[float, typer.Option("--from", metavar="S", help="Begin of the window, on the clock of time_s.")],
    to_s: Annotated[float, typer.Option("--to", metavar="S", help="End of the window.")],
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.yaml", help="A sensor that `harness sensor profiles` lists, or a file."),
    ] = None,
    gain: Annotated[float | None, typer.Option(help="Calibration: true = (reading - offset) / gain.")] = None,
    offset_w: Annotated[float | None, typer.Option(help="Offset of that calibration, watts.")] = None,
    lag_s: Annotated[float | None, typer.Option(help="Readings tell of so long ago; default: from the kernel.")] = None,
    power_limit_w: Annotated[float | None, typer.Option(help="The board's power limit: no window draws more.")] = None,
    as_json: Json = False,
) -> None:
    """Integrate recorded power readings over a window: joules, 95 % interval, and every doubt about them."""
    import json

    from harness.measure.sampled import Lag, assumed_lag, integrate_readings, kernel_lag
    from harness.measure.sensor_evidence import assumed_sensor, averages_unlike, published, with_calibration
    from harness.power.profiles import named_profile
    from harness.power.recording import read_recording

    _check(from_s, to_s, gain, offset_w, lag_s, power_limit_w)
    t_s, power_w = read_recording(reported, column, min_gap_s=None)
    sensor, notes = assumed_sensor(t_s, power_w, column) if profile is None else (named_profile(profile), ())
    _check_length(reported, float(t_s[-1] - t_s[0]), sensor)
    seen = published(t_s, power_w, sensor.period_s)
    if profile is not None:
        notes = averages_unlike(seen, sensor)
    if lag_s is not None:
        lag = Lag(lag_s, seen.late_s / 12**0.5)
    else:
        lag = (assumed_lag if profile is None else kernel_lag)(sensor, seen.late_s)
    sensor = with_calibration(sensor, gain, offset_w)
    result = integrate_readings(t_s, power_w, from_s, to_s, sensor, lag, power_limit_w)
    document = _document(result, sensor, from_s, to_s, notes)
    document["assumed"] = _assumptions(result, sensor, profile, gain, offset_w, lag_s)
    if as_json:
        echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print(document)


def _check(
    from_s: float,
    to_s: float,
    gain: float | None,
    offset_w: float | None,
    lag_s: float | None,
    power_limit_w: float | None,
) -> None:
    import math

    from harness.errors import UserInputError

    if not (math.isfinite(from_s) and math.isfinite(to_s)):
        raise UserInputError("--from and --to must be times in seconds.", "Use the clock of the column time_s.")
    if from_s >= to_s:
        raise UserInputError(f"--from {from_s:g} is not before --to {to_s:g}.", "Give the begin before the end.")
    if gain is not None and not GAINS[0] <= gain <= GAINS[1]:
        raise UserInputError(
            f"--gain {gain:g} is no sensor's gain: it is reading / true power, from {GAINS[0]:g} to {GAINS[1]:g}.",
            "A sensor that reads 5 % too low has the gain 0.95.",
        )
    if offset_w is not None and not abs(offset_w) <= LARGEST_OFFSET_W:
        raise UserInputError(
            f"--offset-w {offset_w:g} is no sensor's offset: at most {LARGEST_OFFSET_W:g} W either way.",
            "It is what the sensor reads at 0 W, in watts.",
        )
    if lag_s is not None and not 0 <= lag_s <= LONGEST_LAG_S:
        raise UserInputError(
            f"--lag-s {lag_s:g} is no sensor's lag: from 0 to {LONGEST_LAG_S:g} s.",
            "It is how long before its publication a reading was true on average, in seconds.",
        )
    if power_limit_w is not None and not 0 < power_limit_w < math.inf:
        raise UserInputError(f"--power-limit-w {power_limit_w:g} is no power limit.", "Give watts, as nvidia-smi does.")


def _check_length(path: Path, length_s: float, sensor: SensorProfile) -> None:
    from harness.errors import UserInputError

    if length_s < sensor.period_s:
        raise UserInputError(
            f"{path} lasts {length_s * 1000:.3g} ms, less than one period of the sensor "
            f"({sensor.period_s * 1000:.4g} ms).",
            "Record for longer.",
        )


def _assumptions(
    result: SampledEnergy,
    sensor: SensorProfile,
    profile: str | None,
    gain: float | None,
    offset_w: float | None,
    lag_s: float | None,
) -> list[str]:
    """What was taken for granted, one sentence part each."""
    mean = f", mean of {sensor.mean_of}" if sensor.mean_of > 1 else ""
    found = [
        f"sensor {sensor.name} ({'chosen from the data' if profile is None else 'given'}): {sensor.kernel}, "
        f"{sensor.window_s * 1000:.4g} ms{mean}",
        f"period {result.period_s * 1000:.5g} ms ({'found in the readings' if result.period_found else 'assumed'})",
        f"readings tell of {result.lag_s * 1000:.4g} ms before their publication "
        f"({'given' if lag_s is not None else 'from the kernel'})",
        f"gain {sensor.gain:g} known to {sensor.gain_relative_u:.2%} (standard uncertainty, {_origin(gain, profile)})",
        f"offset {sensor.offset_w:g} W known to {sensor.offset_u_w:.2g} W (likewise, {_origin(offset_w, profile)})",
    ]
    if sensor.not_trusted:
        found.append(f"of the profile not to be trusted: {sensor.not_trusted}")
    return found


def _origin(stated: float | None, profile: str | None) -> str:
    return "calibration stated" if stated is not None else "uncalibrated" if profile is None else "profile"


def _document(
    result: SampledEnergy, sensor: SensorProfile, from_s: float, to_s: float, notes: tuple[Caveat, ...]
) -> dict[str, Any]:
    return {
        "energy_j": result.energy_j,
        "uncertainty_j": result.uncertainty_j,
        "interval_j": result.interval_j,
        "confidence": 0.95,
        "upper_bound_j": result.upper_bound_j,
        "if_locked_j": result.if_locked_j,
        "mean_power_w": None if result.energy_j is None else result.energy_j / (to_s - from_s),
        "n_effective": result.n_effective,
        "kappa": result.kappa,
        "caveats": [each.model_dump(mode="json") for each in (*notes, *result.caveats)],
        "budget": [each.model_dump(mode="json") for each in result.budget],
        "method": "sampled",
        "window": {"from_s": from_s, "to_s": to_s, "duration_s": to_s - from_s},
        "reading_count": result.reading_count,
        "period_s": result.period_s,
        "lag_s": result.lag_s,
        "sensor": sensor.model_dump(mode="json"),
    }


def _print(document: dict[str, Any]) -> None:
    if document["energy_j"] is None:
        echo(f"No energy: at most {document['upper_bound_j']:.4g} J.")
    else:
        low_j, high_j = document["interval_j"]
        echo(
            f"{document['energy_j']:.5g} J, 95 % interval {low_j:.5g} to {high_j:.5g} J "
            f"(standard uncertainty {document['uncertainty_j']:.3g} J)"
        )
        echo(
            f"{document['reading_count']} readings, worth {document['n_effective']:.1f} independent ones; "
            f"kappa {document['kappa']:.2f}"
        )
        for term in document["budget"]:
            echo(f"    {term['name']:<22}{term['standard_uncertainty_j']:>9.3g} J   {term['reduced_by']}")
    for note in document["caveats"]:
        echo(f"Caveat ({note['code']}): {note['message']}")
    for line in document["assumed"]:
        echo(f"Assumed: {line}")
