"""`harness sensor characterize`: find a board's power sensor and counter by loading it in a known pattern."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.echo import echo
from harness.cli.options import Json

if TYPE_CHECKING:
    from harness.records import SourceInfo
    from harness.run.characterize import Characterization
    from harness.specs import SourcesSpec

EXIT_INTERRUPTED = 130
UNITS = (("_fraction", ""), ("_s", "s"), ("_w", "W"), ("_j", "J"))


def characterize_command(
    simulated: Annotated[
        str | None, typer.Option(metavar="GPU", help="Characterize a simulated board, e.g. A100-SXM4-80GB.")
    ] = None,
    gpu: Annotated[str, typer.Option(metavar="INDEX|UUID", help="Which GPU, as CUDA counts them.")] = "0",
    seconds: Annotated[float, typer.Option(help="How long the load pattern takes.")] = 60.0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Where the profile goes; named after the board if left out."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which of all simulated boards (with --simulated).")] = 0,
    real_clock: Annotated[
        bool, typer.Option("--real-clock", help="Let a simulated board take its real time, sampler process and all.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find a board's update period, kernel, window, delay and counter, and write the profile that runs can use.

    Loads the GPU for about a minute: steadily, in squares of two periods, in step with its own sensor. There is no
    meter, so shapes and times are found and watts are not: the profile stays uncalibrated. Use the file by
    `sources: {sensor_profile: FILE.yaml}` in a config.

    Exit code 0: found and written; 2: not possible, with the reason; 130: stopped.
    """
    import json

    from harness.measure.findings import profile_name
    from harness.run.characterize import characterize, check_destination, write_whole

    _stop_politely()
    spec = _sources(simulated, gpu, seed, real_clock)

    def destination(info: SourceInfo) -> Path:
        return out if out is not None else Path(f"{profile_name(info.device_name)}.yaml")

    try:
        found = characterize(spec, seconds, _reporter(), lambda info: check_destination(destination(info)))
    except KeyboardInterrupt:
        echo("stopped: the load has ended, and no profile was written", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    path = destination(found.info)
    write_whole(found.profile, path)
    if as_json:
        echo(json.dumps(_document(found, path), indent=2, ensure_ascii=False))
    else:
        _print(found, path)


def _sources(simulated: str | None, gpu: str, seed: int, real_clock: bool) -> SourcesSpec:
    from harness.errors import UserInputError
    from harness.simulation.profiles import board
    from harness.specs import SourcesSpec

    which = int(gpu) if gpu.isdecimal() else gpu
    if simulated is None:
        if real_clock or seed:
            raise UserInputError("--seed and --real-clock belong to a simulated board.", "Add --simulated GPU.")
        return SourcesSpec(gpus=(which,))
    node = {"gpu": board(simulated).name, "seed": seed, "clock": "real" if real_clock else "virtual"}
    return SourcesSpec.model_validate({"kind": "simulated", "gpus": (which,), "node": node})


def _stop_politely() -> None:
    """A scheduler's stop and a lost terminal end the load as a Ctrl-C does."""
    import signal

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for polite in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(polite, interrupt)


def _reporter() -> Any:
    from rich.markup import escape

    from harness.cli.progress import news_text
    from harness.cli.tables import Screen

    err = Screen(stderr=True, highlight=False)
    return lambda news: err.print(escape(news_text(news)), soft_wrap=True)


def _document(found: Characterization, path: Path) -> dict[str, Any]:
    return {
        "device": found.info.device_name,
        "device_id": found.info.id,
        "driver": found.info.driver,
        "provenance": found.info.provenance,
        "duration_s": found.duration_s,
        "findings": found.findings.model_dump(mode="json"),
        "explained": found.findings.explained(),
        "simulator": found.own,
        "caveats": [caveat.model_dump(mode="json") for caveat in found.caveats],
        "profile": found.profile.model_dump(mode="json"),
        "profile_file": str(path),
    }


def _print(found: Characterization, path: Path) -> None:
    from rich.markup import escape
    from rich.table import Table

    from harness.cli.tables import console

    out = console()
    board = f"{'simulated ' if found.own else ''}{found.info.device_name}"
    table = Table(title=f"Power sensor and energy counter of {escape(board)}", title_justify="left")
    for name, justify in (("quantity", "left"), ("found", "right"), ("what it is", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
        if name == "found" and found.own:
            table.add_column("simulator's own", justify="right", overflow="fold")
    for name, words in found.findings.explained().items():
        cells = [name, _text(name, getattr(found.findings, name))]
        if found.own:
            cells.append(_text(name, found.own[name]) if name in found.own else "")
        table.add_row(*(escape(cell) for cell in (*cells, words)))
    out.print(table)
    out.print("± is one standard uncertainty.")
    for caveat in found.caveats:
        out.print(f"[yellow]{caveat.code}[/] {escape(caveat.message)}", soft_wrap=True)
    out.print(f"Profile: {escape(str(path))}", soft_wrap=True)
    out.print(f"Use it in a config: sources: {{sensor_profile: {escape(str(path))}}}", soft_wrap=True)


def _text(name: str, value: Any) -> str:
    """One quantity for a person: value ± standard uncertainty, with its unit."""
    from harness.measure.findings import Agreement, Quantity
    from harness.units import format_plus_minus, format_si, format_significant

    unit = next((unit for ending, unit in UNITS if name.endswith(ending)), "")
    if value is None:
        return "not known"
    if isinstance(value, Agreement):
        share = value.difference_fraction
        return f"{share.value:+.2%} ± {share.u or 0:.2%}"
    if isinstance(value, Quantity) and value.u:
        scale, prefix = (1000.0, "m") if unit == "s" and abs(value.value) < 1 else (1.0, "")
        return f"{format_plus_minus(value.value * scale, value.u * scale)} {prefix}{unit}".strip()
    if isinstance(value, Quantity):
        value = value.value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        return str(value)
    return format_si(value, unit, 4) if unit else format_significant(value)
