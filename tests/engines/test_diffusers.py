"""Image generation: the size and number asked for, from presets and folders; and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
torch.set_num_threads(1)  # tiny models gain nothing from more, and tests run side by side

from diffusers import PNDMScheduler, StableDiffusionPipeline  # noqa: E402
from PIL import Image  # noqa: E402
from tiny_pipelines import FAMILIES  # noqa: E402

from harness.engines.diffusers import DiffusersEngine  # noqa: E402
from harness.engines.image_work import count_tokens  # noqa: E402
from harness.errors import MeasurementInvalid, ModelUnavailable, StoreError, UserInputError  # noqa: E402
from harness.records import WorkCounts  # noqa: E402
from harness.specs import RunSpec  # noqa: E402
from harness.tasks.base import Request  # noqa: E402
from harness.tasks.builtin import image_prompts  # noqa: E402

REQUESTS = tuple(Request(index, text) for index, text in enumerate(image_prompts()[:3]))

each_family = pytest.mark.parametrize("name", FAMILIES)


class PlainPipeline(StableDiffusionPipeline):  # type: ignore[misc]
    """Has neither guidance nor sizes, like a distilled model of one fixed resolution."""

    def __call__(
        self, prompt: Any, num_inference_steps: int = 2, generator: Any = None, output_type: str = "pil"
    ) -> Any:
        return super().__call__(
            prompt, 64, 64, num_inference_steps, guidance_scale=1, generator=generator, output_type=output_type
        )


def spec_of(model: dict[str, Any], **fields: Any) -> RunSpec:
    content = {
        "task": "text-to-image",
        "engine": "diffusers",
        "model": model,
        "image": {"steps": 2, "height": 64, "width": 64},
        "batch_size": 3,
        "dtype": "float32",
        "device": "cpu",
        **fields,
    }
    return RunSpec.model_validate(content)


def loaded(name: str = "tiny-sd", **fields: Any) -> DiffusersEngine:
    engine = DiffusersEngine(spec_of({"id": name, "weights": "random"}, **fields))
    engine.load()
    return engine


def pretrained(folder: Path, **fields: Any) -> DiffusersEngine:
    engine = DiffusersEngine(spec_of({"id": str(folder), **fields}))
    engine.load()
    return engine


def images(engine: DiffusersEngine, requests: tuple[Request, ...] = REQUESTS) -> Any:
    return engine._generate(engine.prepare(requests))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny Stable Diffusion as save_pretrained() lays it out."""
    loaded(seed=7)._pipeline.save_pretrained(tmp_path)
    return tmp_path


# --- generation -----------------------------------------------------------------------------------


@each_family
def test_work_is_counted_and_the_images_have_the_size_asked_for(name: str, tmp_path: Path) -> None:
    width = 64 if name == "tiny-dit" else 96
    engine = loaded(name, image={"steps": 2, "height": 64, "width": width})
    prepared = engine.prepare(REQUESTS)
    assert engine.run(prepared) == WorkCounts(
        requests=3,
        input_tokens=count_tokens(engine._pipeline, [request.text for request in REQUESTS]),
        images=3,
        output_pixels=3 * 64 * width,
        denoising_steps=6,
    )
    engine.synchronize()
    few = REQUESTS[:2]
    made = images(engine, few)
    assert tuple(made.shape) == (2, 3, 64, width)
    assert made.isfinite().all()
    assert float(made.std()) > 0.05
    for path in engine.save_images(engine.prepare(few), tmp_path):
        with Image.open(path) as saved:
            assert (saved.size, saved.mode) == ((width, 64), "RGB")


def test_steps_that_a_pipeline_cannot_do_are_named() -> None:
    engine = loaded("tiny-pixart", image={"steps": 1, "height": 64, "width": 64})
    with pytest.raises(UserInputError, match="tiny-pixart refuses these image options"):
        engine.run(engine.prepare(REQUESTS))  # diffusers takes one step as a sign of a distilled PixArt


def test_a_schedule_that_calls_the_denoiser_more_often_is_counted_as_it_ran() -> None:
    engine = loaded(image={"steps": 5, "height": 64, "width": 64})
    engine._pipeline.scheduler = PNDMScheduler(skip_prk_steps=True)
    prepared = engine.prepare(REQUESTS)
    assert engine.run(prepared).denoising_steps == 3 * 6


@each_family
def test_a_prompt_and_its_place_decide_the_image_not_what_ran_before(name: str) -> None:
    engine = loaded(name)
    asked = REQUESTS[0]
    first = images(engine, (asked,))
    other_noise = images(engine, (Request(asked.index + 10, asked.text),))
    # DiT knows classes instead of texts: this one's number is another than the request's index.
    other_text = images(engine, (Request(asked.index, "999"),))
    assert torch.equal(images(engine, (asked,)), first)
    assert not torch.allclose(other_noise, first)
    assert not torch.allclose(other_text, first)


def test_a_class_conditional_pipeline_makes_its_one_size_and_reads_no_text() -> None:
    engine = loaded("tiny-dit")
    work = engine.run(engine.prepare(REQUESTS))
    assert (work.input_tokens, work.images, work.output_pixels) == (0, 3, 3 * 64 * 64)
    with pytest.raises(UserInputError, match="images of 64 x 64 pixels only, not 64 x 96") as caught:
        loaded("tiny-dit", image={"steps": 2, "height": 64, "width": 96})
    assert caught.value.hint == "Set image.height and image.width to 64."


def test_a_batch_that_is_run_twice_makes_the_same_images() -> None:
    engine = loaded()
    prepared = engine.prepare(REQUESTS)
    assert torch.equal(engine._generate(prepared), engine._generate(prepared))


def test_equal_seeds_make_equal_images_and_others_do_not() -> None:
    first, again, other = (images(loaded(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-flux", "tiny-dit"])
def test_guidance_and_steps_reach_the_pipeline(name: str) -> None:
    plain, guided, longer = (
        images(loaded(name, image={"steps": steps, "guidance": guidance, "height": 64, "width": 64}), REQUESTS[:1])
        for steps, guidance in ((2, 0.0), (2, 7.5), (4, 0.0))
    )
    assert not torch.allclose(plain, guided)
    assert not torch.allclose(plain, longer)


def test_the_number_format_is_that_of_the_run() -> None:
    engine = loaded("tiny-pixart", dtype="bfloat16")
    assert images(engine).dtype == torch.bfloat16


def test_parameters_of_all_parts_are_counted() -> None:
    engine = DiffusersEngine(spec_of({"id": "tiny-sd", "weights": "random"}))
    assert engine.parameter_count is None
    engine.load()
    assert engine.parameter_count == 803_204 + 261_079 + 170_560  # U-Net, VAE, text encoder
    engine.close()
    assert engine._pipeline is None


# --- pipelines that take less ---------------------------------------------------------------------


def test_a_pipeline_gets_only_the_options_it_knows() -> None:
    engine = loaded()
    engine._pipeline = PlainPipeline(**engine._pipeline.components)
    assert set(engine._accepted_settings()) == {"num_inference_steps", "output_type"}
    engine._settings = engine._accepted_settings()
    assert engine.run(engine.prepare(REQUESTS)).images == 3


def test_images_of_another_size_are_no_measurement() -> None:
    engine = loaded(image={"steps": 2, "height": 128, "width": 128})
    engine._pipeline = PlainPipeline(**engine._pipeline.components)
    engine._settings = engine._accepted_settings()
    with pytest.raises(MeasurementInvalid, match=r"= \(3, 64, 64\) instead of \(3, 128, 128\)"):
        engine.run(engine.prepare(REQUESTS))


def test_a_size_that_the_patches_do_not_fill_is_refused() -> None:
    with pytest.raises(UserInputError, match="multiples of 16 pixels, not 72 x 64"):
        loaded("tiny-pixart", image={"steps": 2, "height": 72, "width": 64})
    with pytest.raises(UserInputError, match="multiples of 16 pixels, not 64 x 72"):
        loaded("tiny-flux", image={"steps": 2, "height": 64, "width": 72})  # it would make 64 x 64
    assert loaded("tiny-sd", image={"steps": 2, "height": 72, "width": 64}).parameter_count is not None


def test_attention_cannot_be_set() -> None:
    with pytest.raises(UserInputError, match="choose their attention themselves"):
        loaded(attention="sdpa")


# --- models from disk -----------------------------------------------------------------------------


def test_a_saved_pipeline_makes_the_same_images(folder: Path) -> None:
    again = pretrained(folder)
    original = loaded(seed=7)
    assert again.parameter_count == original.parameter_count
    again._spec = original._spec  # the noise follows from the run's seed, which is 7 there
    assert torch.equal(images(again), images(original))


def test_a_folder_without_weights_or_index_is_refused(folder: Path) -> None:
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    with pytest.raises(ModelUnavailable) as caught:
        pretrained(folder)
    assert caught.value.message == f"Model folder {folder} has no weights (*.safetensors)."
    (folder / "model_index.json").unlink()
    with pytest.raises(ModelUnavailable) as caught:
        pretrained(folder)
    assert caught.value.message == f"Model folder {folder} has no model_index.json."


def test_a_part_with_pickled_weights_is_refused_unless_allowed(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(loaded(seed=7)._pipeline.unet.state_dict(), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelUnavailable, match="no file named diffusion_pytorch_model"):
        pretrained(folder)
    assert pretrained(folder, allow_pickle=True).parameter_count == 1_234_843


# --- saved images ---------------------------------------------------------------------------------


def test_images_are_saved_as_png_named_after_their_prompts(tmp_path: Path) -> None:
    engine = loaded()
    requests = (Request(4, "a cat"), Request(17, "a dog"))
    paths = engine.save_images(engine.prepare(requests), tmp_path / "images")
    assert [path.name for path in paths] == ["prompt-0004.png", "prompt-0017.png"]
    made = images(engine, requests)
    for path, image in zip(paths, made, strict=True):
        with Image.open(path) as saved:
            assert saved.size == (64, 64)
            red, green, blue = saved.getpixel((5, 9))  # type: ignore[misc]
        assert [red, green, blue] == (image[:, 9, 5] * 255).round().int().tolist()


def test_bfloat16_images_are_saved(tmp_path: Path) -> None:
    engine = loaded(dtype="bfloat16")
    (path,) = engine.save_images(engine.prepare(REQUESTS[:1]), tmp_path)
    with Image.open(path) as saved:
        assert (saved.size, saved.mode) == ((64, 64), "RGB")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file")
    engine = loaded()
    with pytest.raises(StoreError, match="Cannot write images"):
        engine.save_images(engine.prepare(REQUESTS), tmp_path / "images")


@pytest.mark.gpu
@each_family
def test_on_a_gpu_images_have_the_size_asked_for(name: str) -> None:
    engine = loaded(name, device="cuda", dtype="float16")
    assert engine.run(engine.prepare(REQUESTS)).images == 3
    engine.synchronize()
    assert images(engine).device.type == "cuda"
