"""What both torch engines share: device and memory, where a model comes from, and what is said when it fails.

Checked on CPU only; nothing here was run on a GPU yet.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import ModelUnavailable, OutOfMemory, UserInputError
from harness.reading import MOST_RECORD_BYTES, read_limited_text
from harness.specs import ModelSpec, RunSpec

try:
    import huggingface_hub
    import safetensors
    import torch
    import transformers
except ImportError as error:
    raise ModelUnavailable(
        f"Models need the package '{error.name}', which is not installed here.",
        "pip install 'energy-harness[models]'",
    ) from error

_HUB_TIMEOUT_S = 10.0
CONFIGS = ("config.json", "generation_config.json", "model_index.json")

# How torch words a failed allocation that is not an OutOfMemoryError.
_SHORTAGES = ("DefaultCPUAllocator: can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


_BROKEN_WEIGHTS = (safetensors.SafetensorError, pickle.UnpicklingError, EOFError)


# --- device and memory ----------------------------------------------------------------------------


def require_device(device: str) -> None:
    """Check that torch can use a device.

    Raises:
        UserInputError: It cannot.
    """
    if device == "cpu":
        return
    if not torch.cuda.is_available():
        why = "was built without CUDA" if torch.version.cuda is None else "finds no GPU"
        raise UserInputError(
            f"The run asks for device {device}, but PyTorch {torch.__version__} {why}.",
            "Set 'device: cpu'; or, on a GPU machine, install the CUDA wheel from https://pytorch.org/get-started.",
        )
    count = torch.cuda.device_count()
    index = torch.device(device).index or 0
    if index >= count:
        raise UserInputError(f"There is no device {device}: PyTorch sees {count} GPU(s).", "Set 'device: cuda'.")


def synchronize_device(device: str, *, everywhere: bool = False) -> None:
    """Block until a GPU, or every one that this process sees, has done all its work; nothing to wait for on a CPU."""
    if device == "cpu":
        return
    for place in range(torch.cuda.device_count()) if everywhere else (torch.device(device),):
        torch.cuda.synchronize(place)


def require_bitsandbytes(quantization: str) -> None:
    """Check that weights can be had in fewer bits.

    Raises:
        ModelUnavailable: They cannot.
    """
    if not transformers.utils.is_bitsandbytes_available():
        raise ModelUnavailable(
            f"quantization: {quantization} needs the package 'bitsandbytes', which is not installed here.",
            "pip install bitsandbytes, or leave 'quantization' out.",
        )


def refuse_offloaded(model: Any, spec: RunSpec) -> None:
    """A spread model has to lie on the GPUs that the run names, and on each of them.

    Raises:
        UserInputError: A part is in host memory or on disk, whose energy is another's; or a GPU holds nothing.
    """
    places = set(map(str, getattr(model, "hf_device_map", {}).values()))
    if outside := places & {"cpu", "disk", "meta"}:
        raise UserInputError(
            f"{spec.model.id} does not fit on the GPUs of sources.gpus: parts of it are on {', '.join(outside)}.",
            "Name more GPUs, or use a smaller number format.",
        )
    count = torch.cuda.device_count()
    if len(places) < count:
        raise UserInputError(
            f"sources.gpus names {count} GPUs, and device_map: {spec.device_map} put {spec.model.id} on {len(places)}.",
            "Use device_map: balanced, or name fewer GPUs: one that idles is not one that runs the model.",
        )


def cuda_version() -> str | None:
    """CUDA version that torch was built for; None for a CPU build."""
    version: str | None = torch.version.cuda
    return version


def release_memory() -> None:
    """Give unused memory back, on the device too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def memory_shortage_named(spec: RunSpec) -> Iterator[None]:
    """Turn every way in which torch runs out of memory into OutOfMemory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        is_shortage = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not is_shortage and not any(words in str(error) for words in _SHORTAGES):
            raise
        raise OutOfMemory(
            f"{spec.model.id} with batch_size {spec.batch_size} in {spec.dtype} does not fit into the memory of "
            f"{spec.device}.",
            "Lower batch_size; or use a smaller model or a shorter dtype (bfloat16).",
        ) from error


def quieten_libraries() -> None:
    """No progress bars and no advice: the worker's output is the harness's own."""
    hub: Any = huggingface_hub.utils
    hub.disable_progress_bars()
    hub.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


# --- where a model comes from ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A local folder or a hub id, at one revision."""

    name: str
    revision: str | None
    local_files_only: bool


def locate_model(model: ModelSpec, config_file: str) -> ModelSource:
    """Find a model and see that it has a configuration and weights we open, before anything is downloaded.

    A hub id is asked for once with a short timeout. Without network, or with HF_HUB_OFFLINE=1, the local cache is used.

    Raises:
        ModelUnavailable: It is not there, or not in a form that is accepted.
        UserInputError: A revision of a local folder is asked for.
    """
    folder = Path(model.id).expanduser()
    if os.path.isdir(folder):  # False for a name that no file can have
        if model.revision is not None:
            raise UserInputError(f"{model.id} is a local folder and has no revisions.", "Leave 'revision' out.")
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        _check_files(f"Model folder {model.id}", files, config_file, model.allow_pickle)
        for file in files:
            if file.endswith(".index.json"):
                _check_index(folder / file, model.allow_pickle)
            elif Path(file).name in CONFIGS:
                _check_config(folder / file)
        return ModelSource(str(folder), None, local_files_only=True)
    if model.id.startswith((".", "/", "~")) or model.id.count("/") > 1:
        raise ModelUnavailable(f"There is no model folder {model.id}.", f"Relative paths start at {Path.cwd()}.")
    errors = huggingface_hub.errors
    # The hub's HTTP library has changed twice; HTTPError in its errors module is what all its failures are.
    no_connection: tuple[type[Exception], ...] = (OSError, getattr(errors, "HTTPError", OSError))
    page = f"https://huggingface.co/{model.id}"
    try:
        found = huggingface_hub.HfApi().model_info(model.id, revision=model.revision, timeout=_HUB_TIMEOUT_S)
    except errors.GatedRepoError as error:
        raise ModelUnavailable(
            f"Model {model.id} is gated: its owners want to be asked.", f"Ask on {page}, then run: hf auth login."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelUnavailable(
            f"Model {model.id} has no revision {model.revision}.", f"See {page}/commits/main."
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ModelUnavailable(
            f"There is no model {model.id} on the hub, or it is private.",
            f"Check {page}; run 'hf auth login' for a private one; for a local folder give its path.",
        ) from error
    except no_connection as error:
        return _locate_in_cache(model, config_file, error)
    files = [file.rfilename for file in found.siblings or ()]
    _check_files(f"Model {model.id}", files, config_file, model.allow_pickle)
    for file in files:
        if Path(file).name in CONFIGS:
            _check_config(Path(huggingface_hub.hf_hub_download(model.id, file, revision=found.sha)))
    return ModelSource(model.id, found.sha, local_files_only=False)


def _locate_in_cache(model: ModelSpec, config_file: str, error: Exception) -> ModelSource:
    cached = huggingface_hub.try_to_load_from_cache(model.id, config_file, revision=model.revision)
    if isinstance(cached, str):
        for path in Path(cached).parent.rglob("*.json"):
            if path.name in CONFIGS:
                _check_config(path)
        return ModelSource(model.id, model.revision, local_files_only=True)
    offline = isinstance(error, huggingface_hub.errors.OfflineModeIsEnabled)
    reason = "HF_HUB_OFFLINE is set" if offline else f"the hub does not answer ({told_with_cause(error)})"
    at_revision = "" if model.revision is None else f" at revision {model.revision}"
    raise ModelUnavailable(
        f"Model {model.id}{at_revision} is not on this machine and cannot be fetched: {reason}.",
        f"On a machine with network: hf download {model.id} --local-dir FOLDER; then copy the folder here and give its "
        "path as the model's id.",
    ) from error


def _check_files(what: str, files: Sequence[str], config_file: str, allow_pickle: bool) -> None:
    if config_file not in files:
        raise ModelUnavailable(
            f"{what} has no {config_file}.", "Give a model as save_pretrained() or the hub lays it out."
        )
    if any(fnmatch(file, "*.safetensors") for file in files):
        return
    pickled = [file for file in files if fnmatch(file, "*pytorch_model*.bin")]
    if pickled and allow_pickle:
        return
    if pickled:
        raise ModelUnavailable(
            f"{what} has only pickled weights ({pickled[0]}), which can run code when they are opened.",
            "Set 'allow_pickle: true' under model if you trust them, or save the model as safetensors.",
        )
    raise ModelUnavailable(f"{what} has no weights (*.safetensors).", "Is the download complete?")


def _check_index(path: Path, allow_pickle: bool) -> None:
    """An index names the files that hold each tensor. They lie beside it, and are no pickles in disguise."""
    try:
        named = json.loads(read_limited_text(path, MOST_RECORD_BYTES))["weight_map"].values()
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        told = f"{path} is no index of weights: {type(error).__name__}."
        raise ModelUnavailable(told, "Fetch the model again.") from error
    for name in dict.fromkeys(map(str, named)):
        if "/" in name or "\\" in name:
            raise ModelUnavailable(f"{path} names a file that is not beside it: {name}.", "Fetch the model again.")
        if not name.endswith(".safetensors") and not allow_pickle:
            told = f"{path} names weights that are not safetensors ({name}), which can run code when they are opened."
            raise ModelUnavailable(told, "Set 'allow_pickle: true' under model if you trust them.")


def _check_config(path: Path) -> None:
    """A configuration may choose how attention is computed, and "organisation/name" is code that is fetched and run.

    Raises:
        ModelUnavailable: It chooses what its library does not bring along.
    """
    try:
        content = json.loads(read_limited_text(path, MOST_RECORD_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        told = f"{path} is no configuration: {type(error).__name__}."
        raise ModelUnavailable(told, "Fetch the model again.") from error
    for name in _implementations(content):
        if "/" in name:
            raise ModelUnavailable(
                f"{path} chooses code from the hub ({name}), and the harness runs none from a model's repository.",
                "If you trust the model without it: take that entry out of a copy of the file.",
            )
        refuse_fetched_attention(name)


def _implementations(content: Any) -> Iterator[str]:
    """Every name of an implementation in a configuration, those of its parts too."""
    below = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for part in below:
        yield from _implementations(part)
    for key in content if isinstance(content, dict) else ():
        if "implementation" in key:
            given = content[key]
            yield from (str(name) for name in (given.values() if isinstance(given, dict) else (given,)) if name)


def refuse_fetched_attention(name: str) -> None:
    """Where flash-attn is missing and the package kernels is not, transformers fetches code from the hub instead.

    Raises:
        ModelUnavailable: That would happen.
    """
    if name.startswith("flash") and find_spec("kernels") is not None and find_spec("flash_attn") is None:
        raise ModelUnavailable(
            f"{name} would be fetched from the hub and run: the package flash-attn is not installed.",
            "Install flash-attn, or set attention: sdpa.",
        )


# --- what is said when it fails -------------------------------------------------------------------


@contextmanager
def load_failure_named(spec: RunSpec) -> Iterator[None]:
    """Turn what the libraries raise while loading into ModelUnavailable."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, *_BROKEN_WEIGHTS) as error:
        raise ModelUnavailable(
            f"Model {spec.model.id} cannot be loaded: {told_with_cause(error)}.", _load_hint(error, spec)
        ) from error


def _load_hint(error: Exception, spec: RunSpec) -> str:
    if isinstance(error.__cause__, huggingface_hub.errors.GatedRepoError):
        return f"Ask for access on https://huggingface.co/{spec.model.id}, then run: hf auth login."
    if isinstance(error, pickle.UnpicklingError):
        return "Its weights hold more than tensors, and such a pickle is never opened: save the model as safetensors."
    if "trust_remote_code" in str(error):
        return "It brings its own code, and the harness runs none from a model's repository. Use a model without."
    if spec.attention != "default" and "ttention" in str(error):
        return f"Leave 'attention' out: not every model and machine has {spec.attention}."
    if "meta tensor" in str(error):
        return "Some of the model's tensors are missing in its weight files: fetch it again."
    return f"Does it fit the task {spec.task}? Is the download complete?"


def told_with_cause(error: Exception) -> str:
    """What an error says in its first sentence, and, where that is not all, what came of its first cause."""
    first = _first_sentence(error)
    root: BaseException = error
    while (cause := root.__cause__ or (None if root.__suppress_context__ else root.__context__)) is not None:
        root = cause
    last = _first_sentence(root)
    return first if last.strip("'\"") in first else f"{first}, because of {type(root).__name__}: {last}"


def _first_sentence(error: BaseException) -> str:
    """Up to a full stop; where the first line announces what follows, with the line after it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    told = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return told.split(". ")[0].rstrip(".")
