"""Text and picture models with Hugging Face transformers, by its model classes.

Models that write yield exactly the tokens asked for, greedily or by beams: the same work for every model, whatever it
would say. All others run one forward pass. Checked on CPU only; nothing here was run on a GPU yet, and `device_map` not
at all. Quantised weights were run by hand on a CPU (bitsandbytes 0.50.2, a tiny model in eight and in four bits).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.engines.architectures import preset
from harness.engines.base import Prepared
from harness.engines.forms import AUTO_CLASSES, form_of
from harness.engines.loading import (
    ModelSource,
    load_failure_named,
    locate_model,
    memory_shortage_named,
    quieten_libraries,
    refuse_fetched_attention,
    refuse_offloaded,
    release_memory,
    require_bitsandbytes,
    require_device,
    synchronize_device,
    told_with_cause,
)
from harness.engines.part import Part, PreparedBatch
from harness.engines.preset import Form
from harness.engines.random_models import build_model
from harness.engines.random_weights import fill_with_zeros
from harness.errors import ModelUnavailable, UserInputError
from harness.records import WorkCounts
from harness.specs import RunSpec, TextOptions
from harness.tasks.base import Request

# isort: split
# After engines.loading, which says in plain words if one of these is not installed.
import torch
import transformers

from harness.engines.heads import Looker, Reader
from harness.engines.writing import Captioner, Writer, text_options


class TransformersEngine:
    """A model for one of the nine tasks that transformers does, pretrained or from a preset with random weights."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._model: Any = None
        self._part: Part | None = None
        self._parameter_count: int | None = None

    @property
    def parameter_count(self) -> int | None:
        """Number of weights, tied ones counted once; None before load()."""
        return self._parameter_count

    @property
    def template(self) -> str | None:
        """In which words a model that writes is asked, the config's or the task's own; None: requests are put as is."""
        return self._part.options.template if isinstance(self._part, Writer) else None

    def load(self) -> None:
        """Bring model, tokenizer and picture processor into place.

        Raises:
            UserInputError: The device is not there, or `new_tokens` do not fit into the model's context.
            ModelUnavailable: The model cannot be had or read, or cannot do the task.
            OutOfMemory: It does not fit.
        """
        spec = self._spec
        quieten_libraries()
        require_device(spec.device)
        with load_failure_named(spec), memory_shortage_named(spec):
            if spec.model.built_here:
                chosen = preset(spec.model.id, spec.task)
                form = chosen.form_for(spec.task)
                self._model, tokenizer, processor = build_model(
                    chosen, form, dtype=spec.dtype, device=spec.device, attention=spec.attention, seed=spec.seed
                )
                if spec.model.weights == "zeros":
                    fill_with_zeros(self._model)
            else:
                form, self._model, tokenizer, processor = _load_pretrained(spec)
        self._model.eval()
        self._parameter_count = int(self._model.num_parameters())  # knows how four-bit weights are packed
        self._part = self._part_for(form, tokenizer, processor)
        if spec.compile is not None:
            self._model.forward = torch.compile(self._model.forward, mode=spec.compile)

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """Tokenise or decode, cut, pad, move to the device; count the work here, where it disturbs nothing.

        Raises:
            UserInputError: A request is nothing that the model can be given.
            OutOfMemory: The batch does not fit.
        """
        assert self._part is not None
        batch = self._part.prepare(requests)
        with memory_shortage_named(self._spec):
            return PreparedBatch({name: self._placed(value) for name, value in batch.inputs.items()}, batch.work)

    def run(self, prepared: Prepared) -> WorkCounts:
        """Generate, or one forward pass. On a GPU it returns when the work is queued, not done.

        Raises:
            MeasurementInvalid: What came back is not what was asked for.
            OutOfMemory: The batch does not fit.
        """
        assert self._part is not None
        with memory_shortage_named(self._spec), torch.inference_mode():
            self._part.run(prepared.inputs)
        work: WorkCounts = prepared.work
        return work

    def synchronize(self) -> None:
        """Wait for the GPUs; the CPU has finished when run() returns."""
        synchronize_device(self._spec.device, everywhere=self._spec.device_map is not None)

    def close(self) -> None:
        """Release model and device memory."""
        self._model = self._part = None
        release_memory()

    def _part_for(self, form: Form, tokenizer: Any, processor: Any) -> Part:
        spec, model = self._spec, self._model
        fixed = spec.compile is not None
        if form in ("causal", "seq2seq"):
            return Writer(model, tokenizer, text_options(spec, form), form, spec.model.id, fixed)
        if form == "captioner":
            _refuse_unused(spec, ("template", "chat", "max_input_tokens"))
            pad = None if tokenizer is None else tokenizer.pad_token_id
            return Captioner(model, processor, pad, text_options(spec, form), spec.model.id)
        if form in ("image-classifier", "detector"):
            return Looker(model, processor, form, spec.model.id)
        _refuse_unused(spec, ("template", "chat", "beams"))
        longest = spec.text.max_input_tokens if spec.text else None
        return Reader(model, tokenizer, form, spec.model.id, longest, fixed)

    def _placed(self, value: Any) -> Any:
        """On the device of the model's first layer; pictures in the model's number format."""
        return value.to(self._model.device, self._model.dtype if value.is_floating_point() else value.dtype)


def _refuse_unused(spec: RunSpec, options: Sequence[str]) -> None:
    """Options that this form of model would ignore in silence, and that would still make another run of it.

    Raises:
        UserInputError: One is set.
    """
    plain = TextOptions()
    for option in options:
        if spec.text is not None and getattr(spec.text, option) != getattr(plain, option):
            raise UserInputError(
                f"'text.{option}' does not apply to {spec.model.id} on {spec.task}: it is not asked in words.",
                f"Leave text.{option} out.",
            )


def _refuse_foreign_tokenizer(tokenizer: Any, model: Any, model_id: str) -> None:
    """A token without an embedding ends in an index out of range, on a GPU in the middle of everything.

    Raises:
        ModelUnavailable: The tokenizer knows more tokens than the model.
    """
    embeddings = model.get_input_embeddings()
    known = getattr(embeddings, "num_embeddings", None)
    if known is not None and len(tokenizer) > known:
        raise ModelUnavailable(
            f"The tokenizer of {model_id} has {len(tokenizer)} tokens, the model {known}: they do not belong together.",
            "Save model and tokenizer together, after resize_token_embeddings().",
        )


def _load_pretrained(spec: RunSpec) -> tuple[Form, Any, Any, Any]:
    source = locate_model(spec.model, "config.json")
    where = {
        "revision": source.revision,
        "local_files_only": source.local_files_only,
        "trust_remote_code": False,
    }
    form = form_of(transformers.AutoConfig.from_pretrained(source.name, **where), spec.task, spec.model.id)
    tokenizer, processor = _preparers(source, form, where)
    refuse_fetched_attention(spec.attention)
    loading = {} if spec.attention == "default" else {"attn_implementation": spec.attention}
    model, report = getattr(transformers, AUTO_CLASSES[form]).from_pretrained(
        source.name,
        **where,
        **loading,
        **_quantized(spec),
        dtype=getattr(torch, spec.dtype),
        device_map=spec.device_map or spec.device,
        use_safetensors=None if spec.model.allow_pickle else True,
        output_loading_info=True,
    )
    if missing := sorted(report["missing_keys"]):
        # transformers would fill them with random numbers and go on.
        raise ModelUnavailable(
            f"The weights of {spec.model.id} lack {len(missing)} of the model's tensors, the first is {missing[0]}.",
            f"Was it made for {spec.task}? To measure its shape alone, use weights: random with a preset.",
        )
    if tokenizer is not None and form != "captioner":
        _refuse_foreign_tokenizer(tokenizer, model, spec.model.id)
    if spec.device_map is not None:
        refuse_offloaded(model, spec)
    return form, model, tokenizer, processor


def _preparers(source: ModelSource, form: Form, where: dict[str, Any]) -> tuple[Any, Any]:
    """Tokenizer and picture processor, as far as a form needs them.

    Raises:
        ModelUnavailable: One is missing.
    """
    tokenizer = processor = None
    looks = form in ("captioner", "image-classifier", "detector")
    try:
        if looks:
            what = "picture processor (preprocessor_config.json)"
            processor = transformers.AutoImageProcessor.from_pretrained(source.name, **where)
        if form not in ("image-classifier", "detector"):
            what = "tokenizer"
            tokenizer = transformers.AutoTokenizer.from_pretrained(source.name, **where)
            # The library makes one up where the files are missing. Of a captioner's only the padding is used.
            if form != "captioner" and len(tokenizer) <= len(tokenizer.all_special_tokens):
                raise ValueError("its files are not there, or empty")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise ModelUnavailable(
            f"{source.name} has no {what} that can be loaded: {told_with_cause(error)}.",
            "Save it beside the model with save_pretrained().",
        ) from error
    return tokenizer, processor


def _quantized(spec: RunSpec) -> dict[str, Any]:
    """What from_pretrained needs for weights in fewer bits.

    Raises:
        ModelUnavailable: The package for it is missing.
    """
    if spec.quantization is None:
        return {}
    require_bitsandbytes(spec.quantization)
    four = spec.quantization == "4bit"
    own = (
        {"load_in_4bit": True, "bnb_4bit_compute_dtype": getattr(torch, spec.dtype)} if four else {"load_in_8bit": True}
    )
    return {"quantization_config": transformers.BitsAndBytesConfig(**own)}
