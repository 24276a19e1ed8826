"""Turn a PromptSpec into requests: the built-in sets, a local file, or a dataset of the Hugging Face hub."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from harness.errors import ModelUnavailable, StoreError, UserInputError
from harness.specs import PromptSpec, Task
from harness.tasks.base import Request
from harness.tasks.builtin import image_prompts, text_prompts

# Columns that are taken for the prompt when there are several, first match first. From the datasets that studies
# of inference energy use: prompt sets, caption sets (COCO, LAION), question sets (SQuAD) and corpora (C4, OSCAR).
_PROMPT_COLUMNS: tuple[str, ...] = (
    "prompt", "text", "caption", "sentence", "question", "instruction", "input", "query", "document", "article",
    "content",
)  # fmt: skip

_HUB_TIMEOUT_S = 10.0

_LINE_END = re.compile("\r\n|\r|\n")  # not str.splitlines, which also splits at characters a prompt may contain


def load_requests(spec: PromptSpec, task: Task) -> tuple[Request, ...]:
    """The first `spec.count` prompts, or all of them where there are fewer, cut to `spec.max_words` words.

    Empty prompts are skipped. White space around a prompt is dropped; inside it stays, unless words are cut off.

    Raises:
        UserInputError: The file is missing, unreadable, changed since it was hashed, or holds no prompt.
        ModelUnavailable: The dataset cannot be had from the hub.
    """
    stripped = (text.strip() for text in _texts(spec, task))
    texts = islice((text for text in stripped if text), spec.count)
    requests = tuple(Request(index, _first_words(text, spec.max_words)) for index, text in enumerate(texts))
    if not requests:
        raise UserInputError(
            f"There is no prompt in {spec.path or spec.dataset}.", "Give at least one line that is not empty."
        )
    return requests if spec.words is None else _of_words(requests, spec.words)


def _of_words(requests: Sequence[Request], count: int) -> tuple[Request, ...]:
    """Each prompt with `count` words: those after it are joined on, going round the set, and the rest is cut off."""
    split = [request.text.split() for request in requests]
    starts = itertools.accumulate(map(len, split), initial=0)
    words = list(itertools.chain.from_iterable(split))
    words *= 1 + -(-count // len(words))  # from any start on there are enough
    return tuple(
        Request(request.index, " ".join(words[start : start + count]))
        for request, start in zip(requests, starts, strict=False)
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        UserInputError: The file cannot be read.
    """
    return hashlib.sha256(_read_bytes(path)).hexdigest()


def _texts(spec: PromptSpec, task: Task) -> Iterable[str]:
    if spec.kind == "hub":
        return _hub_texts(spec)
    if spec.kind == "file":
        return _file_texts(spec)
    return text_prompts() if task == "text-generation" else image_prompts()


def _first_words(text: str, max_words: int | None) -> str:
    words = text.split()
    return text if max_words is None or len(words) <= max_words else " ".join(words[:max_words])


# --- files ----------------------------------------------------------------------------------------


def _file_texts(spec: PromptSpec) -> Iterable[str]:
    path = Path(spec.path or "").expanduser()
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise UserInputError(
            f"Cannot read prompts from {path}: the ending {suffix or '(none)'} is not known.",
            f"Known are {', '.join(_READERS)}.",
        )
    if spec.sha256 is not None and (found := file_sha256(path)) != spec.sha256:
        raise UserInputError(
            f"The prompt file {path} has changed: SHA-256 {found[:12]}... instead of {spec.sha256[:12]}....",
            "Start the run again from its config, which makes another run of it, or bring the old file back.",
        )
    return _READERS[suffix](path, spec.column)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserInputError(f"There is no prompt file {path}.", f"Relative paths start at {Path.cwd()}.") from error
    except OSError as error:
        raise UserInputError(
            f"Cannot read the prompt file {path}: {error.strerror}.", "Give a readable file."
        ) from error


def _read_text(path: Path) -> str:
    data = _read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserInputError(f"Line {line} of {path} is not UTF-8 text.", "Save the file as UTF-8.") from error


def _txt_texts(path: Path, column: str | None) -> Iterable[str]:
    if column is not None:
        raise UserInputError(f"{path} is plain text and has no column '{column}'.", "Leave 'column' out.")
    return _LINE_END.split(_read_text(path))


def _jsonl_texts(path: Path, column: str | None) -> Iterator[str]:
    for number, line in enumerate(_LINE_END.split(_read_text(path)), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserInputError(
                f"Line {number} of {path} is not JSON: {error.msg} at character {error.pos + 1}.",
                "Each line has to be one JSON object, or one JSON string.",
            ) from error
        if isinstance(value, dict):
            column = _choose_column(tuple(value), column, f"{path}, line {number},")
            value = value[column]
        if not isinstance(value, str):
            raise UserInputError(
                f"Line {number} of {path} does not hold a text{'' if column is None else ' under ' + repr(column)}.",
                'Write each line as {"prompt": "..."}, or as one JSON string.',
            )
        yield _encodable(value, path, number)


def _encodable(text: str, path: Path, line: int) -> str:
    """JSON can spell half a character (a lone surrogate), which no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserInputError(
            f"Line {line} of {path} contains half a Unicode character: \\u{ord(text[error.start]):04x}.",
            "Write the character itself, or both halves.",
        ) from error
    return text


def _csv_texts(path: Path, column: str | None) -> Iterator[str]:
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    try:
        names = next(reader, [])
        _refuse_other_delimiters(names, path)
        place = names.index(_choose_column(names, column, path))
        for row in reader:
            if row and len(row) != len(names):
                raise UserInputError(
                    f"Line {reader.line_num} of {path} has {len(row)} fields, the header has {len(names)}.",
                    'Put prompts that contain a comma in double quotes ("...").',
                )
            yield row[place] if row else ""
    except csv.Error as error:
        raise UserInputError(
            f"Line {reader.line_num} of {path} is not CSV: {error}.", 'Quotes inside a quoted field are doubled ("").'
        ) from error


def _refuse_other_delimiters(names: Sequence[str], path: Path) -> None:
    """One column whose name holds another delimiter is a table that was cut nowhere: every prompt would be a whole row.

    Raises:
        UserInputError: It is, or there is no header at all.
    """
    if not names:
        raise UserInputError(f"There is no prompt in {path}: it is empty.", "Give a header and at least one row.")
    other = next((mark for mark in (";", "\t", "|") if mark in names[0]), None)
    if len(names) == 1 and other is not None:
        shown = "tabs" if other == "\t" else f"'{other}'"
        raise UserInputError(
            f"{path} has one column named {names[0]!r}: its columns seem to be separated by {shown}.",
            "Separate them by commas, or give a .jsonl or .parquet file.",
        )


def _parquet_texts(path: Path, column: str | None) -> Iterable[str]:
    _read_bytes(path)  # a missing file is the user's mistake, not the store's
    # Function-local: DuckDB takes a while to load, and few prompt sets need it.
    from harness.store.duck import read_column, read_column_names

    try:
        return read_column(path, _choose_column(read_column_names(path), column, path))
    except StoreError as error:
        raise UserInputError(error.message, error.hint) from error


_READERS: dict[str, Callable[[Path, str | None], Iterable[str]]] = {
    ".txt": _txt_texts,
    ".jsonl": _jsonl_texts,
    ".csv": _csv_texts,
    ".parquet": _parquet_texts,
}


def _choose_column(names: Sequence[str], column: str | None, source: Path | str) -> str:
    """The column asked for; else the only one; else the first known name among them.

    Raises:
        UserInputError: It is missing, or none can be told to be the prompt.
    """
    listed = ", ".join(names) or "none"
    if column is not None:
        if column in names:
            return column
        raise UserInputError(f"{source} has no column '{column}'.", f"Columns there: {listed}.")
    if len(names) == 1:
        return names[0]
    by_plain_name = {name.strip().lower(): name for name in reversed(names)}
    for known in _PROMPT_COLUMNS:
        if known in by_plain_name:
            return by_plain_name[known]
    raise UserInputError(
        f"Cannot tell which column of {source} holds the prompts.", f"Set 'column' to one of: {listed}."
    )


# --- hub ------------------------------------------------------------------------------------------


def _hub_texts(spec: PromptSpec) -> Iterator[str]:
    """Texts of a hub dataset, streamed: nobody has to download all of it for its first thousand rows.

    With HF_HUB_OFFLINE=1 the local cache is read instead. Written without network: only local datasets were tried.
    """
    name = spec.dataset or ""
    datasets, offline = _reachable(name)
    errors: tuple[type[Exception], ...] = (*_network_errors(), ValueError, datasets.exceptions.DatasetsError)
    try:
        rows = datasets.load_dataset(name, spec.config, split=spec.split, streaming=not offline)
        column = spec.column
        for row in rows:
            column = _choose_column(tuple(row), column, f"Dataset {name}")
            text = row[column]
            if not isinstance(text, str | None):
                raise UserInputError(
                    f"Column '{column}' of dataset {name} does not hold text.", f"Columns there: {', '.join(row)}."
                )
            yield text or ""
    except errors as error:
        raise ModelUnavailable(
            f"Dataset {name} ({spec.config or 'default'}, split {spec.split}) cannot be loaded: {_first_line(error)}",
            "HF_HUB_OFFLINE is set: only a dataset that was loaded here before can be read. Or use kind: file."
            if offline
            else "Check its name, config and split on https://huggingface.co/datasets.",
        ) from error


def check_prompts(spec: PromptSpec) -> None:
    """See that a hub dataset can be had, before anything runs. Files are checked where the config is read.

    Raises:
        ModelUnavailable: The package for it is missing, the hub does not answer, or has no such dataset.
    """
    if spec.kind == "hub":
        _reachable(spec.dataset or "")


def _reachable(name: str) -> tuple[Any, bool]:
    """The datasets package, and whether it is offline; online, after the hub was asked for the dataset."""
    datasets = _import_datasets()
    offline = bool(datasets.config.HF_HUB_OFFLINE)
    if not offline and not Path(name).exists():
        _check_hub(name)
    return datasets, offline


def _import_datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ModelUnavailable(
            "Prompts from the hub need the package 'datasets', which is not installed here.",
            "pip install datasets, or save the prompts to a file and use kind: file.",
        ) from error
    datasets.disable_progress_bars()
    return datasets


def _check_hub(name: str) -> None:
    """Ask the hub once, quickly: `datasets` itself keeps trying for half a minute where there is no network."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    no_connection: tuple[type[Exception], ...] = (*_network_errors(), ValueError)
    try:
        HfApi().dataset_info(name, timeout=_HUB_TIMEOUT_S)
    except HfHubHTTPError as error:
        raise ModelUnavailable(
            f"The hub does not give out dataset {name}: {_first_line(error)}",
            "Check its name; for a private or gated one, run: hf auth login.",
        ) from error
    except no_connection as error:
        raise ModelUnavailable(
            f"Dataset {name} cannot be fetched: no connection to the hub ({_first_line(error)}).",
            "If it was loaded on this machine before, set HF_HUB_OFFLINE=1; or save the prompts to a file.",
        ) from error


def _network_errors() -> tuple[type[Exception], ...]:
    """What a failed connection raises. The hub's HTTP library has changed twice; its errors module names its base."""
    from huggingface_hub import errors

    return OSError, getattr(errors, "HTTPError", OSError)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
