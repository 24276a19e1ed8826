"""What to run: frozen types, each field with its unit and its bounds. A RunSpec's hash names its run.

All quantities are SI. Whatever changes a result is a field here, and nothing else is.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from harness.frozen import Count, Frozen, Positive, Seconds
from harness.serving import ServerOptions
from harness.simulated_node import SimulatedNodeSpec

# By the names of the Hub's pipelines, in the order of the study's Table 2. What each needs: tasks/catalog.
ModelTask = Literal[
    "text-classification",
    "question-answering",
    "fill-mask",
    "token-classification",
    "image-classification",
    "object-detection",
    "text-generation",
    "summarization",
    "image-to-text",
    "text-to-image",
]
CALIBRATION: Final = "calibration"  # a fixed load, the same on every board: no model's task
MATRIX_PRODUCTS, MEMORY_COPIES = CALIBRATION_LOADS = ("matrix-products", "memory-copies")  # its "models"
Task = Literal[ModelTask, "calibration"]

Pixels = Annotated[int, Field(ge=1, le=16384)]


class ModelSpec(Frozen):
    """Which model, and where its weights come from."""

    id: str = Field(min_length=1, description="hub id, local folder, or the name of an architecture preset")
    weights: Literal["pretrained", "random", "zeros"] = Field(
        "pretrained",
        description="random: a preset's shape, drawn here; zeros: the same, every weight 0, only to see how much "
        "the values matter",
    )
    revision: str | None = Field(None, description="commit, tag or branch on the hub; pin a commit to repeat a run")
    trust_remote_code: Literal[False] = Field(False, description="never: no code from a model's repository is run")
    allow_pickle: bool = Field(False, description="accept weights that are not safetensors")

    @property
    def built_here(self) -> bool:
        """True for a preset's shape, filled with numbers that nobody trained."""
        return self.weights != "pretrained"

    @field_validator("id")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("a model's id must be plain text, without control characters")
        return name

    @field_validator("trust_remote_code", mode="before")
    @classmethod
    def _no_foreign_code(cls, given: Any) -> Any:
        if given is True:
            raise ValueError("the harness runs no code from a model's repository; use a model that its library knows")
        return given


class PromptSpec(Frozen):
    """Where the requests come from. `sha256` is filled in for files, so that an edited file is another run."""

    kind: Literal["builtin", "file", "hub"] = "builtin"
    path: str | None = Field(None, description="txt, jsonl, csv or parquet file, or a folder of pictures (kind: file)")
    dataset: str | None = Field(None, description="hub dataset (kind: hub)")
    config: str | None = None
    split: str = "train"
    column: str | None = Field(None, description="column or key with the text; found by itself if there is one")
    context_column: str | None = Field(None, description="question-answering: column with the texts to search")
    count: Count = 1000
    max_words: Count | None = Field(None, description="keep only the first words of each prompt")
    picture_size: tuple[Pixels, Pixels] | None = Field(
        None, description="width and height to which every picture is brought before the model's own preprocessing"
    )
    words: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="exactly so many words each: further prompts of the set are joined on, the rest is cut off"
    )
    sha256: str | None = None

    @property
    def label(self) -> str:
        """What a table calls it."""
        name = self.dataset or self.path or self.kind
        return f"{name}, {self.words} words" if self.words else name

    @model_validator(mode="after")
    def _complete(self) -> PromptSpec:
        if self.kind == "file" and not self.path:
            raise ValueError("prompts of kind 'file' need a path")
        if self.kind == "hub" and not self.dataset:
            raise ValueError("prompts of kind 'hub' need a dataset")
        if self.words is not None and self.max_words is not None:
            raise ValueError("'words' and 'max_words' exclude each other")
        return self


class TextOptions(Frozen):
    """Tasks with text: every request to a model that writes yields exactly `new_tokens` tokens."""

    new_tokens: Count = 10
    max_input_tokens: Count | None = Field(None, description="cut prompts to this many tokens")
    template: str | None = Field(
        None,
        description="what a model that writes is asked: {text} and {context} stand for the request's; None: the task's",
    )
    chat: bool = Field(False, description="ask as a user's turn in the model's own chat template")
    beams: Count = Field(1, description="beams of the search; 1 is greedy")

    @field_validator("template")
    @classmethod
    def _holds_the_text(cls, template: str | None) -> str | None:
        if template is not None and "{text}" not in template:
            raise ValueError("a template needs {text}, where the request goes")
        return template


class ImageOptions(Frozen):
    """Image generation by a diffusion pipeline."""

    steps: Count = 50
    guidance: float = Field(7.5, ge=0)
    height: Annotated[int, Field(ge=8, multiple_of=8)] = 512
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 512
    save_images: bool = Field(False, description="write the images of one extra, unmetered batch")


Compilation = Literal["default", "reduce-overhead", "max-autotune"]
Quantization = Literal["8bit", "4bit"]
DeviceMap = Literal["auto", "balanced", "balanced_low_0", "sequential"]


class SourcesSpec(Frozen):
    """Where the joules are read, and on which GPUs the model runs."""

    kind: Literal["nvml", "simulated"] = "nvml"
    gpus: tuple[int | str, ...] = Field((0,), min_length=1, description="indices or UUIDs, as CUDA sees them")
    gpu: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$",
        description="type that these GPUs must be, e.g. H100: another is refused, and a cluster places the run by it",
    )
    node: SimulatedNodeSpec | None = None
    sensor_profile: str | None = Field(
        None, description="profile file of the GPUs that run the model; `harness sensor characterize` writes one"
    )
    sensor_profile_sha256: str | None = Field(None, description="filled in: another content is another run")

    @model_validator(mode="before")
    @classmethod
    def _node_where_simulated(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("kind") == "simulated" and content.get("node") is None:
            return content | {"node": {}}
        return content

    @model_validator(mode="after")
    def _each_gpu_once(self) -> SourcesSpec:
        if "" in self.gpus:
            raise ValueError("'gpus' holds an empty name; give indices or UUIDs")
        if len(set(map(str, self.gpus))) < len(self.gpus):
            raise ValueError("'gpus' names a GPU twice")
        return self

    @model_validator(mode="after")
    def _node_only_where_simulated(self) -> SourcesSpec:
        if self.kind == "nvml" and self.node is not None:
            raise ValueError("'node' describes simulated GPUs; use kind: simulated, or leave it out")
        return self


class MeasureSpec(Frozen):
    """How long, how often, and when to stop."""

    target_relative_halfwidth: Positive = Field(
        0.02, description="stop when the 95 % interval of the repeats' mean is this narrow (type A only)"
    )
    min_repeats: Annotated[int, Field(ge=2)] = 5
    max_repeats: Annotated[int, Field(ge=2)] = 20
    max_duration_s: Seconds = Field(1800.0, description="budget for all windows of one run")
    window_s: Seconds = Field(4.0, description="shortest window; whole batches are added until it is reached")
    requests_per_window: Count | None = Field(
        None, description="requests per window, up to whole batches, instead of window_s"
    )
    null_window_s: Seconds = Field(2.0, description="window without work right after each window")
    idle_s: Seconds = Field(3.0, description="idle measured before the load and, settled, after it")
    settle_s: Annotated[float, Field(ge=0)] = Field(2.0, description="wait after load before idle counts")
    warm_up_block_s: Seconds = 2.0
    warm_up_max_s: Annotated[float, Field(ge=0)] = 120.0
    sample_period_s: Annotated[float, Field(ge=0.001, le=1)] = 0.02
    random_delays: Literal["auto", "always", "never"] = "auto"
    energy_method: Literal["auto", "counter", "sampled"] = "auto"
    allow_shared_gpu: bool = Field(False, description="measure although other processes use the GPU")
    allow_throttling: bool = Field(False, description="keep windows in which the board was slowed down (not: capped)")
    max_temperature_change_c: Positive = Field(
        2.0, description="a window this much warmer or colder than its siblings is rejected"
    )
    meter_preparation: bool = Field(
        False, description="meter what is done before a window (tokenising, decoding pictures) in windows of its own"
    )
    cross_check: tuple[Literal["codecarbon"], ...] = ()

    @model_validator(mode="after")
    def _ordered(self) -> MeasureSpec:
        if self.max_repeats < self.min_repeats:
            raise ValueError(f"max_repeats ({self.max_repeats}) is below min_repeats ({self.min_repeats})")
        if self.requests_per_window is None and 2 * self.window_s > self.max_duration_s:  # one says nothing of scatter
            needed = f"two windows of {self.window_s:g} s"
            raise ValueError(f"{needed} do not fit into max_duration_s ({self.max_duration_s:g})")
        return self


Accounting = Literal["study-2023"]


class ReplaySpec(Frozen):
    """What a published study found for this model, task and dataset, to be replayed by a simulated node.

    Times and powers are means over the study's runs; the powers of one GPU are estimated (study/accounting).
    """

    study: Accounting
    dataset: str | None = Field(
        description="the study's name of it; None: its files do not tell, mean over all of them"
    )
    runs: Count = Field(description="runs behind the means")
    duration_s: Positive = Field(description="per inference")
    active_gpu_w: Positive = Field(description="the GPU that worked, its idle included")
    idle_gpu_w: Positive = Field(description="each of the others")
    memory_unmetered_s: float = Field(
        ge=0, description="per inference: time for which the study's meter charged no memory power"
    )
    node_energy_j: Positive = Field(
        description="per inference, as the study recorded it: what the replay should return"
    )
    node_scatter_j: Positive = Field(description="per inference: standard deviation of the study's runs")


class CalibrationOf(Frozen):
    """Which of a campaign's calibrations a run is. Set by the harness at each start, never by a config."""

    campaign_started_at_utc: str = Field(description="the start of the campaign that it belongs to")
    node: str | None = Field(None, description="the cluster's id of the node that it must be made on")
    number: int = Field(0, ge=0, description="which of the node's boards, as counted by the harness")


# Fields that came after the first runs were named, and are left out of the name while they are not used.
_YOUNGER_FIELDS: dict[str | None, tuple[str, ...]] = {
    None: ("device_map", "compile", "quantization", "replay", "server", "calibration"),
    "text": ("template", "chat"),
    "measure": ("meter_preparation",),
    "prompts": ("words", "context_column", "picture_size"),
    "sources": ("gpu",),
    "server": ("allow_exposed",),
}


# Fields that the harness of the first two days did not know, and that were part of the name from their first day on.
LaterField = Literal[
    "measure.allow_throttling",
    "measure.max_temperature_change_c",
    "sources.node.faults",
    "sources.node.counter_period_s",
    "sources.node.counter_lag_s",
]


class RunSpec(Frozen):
    """One run: one model, one task, one batch size. Equal specs have equal run_ids."""

    task: Task
    model: ModelSpec
    engine: Literal["transformers", "diffusers", "openai", "simulated", "calibration"]
    text: TextOptions | None = None
    image: ImageOptions | None = None
    prompts: PromptSpec = PromptSpec()
    batch_size: Count = 1
    dtype: Literal["float32", "float16", "bfloat16"] = "float16"
    device: str = Field("cuda", pattern=r"^(cuda(:\d+)?|cpu)$")
    attention: Literal["default", "eager", "sdpa", "flash_attention_2"] = "default"
    device_map: DeviceMap | None = Field(
        None, description="how the model is spread over sources.gpus (never run yet); None: on one GPU"
    )
    compile: Compilation | None = Field(None, description="torch.compile's mode; None: not compiled")
    quantization: Quantization | None = Field(None, description="weights in fewer bits, by bitsandbytes")
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    sources: SourcesSpec = SourcesSpec()
    measure: MeasureSpec = MeasureSpec()
    timeout_s: Seconds = Field(7200.0, description="the run is stopped after this; not part of the run_id")
    accounting: Accounting | None = Field(
        None, description="shown beside the harness's own: how a study would have counted; not part of the run_id"
    )
    replay: ReplaySpec | None = Field(None, description="set by --replay: no model runs, a study's run is replayed")
    server: ServerOptions | None = Field(None, description="engine openai: the server, and the load put on it")
    calibration: CalibrationOf | None = Field(None, description="set where no model is run, but a fixed load")

    @model_validator(mode="after")
    def _replayed_on_a_simulated_node(self) -> RunSpec:
        if self.replay is not None and (self.engine != "simulated" or self.sources.node is None):
            raise ValueError("a replay runs by engine: simulated on simulated sources; use --replay")
        return self

    @model_validator(mode="after")
    def _served_by_the_openai_engine(self) -> RunSpec:
        if (self.engine == "openai") != (self.server is not None):
            raise ValueError("engine: openai needs a section 'server', and no other engine has one")
        return self

    @model_validator(mode="after")
    def _calibrated_by_a_fixed_load(self) -> RunSpec:
        if (self.task == CALIBRATION) != (self.calibration is not None):
            raise ValueError("the task calibration is set by the harness; use `calibration: true` or --calibrate")
        if self.engine == "calibration" and self.task != CALIBRATION:
            raise ValueError("the engine calibration runs no model; use another one")
        return self

    @property
    def on_virtual_clock(self) -> bool:
        """True for a simulated machine whose time does not pass for real."""
        return self.sources.node is not None and self.sources.node.clock == "virtual"

    @property
    def load_label(self) -> str:
        """How much is asked at once: the batch, or the load on a server."""
        if self.server is None:
            return f"batch {self.batch_size}"
        if self.server.concurrency is not None:
            return f"{self.server.concurrency} in flight"
        return f"{self.server.request_rate_hz:g}/s"

    @property
    def run_id(self) -> str:
        """Readable name and a hash of everything that changes the result."""
        return self.named_without(())

    def named_without(self, later_fields: Sequence[LaterField]) -> str:
        """The run_id that a harness gave which did not know these fields."""
        content = self.model_dump(mode="json", exclude={"timeout_s", "accounting"})
        if self.prompts.sha256 is not None:
            del content["prompts"]["path"]  # the same prompts are the same run, wherever they lie
        for key in ("sensor_profile", "sensor_profile_sha256"):
            if content["sources"][key] is None or (key == "sensor_profile" and self.sources.sensor_profile_sha256):
                del content["sources"][key]  # likewise; and a run without one keeps the name it has always had
        for options, keys in _YOUNGER_FIELDS.items():  # at their defaults a run keeps the name it has always had
            for key in keys:
                mine = content if options is None else content.get(options)
                if mine is not None and not mine[key]:
                    del mine[key]
        if content["text"] is not None and content["text"]["beams"] == 1:
            del content["text"]["beams"]
        if self.sources.node is not None:
            for key in ("idle_w", "steady"):
                if not content["sources"]["node"][key]:
                    del content["sources"]["node"][key]
        for field in later_fields:
            *sections, key = field.split(".")
            functools.reduce(lambda part, section: part.get(section) or {}, sections, content).pop(key, None)
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
        stem = re.sub(r"[^a-z0-9]+", "-", self.model.id.rstrip("/").rsplit("/", 1)[-1].lower()).strip("-")
        load = self.server.label if self.server is not None else f"b{self.batch_size}"
        return f"{stem[:40] or 'model'}-{load}-{digest}"
