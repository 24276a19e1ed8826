"""Stored JSON documents: whole, of this harness's schema version, and of a kind; or refused in one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from pydantic import ValidationError

from harness.errors import OtherSchemaVersion, StoreError
from harness.frozen import Frozen
from harness.reading import MOST_RECORD_BYTES, read_limited_text
from harness.records import SCHEMA_VERSION

UPDATE = "Update with: pip install --upgrade energy-harness"
OLDEST_VERSION = 1
LARGEST = 1e30  # J: more than the sun gives off in a thousand seconds
_MANY_DIGITS = re.compile(r"\d[eE]\+?\d{2,}\s*[,\]}]|\d{25}")
_HALF_A_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
Stored = TypeVar("Stored", bound=Frozen)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        StoreError: It cannot be read.
    """
    try:
        return read_limited_text(path, MOST_RECORD_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"Cannot read {path}: {reason}.", "Is the file whole and readable?") from error


def parse_stored(text: str, kind: type[Stored], where: str, remedy: str, campaign_folder: Path) -> Stored:
    """One JSON document of a kind.

    Args:
        text: The document.
        kind: What it should hold.
        where: The place that errors name: a file, or a line of one.
        remedy: What to do about one that is broken.
        campaign_folder: What to migrate where it is of an older version.

    Raises:
        StoreError: It is not of that kind, or of another schema version (then OtherSchemaVersion).
    """
    content = parse_json(text, where, remedy)
    version = version_of(content)
    if version is not None and version != SCHEMA_VERSION:
        raise other_version(version, where, remedy, campaign_folder)
    return validated(content, kind, where, remedy)


def parse_json(text: str, where: str, remedy: str) -> Any:
    """What a JSON document holds.

    Raises:
        StoreError: It is not whole, could not be written again, or holds a number that none can compute with.
    """
    try:
        content = json.loads(text)
        if _MANY_DIGITS.search(text) and not _can_be_measured(content):
            raise StoreError(f"{where} holds a number beyond {LARGEST:g}, which nothing that is measured is.", remedy)
        if _HALF_A_CHARACTER.search(text):  # half of one can be read, and never written again
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond what Python reads
        raise StoreError(f"{where} is not a whole JSON document: {error}.", remedy) from error
    return content


def _can_be_measured(content: Any) -> bool:
    """Whether every number is one with which there can be arithmetic. Not deeper than JSON was read."""
    if isinstance(content, dict | list):
        return all(map(_can_be_measured, content.values() if isinstance(content, dict) else content))
    return not isinstance(content, int | float) or abs(content) <= LARGEST or content != content  # NaN has its own word


def version_of(content: Any) -> int | None:
    """The schema version that a document states; None where it states none."""
    version = content.get("schema_version") if isinstance(content, dict) else None
    return version if type(version) is int else None


def other_version(
    version: int, where: str, remedy: str, campaign_folder: Path, several: bool = False
) -> OtherSchemaVersion:
    """Why a document of another version is not read, and what to do; or `several` of them."""
    has, it = ("have", "them") if several else ("has", "it")
    if version > SCHEMA_VERSION:
        told, hint = f"a newer harness wrote {it}, and this one reads version {SCHEMA_VERSION}", UPDATE
    elif version >= OLDEST_VERSION:
        told = f"this harness reads version {SCHEMA_VERSION}"
        command = f"harness migrate {quote(str(campaign_folder))}"
        hint = f"Bring {it} to version {SCHEMA_VERSION}, the old files kept: {command}"
    else:
        told, hint = f"no harness wrote such a one, and this one reads version {SCHEMA_VERSION}", remedy
    return OtherSchemaVersion(f"{where} {has} schema version {version}: {told}.", hint, version, campaign_folder)


def validated(content: Any, kind: type[Stored], where: str, remedy: str) -> Stored:
    """A document of this harness's version as what it should hold.

    Raises:
        StoreError: It holds something else.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        told = first["msg"]
        if first["type"] == "extra_forbidden":
            told = f"version {SCHEMA_VERSION} has no such field: it was changed by hand, or a newer harness wrote it"
        raise StoreError(f"{where} is not a valid record: {field or 'record'}: {told}.", remedy) from error


def told_together(errors: Sequence[StoreError]) -> list[StoreError]:
    """The same errors, but all of one other schema version as one with their number."""
    groups: dict[object, list[StoreError]] = {}
    for error in errors:
        groups.setdefault(error.version if isinstance(error, OtherSchemaVersion) else error, []).append(error)
    return [group[0] if len(group) == 1 else _as_one(group) for group in groups.values()]


def _as_one(group: Sequence[StoreError]) -> StoreError:
    folders = list(dict.fromkeys(each.campaign_folder for each in group if isinstance(each, OtherSchemaVersion)))
    first = group[0]
    if not isinstance(first, OtherSchemaVersion):
        return first
    parents = {folder.parent for folder in folders}
    within = folders[0] if len(folders) == 1 else next(iter(parents)) if len(parents) == 1 else None
    where = f"in {within}" if within is not None else f"in {len(folders)} campaigns, {folders[0]} first"
    named = within if within is not None else folders[0]
    return other_version(first.version, f"{len(group):,} records {where}", "", named, several=True)
