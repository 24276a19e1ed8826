"""Prompts from datasets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ModelUnavailable, UserInputError
from harness.specs import PromptSpec
from harness.tasks.columns import Column, choose_column
from harness.tasks.pictures import encoded

_HUB_TIMEOUT_S = 10.0


def hub_rows(spec: PromptSpec, wanted: Sequence[Column]) -> Iterator[tuple[Any, ...]]:
    """Some columns of a hub dataset, streamed: nobody has to download all of it for its first thousand rows.

    Texts come as they are, lists of words joined by spaces, pictures as bytes of a JPEG, nothing as an empty text.
    With HF_HUB_OFFLINE=1 the local cache is read instead. Written without network: only local datasets were tried.

    Raises:
        ModelUnavailable: The dataset cannot be had.
        UserInputError: It lacks a column, or the column holds neither text nor pictures.
    """
    name = spec.dataset or ""
    datasets, offline = _reachable(name)
    errors: tuple[type[Exception], ...] = (*_network_errors(), ValueError, datasets.exceptions.DatasetsError)
    try:
        rows = datasets.load_dataset(name, spec.config, split=spec.split, streaming=not offline)
        columns: list[str] = []
        for row in rows:
            columns = columns or [choose_column(tuple(row), each, f"Dataset {name}") for each in wanted]
            yield tuple(_plain(row.get(column), column, name, tuple(row)) for column in columns)
    except errors as error:
        raise ModelUnavailable(
            f"Dataset {name} ({spec.config or 'default'}, split {spec.split}) cannot be loaded: {_first_line(error)}",
            "HF_HUB_OFFLINE is set: only a dataset that was loaded here before can be read. Or use kind: file."
            if offline
            else "Check its name, config and split on https://huggingface.co/datasets.",
        ) from error


def _plain(value: Any, column: str, name: str, columns: Sequence[str]) -> str | bytes:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return " ".join(value)
    if hasattr(value, "convert") and hasattr(value, "save"):  # a Pillow picture, as the package decodes them
        return encoded(value)
    raise UserInputError(
        f"Column '{column}' of dataset {name} holds neither text nor pictures.", f"Columns there: {', '.join(columns)}."
    )


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
    if hasattr(
        datasets.config, "HF_DATASETS_TRUST_REMOTE_CODE"
    ):  # before 4.0 a variable could allow datasets' own code
        datasets.config.HF_DATASETS_TRUST_REMOTE_CODE = False
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
