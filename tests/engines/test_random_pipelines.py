"""Image pipelines with random weights: drawn in the run's format, with sound buffers, and the same each time."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
torch.set_num_threads(1)  # tiny models gain nothing from more, and tests run side by side

from tiny_pipelines import FAMILIES, tiny_pipeline  # noqa: E402

from harness.engines.architectures import preset  # noqa: E402
from harness.engines.random_pipelines import (  # noqa: E402
    build_image_pipeline,
    build_module,
    keep_in_float32,
    redraw_constant_weights,
)
from harness.tasks.builtin import image_prompts  # noqa: E402

each_family = pytest.mark.parametrize("name", FAMILIES)


def networks(name: str, **fields: Any) -> dict[str, Any]:
    parts = tiny_pipeline(name, **fields).components
    return {role: part for role, part in parts.items() if isinstance(part, torch.nn.Module)}


@each_family
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_are_of_the_format_finite_and_vary(name: str, dtype: str) -> None:
    for role, network in networks(name, dtype=dtype).items():
        assert not network.training
        for weight_name, weight in network.named_parameters():
            assert weight.dtype == getattr(torch, dtype), (role, weight_name)
            assert weight.isfinite().all(), (role, weight_name)
            # One-dimensional weights (biases, norms) begin as zeros and ones in training too.
            assert weight.ndim < 2 or weight.float().std() > 1e-3, f"{role} {weight_name} is constant"


@each_family
def test_buffers_are_those_of_the_ordinary_constructor_in_float32(name: str) -> None:
    parts = preset(name, "text-to-image").parts
    for role, network in networks(name, dtype="bfloat16").items():
        expected = dict(build_module(parts[role]).named_buffers())
        assert {buffer_name for buffer_name, _ in network.named_buffers()} == set(expected)
        for buffer_name, buffer in network.named_buffers():
            assert torch.equal(buffer, expected[buffer_name]), (role, buffer_name)
            assert buffer.isfinite().all()
    # What a tensor outside parameters and buffers would hide.
    assert not [
        (role, attribute)
        for role, network in networks(name).items()
        for module in network.modules()
        for attribute, value in vars(module).items()
        if torch.is_tensor(value)
    ]


def test_position_embeddings_keep_float32() -> None:
    # PixArt's first patch is at (0, 0): half sines of 0, half cosines of 0, in two blocks of 32.
    (embedding,) = (buffer for _, buffer in tiny_pipeline("tiny-pixart", dtype="bfloat16").transformer.named_buffers())
    assert embedding.dtype == torch.float32
    assert embedding[0, 0].tolist() == [0.0] * 16 + [1.0] * 16 + [0.0] * 16 + [1.0] * 16


@each_family
def test_equal_seeds_give_equal_weights_and_others_do_not(name: str) -> None:
    def flat(built: Any) -> Any:
        parts = [part for part in built.components.values() if isinstance(part, torch.nn.Module)]
        return torch.cat([weight.flatten() for part in parts for weight in part.parameters()])

    chosen = preset(name, "text-to-image")
    first = flat(tiny_pipeline(name))
    assert torch.equal(flat(build_image_pipeline(chosen, dtype="float32", device="cpu", seed=3)), first)
    other = flat(build_image_pipeline(chosen, dtype="float32", device="cpu", seed=4))
    assert (other != first).float().mean() > 0.9  # norms begin at 1 and biases of text encoders at 0 with any seed


def test_building_leaves_the_process_as_it_was() -> None:
    torch.manual_seed(11)
    expected = torch.rand(4)
    torch.manual_seed(11)
    build_image_pipeline(preset("tiny-pixart", "text-to-image"), dtype="bfloat16", device="cpu", seed=5)
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_default_dtype() == torch.float32


def test_schedules_are_exact_whatever_the_format() -> None:
    for name in ("tiny-sd", "tiny-sdxl", "tiny-pixart"):
        exact, short = (tiny_pipeline(name, dtype=dtype).scheduler.alphas_cumprod for dtype in ("float32", "bfloat16"))
        assert short.dtype == torch.float32
        assert torch.equal(short, exact)


def test_t5_keeps_its_overflowing_layers_in_float32_when_loaded_in_float16() -> None:
    # As transformers' from_pretrained() does; bfloat16 has the range.
    t5 = networks("tiny-pixart", dtype="float16")["text_encoder"]
    kept = {name for name, weight in t5.named_parameters() if weight.dtype == torch.float32}
    assert kept == {f"encoder.block.{layer}.layer.1.DenseReluDense.wo.weight" for layer in (0, 1)}
    keep_in_float32(torch.nn.Linear(2, 2), torch.float16)  # has nothing to keep


def test_matrices_of_zeros_are_drawn_anew_and_nothing_else_is() -> None:
    torch.manual_seed(0)
    block = torch.nn.ModuleDict({"gate": torch.nn.Linear(400, 300), "other": torch.nn.Linear(400, 300)})
    torch.nn.init.zeros_(block["gate"].weight)
    torch.nn.init.zeros_(block["gate"].bias)
    before = block["other"].weight.clone()
    assert redraw_constant_weights(block) == ("gate.weight",)
    # 400 inputs: sqrt(1 / 1200) = 0.0289, which is also what torch gives the other layer.
    assert float(block["gate"].weight.detach().std()) == pytest.approx(0.0289, rel=0.02)
    assert float(before.detach().std()) == pytest.approx(0.0289, rel=0.02)
    assert not block["gate"].bias.any()
    assert torch.equal(block["other"].weight, before)


def test_tokenizers_wrap_prompts_as_their_text_encoders_expect() -> None:
    flux = tiny_pipeline("tiny-flux")
    clip_ids = flux.tokenizer(image_prompts()[0], padding="max_length", max_length=77)["input_ids"]
    t5_ids = flux.tokenizer_2(image_prompts()[0])["input_ids"]
    assert (clip_ids[0], clip_ids[-1], len(clip_ids)) == (0, 1, 77)
    assert flux.text_encoder.config.eos_token_id == flux.tokenizer.eos_token_id == 1
    assert t5_ids[-1] == flux.tokenizer_2.eos_token_id == flux.text_encoder_2.config.eos_token_id == 1
    assert flux.tokenizer_2.pad_token_id == flux.text_encoder_2.config.pad_token_id == 0
    limits = {name: tiny_pipeline(name).tokenizer.model_max_length for name in ("tiny-pixart", "tiny-pixart-sigma")}
    assert limits == {"tiny-pixart": 120, "tiny-pixart-sigma": 300}
