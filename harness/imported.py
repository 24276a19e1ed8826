"""What another tool found, as it is stored. Its own accounting is kept; what its files do not hold is not made up."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.frozen import FolderName, Frozen, Provenance
from harness.records import SCHEMA_VERSION, Caveat


class ImportedPart(Frozen):
    """One part of a machine as another tool counted it: what it was, and where its joules come from."""

    kind: Literal["gpu", "cpu", "dram"]
    device_name: str | None
    device_count: float | None = Field(description="as the tool wrote it: GPUs, logical CPUs; None for memory")
    provenance: Provenance
    note: str


class ImportedPhase(Frozen):
    """Energies of one phase, or of the whole run, as another tool wrote them. None: the tool metered no such part."""

    name: str | None = Field(description="the tool's name of the phase; None: the whole run")
    line: int = Field(description="of the source file, counting from 1 with the header")
    finished_at_local: str = Field(description="local time of the machine, in a zone that the file does not tell")
    duration_s: float
    gpu_energy_j: float | None
    cpu_energy_j: float | None
    dram_energy_j: float | None
    node_energy_j: float = Field(description="the tool's own total of these parts, in the record's boundary")
    carbon_g_co2e: float


class ImportedRecord(Frozen):
    """One run as another tool recorded it, its accounting kept.

    Not a RunRecord: a foreign file has no spec, no windows, no idle power and no uncertainty, and none are made up.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    run_id: FolderName
    campaign: FolderName
    origin: Literal["codecarbon"]
    tool_version: str
    source_file: str
    source_sha256: str
    project_name: str
    task: str | None = Field(None, description="told by the user at the import; files do not hold it")
    generations: int | None = Field(None, description="requests in the last phase, told by the user at the import")
    boundary: Literal["node", "process"] = Field(
        description="node: every GPU the tool saw, CPU and memory of the machine; process: those of one process"
    )
    pue: float | None = Field(description="written by the tool; other than 1, its energies may be of the facility")
    parts: tuple[ImportedPart, ...]
    phases: tuple[ImportedPhase, ...] = Field(min_length=1)
    country_iso_code: str | None
    region: str | None
    caveats: tuple[Caveat, ...] = ()
