"""Requests of the reading tasks: gaps, questions with their texts, and the columns they come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import UserInputError
from harness.specs import PromptSpec
from harness.tasks.prompts import load_requests, with_gap


def jsonl(folder: Path, rows: list[object]) -> PromptSpec:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return PromptSpec(kind="file", path=str(path))


@pytest.mark.parametrize(
    ("text", "was_cut", "expected"),
    [
        ("It was a [MASK] day.", False, "It was a [MASK] day."),
        ("It was a <mask> day.", True, "It was a [MASK] day."),
        ("It was a day.", False, "It was a day. [MASK]"),  # the study: bookcorpus
        ("one two three four", True, "one two three [MASK]"),  # the study: the last of 20 words
        ("word", True, "word [MASK]"),
    ],
)
def test_every_text_for_fill_mask_has_a_gap(text: str, was_cut: bool, expected: str) -> None:
    assert with_gap(text, was_cut) == expected


def test_the_last_word_kept_becomes_the_gap(tmp_path: Path) -> None:
    spec = jsonl(tmp_path, [{"text": "a b c d e"}, {"text": "a b"}]).model_copy(update={"max_words": 3})
    assert [request.text for request in load_requests(spec, "fill-mask")] == ["a b [MASK]", "a b [MASK]"]


def test_a_question_comes_with_its_text(tmp_path: Path) -> None:
    rows = [{"id": 1, "question": " Who? ", "context": "Ada did it."}, {"id": 2, "question": "", "context": "left out"}]
    (request,) = load_requests(jsonl(tmp_path, rows), "question-answering")
    assert (request.index, request.text, request.context) == (0, "Who?", "Ada did it.")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_columns_can_be_named_in_every_kind_of_table(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"prompts.{ending}"
    if ending == "jsonl":
        path.write_text('{"q": "Who?", "t": "Ada."}\n{"q": "When?", "t": "Then, or later."}\n')
    else:
        (tmp_path / "prompts.csv").write_text('q,t\nWho?,Ada.\nWhen?,"Then, or later."\n')
    if ending == "parquet":
        duckdb = pytest.importorskip("duckdb")
        duckdb.sql(f"COPY (FROM '{tmp_path / 'prompts.csv'}') TO '{path}' (FORMAT parquet)")
    spec = PromptSpec(kind="file", path=str(path), column="q", context_column="t")
    found = [(request.text, request.context) for request in load_requests(spec, "question-answering")]
    assert found == [("Who?", "Ada."), ("When?", "Then, or later.")]


def test_max_words_cuts_the_text_and_not_the_question(tmp_path: Path) -> None:
    spec = jsonl(tmp_path, [{"question": "Who was it then?", "context": "one two three"}])
    (request,) = load_requests(spec.model_copy(update={"max_words": 2}), "question-answering")
    assert (request.text, request.context) == ("Who was it then?", "one two")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"question": "Who?"}], "holds the texts in which answers are to be found"),
        (["Who?"], "does not hold a text"),
        ([{"question": "Who?", "context": 3}], "does not hold a text under 'context'"),
    ],
)
def test_a_question_without_a_text_is_refused(tmp_path: Path, rows: list[object], words: str) -> None:
    with pytest.raises(UserInputError, match=words):
        load_requests(jsonl(tmp_path, rows), "question-answering")


def test_a_plain_text_file_cannot_hold_questions_with_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Who?\n")
    with pytest.raises(UserInputError, match="cannot hold two columns"):
        load_requests(PromptSpec(kind="file", path=str(tmp_path / "a.txt")), "question-answering")


def test_other_tasks_have_no_second_column(tmp_path: Path) -> None:
    spec = jsonl(tmp_path, [{"text": "a"}]).model_copy(update={"context_column": "text"})
    with pytest.raises(UserInputError, match="'context_column' does not apply to summarization"):
        load_requests(spec, "summarization")
