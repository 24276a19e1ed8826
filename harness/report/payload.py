"""Everything the page shows, as one JSON document: rows, bands, factors, details, and what was left out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import harness
from harness import units
from harness.footprint.defaults import DEFAULTS
from harness.footprint.equivalents import KINDS, Equivalents, recipe, scale_of
from harness.footprint.factors import Factor, editions, factor
from harness.records import SCHEMA_VERSION
from harness.report.apart import Apart
from harness.report.ranking import BOUNDARIES, RankingRow, ratings, stars_of
from harness.report.rating import WAYS
from harness.report.study_rows import NOTES, ONLY_UNDER
from harness.study.catalog import PAPER, PAPER_URL

CHOICES = ("grid", "phone", "car", "gpu-to-system", "pue")  # the factors that the reader of a page may change
ROW_FIELDS = (
    *("campaign", "run_id", "started_at_utc", "mark", "task", "model", "general", "parameters", "weights", "dtype"),
    *("prompts", "work", "load", "batch_size", "gpu", "boundary", "windows", "generations", "unit", "j_per_unit"),
    *("j_per_unit_low", "j_per_unit_high", "latency_s", "power_w", "quality", "quality_metric", "caveats", "left_out"),
)


@dataclass(frozen=True)
class Content:
    """What goes on a page.

    `details`: by place in `rows`, of the runs that have a section. `wordings`: of each code of a caveat one message.
    `unreadable`: what and why, of records that could not be read. `aside`: the same of what else is not as it should
    be, by a heading. `ratios`: most over least of places in `rows`, as report/apart finds them.
    """

    title: str
    rows: Sequence[RankingRow]
    study: Sequence[RankingRow]
    details: Mapping[int, Mapping[str, Any]]
    wordings: Mapping[str, str]
    unreadable: Sequence[tuple[str, str]]
    one_kwh: Equivalents
    aside: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    ratios: Sequence[Apart] = ()


def payload(content: Content) -> dict[str, Any]:
    """The page's data. Rows are lists in the order of `columns`, so that ten thousand of them stay small."""
    everything = [*content.rows, *content.study]
    stars = [_all_stars(everything, boundary) for boundary in BOUNDARIES]
    environments: list[Any] = []
    return {
        "title": content.title,
        "version": harness.__version__,
        "schema_version": SCHEMA_VERSION,
        "columns": [*ROW_FIELDS, "energies", "stars"],
        "rows": [
            [*(getattr(row, name) for name in ROW_FIELDS), _energies(row), [by_row[index] for by_row, _ in stars]]
            for index, row in enumerate(everything)
        ],
        "boundaries": BOUNDARIES,
        "ways": WAYS,
        "bands": [each for _, made in stars for each in made],
        "caveats": {**content.wordings, **NOTES},
        "only_under": ONLY_UNDER,
        "details": {index: _with_environment(each, environments) for index, each in content.details.items()},
        "environments": environments,
        "unreadable": content.unreadable,
        "aside": {heading: lines for heading, lines in content.aside.items() if lines},
        "ratios": {
            f"{r.least},{r.most},{r.boundary}": [_short(r.ratio), _short(r.low), _short(r.high)] for r in content.ratios
        },
        "factors": {kind: [_factor(each) for each in _offered(kind, content.one_kwh)] for kind in CHOICES},
        "used": {each.kind: _factor(each) for each in content.one_kwh.factors},
        "recipe": recipe(),
        "chosen": {kind: _chosen(kind, content.one_kwh) for kind in CHOICES},
        "units": {"j_per_kwh": units.J_PER_KWH, "days_per_year": units.DAYS_PER_YEAR},
        "paper": PAPER,
        "paper_url": PAPER_URL,
    }


def _energies(row: RankingRow) -> list[list[float | None] | None]:
    """By boundary in the order of BOUNDARIES: kWh per 1,000, low, high."""
    found = (row.energies.get(boundary) for boundary in BOUNDARIES)
    return [None if each is None else [_short(each.kwh), _short(each.low), _short(each.high)] for each in found]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.9g}")


def _all_stars(rows: Sequence[RankingRow], boundary: Any) -> tuple[list[list[str | None]], list[dict[str, Any]]]:
    """Of each row and way "345": stars, fewest, most; and the bands of each group of peers."""
    among = ratings(rows, boundary)
    given = [[stars_of(row, among, way) for way in WAYS] for row in rows]
    texts = [[f"{s.stars}{s.fewest}{s.most}" if s is not None else None for s in ways] for ways in given]
    made = [
        {
            "task": rating.peers[0],
            "gpu": rating.peers[1],
            "boards": rating.peers[2],
            "mark": rating.peers[3],
            "work": rating.peers[4],
            "prompts": rating.peers[5],
            "boundary": boundary,
            "way": way,
            "edges": rating.bands.edges,
            "low": rating.bands.low,
            "high": rating.bands.high,
            "models": rating.bands.models,
        }
        for (_, way), rating in among.items()
    ]
    return texts, made


def _with_environment(each: Mapping[str, Any], environments: list[Any]) -> dict[str, Any]:
    """The same with the place of its environment: most runs share one."""
    environment = each["environment"]
    if environment is not None and environment not in environments:
        environments.append(environment)
    return {**each, "environment": None if environment is None else environments.index(environment)}


def _offered(kind: str, one_kwh: Equivalents) -> list[Factor]:
    """The editions of a kind, before them the one that was chosen where it is none of them."""
    alike = editions(kind)
    mine = next((each for each in one_kwh.factors if each.kind == kind), None)
    return list(alike) if mine is None or mine in alike else [mine, *alike]


def _chosen(kind: str, one_kwh: Equivalents) -> str:
    used = next((each for each in one_kwh.factors if each.kind == kind), None)
    return (used or factor(kind, DEFAULTS[kind])).id


def _factor(each: Factor) -> dict[str, Any]:
    scale = scale_of(each) if each.kind in KINDS else 1.0
    return {**each.model_dump(mode="json"), "checked": each.checked_text, "shown": each.value_text, "scale": scale}
