"""A run's windows as they come, so that none is lost when the process that measures them is killed.

The worker appends to a file in its scratch folder: first the record as it would be if nothing more came, then a line
for every window. Whoever finds the file without a record beside it makes a failed record of it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from harness.campaign import Scheduled
from harness.errors import OtherSchemaVersion, StoreError
from harness.measure.siblings import with_strays_rejected
from harness.power.trace import PowerTrace, read_samples
from harness.reading import MOST_RECORD_BYTES, read_limited
from harness.records import Caveat, Failure, Measurement, RunRecord
from harness.store.documents import parse_stored
from harness.store.files import JOURNAL, RECORD, read_record, write_run

SAMPLES_FILE = "samples.bin"
PLACE = "place.json"
UNTOLD = Failure(
    kind="killed",
    message="The run ended before its record was written: it was stopped or killed, or the disk was full.",
    hint="It is measured again by the same command.",
    phase="measure",
)


class Journal:
    """Appends windows. `durable`: each is on the disk before the next one begins, as a power cut wants it."""

    def __init__(self, scratch: Path, so_far: RunRecord, durable: bool) -> None:
        self._path = scratch / JOURNAL
        self._durable = durable
        self._unwritten: list[str] = []
        self._append(so_far.model_dump_json())

    def keep(self, window: Measurement) -> None:
        """Append one. A disk that is full is no reason to end the run: the record will tell it, or the next line."""
        self._append(window.model_dump_json())

    def catch_up(self) -> None:
        """Append what the disk had no room for, as far as it has now."""
        with suppress(OSError):
            while self._unwritten:
                with self._path.open("ab") as file:
                    # the empty line before ends whatever a full disk has left of the one before
                    file.write(b"\n" + self._unwritten[0].encode() + b"\n")
                    file.flush()
                    if self._durable:
                        os.fdatasync(file.fileno())
                self._unwritten.pop(0)

    def _append(self, line: str) -> None:
        self._unwritten.append(line)
        self.catch_up()


def write_what_fits(scratch: Path, record: RunRecord, trace: PowerTrace | None) -> RunRecord:
    """Write record and trace; on a disk too full for both the record alone, which then says so, in the samples' place.

    Raises:
        StoreError: Not even the record can be written.
    """
    try:
        write_run(scratch, record, trace)
        return record
    except StoreError as error:
        with suppress(OSError):
            (scratch / SAMPLES_FILE).unlink(missing_ok=True)
        if trace is not None:
            lost = Caveat(code="trace-lost", message=f"The power trace could not be stored. {error.message}")
            record = record.model_copy(update={"caveats": (*record.caveats, lost)})
        write_run(scratch, record, None)
        return record


def note_place(scratch: Path, place: Scheduled) -> None:
    """Leave where the run stands in its campaign beside what it measures: a runner that is killed cannot tell."""
    with suppress(OSError):  # a full disk: the record will tell it
        (scratch / PLACE).write_text(place.model_dump_json(), encoding="utf-8")


def noted_place(scratch: Path) -> Scheduled | None:
    """Where the run stood; None where that is in its record already, or was never written whole."""
    try:
        return Scheduled.model_validate_json(read_limited(scratch / PLACE, MOST_RECORD_BYTES))
    except (OSError, ValidationError):
        return None


def forget_place(scratch: Path) -> None:
    """The record has it."""
    with suppress(OSError):
        (scratch / PLACE).unlink(missing_ok=True)


def unfinished(scratch: Path, failure: Failure = UNTOLD) -> tuple[RunRecord, PowerTrace] | None:
    """The failed record that a journal amounts to, with the samples taken; None where no window was complete.

    Raises:
        OtherSchemaVersion: A harness of another schema version has left it.
    """
    path = scratch / JOURNAL
    try:
        lines = [line for line in read_limited(path, MOST_RECORD_BYTES).split(b"\n") if line]
        record = parse_stored(lines[0].decode(), RunRecord, str(path), "", scratch.parent)
    except OtherSchemaVersion:
        raise
    except (OSError, IndexError, UnicodeDecodeError, StoreError):
        return None
    windows: list[Measurement] = []
    for line in lines[1:]:
        with suppress(ValidationError):  # one that was being written
            windows.append(Measurement.model_validate_json(line))
    if not windows:
        return None
    active = {info.id for info in record.sources if info.runs_model}
    judged = with_strays_rejected(windows, active, record.spec.measure.max_temperature_change_c)
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    record = record.model_copy(update={"measurements": judged, "failure": failure, "finished_at_utc": ended})
    ids = tuple(info.id for info in record.sources)
    return record, read_samples(scratch / SAMPLES_FILE, ids, record.spec.measure.sample_period_s)


def whole_record(scratch: Path) -> RunRecord | None:
    """The record that a worker has left; None where it left none that can be read.

    Raises:
        OtherSchemaVersion: A harness of another schema version has left it.
    """
    try:
        return read_record(scratch / RECORD) if (scratch / RECORD).exists() else None
    except OtherSchemaVersion:
        raise
    except StoreError:
        return None


def recovered(scratch: Path) -> RunRecord | None:
    """The record in a scratch folder that its runner left behind: the worker's own, or that of its journal, written.

    None where there is nothing worth keeping.

    Raises:
        StoreError: It cannot be written; or a harness of another schema version has left it, and it is left alone.
    """
    record = whole_record(scratch)
    if record is None and (found := unfinished(scratch)) is not None:
        return write_what_fits(scratch, *found)
    return record
