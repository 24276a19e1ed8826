"""What was found: the frozen types that are stored. Their JSON Schema is generated from here.

A stored field never changes its meaning: bump SCHEMA_VERSION and say so atop store/files.py.
All quantities are SI; None means "not measured", never zero.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.campaign import Placed, Scheduled
from harness.frozen import FolderName, Frozen, Kernel, Provenance, UtcTime
from harness.redaction import redacted
from harness.served_records import Attempts, Served, ServerInfo
from harness.specs import LaterField, RunSpec
from harness.stats import Estimate

SCHEMA_VERSION: Literal[2] = 2


class Caveat(Frozen):
    """What makes a number weaker but usable. Shown beside the number, never only logged.

    `window_only`: it weakens one window's own interval; over a run, the scatter of its windows shows what it is about.
    """

    code: str
    message: str
    window_only: bool = False


class SourceInfo(Frozen):
    """What one power source is, and how far it can be trusted."""

    id: str
    kind: Literal["gpu", "cpu", "dram", "wall"]
    scope: Literal["device", "node", "facility"]
    device_name: str
    driver: str | None = None
    power_limit_w: float | None = None
    sensor_profile: str
    sensor_period_s: float = Field(description="how often the power reading is renewed (P)")
    sensor_period_u_s: float | None = Field(
        None, description="its standard uncertainty where the run's own samples showed it; None: the profile's, unseen"
    )
    sensor_window_s: float = Field(description="how much of the past one reading sees (W_eff)")
    sensor_kernel: Kernel | None = Field(None, description="how it weighs that past; None: not known")
    gain_relative_u: float = Field(description="standard uncertainty of the gain, as a fraction")
    offset_u_w: float = Field(description="standard uncertainty of the offset")
    gain: float = Field(1.0, gt=0, description="calibration applied to this source's energies: (E - offset T) / gain")
    offset_w: float = Field(0.0, description="calibration applied to this source's energies")
    counter_step_j: float | None = Field(None, description="resolution of the energy counter; None without one")
    counter_integrates: Literal["readings", "power"] | None = Field(
        None, description="whether the counter adds up readings or sees what they miss; None: not known"
    )
    provenance: Provenance
    runs_model: bool = Field(description="this device holds the model")

    @property
    def shows_past_s(self) -> float:
        """For how long what has ended may still show in what a poll tells: one period, and what a reading remembers.

        A first-order answer has forgotten all but exp(-6) = 0.25 % after 6 tau, three of its windows.
        """
        return self.sensor_period_s + self.sensor_window_s * (3 if self.sensor_kernel == "first_order" else 1)


class UncertaintyTerm(Frozen):
    """One line of a window's uncertainty budget."""

    name: str
    standard_uncertainty_j: float
    common: bool = Field(description="shared by all windows on this board: never averaged away")
    averages: bool = Field(True, description="drawn anew in every window; False: the same in all windows of a run")
    reduced_by: str


class SourceEnergy(Frozen):
    """Energy of one source over one window."""

    source_id: str
    energy_j: float
    uncertainty_j: float
    budget: tuple[UncertaintyTerm, ...]
    method: Literal["counter", "sampled"]
    sample_count: int
    idle_power_w: float = Field(description="mean power of the null window right after")
    idle_power_u_w: float = Field(description="its standard uncertainty, without what gain and offset add")
    gap_energy_j: float = Field(
        description="part of energy_j drawn at the edges and in delays, while no work ran; served: before retries"
    )
    failed_energy_j: float | None = Field(
        None, description="part of energy_j: estimated for requests that failed, by their share of the time in flight"
    )
    effective_samples: float | None = Field(
        None, description="independent readings the work's power was judged by; None where the sensor sees everything"
    )
    unseen_correction_j: float | None = Field(
        None, description="part of energy_j: batches put together from all readings, less the readings' plain mean"
    )
    busy_temperature_c: float | None = Field(None, description="mean chip temperature while work ran")
    busy_clock_hz: float | None = Field(None, description="median streaming-multiprocessor clock while work ran")
    sampled_energy_j: float | None = Field(None, description="integral of sampled power, to check the counter")
    sampled_uncertainty_j: float | None = Field(None, description="of the difference to the counter")
    true_energy_j: float | None = Field(None, description="of the whole window; known only when simulated")
    true_busy_energy_j: float | None = Field(None, description="while the engine ran; known only when simulated")


class WorkCounts(Frozen):
    """What was asked and what came back, in one window."""

    requests: int | float = Field(0, description="served: one that was partly answered in the window counts in part")
    input_tokens: int | None = Field(0, description="None: a server did not tell all")
    inputs_cut: int | None = Field(
        0, description="requests whose text was cut since the model takes no longer one, unasked; None: not counted"
    )
    input_pixels: int | None = Field(
        0, description="of the pictures that were looked at, as the model was given them; None: not counted"
    )
    output_tokens: int = 0
    images: int = 0
    output_pixels: int = 0
    denoising_steps: int = Field(0, description="images times calls of the denoiser; guided calls count once")

    def __add__(self, other: WorkCounts) -> WorkCounts:
        mine, theirs = self.model_dump(), other.model_dump()
        pairs = {name: (mine[name], theirs[name]) for name in mine}
        return WorkCounts(**{name: None if None in pair else sum(pair) for name, pair in pairs.items()})


class Measurement(Frozen):
    """One window: times on the monotonic clock, energies per source, work done in it."""

    label: str
    start_s: float
    end_s: float
    busy_s: float = Field(description="time in which the engine ran; the rest are edges and delays")
    sources: tuple[SourceEnergy, ...]
    work: WorkCounts
    batch_durations_s: tuple[float, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    rejected: bool = Field(False, description="contaminated: kept here, left out of every figure")
    served: Served | None = Field(
        None, description="engine openai; busy_s then leaves out the share of failed requests"
    )


class IdlePower(Frozen):
    """Idle power of one source at three moments. Which one is subtracted is said in `subtracted`."""

    source_id: str
    before_w: float | None
    null_w: float | None
    after_w: float | None
    subtracted: Literal["null"] = "null"
    null_u_w: float | None = None


class WarmUp(Frozen):
    """How the device was brought to a steady state."""

    duration_s: float
    blocks: int
    steady: bool


class CrossCheck(Frozen):
    """Another tool's reading over the same windows, beside ours. Not corrected, not merged."""

    tool: str
    version: str
    windows: int
    gpu_energy_j: float | None
    harness_gpu_energy_j: float = Field(description="ours: every GPU of the machine, the same windows")
    cpu_energy_j: float | None
    cpu_provenance: Provenance
    dram_energy_j: float | None
    dram_provenance: Provenance
    note: str


class HostEnergy(Frozen):
    """CPU and memory of the machine over all accepted windows; None where not measured, with the reason."""

    cpu_energy_j: float | None = None
    dram_energy_j: float | None = None
    reason: str | None = None


class Summary(Frozen):
    """What the accepted windows say, per generation (one request)."""

    generations: int
    windows: int
    rejected_windows: int
    gpu_energy_j: Estimate = Field(description="gross: devices that ran the model, while they ran it")
    gpu_repeatability_j: Estimate = Field(description="the same with the scatter of the repeats alone")
    gpu_idle_j: Estimate = Field(description="idle share of the gross energy")
    gpu_above_idle_j: Estimate = Field(description="gross less idle share")
    node_gpus_energy_j: Estimate = Field(description="every GPU of the machine, working or not")
    node_energy_j: Estimate | None = Field(description="every GPU, CPU and DRAM; None if any is not measured")
    node_missing: str | None = Field(None, description="why node_energy_j is missing")
    energy_j_per_output_token: Estimate | None = None
    energy_j_per_answer_token: Estimate | None = Field(None, description="reasoning left out, where a server tells it")
    energy_j_per_image: Estimate | None = None
    duration_s: float = Field(description="engine time per generation")
    power_w: float = Field(description="mean power of the devices that ran the model, while they ran it")
    target_reached: bool
    true_gpu_energy_j: float | None = Field(None, description="per generation; known only when simulated")


class Environment(Frozen):
    """Host, driver and library versions at the time of the run."""

    harness_version: str
    git_commit: str | None
    python: str
    platform: str
    hostname: str
    cpu_model: str
    cpu_count: int
    memory_bytes: int
    driver: str | None
    cuda: str | None
    packages: dict[str, str]
    variables: dict[str, str] = Field(description="only those that steer devices, never secrets")


class Failure(Frozen):
    """Why a run has no result."""

    kind: str
    message: str
    hint: str = ""
    phase: str
    stderr_tail: str = ""

    @field_validator("message", "hint", "stderr_tail")
    @classmethod
    def _without_secrets(cls, text: str) -> str:
        return redacted(text)  # libraries say what they like


class Preparation(Frozen):
    """What is done before a window, metered apart: tokenising, decoding and resizing pictures, moving to the device.

    It is the host's work, while the GPU idles: of the device's energy little or nothing is above idle.
    """

    windows: tuple[Measurement, ...]
    summary: Summary | None = Field(None, description="per generation; None where too few windows could be kept")


class RunRecord(Frozen):
    """Everything one run leaves behind."""

    schema_version: Literal[2] = SCHEMA_VERSION
    run_id: FolderName = Field(description="of the spec, without its later_fields")
    campaign: FolderName
    origin: Literal["measured", "simulated", "study", "codecarbon"]
    spec: RunSpec
    later_fields: tuple[LaterField, ...] = Field(
        (),
        description="of the spec: unknown to the harness that made this early run, not part of its run_id, no effect",
    )
    environment: Environment | None
    started_at_utc: UtcTime
    finished_at_utc: UtcTime
    status: Literal["complete", "failed"]
    parameter_count: int | None = None
    template: str | None = Field(
        None, description="in which words a model that writes was asked, the config's or the task's own; None: as is"
    )
    sources: tuple[SourceInfo, ...] = ()
    idle: tuple[IdlePower, ...] = ()
    warm_up: WarmUp | None = None
    missed_deadlines: int | None = Field(None, description="late power samples; None if the sampler died")
    measurements: tuple[Measurement, ...] = ()
    host: HostEnergy | None = None
    cross_checks: tuple[CrossCheck, ...] = ()
    server: ServerInfo | None = None
    served: Served | None = Field(None, description="all accepted windows together")
    attempts: Attempts | None = Field(None, description="only of a served run that failed; else in served")
    summary: Summary | None = None
    preparation: Preparation | None = Field(None, description="only where measure.meter_preparation asks for it")
    caveats: tuple[Caveat, ...] = ()
    failure: Failure | None = None
    scheduled: Scheduled | None = Field(None, description="its place in the campaign; None where none is known")
    placed: Placed | None = Field(None, description="None where the machine of the command made the run")

    @model_validator(mode="after")
    def _status_fits(self) -> RunRecord:
        if self.status == "complete" and self.summary is None:
            raise ValueError("a complete record needs a summary")
        if self.status == "failed" and self.failure is None:
            raise ValueError("a failed record needs a failure")
        return self

    @property
    def simulated(self) -> bool:
        """True when any energy in here comes from a simulated GPU."""
        return self.origin == "simulated"

    @property
    def replayed(self) -> bool:
        """True when time and power are those of a study's runs: no model ran."""
        return self.spec.replay is not None

    @property
    def mark(self) -> str:
        """What stands beside every energy of this record where a person reads it; empty for a measured one."""
        return "replay, simulated" if self.replayed else "simulated" if self.simulated else ""


def json_schema() -> dict[str, Any]:
    """JSON Schema of a stored record."""
    return RunRecord.model_json_schema()
