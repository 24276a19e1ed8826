"""Old documents as new ones: real records of schema version 1 (version_1/README.md), and what each change means."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from report_records import record_of

from harness.errors import StoreError
from harness.imported import ImportedRecord
from harness.records import SCHEMA_VERSION, RunRecord, json_schema
from harness.specs import RunSpec
from harness.store.upgrade import run_from_1, upgraded_import, upgraded_journal, upgraded_run, window_from_1

OLD = Path(__file__).parent / "version_1"
EARLY, THIRD_DAY, SERVED, LATE = (
    next(OLD.glob(f"{name}/*/record.json")) for name in ("early", "third-day", "served", "late")
)


def old(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def upgraded(document: dict[str, Any]) -> RunRecord:
    return upgraded_run(document, "here", "Move it away.")


def changes(before: Any, after: Any, at: str = "") -> set[str]:
    """What differs, with [] for every element of a list; what is new and null is left out."""
    if isinstance(before, dict) and isinstance(after, dict):
        new = {f"{at}.{key} = {after[key]}" for key in after.keys() - before.keys() if after[key] is not None}
        gone = {f"{at}.{key} is gone" for key in before.keys() - after.keys()}
        return new.union(
            gone, *(changes(before[key], after[key], f"{at}.{key}") for key in before.keys() & after.keys())
        )
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return set().union(*(changes(*pair, f"{at}[]") for pair in zip(before, after, strict=True)))
    return set() if before == after else {f"{at}: {before} -> {after}"}


# What each old record gains beside nulls; nothing else of it may move.
SECOND_WEEK = {
    ".schema_version: 1 -> 2",
    ".later_fields = []",
    ".spec.measure.meter_preparation = False",
}
THIRD = SECOND_WEEK | {
    ".spec.sources.node.steady = False",
    ".spec.text.beams = 1",
    ".spec.text.chat = False",
    ".caveats[].window_only = False",
    ".measurements[].sources[].budget[].averages = True",
    ".measurements[].work.input_pixels = 0",
    ".sources[].gain = 1.0",
    ".sources[].offset_w = 0.0",
}


def test_a_late_record_changes_its_number_only() -> None:
    assert changes(old(LATE), upgraded(old(LATE)).model_dump(mode="json")) == {
        ".schema_version: 1 -> 2",
        ".later_fields = []",
    }


def test_a_record_of_the_third_day_gains_what_came_later_and_keeps_every_value() -> None:
    assert changes(old(THIRD_DAY), upgraded(old(THIRD_DAY)).model_dump(mode="json")) == THIRD


def test_a_served_record_says_unknown_where_it_said_part_or_nothing() -> None:
    new = upgraded(old(SERVED))
    assert changes(old(SERVED), new.model_dump(mode="json")) == SECOND_WEEK | {
        ".spec.server.allow_exposed = False",
        ".measurements[].work.input_tokens: 70 -> None",
    }
    served = [window.served for window in new.measurements]
    for each in [*served, new.served]:
        assert each is not None
        assert (each.contradicting_usage, each.fewer_than_pieces, each.retry_wait_s) == (None, None, None)
        assert each.attempts_retried > 0
    assert {window.work.inputs_cut for window in new.measurements} == {None}


def test_an_early_record_keeps_its_run_id_and_says_what_that_is_without() -> None:
    new = upgraded(old(EARLY))
    assert new.run_id == "pretend-b4-ae05deba7351" == old(EARLY)["run_id"] == EARLY.parent.name
    assert new.later_fields == (
        "measure.allow_throttling",
        "measure.max_temperature_change_c",
        "sources.node.faults",
        "sources.node.counter_period_s",
        "sources.node.counter_lag_s",
    )
    assert new.spec.run_id == "pretend-b4-78755189c62e"  # what the same config has been called since
    assert [caveat.code for caveat in new.caveats] == [
        *(each["code"] for each in old(EARLY)["caveats"]),
        "windows-unchecked",
    ]
    assert new.summary is not None
    assert new.summary.model_dump(mode="json") == old(EARLY)["summary"] | {"energy_j_per_answer_token": None}


@pytest.mark.parametrize(
    ("path", "run_id"),
    [(THIRD_DAY, "pretend-b4-78755189c62e"), (SERVED, "tiny-llama-c1-36973a18cbc3"), (LATE, "pretend-b4-78755189c62e")],
)
def test_the_run_id_of_a_spec_is_what_it_was_from_the_third_day_on(path: Path, run_id: str) -> None:
    new = upgraded(old(path))
    assert new.later_fields == ()
    assert (new.run_id, new.spec.run_id, path.parent.name) == (run_id, run_id, run_id)
    assert RunSpec.model_validate(old(path)["spec"]).run_id == run_id


def test_the_old_document_is_left_as_it_is() -> None:
    for path in (EARLY, SERVED):
        document = old(path)
        before = copy.deepcopy(document)
        upgraded(document)
        assert document == before


def test_an_imported_run_changes_its_number_only() -> None:
    (path,) = (OLD / "late").glob("imported-*.jsonl")
    for line in path.read_text().splitlines():
        new = upgraded_import(json.loads(line), "here", "")
        assert changes(json.loads(line), new.model_dump(mode="json")) == {".schema_version: 1 -> 2"}


def test_a_record_of_this_version_is_not_changed() -> None:
    record = record_of("model", 100.0)
    record = record.model_copy(update={"run_id": record.spec.run_id})
    assert upgraded(json.loads(record.model_dump_json())) == record


def test_what_was_not_counted_is_unknown_and_what_could_not_be_is_none() -> None:
    window = {"work": {"requests": 4, "input_tokens": 0}, "served": None}
    assert window_from_1(window, "text-generation")["work"] == {"requests": 4, "input_tokens": 0, "inputs_cut": None}
    pictures = window_from_1(window, "image-classification")["work"]
    assert pictures == {"requests": 4, "input_tokens": 0, "inputs_cut": None, "input_pixels": None}
    counted = {"work": {"input_pixels": 9, "inputs_cut": 2, "input_tokens": 0}, "served": {"input_tokens": 5}}
    assert window_from_1(counted, "image-to-text")["work"] == counted["work"]


def test_steps_of_early_image_runs_are_those_asked_for_and_say_so() -> None:
    work = {"images": 2, "denoising_steps": 100}
    image = {"spec": {"engine": "diffusers"}, "measurements": [{"work": work}], "caveats": []}
    assert [caveat["code"] for caveat in run_from_1(image)["caveats"]] == ["steps-as-asked"]
    assert run_from_1(image | {"measurements": [{"work": work | {"input_pixels": 0}}]})["caveats"] == []
    assert run_from_1(image | {"spec": {"engine": "simulated"}})["caveats"] == []


def test_the_words_of_a_config_are_kept_where_a_record_had_no_place_for_them() -> None:
    asked = {"spec": {"text": {"template": "Say: {text}"}}}
    assert run_from_1(asked)["template"] == "Say: {text}"
    assert run_from_1(asked | {"template": None})["template"] is None
    assert "template" not in run_from_1({"spec": {"text": {}}})


def test_windows_of_preparation_and_of_failed_attempts_are_brought_along() -> None:
    new = run_from_1(
        {
            "spec": {"task": "object-detection"},
            "preparation": {"windows": [{"work": {"requests": 1}}], "summary": None},
            "attempts": {"sent": 1, "failed": {}, "windows": {"loop": "closed"}},
        }
    )
    assert new["preparation"]["windows"][0]["work"] == {"requests": 1, "inputs_cut": None, "input_pixels": None}
    assert new["attempts"]["windows"]["retry_wait_s"] is None


def test_a_run_that_is_called_otherwise_than_its_spec_is_refused() -> None:
    document = old(LATE)
    document["spec"]["batch_size"] = 5
    with pytest.raises(
        StoreError, match="here says it is run pretend-b4-78755189c62e, and its spec is that of pretend-b5"
    ):
        upgraded(document)


def test_a_run_that_let_foreign_code_run_is_refused_by_name() -> None:
    document = old(LATE)
    document["spec"]["model"]["trust_remote_code"] = True
    with pytest.raises(StoreError, match=r"spec\.model\.trust_remote_code: .* runs no code from a model's repository"):
        upgraded(document)


@pytest.mark.parametrize("part", ["spec", "measurements", "served", "attempts", "preparation", "caveats"])
@pytest.mark.parametrize("value", [None, 3, "x", [], [3], {}, [[]], {"windows": 3, "task": []}])
def test_a_document_of_any_shape_is_refused_in_a_sentence(part: str, value: object) -> None:
    document = old(SERVED) | {part: value}
    with suppress(StoreError):  # any other error fails
        upgraded(document)


def test_lines_of_a_journal_are_windows_or_stay_as_they_are() -> None:
    document = old(LATE) | {"summary": None, "status": "failed", "failure": {"kind": "k", "message": "m", "phase": "p"}}
    odd = [b'{"work": {"inputs_cut": 1}, "label": "\\ud800"}', b"[1]", b'{"label": "re']
    head, *windows = upgraded_journal([json.dumps(document).encode(), *odd], "here", "")
    assert json.loads(head)["schema_version"] == 2
    assert windows == [b'{"work":{"inputs_cut":1},"label":"\\ud800"}', *odd[1:]]


# --- what must make a new version ---

# Once a version was given out, its file of names is not changed any more: a field that comes, goes or means something
# else makes the next version, with a step in store/upgrade and a line atop store/files.


def test_a_stored_field_that_comes_or_goes_makes_a_new_schema_version() -> None:
    parts = {"RunRecord": json_schema(), "ImportedRecord": ImportedRecord.model_json_schema()}
    for schema in list(parts.values()):
        parts |= schema["$defs"]
    names = sorted(f"{kind}.{field}" for kind, part in parts.items() for field in part.get("properties", ()))
    known = OLD.with_name(f"fields_of_version_{SCHEMA_VERSION}.txt")
    assert names == known.read_text().splitlines(), "is it time for another schema version? see store/files.py"
