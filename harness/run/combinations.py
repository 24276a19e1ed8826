"""What of a run does not go together, told before anything starts."""

from __future__ import annotations

from harness.errors import UserInputError
from harness.run.yaml_lines import KeyPath
from harness.specs import RunSpec
from harness.tasks.catalog import TASKS
from harness.tasks.prompts import refuse_foreign_options


class Clash(UserInputError):
    """Parts of a run that do not go together; `key` is where to look."""

    def __init__(self, key: KeyPath, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.key = key


def check_combination(spec: RunSpec) -> None:
    """Stop at the first thing that does not go with the rest.

    Raises:
        Clash: With the key to look at.
    """
    wanted = TASKS[spec.task].engine
    if spec.engine == "openai":
        _check_served(spec)
    elif spec.engine not in (wanted, "simulated"):
        raise Clash(("engine",), f"The engine {spec.engine} cannot do {spec.task}.", f"Use engine: {wanted}.")
    virtual = spec.on_virtual_clock
    if spec.engine == "simulated" and spec.sources.kind != "simulated":
        raise Clash(("sources",), "The simulated engine needs simulated sources.", "Set sources: simulated.")
    if virtual and spec.engine != "simulated":
        raise Clash(
            ("sources", "node", "clock"),
            f"A virtual clock does not wait for a real engine ({spec.engine}).",
            "Use engine: simulated, or clock: real.",
        )
    if virtual and spec.measure.cross_check:
        raise Clash(
            ("measure", "cross_check"),
            "Other tools read the real clock, so a run on the virtual clock cannot be cross-checked.",
            "Remove cross_check, or use clock: real.",
        )
    if spec.measure.meter_preparation and (virtual or spec.server is not None):
        raise Clash(
            ("measure", "meter_preparation"),
            "Preparing takes no virtual time, and a server prepares inputs itself.",
            "Leave measure.meter_preparation out.",
        )
    if spec.engine not in ("simulated", "openai") and len(spec.sources.gpus) > 1 and spec.device_map is None:
        raise Clash(
            ("sources", "gpus"),
            f"{spec.engine} puts the model on one GPU, and sources.gpus names {len(spec.sources.gpus)}.",
            "Name the one that runs it (every other GPU of the machine is metered beside it), or spread the model over "
            "all of them with device_map: balanced.",
        )
    _check_loading(spec)
    asked = spec.text.template if spec.text is not None else None
    if asked is not None and ("{context}" in asked) != (TASKS[spec.task].inputs == "question"):
        raise Clash(
            ("text", "template"),
            f"A template for {spec.task} {'lacks' if '{context}' not in asked else 'has no use for'} {{context}}",
            "In question-answering it stands for the text in which the answer is to be found; elsewhere there is none.",
        )
    try:
        refuse_foreign_options(spec.prompts, spec.task)
    except UserInputError as error:
        raise Clash(("prompts",), error.message.rstrip("."), error.hint) from error
    node = spec.sources.node
    if node is not None:
        for gpu in spec.sources.gpus:
            if isinstance(gpu, int) and not 0 <= gpu < node.gpu_count:
                raise Clash(
                    ("sources", "gpus"),
                    f"There is no GPU {gpu}: the simulated node has {node.gpu_count}.",
                    "Set sources.node.gpu_count, or choose another index.",
                )


def _check_loading(spec: RunSpec) -> None:
    """Ways of loading a model that do not go with the rest."""
    if spec.device_map is not None and spec.device == "cpu":
        raise Clash(("device_map",), "A model on the CPU is not spread over GPUs.", "Leave device_map out.")
    if spec.engine == "diffusers" and spec.device_map not in (None, "balanced"):
        raise Clash(("device_map",), "Image pipelines are spread by device_map: balanced only.", "Use balanced.")
    if spec.engine == "diffusers" and spec.quantization is not None and spec.device == "cpu":
        raise Clash(
            ("quantization",), "Image pipelines are quantised on a GPU only (diffusers).", "Leave quantization out."
        )
    if spec.model.weights == "zeros" and spec.engine not in ("transformers", "simulated"):
        raise Clash(("model", "weights"), "Only the engine transformers sets weights to zero.", "Use weights: random.")
    if spec.model.built_here:
        for key in ("device_map", "quantization"):
            if getattr(spec, key) is not None:
                raise Clash(
                    (key,),
                    f"'{key}' needs a model that is loaded from files, and {spec.model.id} is built here with "
                    f"weights: {spec.model.weights}.",
                    "Save it once with save_pretrained(), and give the folder.",
                )


def _check_served(spec: RunSpec) -> None:
    """What a server cannot be asked, or is asked elsewhere."""
    assert spec.server is not None
    if spec.task != "text-generation":
        raise Clash(("engine",), f"The engine openai cannot do {spec.task}.", "It does text-generation.")
    if spec.batch_size != 1:
        raise Clash(
            ("batch_size",),
            "A server makes its batches itself.",
            "Set server.concurrency or server.request_rate_hz instead of batch_size.",
        )
    if spec.measure.requests_per_window is not None:
        raise Clash(
            ("measure", "requests_per_window"),
            "A served window is as long as it is, whatever is answered in it.",
            "Set measure.window_s.",
        )
    if spec.text is not None and spec.text.max_input_tokens is not None:
        raise Clash(
            ("text", "max_input_tokens"),
            "A server is sent text, so it cannot be cut by tokens.",
            "Set prompts.max_words instead.",
        )
    for key in ("attention", "device_map", "compile", "quantization"):
        if getattr(spec, key) not in (None, "default"):
            raise Clash((key,), f"A server loads its model itself: '{key}' is not passed on.", "Set server.command.")
    if spec.text is not None and (spec.text.template or spec.text.chat or spec.text.beams != 1):
        raise Clash(
            ("text",),
            "A server is sent prompts as they are: template, chat and beams are not passed on.",
            "Use server.api: chat for a chat model.",
        )
    if spec.model.built_here and not spec.server.command:
        raise Clash(
            ("model", "weights"), "A running server has its weights.", "Leave 'weights' out, or give server.command."
        )
