"""Image generation with Hugging Face diffusers: the whole pipeline, from text encoder to decoded pixels.

Metered are text encoding, all denoising steps and VAE decoding: they are part of a generation. The images stay where
they were made (output_type "pt": a float tensor on the device), since copying them to the host and packing them into
files is not the model's work. What a pipeline does besides is its own doing and metered: a safety checker fetches the
images; SDXL in float16 decodes in float32.

How work is counted, and what a request means to a pipeline without text: `image_work`.
Checked on CPU only; nothing here was run on a GPU yet. Never run: `device_map` and quantised weights (diffusers refuses
the latter on a CPU). Compiling the denoiser was tried by hand on a CPU.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engines.architectures import preset
from harness.engines.base import Prepared
from harness.engines.image_work import (
    DENOISERS,
    call_parameters,
    calls_per_image,
    count_tokens,
    denoiser_of,
    inputs_of,
    own_side,
    size_step,
)
from harness.engines.loading import (
    load_failure_named,
    locate_model,
    memory_shortage_named,
    quieten_libraries,
    refuse_offloaded,
    release_memory,
    require_bitsandbytes,
    require_device,
    synchronize_device,
)
from harness.engines.random_pipelines import build_image_pipeline
from harness.errors import MeasurementInvalid, ModelUnavailable, StoreError, UserInputError
from harness.records import WorkCounts
from harness.specs import ImageOptions, RunSpec
from harness.tasks.base import Request

try:
    import diffusers
    import torch
    from PIL import Image
except ImportError as error:
    raise ModelUnavailable(
        f"Image models need the package '{error.name}', which is not installed here.",
        "pip install 'energy-harness[models]'",
    ) from error


@dataclass(frozen=True, slots=True)
class PreparedImages:
    """Arguments of one call of the pipeline, its source of noise, and what the call will have done."""

    arguments: Mapping[str, Any]
    generator: Any
    noise_seed: int
    request_indices: tuple[int, ...]
    work: WorkCounts


class DiffusersEngine:
    """A text-to-image pipeline, pretrained or built from a preset with random weights."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._options = spec.image or ImageOptions()
        self._pipeline: Any = None
        self._settings: dict[str, Any] = {}
        self._parameter_count: int | None = None

    @property
    def parameter_count(self) -> int | None:
        """Weights of all parts together, tied ones counted once; None before load()."""
        return self._parameter_count

    def load(self) -> None:
        """Bring the pipeline into place.

        Raises:
            UserInputError: The device is not there, the size cannot be made, or `attention` is set.
            ModelUnavailable: The pipeline cannot be had or read, or takes no prompt.
            OutOfMemory: It does not fit.
        """
        spec = self._spec
        if spec.attention != "default":
            raise UserInputError(
                f"Image pipelines choose their attention themselves; '{spec.attention}' cannot be set.",
                "Leave 'attention' out.",
            )
        quieten_libraries()
        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
        require_device(spec.device)
        with load_failure_named(spec), memory_shortage_named(spec):
            if spec.model.weights == "random":
                chosen = preset(spec.model.id, spec.task)
                self._pipeline = build_image_pipeline(chosen, dtype=spec.dtype, device=spec.device, seed=spec.seed)
            else:
                self._pipeline = _load_pretrained(spec)
        self._pipeline.set_progress_bar_config(disable=True)
        self._settings = self._accepted_settings()
        modules = [part for part in self._pipeline.components.values() if isinstance(part, torch.nn.Module)]
        if spec.quantization is None:
            sizes = {id(weight): weight.numel() for module in modules for weight in module.parameters()}
            self._parameter_count = sum(sizes.values())
        else:  # four-bit weights are packed, which the libraries' own count knows
            self._parameter_count = sum(int(module.num_parameters()) for module in modules)
        if spec.compile is not None:
            denoiser_of(self._pipeline).compile(mode=spec.compile)

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """Collect the prompts, seed the noise from the run's seed and the requests, count what will be done.

        Equal requests get equal noise, whatever was run before.
        """
        indices = tuple(request.index for request in requests)
        count = len(requests)
        work = WorkCounts(
            requests=count,
            input_tokens=count_tokens(self._pipeline, [request.text for request in requests]),
            images=count,
            output_pixels=count * self._options.height * self._options.width,
            denoising_steps=count * self._options.steps,
        )
        return PreparedImages(
            arguments={**inputs_of(self._pipeline, requests), **self._settings},
            generator=torch.Generator(device=self._pipeline._execution_device),
            noise_seed=_noise_seed(self._spec.seed, indices),
            request_indices=indices,
            work=work,
        )

    def run(self, prepared: Prepared) -> WorkCounts:
        """Generate. On a GPU the last work may still be queued when it returns.

        Raises:
            MeasurementInvalid: Another number or size of images came back than was asked for.
            UserInputError: The pipeline refuses the options.
            OutOfMemory: The batch does not fit.
        """
        images = self._generate(prepared)
        expected = (prepared.work.images, self._options.height, self._options.width)
        if torch.is_tensor(images):  # shapes are known on the host: asking does not wait for the device
            found = (images.shape[0], images.shape[-2], images.shape[-1])
        else:
            found = (len(images), images[0].height, images[0].width)
        if found != expected:
            raise MeasurementInvalid(
                f"{self._spec.model.id} returned (images, height, width) = {found} instead of {expected}: the work is "
                "not what was asked.",
                "Set image.height and image.width to a size that this pipeline makes.",
            )
        calls = calls_per_image(self._pipeline, self._options.steps)
        work: WorkCounts = prepared.work.model_copy(update={"denoising_steps": prepared.work.images * calls})
        return work

    def save_images(self, prepared: Prepared, folder: Path) -> tuple[Path, ...]:
        """Generate one batch and write it as PNG files named after the requests. Not for metered windows.

        Raises:
            StoreError: The folder cannot be written.
        """
        images = self._generate(prepared)
        if torch.is_tensor(images):
            pixels = (images.float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().permute(0, 2, 3, 1).numpy()
            images = [Image.fromarray(image) for image in pixels]
        paths = tuple(folder / f"prompt-{index:04d}.png" for index in prepared.request_indices)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path, image in zip(paths, images, strict=True):
                image.save(path)
        except OSError as error:
            raise StoreError(f"Cannot write images into {folder}: {error}.", "Is the disk full?") from error
        return paths

    def synchronize(self) -> None:
        """Wait for the GPU; the CPU has finished when run() returns."""
        synchronize_device(self._spec.device, everywhere=self._spec.device_map is not None)

    def close(self) -> None:
        """Release pipeline and device memory."""
        self._pipeline = None
        self._settings = {}
        release_memory()

    def _generate(self, prepared: PreparedImages) -> Any:
        prepared.generator.manual_seed(prepared.noise_seed)  # a batch that is run again makes the same images
        try:
            with memory_shortage_named(self._spec):
                return self._pipeline(generator=prepared.generator, **prepared.arguments).images
        except (ValueError, IndexError) as error:  # PixArt-alpha's answer to a single step is an IndexError
            raise UserInputError(
                f"{self._spec.model.id} refuses these image options: {error}",
                "See its model card for valid sizes and numbers of steps.",
            ) from error

    def _accepted_settings(self) -> dict[str, Any]:
        """The run's options that this pipeline's call knows: some have no guidance, some no size."""
        accepted = call_parameters(self._pipeline)
        if not {"prompt", "class_labels"} & set(accepted) or "generator" not in accepted:
            raise ModelUnavailable(
                f"{self._spec.model.id} ({type(self._pipeline).__name__}) does not make images from text.",
                "Choose a text-to-image pipeline.",
            )
        settings = {
            "num_inference_steps": self._options.steps,
            "guidance_scale": self._options.guidance,
            "height": self._options.height,
            "width": self._options.width,
            "output_type": "pt",
            # PixArt would generate at one of its own resolutions and then resize: other work than asked for.
            "use_resolution_binning": False,
        }
        self._check_size()
        return {name: value for name, value in settings.items() if name in accepted}

    def _check_size(self) -> None:
        height, width = self._options.height, self._options.width
        side, step = own_side(self._pipeline), size_step(self._pipeline)
        if side is not None and (height, width) != (side, side):
            raise UserInputError(
                f"{self._spec.model.id} makes images of {side} x {side} pixels only, not {height} x {width}.",
                f"Set image.height and image.width to {side}.",
            )
        if height % step or width % step:
            raise UserInputError(
                f"{self._spec.model.id} makes images in multiples of {step} pixels, not {height} x {width}.",
                "Change image.height or image.width.",
            )


def _load_pretrained(spec: RunSpec) -> Any:
    source = locate_model(spec.model, "model_index.json")
    dtype = getattr(torch, spec.dtype)
    with warnings.catch_warnings():
        # diffusers has renamed torch_dtype to dtype; older versions ignore the new name and load float32.
        warnings.simplefilter("ignore", FutureWarning)
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            source.name,
            revision=source.revision,
            local_files_only=source.local_files_only,
            torch_dtype=dtype,
            use_safetensors=None if spec.model.allow_pickle else True,
            trust_remote_code=False,
            **_placing(spec),
        )
    if spec.device_map is not None:
        refuse_offloaded(pipeline, spec)
        return pipeline
    if pipeline.dtype != dtype:
        raise ModelUnavailable(
            f"{spec.model.id} was loaded as {pipeline.dtype}, not as {spec.dtype}.", "Report this diffusers version."
        )
    return pipeline.to(spec.device)


def _placing(spec: RunSpec) -> dict[str, Any]:
    """What from_pretrained needs to spread a pipeline over GPUs, or for a denoiser of fewer bits.

    Raises:
        ModelUnavailable: The package for it is missing.
    """
    options: dict[str, Any] = {} if spec.device_map is None else {"device_map": spec.device_map}
    if spec.quantization is not None:
        require_bitsandbytes(spec.quantization)
        backend = f"bitsandbytes_{spec.quantization}"
        four = {"load_in_4bit": True, "bnb_4bit_compute_dtype": getattr(torch, spec.dtype)}
        options["quantization_config"] = diffusers.quantizers.PipelineQuantizationConfig(
            quant_backend=backend,
            quant_kwargs=four if spec.quantization == "4bit" else {"load_in_8bit": True},
            components_to_quantize=list(DENOISERS),
        )
    return options


def _noise_seed(seed: int, request_indices: tuple[int, ...]) -> int:
    """63 bits that follow from the run's seed and the requests of a batch, and from nothing else."""
    digest = hashlib.sha256(f"{seed}:{request_indices}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
