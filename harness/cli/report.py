"""`harness report`: stored runs as one self-contained page, and the same tables as Markdown and CSV."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Car, Grid, Json, Phone, Results, editions
from harness.cli.selection import select_stored, tell_unreadable

if TYPE_CHECKING:
    from harness.errors import StoreError
    from harness.footprint.equivalents import Equivalents
    from harness.report.payload import Content
    from harness.report.ranking import RankingRow

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
    from harness.errors import UserInputError
    from harness.report.page import page
    from harness.report.quality import read_quality, with_quality
    from harness.report.ranking import per_kwh
    from harness.report.text_tables import comma_separated
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
        found.rows = with_quality(found.rows, read_quality(quality))
    content = _content(found, title, study, one_kwh, sections, traces)
    files = [(out, page), (markdown, as_markdown), (csv, comma_separated)]
    for path, text in files:
        if path is not None:
            _write(path, text(content))
    _tell(content, [str(path) for path, _ in files if path is not None], as_json)
    tell_unreadable(found.unreadable)


def _tell(content: Content, written: list[str], as_json: bool) -> None:
    """What was written, and how much of the store is in it."""
    import json

    from harness.report.text_tables import left_out

    ranked = sum(row.left_out is None for row in content.rows)
    if as_json:
        out = [{"what": what, "why": why} for what, why in left_out(content)]
        document = {"written": written, "runs": len(content.rows), "ranked": ranked, "left_out": out}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    unplaced = len(content.rows) - ranked
    left = f", {unplaced} of them in no ranking: the page says why" if unplaced else ""
    typer.echo(f"{len(content.rows)} run{'' if len(content.rows) == 1 else 's'}{left}.")
    for name in written:
        typer.echo(f"Written: {name}")


@dataclass
class _Found:
    """What the store holds: a row for each run, where it lies, one wording for each kind of caveat."""

    rows: list[RankingRow] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    wordings: dict[str, str] = field(default_factory=dict)
    unreadable: list[StoreError] = field(default_factory=list)


def _collect(what: list[str], results: Path, one_kwh: Equivalents, found: _Found) -> None:
    """Row by row, from the index where there is one: of ten thousand records none is in memory."""
    from harness.report.stored import all_runs

    stored, names = select_stored(what, results)
    for run in all_runs(stored, one_kwh, names):
        found.rows.append(run.row)
        found.folders.append(run.folder)
        for caveat in run.caveats:
            found.wordings.setdefault(caveat.code, caveat.message)
    found.unreadable.extend(stored.unreadable(names))


def _content(
    found: _Found, title: str | None, study: bool, one_kwh: Equivalents, sections: int, traces: int
) -> Content:
    from harness.errors import StoreError
    from harness.report.details import detail, most_telling
    from harness.report.payload import Content
    from harness.report.study_rows import study_rows
    from harness.store.files import RECORD, read_record, read_trace
    from harness.study.models import reference

    details = {}
    for rank, index in enumerate(most_telling(found.rows, sections)):
        record = read_record(found.folders[index] / RECORD)
        trace = None
        if rank < traces:
            try:
                trace = read_trace(found.folders[index], record)
            except StoreError as error:  # the run's figures do not rest on it
                found.unreadable.append(error)
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
