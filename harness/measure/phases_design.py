"""From runs to the rows and columns of a phase fit: which counts of work vary, and what they can tell apart. Pure.

A batch of b requests, i input and n output tokens each, or b images of s steps and m megapixels:

    text    E = fixed + request b + prefill b i + decode step n + decode b n
    images  E = fixed + text encoder b + denoising b s m + decoder b m

A decoding step serves the whole batch: part of it (reading the weights) costs the same for any batch, part comes with
every token. With one batch size the two are one number, and the design says so instead of guessing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from harness.errors import MeasurementInvalid, UserInputError
from harness.measure.energy import busy_energy_j
from harness.measure.regression import MAX_CONDITION, column_condition
from harness.measure.uncertainty import run_u_j, window_u_j
from harness.records import Measurement, RunRecord, SourceInfo
from harness.stats import FloatArray

Kind = Literal["text", "image"]
MIN_SPREAD = 0.02  # of the largest: counts closer together than this do not count as varied


@dataclass(frozen=True, slots=True)
class Row:
    """One run: the work and the energy of its mean batch.

    `own_u_j`: standard uncertainty by what differs between runs; `gain_j`, `offset_j`: what one standard uncertainty of
    the board's gain and offset adds, the same error in every run.
    """

    run_id: str
    batch_size: int
    input_tokens: float  # per request
    output_tokens: float  # per request
    steps: float  # per image
    megapixels: float  # per image
    duration_s: float
    energy_j: float
    own_u_j: float
    gain_j: float
    offset_j: float


@dataclass(frozen=True, slots=True)
class Term:
    """One phase: its name, its energy's unit, and how much of it a row holds.

    `into`: the phase that holds it too where it cannot be told apart; None for one that has to be told.
    """

    name: str
    unit: str
    meaning: str
    amount: Callable[[Row], float]
    varied: tuple[str, ...]
    into: str | None = None


FIXED = Term("fixed", "J/batch", "whatever the batch holds", lambda row: 1.0, ())
TEXT_TERMS = (
    FIXED,
    Term("prefill", "J/input token", "reading the prompts", lambda r: r.batch_size * r.input_tokens, ("input length",)),
    Term(
        "decode step",
        "J/step",
        "a step's part that all requests of a batch share",
        lambda row: row.output_tokens,
        ("output length", "batch size"),
        "decode",
    ),
    Term(
        "decode",
        "J/output token",
        "each token's own part of its step",
        lambda row: row.batch_size * row.output_tokens,
        ("output length",),
    ),
    Term("request", "J/request", "what comes with each request", lambda row: row.batch_size, ("batch size",), "fixed"),
)
IMAGE_TERMS = (
    FIXED,
    Term(
        "text encoder",
        "J/image",
        "what comes with each image, whatever its size",
        lambda row: row.batch_size,
        ("batch size",),
        "fixed",
    ),
    Term(
        "denoising",
        "J/(step Mpx)",
        "each step, by megapixels",
        lambda row: row.batch_size * row.steps * row.megapixels,
        ("number of steps",),
    ),
    Term(
        "decoder",
        "J/Mpx",
        "each image once, by megapixels",
        lambda row: row.batch_size * row.megapixels,
        ("resolution",),
        "text encoder",
    ),
)
FORMULAE: dict[Kind, str] = {
    "text": "batch = fixed + prefill b i + decode step n + decode b n + request b  (b requests of i tokens in, n out)",
    "image": "batch = fixed + text encoder b + denoising b s m + decoder b m  (b images of s steps, m megapixels)",
}
_VARIABLES: dict[str, Callable[[Row], float]] = {
    "batch size": lambda row: row.batch_size,
    "input length": lambda row: row.input_tokens,
    "output length": lambda row: row.output_tokens,
    "number of steps": lambda row: row.steps,
    "resolution": lambda row: row.megapixels,
}
_HOW = {
    "batch size": "batch_size: [1, 8]",
    "input length": "prompts: {words: [32, 512]}",
    "output length": "text: {new_tokens: [16, 128]}",
    "number of steps": "image: {steps: [10, 50]}",
    "resolution": "image: {height: [512, 768]}",
}


@dataclass(frozen=True, eq=False)
class Design:
    """The phases that the runs can tell, in the order of the model; the others with where they are and why.

    `columns`: amounts, shape (rows, terms).
    """

    terms: tuple[Term, ...]
    merged: tuple[tuple[Term, str], ...]
    columns: FloatArray
    varied: tuple[str, ...]


def work_kind(record: RunRecord) -> Kind | None:
    """Which of the two models its work belongs to; None for neither (classification, detection, a server's batches)."""
    if record.spec.server is not None:
        return None
    work = [window.work for window in record.measurements]
    if any(each.images and each.denoising_steps for each in work):
        return "image"
    return "text" if any(each.output_tokens for each in work) else None


def row_of(record: RunRecord) -> Row:
    """The mean batch of a complete run.

    Raises:
        MeasurementInvalid: It has no figure.
    """
    accepted = [window for window in record.measurements if not window.rejected]
    summary = record.summary
    if summary is None or not accepted:
        raise MeasurementInvalid(f"{record.run_id} has no figure.", "Leave it out, or run it again.")
    size = record.spec.batch_size
    requests = math.fsum(window.work.requests for window in accepted)

    def per_request(name: str) -> float:
        return math.fsum(getattr(window.work, name) for window in accepted) / requests

    infos = {info.id: info for info in record.sources if info.runs_model}
    normal = NormalDist().inv_cdf(0.975)
    stated_j = math.sqrt(math.fsum(_own_square(window, infos) for window in accepted)) / len(accepted)
    own_j = max(summary.gpu_repeatability_j.half_width / normal, stated_j)  # few repeats are widened by Student's t
    gain_j, offset_j, run_j = (
        math.fsum(each(window, infos) for window in accepted) / len(accepted) for each in (_gain_j, _offset_j, _run_j)
    )
    return Row(
        run_id=record.run_id,
        batch_size=size,
        input_tokens=per_request("input_tokens"),
        output_tokens=per_request("output_tokens"),
        steps=per_request("denoising_steps"),
        megapixels=per_request("output_pixels") / 1e6,
        duration_s=summary.duration_s * size,
        energy_j=summary.gpu_energy_j.value * size,
        own_u_j=math.hypot(own_j, run_j) * size,
        gain_j=gain_j * size,
        offset_j=offset_j * size,
    )


def _own_square(window: Measurement, infos: dict[str, SourceInfo]) -> float:
    own = [window_u_j(source.budget) for source in window.sources if source.source_id in infos]
    return math.fsum(u_j**2 for u_j in own) / window.work.requests**2


def _run_j(window: Measurement, infos: dict[str, SourceInfo]) -> float:
    """What all windows of this run share, and no other run."""
    return math.fsum(run_u_j(s.budget) for s in window.sources if s.source_id in infos) / window.work.requests


def _gain_j(window: Measurement, infos: dict[str, SourceInfo]) -> float:
    mine = [source for source in window.sources if source.source_id in infos]
    return math.fsum(busy_energy_j(s) * infos[s.source_id].gain_relative_u for s in mine) / window.work.requests


def _offset_j(window: Measurement, infos: dict[str, SourceInfo]) -> float:
    return math.fsum(window.busy_s * info.offset_u_w for info in infos.values()) / window.work.requests


def design_of(rows: Sequence[Row], kind: Kind) -> Design:
    """The largest part of the model that these runs can tell, with one run left over for a check.

    Raises:
        UserInputError: Too few runs, or a count of work that never varies, or varies only together with others.
    """
    terms = TEXT_TERMS if kind == "text" else IMAGE_TERMS
    varied = tuple(name for name, value in _VARIABLES.items() if _varies([value(row) for row in rows]))
    needed = [term for term in terms if term.into is None]
    if len(rows) <= len(needed):
        raise UserInputError(
            f"{len(rows)} comparable {'run' if len(rows) == 1 else 'runs'} cannot tell {len(needed)} phases "
            f"({', '.join(term.name for term in needed)}): {len(needed) + 1} are needed at least.",
            "configs/phases.yaml is a design that tells them all.",
        )
    sure = [row.run_id for row in rows if not row.own_u_j > 0]
    if sure:
        raise UserInputError(f"{sure[0]} states no doubt of its own, so it cannot be weighed.", "Leave it out.")
    missing = [name for term in needed for name in term.varied if name not in varied]
    if missing:
        blind = [term.name for term in needed if set(term.varied) & set(missing)]
        raise UserInputError(
            f"The {' and the '.join(missing)} {'does' if len(missing) == 1 else 'do'} not vary over these {len(rows)} "
            f"runs, so {' and '.join(blind)} cannot be told from what is fixed.",
            f"Add runs with another one: {'; '.join(_HOW[name] for name in missing)}.",
        )
    if _condition(rows, needed) > MAX_CONDITION:
        together = [name for name in varied if name in _HOW]
        raise UserInputError(
            f"The {' and the '.join(together)} vary only together over these {len(rows)} runs, so "
            f"{', '.join(term.name for term in needed)} cannot be told apart.",
            "Vary one at a time: short and long of each with short and long of the others.",
        )
    chosen, merged = list(needed), []
    for term in terms:
        if term.into is None:
            continue
        constant = [name for name in term.varied if name not in varied]
        if constant:
            merged.append((term, f"the {' and the '.join(constant)} does not vary"))
        elif len(rows) <= len(chosen) + 1:
            merged.append((term, f"{len(rows)} runs are too few for one phase more"))
        elif _condition(rows, [*chosen, term]) > MAX_CONDITION:
            merged.append((term, "its share varies only together with the other phases'"))
        else:
            chosen.append(term)
    ordered = tuple(term for term in terms if term in chosen)
    return Design(ordered, tuple(merged), _columns(rows, ordered), varied)


def _varies(values: Sequence[float]) -> bool:
    return max(values) - min(values) > MIN_SPREAD * max(values) if values else False


def _condition(rows: Sequence[Row], terms: Sequence[Term]) -> float:
    weights = np.array([[1 / row.own_u_j] for row in rows])
    return column_condition(_columns(rows, terms) * weights)


def _columns(rows: Sequence[Row], terms: Sequence[Term]) -> FloatArray:
    return np.array([[term.amount(row) for term in terms] for row in rows], dtype=np.float64)
