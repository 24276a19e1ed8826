"""Prompts from files, the hub and the built-in sets: what is read, and what is said when it cannot be."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import tempfile
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ModelUnavailable, UserInputError
from harness.specs import PromptSpec
from harness.tasks.builtin import image_prompts, text_prompts
from harness.tasks.files import file_sha256
from harness.tasks.prompts import load_requests


def texts(path: Path, **fields: object) -> list[str]:
    spec = PromptSpec.model_validate({"kind": "file", "path": str(path), **fields})
    return [request.text for request in load_requests(spec, "text-generation")]


def refusal(path: Path, **fields: object) -> UserInputError:
    with pytest.raises(UserInputError) as caught:
        texts(path, **fields)
    assert caught.value.hint, "every refusal says what to do next"
    assert "\n" not in caught.value.message
    return caught.value


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet(folder: Path, query: str) -> Path:
    path = folder / "prompts.parquet"
    duckdb.connect(":memory:").execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path


# --- built in -------------------------------------------------------------------------------------


def test_builtin_prompts_are_those_of_the_task() -> None:
    text = load_requests(PromptSpec(), "text-generation")
    image = load_requests(PromptSpec(), "text-to-image")
    assert tuple(request.text for request in text) == text_prompts()
    assert tuple(request.text for request in image) == image_prompts()
    assert [request.index for request in text] == list(range(1000))


def test_count_takes_the_first_prompts_and_max_words_their_first_words() -> None:
    requests = load_requests(PromptSpec(count=3, max_words=4), "text-generation")
    assert [request.text for request in requests] == [" ".join(p.split()[:4]) for p in text_prompts()[:3]]


# --- files ----------------------------------------------------------------------------------------


def test_txt_has_one_prompt_per_line_and_empty_lines_are_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, "p.txt", "\ufefffirst prompt\r\n\r\n   \n  second, prompt \nthird\u2028still third")
    assert texts(path) == ["first prompt", "second, prompt", "third\u2028still third"]


def test_fewer_prompts_than_count_are_all_of_them(tmp_path: Path) -> None:
    assert texts(written(tmp_path, "p.txt", "a\nb\n"), count=5) == ["a", "b"]
    assert texts(written(tmp_path, "p.txt", "a\n\nb\nc\n"), count=2) == ["a", "b"]


def test_jsonl_finds_the_only_key_or_a_known_one(tmp_path: Path) -> None:
    assert texts(written(tmp_path, "a.jsonl", '{"anything": "one"}\n\n{"anything": "two"}\n')) == ["one", "two"]
    assert texts(written(tmp_path, "b.jsonl", '{"id": 7, "Caption": "one"}\n')) == ["one"]
    assert texts(written(tmp_path, "c.jsonl", '{"id": "7", "title": "one"}\n'), column="title") == ["one"]
    assert texts(written(tmp_path, "d.jsonl", '"one"\n"two"\n')) == ["one", "two"]


def test_csv_keeps_commas_quotes_and_line_breaks_of_a_quoted_field(tmp_path: Path) -> None:
    path = written(tmp_path, "p.csv", 'id,prompt\n1,"a cat, a dog"\n2,"say ""hi""\nand go"\n3,\n')
    assert texts(path) == ["a cat, a dog", 'say "hi"\nand go']


def test_parquet_reads_the_text_column_and_skips_null(tmp_path: Path) -> None:
    path = parquet(tmp_path, "SELECT * FROM (VALUES (1, 'one'), (2, NULL), (3, 'it''s two')) t(id, text)")
    assert texts(path) == ["one", "it's two"]
    assert texts(path, column="id") == ["1", "2", "3"]


@settings(max_examples=40, deadline=None)
@given(
    prompts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), min_size=1).filter(
            lambda text: text.strip() == text != ""
        ),
        min_size=1,
        max_size=8,
    ),
    suffix=st.sampled_from(["txt", "jsonl", "csv"]),
)
def test_prompts_come_back_as_they_were_written(prompts: list[str], suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"p.{suffix}"
        with path.open("w", encoding="utf-8", newline="") as file:
            if suffix == "txt":
                file.write("\n".join(prompts))
            elif suffix == "jsonl":
                file.writelines(json.dumps({"text": prompt}) + "\n" for prompt in prompts)
            else:
                csv.writer(file).writerows([["n", "text"], *([n, prompt] for n, prompt in enumerate(prompts))])
        assert texts(path) == prompts


# --- refusals -------------------------------------------------------------------------------------


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    assert "There is no prompt file" in refusal(tmp_path / "no.txt").message
    (tmp_path / "folder.txt").mkdir()
    assert "Is a directory" in refusal(tmp_path / "folder.txt").message
    assert "There is no prompt file" in refusal(tmp_path / "no.parquet").message


def test_unknown_ending_lists_the_known_ones(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, "p.docx", "x")).hint == "Known are .txt, .jsonl, .csv, .parquet."


@pytest.mark.parametrize(("name", "content"), [("p.txt", "\n  \n"), ("p.jsonl", ""), ("p.csv", "prompt\n\n")])
def test_a_file_without_a_prompt_is_refused(tmp_path: Path, name: str, content: str) -> None:
    assert "There is no prompt in" in refusal(written(tmp_path, name, content)).message


def test_bytes_that_are_not_utf8_are_refused_with_their_line(tmp_path: Path) -> None:
    path = written(tmp_path, "p.txt", b"good\nalso good\ncaf\xe9\n")
    assert refusal(path).message == f"Line 3 of {path} is not UTF-8 text."


def test_bad_json_is_refused_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "p.jsonl", '{"text": "fine"}\n\n{"text": oops}\n')
    assert refusal(path).message == f"Line 3 of {path} is not JSON: Expecting value at character 10."


def test_json_without_text_is_refused_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "p.jsonl", '{"text": "fine"}\n{"text": 5}\n')
    assert refusal(path).message == f"Line 2 of {path} does not hold a text under 'text'."
    path = written(tmp_path, "p.jsonl", '{"text": "fine"}\n{"txt": "odd"}\n')
    assert refusal(path).message == f"{path}, line 2, has no column 'text'."
    path = written(tmp_path, "p.jsonl", "[1, 2]\n")
    assert refusal(path).message == f"Line 1 of {path} does not hold a text."


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "p.jsonl", '{"text": "\\ud83d"}\n')
    assert refusal(path).message == f"Line 1 of {path} contains half a Unicode character: \\ud83d."


def test_columns_that_cannot_be_told_apart_are_listed(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, "p.csv", "left,right\na,b\n"))
    assert "which column" in error.message
    assert error.hint == "Set 'column' to one of: left, right."


def test_a_missing_column_lists_those_there(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, "p.csv", "left,right\na,b\n"), column="text").hint == "Columns there: left, right."
    assert refusal(parquet(tmp_path, "SELECT 'a' AS x, 'b' AS y"), column="text").hint == "Columns there: x, y."
    assert "no column" in refusal(written(tmp_path, "p.txt", "a\n"), column="text").message


def test_an_unquoted_comma_in_a_csv_prompt_is_refused_not_cut(tmp_path: Path) -> None:
    path = written(tmp_path, "p.csv", "prompt\na cat\na cat, a dog\n")
    assert refusal(path).message == f"Line 3 of {path} has 2 fields, the header has 1."


@pytest.mark.parametrize(
    ("text", "word"), [("prompt;n\nfoo;1\n", "';'"), ("prompt\tn\nfoo\t1\n", "tabs"), ("", "empty")]
)
def test_a_csv_of_other_delimiters_or_of_nothing_is_refused(tmp_path: Path, text: str, word: str) -> None:
    assert word in refusal(written(tmp_path, "p.csv", text)).message


def test_an_open_quote_in_csv_is_refused(tmp_path: Path) -> None:
    assert "is not CSV" in refusal(written(tmp_path, "p.csv", 'prompt\n"never closed\n')).message


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    assert "Cannot read" in refusal(written(tmp_path, "p.parquet", "not parquet")).message


# --- identity -------------------------------------------------------------------------------------


def test_a_file_that_changed_since_it_was_hashed_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "p.txt", "one\n")
    sha256 = file_sha256(path)
    assert sha256 == hashlib.sha256(b"one\n").hexdigest()
    assert texts(path, sha256=sha256) == ["one"]
    path.write_text("two\n")
    assert "has changed" in refusal(path, sha256=sha256).message


# --- hub ------------------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="the datasets package is installed")
def test_hub_prompts_without_the_datasets_package_say_what_to_install() -> None:
    with pytest.raises(ModelUnavailable, match="pip install datasets"):
        load_requests(PromptSpec(kind="hub", dataset="wikitext"), "text-generation")


def test_prompts_of_exactly_so_many_words_go_on_with_the_next_ones(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("a b\nc d e\nf\n")
    spec = PromptSpec(kind="file", path=str(path), words=4)
    assert [request.text for request in load_requests(spec, "text-generation")] == ["a b c d", "c d e f", "f a b c"]
    shorter = load_requests(spec.model_copy(update={"words": 1}), "text-generation")
    assert [request.text for request in shorter] == ["a", "c", "f"]
    longer = load_requests(spec.model_copy(update={"words": 13}), "text-generation")
    assert [request.text for request in longer][2] == "f a b c d e f a b c d e f"
