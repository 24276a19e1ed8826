"""Text generation with Hugging Face transformers; and device, memory and hub checks that both torch engines share.

Every request yields exactly `new_tokens` tokens, greedily: the same work for every model, whatever it would say.
Checked on CPU only; nothing here was run on a GPU yet.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from harness.engines.architectures import build_text_model, preset
from harness.engines.base import Prepared
from harness.errors import MeasurementInvalid, ModelUnavailable, OutOfMemory, UserInputError
from harness.records import ModelSpec, RunSpec, TextOptions, WorkCounts
from harness.tasks.base import Request

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

# How torch words a failed allocation that is not an OutOfMemoryError.
_SHORTAGES = ("DefaultCPUAllocator: can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


@dataclass(frozen=True, slots=True)
class PreparedText:
    """Token ids and mask on the device, shape (batch, padded length), and what running them will have done."""

    input_ids: Any
    attention_mask: Any
    work: WorkCounts


class TransformersEngine:
    """A causal language model, pretrained or built from a preset with random weights."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._options = spec.text or TextOptions()
        self._model: Any = None
        self._tokenizer: Any = None
        self._generation: Any = None
        self._max_input_tokens: int | None = None
        self._parameter_count: int | None = None

    @property
    def parameter_count(self) -> int | None:
        """Number of weights, tied ones counted once; None before load()."""
        return self._parameter_count

    def load(self) -> None:
        """Bring model and tokenizer into place.

        Raises:
            UserInputError: The device is not there, or `new_tokens` do not fit into the model's context.
            ModelUnavailable: The model cannot be had or read.
            OutOfMemory: It does not fit.
        """
        spec = self._spec
        quieten_libraries()
        require_device(spec.device)
        with load_failure_named(spec), memory_shortage_named(spec):
            if spec.model.weights == "random":
                self._model, self._tokenizer = build_text_model(
                    preset(spec.model.id, spec.task),
                    dtype=spec.dtype,
                    device=spec.device,
                    attention=spec.attention,
                    seed=spec.seed,
                )
            else:
                self._model, self._tokenizer = _load_pretrained(spec)
        self._model.eval()
        self._parameter_count = sum(parameter.numel() for parameter in self._model.parameters())
        self._max_input_tokens = self._input_limit()
        self._tokenizer.padding_side = "left"  # so that generation continues each prompt where it ends
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.convert_ids_to_tokens(0)
        self._generation = self._greedy_exactly()

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """Tokenise, cut, pad on the left, move to the device; count tokens here, where it disturbs nothing.

        Raises:
            UserInputError: A prompt has no token for this model.
            OutOfMemory: The batch does not fit.
        """
        limit = self._max_input_tokens
        batch = self._tokenizer(
            [request.text for request in requests],
            padding=True,
            truncation=limit is not None,
            max_length=limit,
            return_tensors="pt",
        )
        input_ids, mask = batch["input_ids"], batch["attention_mask"]
        lengths = mask.sum(dim=1).tolist()
        for request, length in zip(requests, lengths, strict=True):
            if length == 0:
                raise UserInputError(f"Prompt {request.index} has no token for this model.", "Remove that prompt.")
        work = WorkCounts(
            requests=len(requests),
            input_tokens=int(sum(lengths)),
            output_tokens=len(requests) * self._options.new_tokens,
        )
        with memory_shortage_named(self._spec):
            return PreparedText(input_ids.to(self._spec.device), mask.to(self._spec.device), work)

    def run(self, prepared: Prepared) -> WorkCounts:
        """Generate. On a GPU it returns when the work is queued, not done.

        Raises:
            MeasurementInvalid: Another number of tokens came back than was asked for.
            OutOfMemory: The batch does not fit.
        """
        with memory_shortage_named(self._spec), torch.inference_mode():
            output = self._model.generate(
                input_ids=prepared.input_ids,
                attention_mask=prepared.attention_mask,
                generation_config=self._generation,
            )
        rows, columns = prepared.input_ids.shape
        expected = (rows, columns + self._options.new_tokens)
        if tuple(output.shape) != expected:  # shapes are known on the host: asking does not wait for the device
            raise MeasurementInvalid(
                f"{self._spec.model.id} returned {tuple(output.shape)} tokens (requests, prompt + new) instead of "
                f"{expected}: the work is not what was asked.",
                "Models that write several tokens at once, or their own generate(), are not supported.",
            )
        work: WorkCounts = prepared.work
        return work

    def synchronize(self) -> None:
        """Wait for the GPU; the CPU has finished when run() returns."""
        synchronize_device(self._spec.device)

    def close(self) -> None:
        """Release model and device memory."""
        self._model = self._tokenizer = self._generation = None
        release_memory()

    def _input_limit(self) -> int | None:
        """Longest prompt in tokens: what was asked for, and what the context leaves beside the new tokens."""
        context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if context is None:
            return self._options.max_input_tokens
        room = int(context) - self._options.new_tokens
        if room < 1:
            raise UserInputError(
                f"{self._options.new_tokens} new tokens do not fit into the context of {self._spec.model.id}, which is "
                f"{context} tokens long.",
                "Lower text.new_tokens.",
            )
        return min(room, self._options.max_input_tokens or room)

    def _greedy_exactly(self) -> Any:
        """Greedy search for exactly `new_tokens`; of the model's own settings only token ids and cache are kept."""
        own = self._model.generation_config
        generation = transformers.GenerationConfig(
            do_sample=False,
            num_beams=1,
            min_new_tokens=self._options.new_tokens,
            max_new_tokens=self._options.new_tokens,
            pad_token_id=self._tokenizer.pad_token_id,
            bos_token_id=own.bos_token_id,
            eos_token_id=own.eos_token_id,
            cache_implementation=own.cache_implementation,
        )
        self._model.generation_config = generation  # generate() fills what is None from here: not from its penalties
        return generation


def _load_pretrained(spec: RunSpec) -> tuple[Any, Any]:
    source = locate_model(spec.model, "config.json")
    where = {
        "revision": source.revision,
        "local_files_only": source.local_files_only,
        "trust_remote_code": spec.model.trust_remote_code,
    }
    loading = {} if spec.attention == "default" else {"attn_implementation": spec.attention}
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.name, **where)
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        source.name,
        **where,
        **loading,
        dtype=getattr(torch, spec.dtype),
        device_map=spec.device,
        use_safetensors=None if spec.model.allow_pickle else True,
        output_loading_info=True,
    )
    if missing := sorted(report["missing_keys"]):
        # transformers would fill them with random numbers and go on.
        raise ModelUnavailable(
            f"The weights of {spec.model.id} lack {len(missing)} of the model's tensors, the first is {missing[0]}.",
            "Is it a causal language model? To measure its shape alone, use weights: random with a preset.",
        )
    return model, tokenizer


# --- shared by the torch engines: device and memory -----------------------------------------------


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


def synchronize_device(device: str) -> None:
    """Block until a GPU has done all its work; nothing to wait for on a CPU."""
    if device != "cpu":
        torch.cuda.synchronize(torch.device(device))


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


# --- shared by the torch engines: where a model comes from ----------------------------------------


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
    if folder.is_dir():
        if model.revision is not None:
            raise UserInputError(f"{model.id} is a local folder and has no revisions.", "Leave 'revision' out.")
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        _check_files(f"Model folder {model.id}", files, config_file, model.allow_pickle)
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
    _check_files(
        f"Model {model.id}", [file.rfilename for file in found.siblings or ()], config_file, model.allow_pickle
    )
    return ModelSource(model.id, found.sha, local_files_only=False)


def _locate_in_cache(model: ModelSpec, config_file: str, error: Exception) -> ModelSource:
    if isinstance(huggingface_hub.try_to_load_from_cache(model.id, config_file, revision=model.revision), str):
        return ModelSource(model.id, model.revision, local_files_only=True)
    offline = isinstance(error, huggingface_hub.errors.OfflineModeIsEnabled)
    reason = "HF_HUB_OFFLINE is set" if offline else f"the hub does not answer ({_first_sentence(error)})"
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


@contextmanager
def load_failure_named(spec: RunSpec) -> Iterator[None]:
    """Turn what the libraries raise while loading into ModelUnavailable."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, safetensors.SafetensorError) as error:
        raise ModelUnavailable(
            f"Model {spec.model.id} cannot be loaded: {_first_sentence(error)}.", _load_hint(error, spec)
        ) from error


def _load_hint(error: Exception, spec: RunSpec) -> str:
    if isinstance(error.__cause__, huggingface_hub.errors.GatedRepoError):
        return f"Ask for access on https://huggingface.co/{spec.model.id}, then run: hf auth login."
    if "trust_remote_code" in str(error):
        return "It brings its own code. Read it, and set 'trust_remote_code: true' under model if you trust it."
    if spec.attention != "default" and "ttention" in str(error):
        return f"Leave 'attention' out: not every model and machine has {spec.attention}."
    if "meta tensor" in str(error):
        return "Some of the model's tensors are missing in its weight files: fetch it again."
    return f"Does it fit the task {spec.task}? Is the download complete?"


def _first_sentence(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.split(". ")[0].rstrip(".")
