"""Nested mappings, as YAML gives them, and the names that a nested type has."""

from __future__ import annotations

import types
import typing
from typing import Any

from pydantic import BaseModel

from harness.run.yaml_lines import KeyPath


def copied(value: Any) -> Any:
    """Lists and mappings anew, all the way down."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def merged_over(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """The base, in which `over` has the last word, key by key."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merged_over(merged[key], value) if both else value
    return merged


def value_at(mapping: dict[str, Any], key: tuple[str, ...]) -> Any:
    """What lies under a key; None where nothing does."""
    value: Any = mapping
    for part in key:
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def set_at(mapping: dict[str, Any], key: tuple[str, ...], value: Any) -> None:
    """Put a value under a key, where the mappings above it are."""
    for part in key[:-1]:
        mapping = mapping[part]
    mapping[key[-1]] = value


def fields_at(model: type[BaseModel], key: KeyPath) -> list[str]:
    """Names of the fields that are valid under a key."""
    for part in key:
        field = model.model_fields.get(str(part))
        nested = _model_in(field.annotation) if field else None
        if nested is None:
            break
        model = nested
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)
    return None
