"""`harness report`: stored runs as one self-contained page, and the same tables as Markdown and CSV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Car, Grid, Json, Phone, Results, editions
from harness.cli.selection import select_runs, tell_unreadable

if TYPE_CHECKING:
    from harness.errors import StoreError
    from harness.footprint.equivalents import Equivalents
    from harness.report.payload import Content
    from harness.report.ranking import RankingRow
    from harness.store.files import StoredRun

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
    markdown: Annotated[Path | None, typer.Option(metavar="FILE.md", help="The ranking as Markdown.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Every run as CSV.")] = None,
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
    import json

    from harness.errors import UserInputError
    from harness.report.page import page
    from harness.report.quality import read_quality
    from harness.report.ranking import per_kwh
    from harness.report.text_tables import comma_separated, left_out
    from harness.report.text_tables import markdown as as_markdown

    if study_only and (what or not study):
        raise UserInputError("--study-only is a page without runs of yours.", "Leave the campaigns and --no-study out.")
    if out is None and markdown is None and csv is None:
        out = Path("report.html")
    one_kwh = per_kwh(editions(phone, car, grid))
    found = _Found()
    if not study_only:
        _collect(what or [], results, one_kwh, found)
    if quality is not None:
        from harness.report.quality import with_quality

        found.rows = with_quality(found.rows, read_quality(quality))
    content = _content(found, title, study, one_kwh, sections, traces)
    files = [(out, page), (markdown, as_markdown), (csv, comma_separated)]
    for path, text in files:
        if path is not None:
            _write(path, text(content))
    written = [str(path) for path, _ in files if path is not None]
    out_of_ranking = left_out(content)
    if as_json:
        document: dict[str, Any] = {
            "written": written,
            "runs": len(content.rows),
            "ranked": sum(row.left_out is None for row in content.rows),
            "left_out": [{"what": what_, "why": why} for what_, why in out_of_ranking],
        }
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        typer.echo(
            f"{len(content.rows)} runs, of which {len(out_of_ranking) - len(found.unreadable)} are in no ranking."
        )
        for path in written:
            typer.echo(f"Written: {path}")
    tell_unreadable(found.unreadable)


@dataclass
class _Found:
    """What the store holds: a row for each run, where it lies, one wording for each kind of caveat."""

    rows: list[RankingRow] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    wordings: dict[str, str] = field(default_factory=dict)
    unreadable: list[StoreError] = field(default_factory=list)


def _collect(what: list[str], results: Path, one_kwh: Equivalents, found: _Found) -> None:
    """Row by row: of ten thousand records one at a time is in memory."""
    from harness.report.ranking import ranking_row
    from harness.report.results import all_caveats

    for run in _runs(what, results, found.unreadable):
        found.rows.append(ranking_row(run.record, one_kwh))
        found.folders.append(run.folder)
        for caveat in all_caveats(run.record):
            found.wordings.setdefault(caveat.code, caveat.message)


def _runs(what: list[str], results: Path, unreadable: list[StoreError]) -> Iterator[StoredRun]:
    from harness.store.files import each_run

    if what:
        yield from select_runs(what, results, unreadable)
    elif results.exists():
        yield from each_run([results], unreadable)


def _content(
    found: _Found, title: str | None, study: bool, one_kwh: Equivalents, sections: int, traces: int
) -> Content:
    from harness.report.details import detail, most_telling
    from harness.report.payload import Content
    from harness.report.study_rows import study_rows
    from harness.store.files import RECORD, read_record, read_trace
    from harness.study.models import reference

    details = {}
    for rank, index in enumerate(most_telling(found.rows, sections)):
        record = read_record(found.folders[index] / RECORD)
        trace = read_trace(found.folders[index], record) if rank < traces else None
        details[index] = detail(record, trace)
    campaigns = list(dict.fromkeys(row.campaign for row in found.rows))
    named = ", ".join(campaigns[:3]) + (" and others" if len(campaigns) > 3 else "")
    return Content(
        title=title
        or (f"What generations cost: {named}" if named else "What generations cost: the study of 88 models"),
        rows=found.rows,
        study=study_rows(reference()) if study else (),
        details=details,
        wordings=found.wordings,
        unreadable=[(error.message, error.hint) for error in found.unreadable],
        one_kwh=one_kwh,
    )


def _write(path: Path, text: str) -> None:
    from harness.errors import StoreError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"Cannot write {path}: {error.strerror or error}.", "Give a file in a folder that exists and is writable."
        ) from error
