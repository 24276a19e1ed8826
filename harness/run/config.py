"""YAML -> RunSpecs. Sweeps are expanded; whatever is wrong stops here, with file, line and a suggestion."""

from __future__ import annotations

import difflib
import itertools
import math
import os
import typing
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.campaign import CampaignOptions
from harness.engines.architectures import preset
from harness.errors import HarnessError, ModelUnavailable, UserInputError
from harness.frozen import is_folder_name
from harness.power.profiles import read_profile
from harness.redaction import SHORTEST
from harness.run.combinations import Clash, check_combination
from harness.run.nested import copied, fields_at, merged_over, set_at, value_at
from harness.run.yaml_lines import KeyPath, Where, read_yaml
from harness.simulation.profiles import board
from harness.specs import CALIBRATION, RunSpec
from harness.tasks.catalog import SECTIONS, TASKS, TaskInfo, task_info
from harness.tasks.files import READABLE, file_sha256
from harness.tasks.pictures import folder_pictures, refuse_no_picture
from harness.tasks.prompts import input_sha256, load_requests

LONGEST_CAMPAIGN = 100
MOST_RUNS = 20_000  # a plan takes about a millisecond for each
DEFAULT_OPTIONS = CampaignOptions()
OPTION_KEYS = tuple(CampaignOptions.model_fields)
TOP_KEYS = ("campaign", "defaults", "runs", *OPTION_KEYS)
# Fields of a run that no config may write, and what does it instead.
SET_BY_THE_HARNESS = {
    "replay": "Use harness run CONFIG --replay.",
    "calibration": "Write `calibration: true` at the top of the config, or use --calibrate.",
}
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
    """A campaign's name, its runs in the order of the config, and how they are to be made."""

    campaign: str
    specs: tuple[RunSpec, ...]
    options: CampaignOptions = DEFAULT_OPTIONS


def load_plan(path: Path, allow_outside: bool = False) -> Plan:
    """Read a config.

    Args:
        path: Of the config.
        allow_outside: Its prompts, sensor profiles and models may lie outside its folder.

    Raises:
        UserInputError: With file and line: unknown key, wrong type, missing file, unknown preset or board.
    """
    root, lines = read_yaml(path)
    where = Where(path, lines, allow_outside)
    if not isinstance(root, dict):
        raise where.error((), "A config is a mapping with the keys campaign, defaults and runs")
    for key in root:
        if key not in TOP_KEYS:
            raise where.unknown((key,), TOP_KEYS)
    campaign = root.get("campaign", path.stem)
    told = f"campaign must be a plain name of at most {LONGEST_CAMPAIGN} letters: it becomes a folder"
    if not isinstance(campaign, str) or not is_folder_name(campaign, LONGEST_CAMPAIGN):
        raise where.error(("campaign",), told)
    runs = root.get("runs")
    if not isinstance(runs, list) or not runs:
        raise where.error(("runs",), "runs must be a list with at least one run")
    defaults = root.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise where.error(("defaults",), "defaults must be a mapping")
    options = _options(root, where)
    specs: dict[str, RunSpec] = {}
    origins: dict[str, int] = {}
    for index, run in enumerate(runs):
        if not isinstance(run, dict):
            raise where.error(("runs", index), "a run must be a mapping")
        for spec in _expand(run, defaults, where, index):
            if spec.run_id in specs:
                line = where.line(("runs", origins[spec.run_id]))
                raise where.error(
                    ("runs", index),
                    f"{spec.model.id} {spec.load_label} is in the config twice ({spec.run_id}, first at line {line})",
                    "Leave one of them out. timeout_s and accounting do not make another run; a seed does.",
                )
            specs[spec.run_id], origins[spec.run_id] = spec, index
        if len(specs) > MOST_RUNS:
            raise where.error(
                ("runs", index), f"the runs up to here are more than {MOST_RUNS:,}", "Plan fewer at once."
            )
    return Plan(campaign, tuple(specs.values()), options)


def _options(root: dict[str, Any], where: Where) -> CampaignOptions:
    try:
        return CampaignOptions.model_validate({key: root[key] for key in OPTION_KEYS if key in root})
    except ValidationError as error:
        first = error.errors()[0]
        key = first["loc"]
        if first["type"] == "extra_forbidden":
            raise where.unknown(key, fields_at(CampaignOptions, key[:-1])) from error
        words = first["msg"][0].lower() + first["msg"][1:]
        raise where.error(key, f"{'.'.join(map(str, key))}: {words}") from error


# --- one entry -> its runs ------------------------------------------------------------------------------


def _expand(run: dict[str, Any], defaults: dict[str, Any], where: Where, index: int) -> Iterator[RunSpec]:
    own = _long_forms(run)
    base = _long_forms(defaults)
    task = own.get("task", base.get("task"))
    task = task if isinstance(task, str) else None  # anything else is told by validation
    info = task_info(task)
    if task is not None and (info is None or task == CALIBRATION):
        key: KeyPath = ("runs", index, "task") if "task" in own else ("defaults", "task")
        if task == CALIBRATION:
            told = "calibration is no task of a run: the harness makes it for each board"
            raise where.error(key, told, "Write `calibration: true` at the top of the config, or use --calibrate.")
        models = [name for name in TASKS if name != CALIBRATION]
        near = difflib.get_close_matches(task, models, n=1, cutoff=0.5)
        hint = f"Did you mean '{near[0]}'?" if near else f"The tasks are {', '.join(models)}."
        raise where.error(key, f"there is no task '{task}'", hint)
    for section in SECTIONS:
        if info is None or section != info.section:
            if section in own and info is not None:
                raise where.error(("runs", index, section), f"'{section}' options do not apply to {task}")
            base.pop(section, None)
    for ours, instead in SET_BY_THE_HARNESS.items():
        if ours in own or ours in base:
            place: KeyPath = ("runs", index, ours) if ours in own else ("defaults", ours)
            raise where.error(place, f"'{ours}' cannot be written in a run", instead)
    merged = merged_over(base, own)
    _fill(merged, info)
    swept = [(key, value) for key in SWEEPS if isinstance(value := value_at(merged, key), list)]
    for key, value in swept:
        if not value:
            raise where.error(("runs", index, *key), f"'{'.'.join(key)}' is an empty list")
    if (count := math.prod(len(value) for _, value in swept)) > MOST_RUNS:
        told = f"its lists ({', '.join('.'.join(key) for key, _ in swept)}) make {count:,} runs"
        raise where.error(("runs", index), told, f"No more than {MOST_RUNS:,} are planned: shorten them.")
    for values in itertools.product(*(value for _, value in swept)):
        content = copied(merged)
        for (key, _), value in zip(swept, values, strict=True):
            set_at(content, key, _long_form(key, value))
        yield _validated(content, where, index)


def _long_forms(mapping: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = copied(mapping)
    for key in SHORT_FORMS:
        if isinstance(value := value_at(content, key), str):
            set_at(content, key, _long_form(key, value))
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

    _resolve_model_folder(content, where, place)
    _refuse_dataset_outside(content, where, place)
    _resolve_prompt_file(content, where, place)
    _resolve_sensor_profile(content, where, place)
    try:
        spec = RunSpec.model_validate(content)
    except ValidationError as error:
        found = error.errors()  # an unknown key tells most: a missing one may be that, misspelt
        first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
        key = tuple(part for part in first["loc"] if part != "function-after[_complete(), PromptSpec]")
        if first["type"] == "extra_forbidden":
            raise where.unknown(place(key), fields_at(RunSpec, key[:-1])) from error
        if first["type"] == "missing":
            raise where.error(place(key[:-1]), f"'{'.'.join(map(str, key))}' is missing") from error
        name, given = ".".join(map(str, key)), first.get("input")
        told = f", got {given!r}" if isinstance(given, str | int | float | bool | None) else ""
        words = first["msg"].removeprefix("Value error, ").rstrip(".")
        words = words[0].lower() + words[1:]
        raise where.error(place(key), f"{name + ': ' if name else ''}{words}{told}") from error
    try:
        if spec.model.built_here and spec.engine != "simulated":
            preset(spec.model.id, spec.task)
        if spec.sources.node is not None:
            limit_w, idle_w = board(spec.sources.node.gpu).power_limit_w, spec.sources.node.idle_w
            if idle_w is not None and idle_w >= limit_w:
                raise UserInputError(
                    f"A {spec.sources.node.gpu} cannot idle at {idle_w:g} W: its limit is {limit_w:g} W.",
                    "Lower sources.node.idle_w, or leave it out.",
                )
        check_combination(spec)
        _refuse_foreign_inputs(spec)
        _refuse_key(spec)
    except HarnessError as error:
        key = error.key if isinstance(error, Clash) else ("model",)
        key = key if place(key) in where.lines else key[:1]
        raise where.error(place(key), error.message.rstrip("."), error.hint) from error
    return spec


def _resolve_model_folder(content: dict[str, Any], where: Where, place: typing.Callable[[KeyPath], KeyPath]) -> None:
    """A model folder is found beside the config, as every other path in it is."""
    model = content.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("id"), str) or "\0" in model["id"]:
        return
    folder = where.path.parent / model["id"]
    if model.get("weights", "pretrained") != "pretrained" or not model["id"]:
        return
    if os.path.isdir(folder):
        where.refuse_outside(place(("model", "id")), folder)
        model["id"] = str(folder)
    elif _is_path(model["id"]):
        where.refuse_outside(place(("model", "id")), Path(model["id"]))


def _is_path(name: str) -> bool:
    """Whether a library would look for this name on the disk before it asks the hub, here or on another node."""
    return os.path.isabs(name) or ".." in Path(name).parts or os.path.isdir(name)


def _refuse_dataset_outside(content: dict[str, Any], where: Where, place: typing.Callable[[KeyPath], KeyPath]) -> None:
    """A hub dataset's name may be that of a folder, which `datasets` then reads."""
    prompts = content.get("prompts")
    name = prompts.get("dataset") if isinstance(prompts, dict) else None
    if isinstance(name, str) and "\0" not in name and _is_path(name):
        where.refuse_outside(place(("prompts", "dataset")), Path(name))


def _resolve_prompt_file(content: dict[str, Any], where: Where, place: typing.Callable[[KeyPath], KeyPath]) -> None:
    """A prompt file is found beside the config, and its content is part of the run's identity."""
    prompts = content.get("prompts")
    if not isinstance(prompts, dict) or prompts.get("kind") != "file" or not isinstance(prompts.get("path"), str):
        return
    path = where.path.parent / prompts["path"]
    key = place(("prompts", "path")) if place(("prompts", "path")) in where.lines else place(("prompts",))
    info = task_info(content.get("task"))
    looks = info is not None and info.inputs == "picture"
    if looks and os.path.isfile(path):  # os.path: a name that no file can have is not there, no error
        told = f"prompts.path: {content['task']} looks at pictures, and {path} is a file"
        raise where.error(key, told, "Give a folder of JPEG or PNG files.")
    if not looks and os.path.isdir(path):
        told = f"prompts.path: {content.get('task')} reads texts, and {path} is a folder"
        raise where.error(key, told, f"Give one file: {', '.join(READABLE)}.")
    if not os.path.exists(path):
        raise where.error(key, f"there is no prompt file {path}", "Paths are taken from the config's folder.")
    pictures = [each for each in path.iterdir() if each.is_symlink()] if path.is_dir() else []
    for each in (path, *pictures):
        where.refuse_outside(key, each)
    prompts["path"] = str(path)
    try:
        prompts["sha256"] = input_sha256(path)
    except HarnessError as error:
        raise where.error(key, f"prompts.path: {error.message.rstrip('.')}", error.hint) from error


def _refuse_key(spec: RunSpec) -> None:
    """The key itself in a spec: it would be stored with every result, also with that of a run which failed of it.

    Raises:
        Clash: With the section to look at.
    """
    variable = spec.server.api_key_env if spec.server is not None else None
    key = os.environ.get(variable) if variable is not None else None
    if key and len(key) >= SHORTEST and key in spec.model_dump_json():
        told = f"the run holds the key that {variable} holds, and is stored with its result"
        raise Clash(("server",), told, "Let the server read it from its environment.")


def _refuse_foreign_inputs(spec: RunSpec) -> None:
    """A file that does not hold what its task is given, as its first row or the header of its first picture shows.

    Raises:
        Clash: With the key to look at.
    """
    if spec.prompts.kind != "file":
        return
    changes = {"count": 1, "sha256": None, "picture_size": None}  # hashed a moment ago; nothing is decoded here
    first = spec.prompts.model_copy(update=changes)
    try:
        (request, *_) = load_requests(first, spec.task)
        if request.picture is not None and spec.prompts.path is not None:
            with suppress(ModelUnavailable):  # without Pillow nothing can be looked at yet
                refuse_no_picture(request.picture, str(folder_pictures(Path(spec.prompts.path))[0]))
    except UserInputError as error:
        raise Clash(("prompts", "path"), f"prompts.path: {error.message}", error.hint) from error


def _resolve_sensor_profile(content: dict[str, Any], where: Where, place: typing.Callable[[KeyPath], KeyPath]) -> None:
    """A sensor profile is found beside the config, and its content is part of the run's identity."""
    sources, key = content.get("sources"), ("sources", "sensor_profile")
    if not isinstance(sources, dict) or not isinstance(sources.get("sensor_profile"), str):
        return
    path = where.path.parent / sources["sensor_profile"]
    where.refuse_outside(place(key), path)
    try:
        read_profile(path)
    except HarnessError as error:
        raise where.error(place(key), error.message.rstrip("."), error.hint) from error
    sources["sensor_profile"] = str(path)
    sources["sensor_profile_sha256"] = file_sha256(path)
