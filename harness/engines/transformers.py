"""Text generation with Hugging Face transformers.

Every request yields exactly `new_tokens` tokens, greedily: the same work for every model, whatever it would say.
Checked on CPU only; nothing here was run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.engines.architectures import build_text_model, preset
from harness.engines.base import Prepared
from harness.engines.loading import (
    load_failure_named,
    locate_model,
    memory_shortage_named,
    quieten_libraries,
    release_memory,
    require_device,
    synchronize_device,
)
from harness.errors import MeasurementInvalid, ModelUnavailable, UserInputError
from harness.records import WorkCounts
from harness.specs import RunSpec, TextOptions
from harness.tasks.base import Request

# isort: split
# After engines.loading, which says in plain words if one of these is not installed.
import torch
import transformers


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
