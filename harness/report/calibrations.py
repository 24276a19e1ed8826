"""What a campaign's calibrations say of its boards: each board's energy for each fixed load. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from harness.frozen import Frozen
from harness.records import RunRecord
from harness.stats import Estimate
from harness.units import format_plus_minus


class CalibrationRow(Frozen):
    """One load on one board. `energy_j`: gross, of the board, per request of the load, with its repeats' scatter."""

    run_id: str
    load: str
    board: str | None
    device_name: str | None
    mark: str
    energy_j: Estimate | None
    failure: str | None


def calibration_row(record: RunRecord) -> CalibrationRow:
    """The row of one calibration, complete or failed."""
    info = next((each for each in record.sources if each.runs_model), None)
    return CalibrationRow(
        run_id=record.run_id,
        load=record.spec.model.id,
        board=info.id if info is not None else None,
        device_name=info.device_name if info is not None else None,
        mark=record.mark,
        energy_j=record.summary.gpu_repeatability_j if record.summary is not None else None,
        failure=record.failure.message if record.failure is not None else None,
    )


def calibration_lines(rows: Sequence[CalibrationRow]) -> list[str]:
    """A sentence for each board, and for each load that could not be made."""
    boards: dict[tuple[str | None, str | None, str], list[str]] = {}
    failed = []
    for row in rows:
        if row.energy_j is None:
            failed.append(f"Calibration failed, compare does without it: {row.load}, {row.failure}")
        else:
            energy_j = row.energy_j
            told = f"{row.load} {format_plus_minus(energy_j.value, (energy_j.high - energy_j.low) / 2)} J"
            boards.setdefault((row.board, row.device_name, row.mark), []).append(told)
    return [
        f"Calibrated {name} {board}: {', '.join(told)}, each per request{f' ({mark})' if mark else ''}."
        for (board, name, mark), told in boards.items()
    ] + failed
