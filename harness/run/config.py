"""YAML -> RunSpecs. Sweeps are expanded; whatever is wrong stops here, with file, line and a suggestion."""

from __future__ import annotations

import difflib
import itertools
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.engines.architectures import preset
from harness.errors import HarnessError, UserInputError
from harness.power.profiles import read_profile
from harness.run.yaml_lines import KeyPath, Where, read_yaml
from harness.simulation.profiles import board
from harness.specs import RunSpec
from harness.tasks.catalog import SECTIONS, TASKS, TaskInfo, task_info
from harness.tasks.files import file_sha256
from harness.tasks.prompts import input_sha256, refuse_foreign_options

TOP_KEYS = ("campaign", "defaults", "runs")
# Fields that may be a list in a config: one run for each value.
SWEEPS: tuple[tuple[str, ...], ...] = (
    ("model",),
    ("prompts",),
    ("prompts", "words"),
    ("prompts", "max_words"),
    ("batch_size",),
    ("dtype",),
    ("attention",),
    ("compile",),
    ("quantization",),
    ("seed",),
    ("text", "new_tokens"),
    ("text", "max_input_tokens"),
    ("text", "beams"),
    ("image", "steps"),
    ("image", "guidance"),
    ("image", "height"),
    ("image", "width"),
    ("server", "concurrency"),
    ("server", "request_rate_hz"),
)
# What a short form stands for.
SHORT_FORMS: dict[tuple[str, ...], str] = {("model",): "id", ("sources",): "kind", ("prompts",): "kind"}


@dataclass(frozen=True)
class Plan:
    """A campaign's name and its runs, in the order of the config."""

    campaign: str
    specs: tuple[RunSpec, ...]


def load_plan(path: Path) -> Plan:
    """Read a config.

    Raises:
        UserInputError: With file and line: unknown key, wrong type, missing file, unknown preset or board.
    """
    root, lines = read_yaml(path)
    where = Where(path, lines)
    if not isinstance(root, dict):
        raise where.error((), "A config is a mapping with the keys campaign, defaults and runs")
    for key in root:
        if key not in TOP_KEYS:
            raise where.unknown((key,), TOP_KEYS)
    campaign = root.get("campaign", path.stem)
    if not _is_folder_name(campaign):
        raise where.error(("campaign",), "campaign must be a plain name of at most 100 letters: it becomes a folder")
    runs = root.get("runs")
    if not isinstance(runs, list) or not runs:
        raise where.error(("runs",), "runs must be a list with at least one run")
    defaults = root.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise where.error(("defaults",), "defaults must be a mapping")
    specs: dict[str, RunSpec] = {}
    for index, run in enumerate(runs):
        if not isinstance(run, dict):
            raise where.error(("runs", index), "a run must be a mapping")
        for spec in _expand(run, defaults, where, index):
            specs.setdefault(spec.run_id, spec)
    return Plan(campaign, tuple(specs.values()))


def _is_folder_name(name: Any) -> bool:
    plain = isinstance(name, str) and name.isprintable() and "/" not in name
    return plain and 0 < len(name) <= 100 and not name.startswith(".")


class _Clash(UserInputError):
    """Parts of a run that do not go together; `key` is where to look."""

    def __init__(self, key: KeyPath, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.key = key


# --- one entry -> its runs ------------------------------------------------------------------------------


def _expand(run: dict[str, Any], defaults: dict[str, Any], where: Where, index: int) -> Iterator[RunSpec]:
    own = _long_forms(run)
    base = _long_forms(defaults)
    task = own.get("task", base.get("task"))
    task = task if isinstance(task, str) else None  # anything else is told by validation
    info = task_info(task)
    if task is not None and info is None:
        key: KeyPath = ("runs", index, "task") if "task" in own else ("defaults", "task")
        near = difflib.get_close_matches(task, TASKS, n=1, cutoff=0.5)
        hint = f"Did you mean '{near[0]}'?" if near else f"The tasks are {', '.join(TASKS)}."
        raise where.error(key, f"there is no task '{task}'", hint)
    for section in SECTIONS:
        if info is None or section != info.section:
            if section in own and info is not None:
                raise where.error(("runs", index, section), f"'{section}' options do not apply to {task}")
            base.pop(section, None)
    if "replay" in own or "replay" in base:
        place: KeyPath = ("runs", index, "replay") if "replay" in own else ("defaults", "replay")
        raise where.error(place, "'replay' cannot be written in a config", "Use harness run CONFIG --replay.")
    merged = _merge(base, own)
    _fill(merged, info)
    swept = [(key, value) for key in SWEEPS if isinstance(value := _get(merged, key), list)]
    for key, value in swept:
        if not value:
            raise where.error(("runs", index, *key), f"'{'.'.join(key)}' is an empty list")
    for values in itertools.product(*(value for _, value in swept)):
        content = _copy(merged)
        for (key, _), value in zip(swept, values, strict=True):
            _set(content, key, _long_form(key, value))
        yield _validated(content, where, index)


def _long_forms(mapping: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = _copy(mapping)
    for key in SHORT_FORMS:
        if isinstance(value := _get(content, key), str):
            _set(content, key, _long_form(key, value))
    return content


def _long_form(key: tuple[str, ...], value: Any) -> Any:
    """What a short form stands for; everything else as it is."""
    if key not in SHORT_FORMS or not isinstance(value, str):
        return value
    is_file = key == ("prompts",) and value not in ("builtin", "file", "hub")
    return {"kind": "file", "path": value} if is_file else {SHORT_FORMS[key]: value}


def _fill(merged: dict[str, Any], info: TaskInfo | None) -> None:
    """What follows from the task and the sources where the config is silent."""
    if info is not None:
        merged.setdefault("engine", info.engine)
        if info.writes and info.section is not None:
            merged.setdefault(info.section, {})
        if info.new_tokens is not None and isinstance(merged.get("text"), dict):
            merged["text"].setdefault("new_tokens", info.new_tokens)
    if isinstance(merged.get("sources"), dict) and merged["sources"].get("kind") == "simulated":
        merged.setdefault("device", "cpu")
    if merged.get("device") == "cpu":
        merged.setdefault("dtype", "float32")


def _validated(content: dict[str, Any], where: Where, index: int) -> RunSpec:
    def place(key: KeyPath) -> KeyPath:
        own = ("runs", index, *key)
        return own if own in where.lines or ("defaults", *key) not in where.lines else ("defaults", *key)

    _resolve_model_folder(content, where)
    _resolve_prompt_file(content, where, place)
    _resolve_sensor_profile(content, where, place)
    try:
        spec = RunSpec.model_validate(content)
    except ValidationError as error:
        found = error.errors()  # an unknown key tells most: a missing one may be that, misspelt
        first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
        key = tuple(part for part in first["loc"] if part != "function-after[_complete(), PromptSpec]")
        if first["type"] == "extra_forbidden":
            raise where.unknown(place(key), _fields_at(RunSpec, key[:-1])) from error
        if first["type"] == "missing":
            raise where.error(place(key[:-1]), f"'{'.'.join(map(str, key))}' is missing") from error
        name, given = ".".join(map(str, key)), first.get("input")
        told = f", got {given!r}" if isinstance(given, str | int | float | bool | None) else ""
        words = first["msg"].removeprefix("Value error, ").rstrip(".")
        words = words[0].lower() + words[1:]
        raise where.error(place(key), f"{name + ': ' if name else ''}{words}{told}") from error
    try:
        if spec.model.weights == "random" and spec.engine != "simulated":
            preset(spec.model.id, spec.task)
        if spec.sources.node is not None:
            limit_w, idle_w = board(spec.sources.node.gpu).power_limit_w, spec.sources.node.idle_w
            if idle_w is not None and idle_w >= limit_w:
                raise UserInputError(
                    f"A {spec.sources.node.gpu} cannot idle at {idle_w:g} W: its limit is {limit_w:g} W.",
                    "Lower sources.node.idle_w, or leave it out.",
                )
        _check_combination(spec)
    except HarnessError as error:
        key = error.key if isinstance(error, _Clash) else ("model",)
        raise where.error(place(key), error.message.rstrip("."), error.hint) from error
    return spec


def _check_combination(spec: RunSpec) -> None:
    wanted = TASKS[spec.task].engine
    if spec.engine == "openai":
        _check_served(spec)
    elif spec.engine not in (wanted, "simulated"):
        raise _Clash(("engine",), f"The engine {spec.engine} cannot do {spec.task}.", f"Use engine: {wanted}.")
    virtual = spec.on_virtual_clock
    if spec.engine == "simulated" and spec.sources.kind != "simulated":
        raise _Clash(("sources",), "The simulated engine needs simulated sources.", "Set sources: simulated.")
    if virtual and spec.engine != "simulated":
        raise _Clash(
            ("sources", "node", "clock"),
            f"A virtual clock does not wait for a real engine ({spec.engine}).",
            "Use engine: simulated, or clock: real.",
        )
    if virtual and spec.measure.cross_check:
        raise _Clash(
            ("measure", "cross_check"),
            "Other tools read the real clock, so a run on the virtual clock cannot be cross-checked.",
            "Remove cross_check, or use clock: real.",
        )
    if spec.measure.meter_preparation and (virtual or spec.server is not None):
        raise _Clash(
            ("measure", "meter_preparation"),
            "Preparing takes no virtual time, and a server prepares inputs itself.",
            "Leave measure.meter_preparation out.",
        )
    if spec.engine not in ("simulated", "openai") and len(spec.sources.gpus) > 1 and spec.device_map is None:
        raise _Clash(
            ("sources", "gpus"),
            f"{spec.engine} puts the model on one GPU, and sources.gpus names {len(spec.sources.gpus)}.",
            "Name the one that runs it (every other GPU of the machine is metered beside it), or spread the model over "
            "all of them with device_map: balanced.",
        )
    _check_loading(spec)
    asked = spec.text.template if spec.text is not None else None
    if asked is not None and ("{context}" in asked) != (TASKS[spec.task].inputs == "question"):
        raise _Clash(
            ("text", "template"),
            f"A template for {spec.task} {'lacks' if '{context}' not in asked else 'has no use for'} {{context}}",
            "In question-answering it stands for the text in which the answer is to be found; elsewhere there is none.",
        )
    try:
        refuse_foreign_options(spec.prompts, spec.task)
    except UserInputError as error:
        raise _Clash(("prompts",), error.message.rstrip("."), error.hint) from error
    node = spec.sources.node
    if node is not None:
        for gpu in spec.sources.gpus:
            if isinstance(gpu, int) and not 0 <= gpu < node.gpu_count:
                raise _Clash(
                    ("sources", "gpus"),
                    f"There is no GPU {gpu}: the simulated node has {node.gpu_count}.",
                    "Set sources.node.gpu_count, or choose another index.",
                )


def _check_loading(spec: RunSpec) -> None:
    """Ways of loading a model that do not go with the rest."""
    if spec.device_map is not None and spec.device == "cpu":
        raise _Clash(("device_map",), "A model on the CPU is not spread over GPUs.", "Leave device_map out.")
    if spec.engine == "diffusers" and spec.device_map not in (None, "balanced"):
        raise _Clash(("device_map",), "Image pipelines are spread by device_map: balanced only.", "Use balanced.")
    if spec.model.weights == "random":
        for key in ("device_map", "quantization"):
            if getattr(spec, key) is not None:
                raise _Clash(
                    (key,),
                    f"'{key}' needs a model that is loaded from files, and {spec.model.id} is built here at random.",
                    "Save it once with save_pretrained(), and give the folder.",
                )


def _check_served(spec: RunSpec) -> None:
    """What a server cannot be asked, or is asked elsewhere."""
    assert spec.server is not None
    if spec.task != "text-generation":
        raise _Clash(("engine",), f"The engine openai cannot do {spec.task}.", "It does text-generation.")
    if spec.batch_size != 1:
        raise _Clash(
            ("batch_size",),
            "A server makes its batches itself.",
            "Set server.concurrency or server.request_rate_hz instead of batch_size.",
        )
    if spec.measure.requests_per_window is not None:
        raise _Clash(
            ("measure", "requests_per_window"),
            "A served window is as long as it is, whatever is answered in it.",
            "Set measure.window_s.",
        )
    if spec.text is not None and spec.text.max_input_tokens is not None:
        raise _Clash(
            ("text", "max_input_tokens"),
            "A server is sent text, so it cannot be cut by tokens.",
            "Set prompts.max_words instead.",
        )
    for key in ("attention", "device_map", "compile", "quantization"):
        if getattr(spec, key) not in (None, "default"):
            raise _Clash((key,), f"A server loads its model itself: '{key}' is not passed on.", "Set server.command.")
    if spec.text is not None and (spec.text.template or spec.text.chat or spec.text.beams != 1):
        raise _Clash(
            ("text",),
            "A server is sent prompts as they are: template, chat and beams are not passed on.",
            "Use server.api: chat for a chat model.",
        )
    if spec.model.weights == "random" and not spec.server.command:
        raise _Clash(
            ("model", "weights"), "A running server has its weights.", "Leave 'weights' out, or give server.command."
        )


def _resolve_model_folder(content: dict[str, Any], where: Where) -> None:
    """A model folder is found beside the config, as every other path in it is."""
    model = content.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("id"), str) or "\0" in model["id"]:
        return
    folder = where.path.parent / model["id"]
    if model.get("weights", "pretrained") == "pretrained" and model["id"] and folder.is_dir():
        model["id"] = str(folder)


def _resolve_prompt_file(content: dict[str, Any], where: Where, place: typing.Callable[[KeyPath], KeyPath]) -> None:
    """A prompt file is found beside the config, and its content is part of the run's identity."""
    prompts = content.get("prompts")
    if not isinstance(prompts, dict) or prompts.get("kind") != "file" or not isinstance(prompts.get("path"), str):
        return
    path = where.path.parent / prompts["path"]
    if not path.is_file() and not (path.is_dir() and _looks_at_pictures(content)):
        key = place(("prompts", "path")) if place(("prompts", "path")) in where.lines else place(("prompts",))
        raise where.error(key, f"there is no prompt file {path}", "Paths are taken from the config's folder.")
    prompts["path"] = str(path)
    prompts["sha256"] = input_sha256(path)


def _looks_at_pictures(content: dict[str, Any]) -> bool:
    info = task_info(content.get("task"))
    return info is not None and info.inputs == "picture"


def _resolve_sensor_profile(content: dict[str, Any], where: Where, place: typing.Callable[[KeyPath], KeyPath]) -> None:
    """A sensor profile is found beside the config, and its content is part of the run's identity."""
    sources, key = content.get("sources"), ("sources", "sensor_profile")
    if not isinstance(sources, dict) or not isinstance(sources.get("sensor_profile"), str):
        return
    path = where.path.parent / sources["sensor_profile"]
    try:
        read_profile(path)
    except HarnessError as error:
        raise where.error(place(key), error.message.rstrip("."), error.hint) from error
    sources["sensor_profile"] = str(path)
    sources["sensor_profile_sha256"] = file_sha256(path)


# --- nested mappings ------------------------------------------------------------------------------------


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _get(mapping: dict[str, Any], key: tuple[str, ...]) -> Any:
    value: Any = mapping
    for part in key:
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _set(mapping: dict[str, Any], key: tuple[str, ...], value: Any) -> None:
    for part in key[:-1]:
        mapping = mapping[part]
    mapping[key[-1]] = value


def _fields_at(model: type[BaseModel], key: KeyPath) -> list[str]:
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
