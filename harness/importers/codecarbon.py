"""CodeCarbon's CSV files -> ImportedRecords: its accounting kept, every part marked as measured or modelled."""

from __future__ import annotations

import functools
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserInputError
from harness.imported import ImportedPart, ImportedPhase, ImportedRecord
from harness.importers.codecarbon_checks import checked, parse_time
from harness.importers.codecarbon_table import NEEDED_NUMBERS, Problem, Table, find_files, read_table
from harness.records import Caveat
from harness.units import G_PER_KG, j_from_kwh

# CodeCarbon's model of memory changed between the major versions, so that their totals do not compare.
RAM_MODELS = {
    2: "3 W for every 8 GB (CodeCarbon 2): an estimate, whatever the memory does",
    3: "about 5 W for every memory module that is guessed from the size (CodeCarbon 3): an estimate",
}
RAM_MODEL_UNKNOWN = "a model of a CodeCarbon version that is not known here"
CPU_FALLBACK_W = 42.5  # CodeCarbon 2.3, codecarbon/external/hardware.py: half of 85 W for a CPU it does not know
_FOR_A_RECORD = ("factor-disagrees", "region-differs", "parts-differ", "no-line-end", "duplicate-run")


@dataclass(frozen=True)
class Reading:
    """What files of CodeCarbon hold: rows that can be used, all files that were looked at, and every problem."""

    table: Table
    paths: tuple[Path, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """In the order in which the checks were made."""
        return self.table.problems

    @property
    def refused(self) -> tuple[str, ...]:
        """Files of which nothing is taken."""
        return tuple(dict.fromkeys(problem.file for problem in self.problems if problem.refused))


def read_codecarbon(paths: Sequence[str | Path]) -> Reading:
    """Read and check CodeCarbon files, folders and globs.

    Raises:
        UserInputError: A path does not exist or holds no CSV file.
        StoreError: A file cannot be read by DuckDB.
    """
    files = find_files(paths)
    return Reading(checked(read_table(files)), tuple(files))


def require_rows(reading: Reading) -> Reading:
    """The reading itself, where at least one file can be used.

    Raises:
        UserInputError: None can; the first reason is told.
    """
    if len(reading.table.file) == 0:
        first = next(problem for problem in reading.problems if problem.refused)
        where = first.file if first.line is None else f"{first.file}, line {first.line}"
        files = "The file holds" if len(reading.paths) == 1 else f"None of {len(reading.paths)} files holds"
        raise UserInputError(
            f"{files} no CodeCarbon run that can be used: {where}: {first.message}.",
            "Give the emissions.csv that CodeCarbon 2.3 to 3.x wrote.",
        )
    return reading


def records(
    reading: Reading, campaign: str, task: str | None = None, generations: int | None = None
) -> Iterator[ImportedRecord]:
    """One record per run, in the order of files and lines.

    Args:
        reading: What was read.
        campaign: Name for all of them.
        task: What the runs did, as the user knows it.
        generations: How many requests the last phase of each run answered, as the user knows it.
    """
    table = reading.table
    rows_of: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row, (file, run_id) in enumerate(zip(table.file.tolist(), table.text["run_id"], strict=True)):
        rows_of[(file, run_id)].append(row)
    caveats: dict[tuple[str, int | None], list[Caveat]] = defaultdict(list)
    for problem in reading.problems:
        if problem.code in _FOR_A_RECORD and not problem.refused:
            caveats[(problem.file, problem.line)].append(Caveat(code=problem.code, message=problem.message))
    for (file, run_id), rows in rows_of.items():
        source = table.files[file]
        first = rows[0]
        told = [caveat for row in rows for caveat in caveats.get(table.where(row), ())]
        pue = _known(table, "pue", first)
        if pue is not None and pue != 1:
            told.append(
                Caveat(code="pue", message=f"CodeCarbon was told a PUE of {pue:g}, which 3.x puts into its energies.")
            )
        version = str(table.text["codecarbon_version"][first])
        yield ImportedRecord(
            run_id=run_id,
            campaign=campaign,
            origin="codecarbon",
            tool_version=version,
            source_file=source.path.name,
            source_sha256=source.sha256,
            project_name=str(table.text["project_name"][first]),
            task=task,
            generations=generations,
            boundary="node" if table.text["tracking_mode"][first] == "machine" else "process",
            pue=pue,
            parts=_parts(table, first, version),
            phases=tuple(_phase(table, row) for row in rows),
            country_iso_code=table.text["country_iso_code"][first],
            region=table.text["region"][first],
            caveats=tuple({(caveat.code, caveat.message): caveat for caveat in told}.values()),
        )


def _parts(table: Table, row: int, version: str) -> tuple[ImportedPart, ...]:
    """GPUs, CPU and memory as CodeCarbon counted them."""
    numbers = (_known(table, name, row) for name in ("gpu_count", "cpu_count", "cpu_power", "ram_total_size"))
    return _machine(version, table.text["gpu_model"][row], table.text["cpu_model"][row], *numbers)


@functools.lru_cache(maxsize=1024)  # files come by thousands from one machine
def _machine(
    version: str,
    gpu_model: str | None,
    cpu_model: str | None,
    gpu_count: float | None,
    cpu_count: float | None,
    cpu_w: float | None,
    memory_gb: float | None,
) -> tuple[ImportedPart, ...]:
    """The parts of one machine. CodeCarbon's files do not say whether RAPL was read for the CPU."""
    major = int(version.split(".")[0]) if re.match(r"[0-9]{1,9}(\.|$)", version) else 0
    cpu_note = "from load and rated power, or from RAPL where it could be read: the file does not say which"
    if major == 2 and cpu_w == CPU_FALLBACK_W:
        cpu_note = f"a constant {CPU_FALLBACK_W} W: CodeCarbon's fallback for a CPU that it does not know"
    parts = [
        ImportedPart(kind="cpu", device_name=cpu_model, device_count=cpu_count, provenance="modelled", note=cpu_note),
        ImportedPart(
            kind="dram",
            device_name=None if memory_gb is None else f"{memory_gb:g} GB",
            device_count=None,
            provenance="modelled",
            note=RAM_MODELS.get(major, RAM_MODEL_UNKNOWN),
        ),
    ]
    if gpu_count:
        note = "every GPU that CodeCarbon saw, from NVML's counters, working or not"
        gpu = ImportedPart(kind="gpu", device_name=gpu_model, device_count=gpu_count, provenance="measured", note=note)
        parts.insert(0, gpu)
    return tuple(parts)


def _phase(table: Table, row: int) -> ImportedPhase:
    parsed = parse_time(table.text["timestamp"][row])
    assert parsed is not None  # the checks refuse files with other times
    number = {name: float(table.number[name][row]) for name in NEEDED_NUMBERS}
    return ImportedPhase(
        name=table.text["task_name"][row],
        line=int(table.line[row]),
        finished_at_local=parsed[0].isoformat(),
        duration_s=number["duration"],
        gpu_energy_j=j_from_kwh(number["gpu_energy"]) if _known(table, "gpu_count", row) else None,
        cpu_energy_j=j_from_kwh(number["cpu_energy"]),
        dram_energy_j=j_from_kwh(number["ram_energy"]),
        node_energy_j=j_from_kwh(number["energy_consumed"]),
        carbon_g_co2e=number["emissions"] * G_PER_KG,
    )


def _known(table: Table, name: str, row: int) -> float | None:
    value = float(table.number[name][row])
    return None if math.isnan(value) else value
