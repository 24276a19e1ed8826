"""From the document of one schema version to that of the next. Pure: what no step knows of is left as it is.

A step says what the older harness meant, in today's words: where it did not count, null, never a default that claims
it did. It is written once and not changed later, so it names what it needs itself instead of importing it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from harness.errors import StoreError
from harness.imported import ImportedRecord
from harness.records import SCHEMA_VERSION, RunRecord
from harness.store.documents import validated, version_of

Document = dict[str, Any]

_PICTURE_TASKS = ("image-classification", "object-detection", "image-to-text")
# Unknown until the third day, and part of the run_id from then on: the names of runs made before are without them.
_LATER_FIELDS = {
    ("measure",): ("allow_throttling", "max_temperature_change_c"),
    ("sources", "node"): ("faults", "counter_period_s", "counter_lag_s"),
}
_UNCHECKED = {
    "code": "windows-unchecked",
    "message": "An early harness made this run: it did not yet reject windows that other work, throttling or drift of "
    "the board had disturbed.",
}
_STEPS_AS_ASKED = {
    "code": "steps-as-asked",
    "message": "An early harness made this run: denoising_steps are those asked for, and some schedulers (PNDM) call "
    "the denoiser once more.",
}


def upgraded_run(document: Document, where: str, remedy: str) -> RunRecord:
    """A run's record of any older version as one of this.

    Args:
        document: The old one; it is left as it is.
        where: The place that errors name.
        remedy: What to do about one that is broken.

    Raises:
        StoreError: It was no valid record, or its run_id is not that of its spec.
    """
    record = validated(_stepped(document, {1: run_from_1}), RunRecord, where, remedy)
    named = record.spec.named_without(record.later_fields)
    if record.run_id != named:
        raise StoreError(f"{where} says it is run {record.run_id}, and its spec is that of {named}.", remedy)
    return record


def upgraded_import(document: Document, where: str, remedy: str) -> ImportedRecord:
    """An imported run of any older version as one of this.

    Raises:
        StoreError: It was no valid one.
    """
    return validated(_stepped(document, {1: _numbered_2}), ImportedRecord, where, remedy)


def upgraded_journal(lines: Sequence[bytes], where: str, remedy: str) -> list[bytes]:
    """The journal of a run in progress: a record so far, then a window a line; torn lines stay as they are.

    Args:
        lines: Those that are not empty; the first holds the record of an older version.

    Raises:
        StoreError: The record is none.
    """
    head: Document = json.loads(lines[0])
    record = upgraded_run(head, where, remedy)
    return [record.model_dump_json().encode(), *(_journal_line(line, head) for line in lines[1:])]


def _journal_line(line: bytes, head: Document) -> bytes:
    try:
        window = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(window, dict):
        return line
    if version_of(head) == 1:
        window = window_from_1(window, _part(head, "spec").get("task"))
    return json.dumps(window, separators=(",", ":")).encode()  # half a character can only be written escaped


def _stepped(document: Document, steps: dict[int, Callable[[Document], Document]]) -> Document:
    version = version_of(document)
    while version is not None and version < SCHEMA_VERSION and version in steps:
        document = steps[version](document)
        version += 1
    return document


def _numbered_2(old: Document) -> Document:
    """Imported runs have not changed but for the number that they share with runs."""
    return old | {"schema_version": 2}


def run_from_1(old: Document) -> Document:
    """Version 1 to 2."""
    new = _numbered_2(old)
    spec = _part(old, "spec")
    task = spec.get("task")

    def window(each: Document) -> Document:
        return window_from_1(each, task)

    _put(new, "measurements", window)
    _put(new, "preparation", lambda preparation: _with(preparation, "windows", window))
    _put(new, "served", _served_from_1)
    _put(new, "attempts", lambda attempts: _with(attempts, "windows", _served_from_1))
    if "template" not in old and _part(spec, "text").get("template") is not None:
        new["template"] = spec["text"]["template"]
    later = _later_fields(spec)
    if later:
        new["later_fields"] = later
    caveats = [_UNCHECKED] * bool(later) + [_STEPS_AS_ASKED] * _asked_steps(old)
    if caveats and isinstance(old.get("caveats", []), list):
        new["caveats"] = [*old.get("caveats", []), *caveats]
    return new


def window_from_1(old: Document, task: object) -> Document:
    """One window of a run of a task, as a journal holds them too."""
    work = _part(old, "work")
    changes: Document = {}
    if "inputs_cut" not in work:
        changes["inputs_cut"] = None
    if "input_pixels" not in work and task in _PICTURE_TASKS:
        changes["input_pixels"] = None
    served = old.get("served")
    if isinstance(served, dict) and served.get("input_tokens", 0) is None:
        changes["input_tokens"] = None  # it was 0, or the sum of what was told
    new = _with(old, "served", _served_from_1)
    return new | {"work": work | changes} if isinstance(old.get("work"), dict) else new


def _served_from_1(old: Document) -> Document:
    """What was not looked at, or not set apart."""
    return {"contradicting_usage": None, "fewer_than_pieces": None, "retry_wait_s": None} | old


def _later_fields(spec: Document) -> list[str]:
    """Those that the spec lacks, in sections that it has."""
    found = []
    for sections, keys in _LATER_FIELDS.items():
        part: object = spec
        for section in sections:
            part = part.get(section) if isinstance(part, dict) else None
        if isinstance(part, dict):
            found += [".".join((*sections, key)) for key in keys if key not in part]
    return found


def _asked_steps(old: Document) -> bool:
    """Whether steps were counted before the denoiser's calls were: work had no pixels of pictures then."""
    windows = old.get("measurements")
    works = (
        [_part(window, "work") for window in windows if isinstance(window, dict)] if isinstance(windows, list) else []
    )
    diffusers = _part(old, "spec").get("engine") == "diffusers"
    return diffusers and any(work.get("denoising_steps") and "input_pixels" not in work for work in works)


def _part(document: Document, name: str) -> Document:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _with(document: Document, name: str, change: Callable[[Document], Document]) -> Document:
    """The document with a part, or every part in a list, changed; what is none is left to the check that follows."""
    new = dict(document)
    _put(new, name, change)
    return new


def _put(new: Document, name: str, change: Callable[[Document], Document]) -> None:
    part = new.get(name)
    if isinstance(part, dict):
        new[name] = change(part)
    elif isinstance(part, list):
        new[name] = [change(each) if isinstance(each, dict) else each for each in part]
