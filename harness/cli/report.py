"""`harness report`: stored runs as one self-contained page, and the same tables as Markdown and CSV."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.echo import echo
from harness.cli.options import Car, Grid, Json, Phone, Results, editions
from harness.cli.selection import select_stored, tell_unreadable
from harness.cli.targets import check_targets, write_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.errors import StoreError
    from harness.footprint.equivalents import Equivalents
    from harness.records import RunRecord
    from harness.report.payload import Content
    from harness.report.quality import Scores
    from harness.report.ranking import RankingRow

UNTRACED = "In the figures, but the power trace cannot be read"
UNUSED_SCORES = "Scores that are not used"
SECTIONS, TRACES = 500, 60  # a page stays below 8 MB; a trace takes a file to read


def report_command(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CAMPAIGN...", help="Campaigns, run ids (or their beginning), or folders; all if left out."
        ),
    ] = None,
    results: Results = Path("results"),
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="The page; report.html if no file is named.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Its tables as Markdown.")] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Every run, and the study's models, as CSV.")
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="What stands on top of the page.")] = None,
    quality: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="How good the models are: lines of task,model,metric,value."),
    ] = None,
    study: Annotated[
        bool, typer.Option("--study/--no-study", help="The 88-model study as a backdrop, marked as such.")
    ] = True,
    study_only: Annotated[bool, typer.Option("--study-only", help="A page of the study alone.")] = False,
    sections: Annotated[
        int, typer.Option(metavar="N", min=0, help="Runs that get a section with budget and environment.")
    ] = SECTIONS,
    traces: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of those, runs whose power trace is drawn.")
    ] = TRACES,
    phone: Phone = None,
    car: Car = None,
    grid: Grid = None,
    as_json: Json = False,
) -> None:
    """One page with rankings, plots, ratings and sources; it needs nothing from the network."""
    from harness.errors import UserInputError
    from harness.report.csv_table import comma_separated
    from harness.report.page import page
    from harness.report.quality import read_quality
    from harness.report.ranking import per_kwh
    from harness.report.text_tables import markdown as as_markdown

    if study_only and (what or not study):
        raise UserInputError("--study-only is a page without runs of yours.", "Leave the campaigns and --no-study out.")
    if out is None and markdown is None and csv is None:
        out = Path("report.html")
    wanted = [(out, page), (markdown, as_markdown), (csv, comma_separated)]
    files = [(path, text) for path, text in wanted if path is not None]
    check_targets([path for path, _ in files])
    scores = None if quality is None else read_quality(quality)
    one_kwh = per_kwh(editions(phone, car, grid))
    found = _Found()
    if not study_only:
        _collect(what or [], results, one_kwh, found)
    content = _content(found, title, study, scores, one_kwh, Sections(sections, traces))
    texts = [(path, text(content)) for path, text in files]
    for path, text in texts:
        write_target(path, text)
    nothing = f"The study alone: {len(content.study)} rows." if study_only else f"No runs in {results}."
    empty = None if found.rows or found.unreadable else nothing
    _tell(content, [str(path) for path, _ in files], empty, as_json)
    tell_unreadable([*found.unreadable, *found.untraced])


def _tell(content: Content, written: list[str], empty: str | None, as_json: bool) -> None:
    """What was written, and how much of the store is in it."""
    import json

    from harness.report.text_tables import left_out

    ranked = sum(row.left_out is None for row in content.rows)
    if as_json:
        out = [{"what": what, "why": why} for what, why in left_out(content)]
        aside = {heading: [list(line) for line in lines] for heading, lines in content.aside.items()}
        document = {"written": written, "runs": len(content.rows), "ranked": ranked, "left_out": out, "aside": aside}
        echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    unplaced = len(content.rows) - ranked
    left = f", {unplaced} of them in no ranking: the page says why" if unplaced else ""
    echo(empty or f"{len(content.rows)} run{'' if len(content.rows) == 1 else 's'}{left}.")
    for what, why in content.aside.get(UNUSED_SCORES, ()):
        echo(f"A score is not used: {what}: {why}.")
    for name in written:
        echo(f"Written: {name}")


@dataclass
class _Found:
    """What the store holds: a row for each run, where it lies, one wording for each kind of caveat."""

    rows: list[RankingRow] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    wordings: dict[str, str] = field(default_factory=dict)
    unreadable: list[StoreError] = field(default_factory=list)
    untraced: list[StoreError] = field(default_factory=list)


def _collect(what: list[str], results: Path, one_kwh: Equivalents, found: _Found) -> None:
    """Row by row, from the index where there is one: of ten thousand records none is in memory."""
    from harness.errors import StoreError, UserInputError
    from harness.report.stored import all_runs
    from harness.store.documents import told_together
    from harness.store.files import RECORD, without_record

    if not what and not results.exists():
        raise UserInputError(
            f"There is no results folder {results}.",
            "Run a campaign first, give its folder with --results, or take --study-only for the study alone.",
        )
    stored, names = select_stored(what, results)
    for run in all_runs(stored, one_kwh, names):
        found.rows.append(run.row)
        found.folders.append(run.folder)
        for caveat in run.caveats:
            found.wordings.setdefault(caveat.code, caveat.message)
    found.unreadable.extend(stored.unreadable(names))
    places = [results, *(Path(name) for name in what if name not in names)] if results.exists() else map(Path, what)
    for folder in dict.fromkeys(lost for place in places for lost in without_record(place)):
        if not what or any(folder.parent.name == name or folder.name.startswith(name) for name in names):
            message = f"{folder} holds a power trace but no {RECORD}."
            found.unreadable.append(StoreError(message, "Restore the record from a copy, or run it again."))
    found.unreadable = told_together(found.unreadable)


@dataclass(frozen=True)
class Sections:
    """How many runs get a section, and of how many of them the trace is drawn."""

    most: int
    traces: int


def _content(
    found: _Found, title: str | None, study: bool, scores: Scores | None, one_kwh: Equivalents, sections: Sections
) -> Content:
    import functools

    from harness.report.apart import ends_apart
    from harness.report.payload import Content
    from harness.report.quality import unmatched, with_quality
    from harness.report.study_rows import study_rows
    from harness.store.files import RECORD, read_record
    from harness.study.models import reference

    record_at = functools.lru_cache(maxsize=100)(lambda index: read_record(found.folders[index] / RECORD))
    details = _details(found, record_at, sections)
    backdrop = study_rows(reference(), one_kwh) if study else []
    unused = [] if scores is None else unmatched([*found.rows, *backdrop], scores)
    campaigns = list(dict.fromkeys(row.campaign for row in found.rows))
    named = ", ".join(campaigns[:3]) + (" and others" if len(campaigns) > 3 else "")
    return Content(
        title=title
        or (f"What generations cost: {named}" if named else "What generations cost: the study of 88 models"),
        rows=with_quality(found.rows, scores or {}),
        study=with_quality(backdrop, scores or {}),
        details=details,
        wordings=found.wordings,
        unreadable=[(error.message, error.hint) for error in found.unreadable],
        one_kwh=one_kwh,
        aside={UNTRACED: [(error.message, error.hint) for error in found.untraced], UNUSED_SCORES: unused},
        ratios=ends_apart(found.rows, record_at),
    )


def _details(found: _Found, record_at: Callable[[int], RunRecord], sections: Sections) -> dict[int, dict[str, Any]]:
    from harness.errors import StoreError
    from harness.report.details import detail, most_telling
    from harness.store.files import read_trace

    details = {}
    for rank, index in enumerate(most_telling(found.rows, sections.most)):
        record, trace, why = record_at(index), None, "the run has none"
        if rank >= sections.traces:
            why = f"the page draws those of {sections.traces} runs, and this is none of them"
        else:
            try:
                trace = read_trace(found.folders[index], record)
            except StoreError as error:  # the run's figures do not rest on it
                found.untraced.append(error)
                why = f"it cannot be read: {error.message}"
        details[index] = detail(record, trace, why)
    return details
