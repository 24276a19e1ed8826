"""A table on a terminal of any width: no number is ever broken in two."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from command import harness
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from harness.cli.tables import needs_tasks, print_table, whole_cells

ROWS = [["text-classification", "0.00229", "0.000218 (0.000199 to 0.000236)"], ["fill-mask", "0.00338", "0.000287"]]


def printed(width: int) -> str:
    table = Table(title="kWh per 1,000 inferences")
    for name in ("task", "mean", "active GPU"):
        table.add_column(name, overflow="fold")
    for row in ROWS:
        table.add_row(*row)
    out = Console(file=io.StringIO(), width=width, highlight=False)
    print_table(table, out)
    return out.file.getvalue()  # type: ignore[attr-defined]


@given(st.integers(24, 200))
def test_numbers_stay_whole_at_every_width(width):
    words = (
        printed(width).replace(",", " ").replace("(", " ").replace(")", " ").replace("│", " ").replace(";", " ").split()
    )
    assert {"0.00229", "0.000218", "0.000199", "0.000236", "0.00338", "0.000287"} <= set(words)


def test_a_row_that_does_not_fit_becomes_a_sentence():
    assert "┃ task" in printed(80)
    assert "fill-mask - mean: 0.00338; active GPU: 0.000287" in " ".join(printed(40).split())


def test_a_table_that_would_cut_its_words_becomes_sentences():
    names = ("training", "made alike", "generations")
    for width in range(30, 90):
        table = Table()
        for name in names:
            table.add_column(name)
        table.add_row(
            "llama31-405b", "x whole node over GPUs 1.65 (1.15 to 2.3), the facility lies within", "1.17 billion"
        )
        out = Console(file=io.StringIO(), width=width, highlight=False)
        print_table(table, out)
        text = out.file.getvalue()  # type: ignore[attr-defined]
        assert "…" not in text, width
        assert "llama31-405b" in text, width


@given(st.integers(20, 60))
def test_whole_cells_are_never_broken(width):
    table = Table()
    for name in ("phase", "energy, 95 % interval"):
        table.add_column(name)
    table.add_row("decode step", "[red]1.066 ± 0.064[/]")
    out = Console(file=io.StringIO(), width=width, highlight=False)
    print_table(whole_cells(table), out)
    printed = out.file.getvalue()  # type: ignore[attr-defined]
    assert "decode step" in printed or width < 40
    assert ("┃" in printed) == (width >= 11 + 21 + 7)


def test_tasks_are_named_where_the_table_would_not_tell_them_apart():
    def rows(*pairs):
        return [SimpleNamespace(model=model, task=task) for model, task in pairs]

    assert not needs_tasks(rows(("gpt2", "text-generation"), ("gpt2", "text-generation"), ("sd", "text-to-image")))
    assert needs_tasks(rows(("t5", "summarization"), ("t5", "text-classification")))
    assert needs_tasks(rows(("a", "summarization"), ("b", "fill-mask"), ("c", "text-to-image")))


@pytest.mark.parametrize(
    "arguments", [["equivalents", "10kWh", "--pue", "1.2"], ["outlook", "1Wh"], ["claims", "--article", "004"]]
)
def test_no_line_is_longer_than_a_narrow_terminal(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, as rich sees it
    monkeypatch.setenv("COLUMNS", "60")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", harness(*arguments, cwd=tmp_path).out)
    assert max(map(len, shown.splitlines())) <= 60
    monkeypatch.delenv("FORCE_COLOR")
    assert max(map(len, harness(*arguments, cwd=tmp_path).out.splitlines())) > 140  # whole in a pipe
