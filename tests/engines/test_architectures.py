"""Presets: what they are, that they have the size they claim, and that their weights are sound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.engines.architectures import preset, presets
from harness.engines.forms import AUTO_CLASSES
from harness.engines.preset import Preset
from harness.engines.random_models import build_model
from harness.errors import UserInputError
from harness.tasks.builtin import text_prompts

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # tiny models gain nothing from more, and tests run side by side

TINY = [known for known in presets() if known.name.startswith("tiny-") and known.forms]
TINY_TEXT = [known for known in TINY if known.task == "text-generation"]

each_tiny_text = pytest.mark.parametrize("chosen", TINY_TEXT, ids=lambda known: known.name)
each_tiny = pytest.mark.parametrize("chosen", TINY, ids=lambda known: known.name)


def modules(chosen: Preset, *, seed: int = 0, dtype: str = "float32") -> list[Any]:
    return [built(chosen, dtype=dtype, seed=seed)[0]]


def built(chosen: Preset, *, seed: int = 0, dtype: str = "float32") -> tuple[Any, Any, Any]:
    form = chosen.form_for(chosen.task)
    return build_model(chosen, form, dtype=dtype, device="cpu", attention="default", seed=seed)


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
    assert caught.value.hint.startswith("For text-to-image there are tiny-sd, tiny-sdxl, ")


def test_a_preset_of_another_task_is_refused() -> None:
    with pytest.raises(UserInputError, match="'tiny-gpt2' is for text-classification, question-answering"):
        preset("tiny-gpt2", "text-to-image")


@each_tiny
def test_a_tiny_preset_has_the_parameters_it_claims(chosen: Preset) -> None:
    assert count(modules(chosen)) == chosen.parameter_count
    assert 290_000 <= chosen.parameter_count <= 3_000_000


# --- the weights ----------------------------------------------------------------------------------


@each_tiny
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
    first, again = (built(chosen)[1] for _ in range(2))
    assert first.get_vocab() == again.get_vocab()
    assert len(first) == 1024
    for prompt in (*text_prompts()[:50], "Kõpu, 灯台, and a 🐢"):
        assert first.decode(first(prompt)["input_ids"]) == prompt


# --- sizes of public models -----------------------------------------------------------------------

PUBLIC = [known for known in presets() if known.forms and not known.name.startswith("tiny-")]


@pytest.mark.parametrize("chosen", PUBLIC, ids=lambda known: known.name)
def test_a_public_shape_has_the_published_number_of_parameters(chosen: Preset) -> None:
    import transformers

    (config_class, options), *_ = chosen.parts.items()
    config = getattr(transformers, config_class)(**options)
    with torch.device("meta"):  # shapes alone: nothing is allocated
        model = getattr(transformers, AUTO_CLASSES[chosen.form_for(chosen.task)]).from_config(config)
    found = model.num_parameters()
    if options.get("tie_word_embeddings") is False and chosen.family == "T5":
        found += options["vocab_size"] * options["d_model"]  # build_model unties what the library ties
    assert found == pytest.approx(chosen.parameter_count, rel=0.01)


@pytest.mark.parametrize("chosen", TINY, ids=lambda known: known.name)
def test_no_buffer_is_left_uninitialised(chosen: Preset) -> None:
    """The ordinary constructor makes its own buffers; given the same weights it has to answer alike."""
    model, *_ = built(chosen)
    ordinary = type(model)(model.config).eval()
    if model.get_output_embeddings() is not None and chosen.parts.get("T5Config"):
        ordinary.get_output_embeddings().weight = torch.nn.Parameter(model.get_output_embeddings().weight.clone())
    ordinary.load_state_dict(model.state_dict())
    buffers = dict(ordinary.named_buffers())
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, buffers[name], msg=name)
    inputs = sample_inputs(chosen)
    with torch.inference_mode():
        found, expected = model(**inputs).logits, ordinary(**inputs).logits
    assert found.isfinite().all()
    torch.testing.assert_close(found, expected)


def sample_inputs(chosen: Preset) -> dict[str, Any]:
    ids = torch.arange(10, 26).reshape(2, 8)
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    if chosen.task == "image-to-text":
        return {"pixel_values": pixels, "input_ids": ids}
    if chosen.task in ("image-classification", "object-detection"):
        return {"pixel_values": pixels}
    return {"input_ids": ids} | ({"decoder_input_ids": ids} if chosen.forms == ("seq2seq",) else {})


def test_an_untied_last_layer_is_a_matrix_of_its_own() -> None:
    model, *_ = built(preset("tiny-t5", "summarization"))
    words, last = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert words.shape == last.shape
    assert not torch.equal(words, last)
    assert last.std().item() == pytest.approx(words.std().item(), rel=0.05)


def test_the_tokenizers_of_readers_wrap_texts_as_their_families_do() -> None:
    for name, one, two in (
        ("tiny-bert", "[CLS]a[SEP]", "[CLS]a[SEP]b[SEP]"),
        ("tiny-roberta", "<s>a</s>", "<s>a</s>b</s>"),
        ("tiny-t5", "a</s>", "a</s>b</s>"),
        ("tiny-bart", "<s>a</s>", "<s>a</s>b</s>"),
    ):
        _, tokenizer, _ = built(preset(name, "question-answering"))
        assert tokenizer.decode(tokenizer("a")["input_ids"]) == one
        assert tokenizer.decode(tokenizer("a", "b")["input_ids"]) == two
        assert tokenizer.pad_token_id == {"tiny-bert": 0, "tiny-roberta": 1, "tiny-t5": 0, "tiny-bart": 1}[name]
    assert built(preset("tiny-bert", "fill-mask"))[1]("a", "b")["token_type_ids"] == [0, 0, 0, 1, 1]
    assert "token_type_ids" not in built(preset("tiny-roberta", "fill-mask"))[1]("a", "b")
