"""Presets: what they are, that they have the size they claim, and that their weights are sound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.engines.architectures import build_text_model, preset, presets
from harness.engines.preset import Preset
from harness.errors import UserInputError
from harness.tasks.builtin import text_prompts

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # tiny models gain nothing from more, and tests run side by side

TINY_TEXT = [known for known in presets() if known.task == "text-generation" and known.name.startswith("tiny-")]

each_tiny_text = pytest.mark.parametrize("chosen", TINY_TEXT, ids=lambda known: known.name)


def modules(chosen: Preset, *, seed: int = 0, dtype: str = "float32") -> list[Any]:
    return [build_text_model(chosen, dtype=dtype, device="cpu", attention="default", seed=seed)[0]]


def count(parts: list[Any]) -> int:
    return sum(weight.numel() for part in parts for weight in part.parameters())


# --- the table ------------------------------------------------------------------------------------


def test_presets_are_listed_without_torch() -> None:
    code = (
        "import sys; from harness.engines.architectures import presets; print(len(presets()));"
        "print([name for name in ('torch', 'transformers', 'diffusers', 'tokenizers') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[:2] == [str(len(presets())), "[]"]


def test_every_required_family_is_there() -> None:
    assert {known.name for known in TINY_TEXT} >= {"tiny-gpt2", "tiny-llama", "tiny-opt", "tiny-gpt-neo", "tiny-bloom"}
    assert len({known.name for known in presets()}) == len(presets())


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserInputError, match="no architecture preset 'tiny-lama'") as caught:
        preset("tiny-lama", "text-generation")
    assert "tiny-llama" in caught.value.hint
    with pytest.raises(UserInputError) as caught:
        preset("zzzz", "text-to-image")
    assert caught.value.hint.startswith("For text-to-image there are tiny-sd, tiny-sdxl, tiny-sd3, ")


def test_a_preset_of_another_task_is_refused() -> None:
    with pytest.raises(UserInputError, match="'tiny-gpt2' is for text-generation, not for text-to-image"):
        preset("tiny-gpt2", "text-to-image")


@each_tiny_text
def test_a_tiny_preset_has_the_parameters_it_claims(chosen: Preset) -> None:
    assert count(modules(chosen)) == chosen.parameter_count
    assert 300_000 <= chosen.parameter_count <= 3_000_000


# --- the weights ----------------------------------------------------------------------------------


@each_tiny_text
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_vary_and_buffers_are_finite(chosen: Preset, dtype: str) -> None:
    for part in modules(chosen, dtype=dtype):
        assert not part.training
        for name, weight in part.named_parameters():
            assert weight.dtype == getattr(torch, dtype), name
            assert weight.isfinite().all(), name
            # One-dimensional weights (biases, norms) begin as zeros and ones in training too.
            assert weight.ndim < 2 or weight.float().std() > 1e-4, f"{name} is constant"
        for name, buffer in part.named_buffers():
            assert buffer.isfinite().all(), name


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rotary_frequencies_are_exact_in_every_dtype(dtype: str) -> None:
    (model,) = modules(preset("tiny-llama", "text-generation"), dtype=dtype)
    # Heads of 32 dimensions: 16 frequencies, 10000 ** (-2 i / 32).
    expected = torch.tensor([10000.0 ** (-i / 16) for i in range(16)])
    torch.testing.assert_close(model.model.rotary_emb.inv_freq, expected)


@each_tiny_text
def test_equal_seeds_give_equal_logits_and_others_do_not(chosen: Preset) -> None:
    ids = torch.arange(2, 34).reshape(2, 16)
    first, again, other = (modules(chosen, seed=seed)[0](input_ids=ids).logits for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_building_leaves_the_random_numbers_of_the_process_alone() -> None:
    torch.manual_seed(11)
    expected = torch.rand(4)
    torch.manual_seed(11)
    modules(preset("tiny-gpt2", "text-generation"), seed=5)
    assert torch.equal(torch.rand(4), expected)


# --- the tokenizers -------------------------------------------------------------------------------


def test_the_text_tokenizer_is_the_same_each_time_and_loses_nothing() -> None:
    chosen = preset("tiny-gpt2", "text-generation")
    first, again = (
        build_text_model(chosen, dtype="float32", device="cpu", attention="default", seed=0)[1] for _ in range(2)
    )
    assert first.get_vocab() == again.get_vocab()
    assert len(first) == 1024
    for prompt in (*text_prompts()[:50], "Kõpu, 灯台, and a 🐢"):
        assert first.decode(first(prompt)["input_ids"]) == prompt
