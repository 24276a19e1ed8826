"""Records whose numbers nobody measured: told in a sentence, and no hindrance to the records beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import harness
from report_records import record_of

from harness.errors import StoreError
from harness.store.documents import parse_json


def changed(content: Any, change: Callable[[str, float], float], key: str = "") -> Any:
    """A document with every fraction changed, by its key."""
    if isinstance(content, dict):
        return {name: changed(part, change, name) for name, part in content.items()}
    if isinstance(content, list):
        return [changed(part, change, key) for part in content]
    return change(key, content) if isinstance(content, float) else content


def windows(document: dict[str, Any], **values: Any) -> dict[str, Any]:
    return document | {"measurements": [window | values for window in document["measurements"]]}


GOOD = json.loads(record_of().model_dump_json())
WORK = GOOD["measurements"][0]["work"]
BAD = {
    "zero": GOOD | {"summary": changed(GOOD["summary"], lambda key, value: value * (key == "confidence"))},
    "no-window": GOOD | {"measurements": []},
    "all-rejected": windows(GOOD, rejected=True),
    "no-time": windows(GOOD, end_s=GOOD["measurements"][0]["start_s"]),
    "no-work": windows(GOOD, work=WORK | {"requests": 0}),
    "stranger": GOOD | {"sources": [GOOD["sources"][0] | {"id": "another"}]},
    "huge": changed(GOOD, lambda key, value: 1e308 if key.endswith("_j") else value),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign of them, with one that is as it should be."""
    place = tmp_path_factory.mktemp("numbers")
    for name, document in ({"good": GOOD} | BAD).items():
        run = place / "results" / "odd" / name
        run.mkdir(parents=True)
        (run / "record.json").write_text(json.dumps(document | {"run_id": name, "campaign": "odd"}))
    return place


@pytest.mark.parametrize(
    "arguments",
    [
        *(["show"], ["show", "--table"], ["show", "--uncertainty"], ["list"], ["report", "--markdown", "a.md"]),
        *(["compare", "good", "stranger"], ["compare", "good", "zero"], ["phases"], ["explain", "zero"]),
    ],
    ids=" ".join,
)
def test_every_command_goes_on_beside_numbers_that_nobody_measured(arguments: list[str], folder: Path) -> None:
    answer = harness(*arguments, cwd=folder)
    if arguments[0] in ("show", "list"):
        told = "huge/record.json holds a number beyond 1e+30, which nothing that is measured is."
        assert told in " ".join((answer.err + answer.out).split())
        assert "good" in answer.out or "small" in answer.out
    assert answer.code in (0, 2)


@pytest.mark.parametrize("name", [name for name in BAD if name != "huge"])
def test_a_single_one_is_shown_with_what_contradicts(name: str, folder: Path) -> None:
    answer = harness("show", name, cwd=folder)
    assert (answer.code, answer.err) == (0, "")
    assert name in answer.out
    if name != "no-time":  # whose summary is that of its windows
        assert "changed, 1 run: The record contradicts itself" in answer.out
    budget = harness("show", name, "--uncertainty", cwd=folder)
    if name in ("zero", "no-window", "all-rejected", "no-work"):
        assert f"{name} has no figure that its windows bear out" in " ".join(budget.out.split())


def test_validate_names_them_all(folder: Path) -> None:
    answer = harness("validate", cwd=folder)
    assert answer.code == 1
    for told in (
        "zero: energy: The windows' mean is 29 J per generation; the summary says 0 J.",
        "no-window: summary: 0 windows are accepted and 0 rejected; the summary says 2 and 0.",
        "all-rejected: summary: 0 windows are accepted and 2 rejected; the summary says 2 and 0.",
        "no-time: time: repeat-1 lasts 0 s, of which 10 s are said to be work.",
        "no-work: summary: There is a summary, and no accepted window with work.",
        "stranger: sources: repeat-1 has a source GPU-0 that the record lacks.",
        "huge: unreadable: results/odd/huge/record.json holds a number beyond 1e+30, which nothing that is measured"
        " is.",
    ):
        assert f"  problem: results/odd/{told}\n" in answer.out


@pytest.mark.parametrize("number", ["1e31", "-1e31", "[1e+308]", "1" + "0" * 40, '{"a": 1e999}'])
def test_a_number_that_none_can_compute_with_is_refused(number: str) -> None:
    with pytest.raises(StoreError, match=r"it holds a number beyond 1e\+30"):
        parse_json(f'{{"a": "1e400", "b": {number} }}', "it", "")
    fine = '{"a": 1e30, "b": "1e400", "c": "' + "1" * 64 + '", "d": 9223372036854775807}'
    assert parse_json(fine, "it", "")["a"] == 1e30
