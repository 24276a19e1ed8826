"""`harness claims`: what five press articles say, recomputed, each with a verdict and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.echo import echo
from harness.cli.options import Json

if TYPE_CHECKING:
    from harness.study.press import Article, PressClaim


def claims_command(
    article: Annotated[
        str | None, typer.Option("--article", metavar="A", help="Only this article: 000_ru, 001_vi ... or 000.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The 69 statements of five press articles: stated, recomputed, original source, verdict, and why."""
    import json

    from harness.study.press import articles, press_claims, verdict_counts

    claims = press_claims(article)
    shown = [each for each in articles() if any(claim.article == each.id for claim in claims)]
    if as_json:
        document = {
            "articles": [each.model_dump(mode="json") for each in shown],
            "verdicts": verdict_counts(claims),
            "claims": [claim.model_dump(mode="json") for claim in claims],
        }
        echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    _print(shown, claims)


def _print(shown: list[Article], claims: list[PressClaim]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from harness.cli.tables import console, print_line, print_table
    from harness.study.press import CHECKED_TEXT, verdict_counts
    from harness.study.verdicts import items_text, number_text

    out = console()
    sources = list(dict.fromkeys(claim.source for claim in claims if claim.source))
    for each in shown:
        own = [claim for claim in claims if claim.article == each.id]
        title = f"{each.id} ({each.language}): {each.title}; {each.published}"
        table = Table(title=escape(title), title_justify="left", show_lines=True)
        for name in ("id", "claim", "stated", "recomputed", "original", "verdict", "why"):
            most = {"stated": 18, "recomputed": 10, "original": 16}.get(name)
            table.add_column(name, overflow="fold", no_wrap=name in ("id", "verdict"), max_width=most)
        for claim in own:
            computed = "; ".join("-" if one is None else number_text(one.value, 4) for one in claim.recomputed)
            source_number = f" [{sources.index(claim.source) + 1}]" if claim.source else ""
            table.add_row(
                claim.id,
                escape(claim.says),
                escape(f"{items_text(claim.stated)} ({claim.unit})"),
                computed if computed.strip("-; ") else "",
                escape(f"{items_text(claim.original) or 'none'}{source_number}"),
                claim.verdict_text.replace(" ", "\n"),
                escape(claim.why),
            )
        print_table(table, out)
    out.print("Original sources, and how far they were read:")
    for number, source in enumerate(sources, 1):
        own = [claim for claim in claims if claim.source == source]
        read = "; ".join(dict.fromkeys(CHECKED_TEXT[claim.checked] for claim in own))
        urls = " ".join(dict.fromkeys(claim.url for claim in own if claim.url))
        print_line(out, f"{number:>3}  {source} [{read}] {urls}")
    counts = verdict_counts(claims)
    out.print(f"{len(claims)} claims: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    print_line(
        out,
        "garbled: not what its source says (numbers or words moved, lost, inverted); outdated: an earlier edition of "
        "the source says it; inconsistent: recomputing gives another number; unsupported: no source, or a cause that "
        "cannot carry it; (unverified): judged from memory. Arithmetic, factors and addresses: harness claims --json",
    )
