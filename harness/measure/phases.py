"""What a generation costs, phase by phase: one weighted fit over runs of different lengths, steps and batches. Pure.

No window is subtracted from another: every run is used whole, with the uncertainty it states. What differs between runs
weighs them; what a board's runs share, its gain and offset, moves all coefficients together (measure/regression).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from harness.errors import UserInputError
from harness.frozen import Frozen
from harness.measure.alike import differences, grouped, setting
from harness.measure.consistency import changed
from harness.measure.phases_design import FORMULAE, Design, Kind, Row, Term, design_of, row_of, work_kind
from harness.measure.regression import Fit, fit_weighted
from harness.records import RunRecord
from harness.stats import Estimate

CONFIDENCE = 0.95
SMALL_CHI_SQUARED = 0.1  # per degree of freedom


class Phase(Frozen):
    """One coefficient: joules per `unit`, its interval, and the two kinds of doubt in it.

    `own_u`: by what differs between runs, widened by the fit's inflation; `shared_u`: by the board's gain and offset.
    `warning`: it came out negative, which no energy is. `true_value`: known only when simulated.
    """

    name: str
    unit: str
    meaning: str
    energy_j: Estimate
    own_u_j: float
    shared_u_j: float
    warning: str | None = None
    true_value_j: float | None = None


class Untold(Frozen):
    """A phase that these runs do not tell apart, where it is, and why."""

    name: str
    into: str
    reason: str


class PhaseRun(Frozen):
    """One run in the fit, per batch. `held_out_relative`: how far a fit without this run is off its energy."""

    run_id: str
    batch_size: int
    input_tokens: float = Field(description="per request")
    output_tokens: float = Field(description="per request")
    steps: float = Field(description="per image")
    megapixels: float = Field(description="per image")
    energy_j: float
    own_u_j: float
    fitted_j: float
    residual_u: float = Field(description="energy less fitted, in its own standard uncertainties")
    parts_j: dict[str, float] = Field(description="what each phase adds to the fitted energy")
    held_out_relative: float | None = Field(None, description="None: this run alone decides a phase")
    held_out_within: bool | None = Field(None, description="within the 95 % that run and fit state")


class HeldOut(Frozen):
    """Each run predicted from the others."""

    runs: int
    median_relative: float
    largest_relative: float
    within: int = Field(description="runs within the 95 % that run and fit state, before any widening")


class PhaseFit(Frozen):
    """The fit of one group of comparable runs. Energies are gross, over `boundary`, in joules per batch."""

    kind: Kind
    setting: dict[str, str]
    simulated: bool
    replay: bool
    boundary: str
    phases: tuple[Phase, ...]
    untold: tuple[Untold, ...]
    runs: tuple[PhaseRun, ...]
    chi_squared: float
    degrees: int
    inflation: float = Field(description="factor that widens the runs' own uncertainties: their residuals ask for it")
    condition: float = Field(description="how nearly the phases' shares vary together; beyond 300 they are not told")
    formula: str
    held_out: HeldOut | None
    warnings: tuple[str, ...] = ()


def phase_groups(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Complete runs that generate text or images, those of equal setting together."""
    usable = [
        record
        for record in records
        if record.summary is not None and work_kind(record) is not None and changed(record) is None
    ]
    return grouped(usable, setting)


def fit_phases(records: Sequence[RunRecord], truth: Mapping[str, float] | None = None) -> PhaseFit:
    """Fit the phases of comparable runs.

    Args:
        records: Complete runs of one setting.
        truth: True joules per phase by name, where they are simulated and known.

    Raises:
        UserInputError: Runs that must not be mixed, too few of them, or a design that cannot tell the phases apart.
    """
    told = differences([setting(record) for record in records])
    if told:
        raise UserInputError(
            f"These runs cannot be put into one fit; they differ in {'; '.join(told)}.", "Fit each group by itself."
        )
    kind = work_kind(records[0]) if records else None
    if kind is None:
        raise UserInputError("There is no run here that generates text or images.", "Phases are known for those alone.")
    rows = sorted(map(row_of, records), key=_order)
    design = design_of(rows, kind)
    fit = fit_weighted(
        design.columns,
        np.array([row.energy_j for row in rows]),
        np.array([row.own_u_j for row in rows]),
        [np.array([row.gain_j for row in rows]), np.array([row.offset_j for row in rows])],
    )
    phases = _phases(design, fit, truth or {})
    about = setting(records[0])
    return PhaseFit(
        kind=kind,
        setting=about,
        simulated=any(record.simulated for record in records),
        replay=any(record.replayed for record in records),
        boundary=about["boundary"],
        phases=phases,
        untold=_untold(design),
        runs=tuple(_run(row, index, design, fit) for index, row in enumerate(rows)),
        chi_squared=fit.chi_squared,
        degrees=fit.degrees,
        inflation=fit.inflation,
        condition=fit.condition,
        formula=FORMULAE[kind],
        held_out=_held_out(rows, fit),
        warnings=_warnings(phases, fit),
    )


def _order(row: Row) -> tuple[float, ...]:
    return row.batch_size, row.steps, row.megapixels, row.input_tokens, row.output_tokens


def _phases(design: Design, fit: Fit, truth: Mapping[str, float]) -> tuple[Phase, ...]:
    halves = fit.half_widths(CONFIDENCE)
    own_u, shared_u = fit.own_u(), fit.shared_u()
    merged_away = {_home(term, design) for term, _ in design.merged}
    phases = []
    for index, term in enumerate(design.terms):
        value, half = float(fit.coefficients[index]), float(halves[index])
        phases.append(
            Phase(
                name=term.name,
                unit=term.unit,
                meaning=term.meaning,
                energy_j=Estimate(
                    value=value,
                    low=value - half,
                    high=value + half,
                    confidence=CONFIDENCE,
                    n=len(fit.residuals),
                    standard_uncertainty=math.hypot(own_u[index], shared_u[index]),
                    method="weighted least squares; own and shared parts expanded and added in quadrature",
                ),
                own_u_j=float(own_u[index]),
                shared_u_j=float(shared_u[index]),
                warning=_negative(term.name, value, half),
                true_value_j=None if term.name in merged_away else truth.get(term.name),
            )
        )
    return tuple(phases)


def _negative(name: str, value: float, half: float) -> str | None:
    if value >= 0:
        return None
    if value + half >= 0:
        return f"{name} came out negative, which no energy is: zero lies in its interval, these runs do not resolve it."
    return (
        f"{name} came out negative with its whole interval, which no energy is: the model does not describe these runs."
    )


def _untold(design: Design) -> tuple[Untold, ...]:
    return tuple(Untold(name=term.name, into=_home(term, design), reason=reason) for term, reason in design.merged)


def _home(term: Term, design: Design) -> str:
    """The fitted phase that holds a merged one."""
    merged = {each.name: each for each, _ in design.merged}
    name = term.into or term.name
    while name in merged:
        name = merged[name].into or name
    return name


def _run(row: Row, index: int, design: Design, fit: Fit) -> PhaseRun:
    parts_j = design.columns[index] * fit.coefficients
    left_out, u_j = float(fit.left_out[index]), float(fit.left_out_u[index])
    known = math.isfinite(left_out)
    return PhaseRun(
        run_id=row.run_id,
        batch_size=row.batch_size,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        steps=row.steps,
        megapixels=row.megapixels,
        energy_j=row.energy_j,
        own_u_j=row.own_u_j,
        fitted_j=float(fit.fitted[index]),
        residual_u=float(fit.residuals[index]) / row.own_u_j,
        parts_j={term.name: float(part_j) for term, part_j in zip(design.terms, parts_j, strict=True)},
        held_out_relative=-left_out / row.energy_j if known else None,
        held_out_within=abs(left_out) <= 1.96 * u_j if known else None,
    )


def _held_out(rows: Sequence[Row], fit: Fit) -> HeldOut | None:
    known = np.isfinite(fit.left_out)
    if not known.any():
        return None
    relative = np.abs(fit.left_out[known]) / np.array([row.energy_j for row in rows])[known]
    return HeldOut(
        runs=int(known.sum()),
        median_relative=float(np.median(relative)),
        largest_relative=float(relative.max()),
        within=int(np.sum(np.abs(fit.left_out[known]) <= 1.96 * fit.left_out_u[known])),
    )


def _warnings(phases: Sequence[Phase], fit: Fit) -> tuple[str, ...]:
    found = [phase.warning for phase in phases if phase.warning]
    if fit.inflation > 1:
        found.append(
            f"The runs scatter about the fit by {fit.inflation:.2f} times what they state (chi-squared "
            f"{fit.chi_squared:.1f} on {fit.degrees}): standard errors are widened by that much."
        )
    if fit.chi_squared < SMALL_CHI_SQUARED * fit.degrees:
        found.append(
            "The runs lie much closer to the fit than they state (chi-squared far below its degrees of freedom): their "
            "own doubts, and the standard errors made of them, err to the wide side."
        )
    return tuple(found)
