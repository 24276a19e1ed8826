"""What a comparison takes and gives: frozen types. Ratios are other / baseline, their uncertainties relative."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.frozen import Frozen
from harness.stats import Estimate

Boundary = Literal["gpu", "above-idle", "node-gpus", "node"]
Unit = Literal["generation", "token", "image", "megapixel"]
Across = Literal["boundary", "gpu", "unit", "origin"]
Verdict = Literal["less", "more", "equivalent", "cannot tell"]

BOUNDARIES: dict[Boundary, str] = {
    "gpu": "gross energy of the GPUs that ran the model",
    "above-idle": "energy above idle of the GPUs that ran the model",
    "node-gpus": "gross energy of every GPU of the machine",
    "node": "gross energy of every GPU, CPU and memory of the machine",
}
UNITS: tuple[Unit, ...] = ("generation", "token", "image", "megapixel")
ACROSS: tuple[Across, ...] = ("boundary", "gpu", "unit", "origin")


class Meter(Frozen):
    """What one sensor adds to a side's doubt for as long as the board lives.

    A gain error g and an offset error o move the side's energy by `energy_fraction` g + `offset_per_w` o, relative.
    Meters of the same `identity` share g and o: the same board, read in the same way with the same calibration.
    """

    identity: str
    device: str = Field(description="equal only for one and the same board or package, however it is read")
    taken_as_one: bool = Field(False, description="that it is one for all who share it is an assumption")
    gain_relative_u: float
    offset_u_w: float
    energy_fraction: float = Field(description="this sensor's share of the side's energy")
    offset_per_w: float = Field(
        description="1/W: busy time over the side's energy; 0 above idle, where offsets drop out"
    )


class BoardLoad(Frozen):
    """What a fixed load took on one board, as its sensor reads it: one calibration."""

    meter: str = Field(description="identity of the meter")
    load: str = Field(description="equal only for the same work")
    name: str
    energy_j: float = Field(description="per request of the load")
    relative_u: float = Field(description="standard uncertainty without the sensor's gain and offset")
    offset_per_w: float = Field(description="1/W, as a meter's")
    caveats: tuple[str, ...] = ()


class BoardsDiffer(Frozen):
    """How boards of one make differ by the same fixed loads, as their sensors read them: other / baseline."""

    ratio: float
    low: float = Field(description="95 % interval")
    high: float
    by_load: dict[str, float]
    calibrations: tuple[str, ...] = Field(description="what it rests on; can be typed")
    caveats: tuple[str, ...] = Field((), description="of those")
    scatter_relative_u: float = Field(description="of the calibrations")
    load_relative_u: float | None = Field(description="of taking the loads for the models; None: one load cannot tell")
    offset_relative_u: float = Field(description="what offsets shift in the runs and not in the loads")


class View(Frozen):
    """A ratio with its interval."""

    ratio: float
    low: float = Field(description="95 % interval")
    high: float


class Window(Frozen):
    """One accepted repeat: J per generation, and which inputs it worked on."""

    label: str
    energy_j: float
    requests: float
    input_tokens: int | None = Field(description="None: not known")
    input_pixels: int | None = Field(description="None: not known")


class Doubt(Frozen):
    """Standard uncertainties of a side's mean, as fractions of it, without what its meters share (GUM 5.1)."""

    scatter: float = Field(description="of the repeats, over sqrt(n)")
    stated: float = Field(description="what each window states of itself, over sqrt(n): the same thing by budget")
    run: float = Field(description="the same in all windows of the run; never averaged")


class Side(Frozen):
    """One thing to compare: energies in J per generation within `boundary`."""

    label: str
    longer: tuple[str, ...] = Field((), description="labels that say more; each can be typed")
    name: str = Field(description="campaign/run id or folder, study:model@task, or campaign/project; can be typed")
    identity: str = Field(description="equal only for one and the same thing")
    group: str = Field(description="what the user named")
    kind: Literal["run", "study", "imported"]
    mark: str = Field(description="simulated, replay, or how it was estimated; empty where measured")
    simulated: bool
    boundary: Boundary
    gpu: str = Field(description="the boards of the boundary, by make")
    task: str | None
    energy_j: float
    estimate_j: Estimate | None = Field(description="the side's own interval; None where its doubt is not known")
    windows: tuple[Window, ...]
    repeats: int
    doubt: Doubt | None
    no_doubt: str | None = Field(None, description="why there is no interval")
    meters: tuple[Meter, ...]
    per_generation: dict[Unit, float] = Field(
        description="units of work in one generation; only those that were counted"
    )
    inputs: str | None = Field(None, description="what the repeats were fed with; None: not known")
    calibrations: tuple[BoardLoad, ...] = Field((), description="of its boards, those nearest in time")
    fields: dict[str, str] = Field(description="everything that makes up the run, for matching and for naming")
    caveats: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Term(Frozen):
    """One line of a ratio's budget, relative standard uncertainty."""

    name: str
    relative_u: float
    averages: bool = Field(description="shrinks with more repeats")
    counted: bool
    reduced_by: str


class UnitRatio(Frozen):
    """The same comparison per another unit of work: the counts are exact, so only the factor differs."""

    per: Unit
    ratio: float
    low: float | None
    high: float | None


class Compared(Frozen):
    """One side against another. `verdict` speaks of `other`: it takes less or more than `baseline`."""

    baseline: str
    other: str
    ratio: float
    low: float | None = Field(description="95 % interval; None where one side's doubt is not known")
    high: float | None
    simultaneous_low: float | None = Field(description="holds for all comparisons of the table at once (Bonferroni)")
    simultaneous_high: float | None
    ratios: tuple[UnitRatio, ...]
    method: Literal["paired", "unpaired", "none"]
    method_told: str
    verdict: Verdict
    within_margin: bool = Field(description="shown to differ by no more than the margin, whatever the verdict")
    p_different: float | None = Field(description="two-sided, after Holm's correction")
    p_equivalent: float | None = Field(description="two one-sided tests (TOST), after Holm's correction")
    repeats_to_decide: int | None = Field(description="of each side, if spread and ratio stay; None: decided, or never")
    to_decide: str
    budget: tuple[Term, ...]
    cancels: str
    boards: BoardsDiffer | None = Field(None, description="None: the same, or not calibrated")
    as_run: View | None = Field(None, description="each on its board; where `boards` are told")
    one_board: View | None = Field(None, description="as if both were on one board: without the difference of `boards`")
    judged: Literal["as run", "one board"] = Field("as run", description="what ratio, interval and verdict are of")
    across: tuple[str, ...] = ()
    marks: str
    differs: tuple[str, ...]
    caveats: tuple[str, ...]
    notes: tuple[str, ...] = ()


class SideFigure(Frozen):
    """One side's own figure, J per unit of work."""

    label: str
    name: str
    mark: str
    boundary: str
    gpu: str
    repeats: int
    energy_j: float
    low_j: float | None
    high_j: float | None


class LeftOut(Frozen):
    """What could not be compared, and why."""

    name: str
    reason: str


class Check(Frozen):
    """The answer to --fail-if-more-than."""

    limit: float
    strict: bool
    failed: bool
    unchecked: int = Field(description="comparisons without an interval, and what was left out")
    lines: tuple[str, ...]


class Comparison(Frozen):
    """A table of comparisons under one boundary and per one unit of work."""

    boundary: Boundary
    boundary_told: str
    per: Unit
    confidence: float
    margin: float
    correction: str
    sides: tuple[SideFigure, ...]
    comparisons: tuple[Compared, ...]
    left_out: tuple[LeftOut, ...]
    check: Check | None = None
