"""Text generation: exactly the tokens asked for, from presets and from folders; and what is said when it cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # tiny models gain nothing from more, and tests run side by side

from harness.engines.architectures import presets  # noqa: E402
from harness.engines.transformers import TransformersEngine  # noqa: E402
from harness.engines.writing import Writer  # noqa: E402
from harness.errors import MeasurementInvalid, ModelUnavailable, UserInputError  # noqa: E402
from harness.records import WorkCounts  # noqa: E402
from harness.run.combinations import check_combination  # noqa: E402
from harness.run.doubts import of_weights  # noqa: E402
from harness.specs import RunSpec  # noqa: E402
from harness.tasks.base import Request  # noqa: E402
from harness.tasks.builtin import text_prompts  # noqa: E402

TINY = [known.name for known in presets() if known.task == "text-generation" and known.name.startswith("tiny-")]
REQUESTS = tuple(Request(index, text) for index, text in enumerate(text_prompts()[:8]))

each_family = pytest.mark.parametrize("name", TINY)


def spec_of(model: dict[str, Any], **fields: Any) -> RunSpec:
    content = {
        "task": "text-generation",
        "engine": "transformers",
        "model": model,
        "text": {"new_tokens": 10},
        "batch_size": 8,
        "dtype": "float32",
        "device": "cpu",
        **fields,
    }
    return RunSpec.model_validate(content)


def loaded(name: str = "tiny-gpt2", **fields: Any) -> TransformersEngine:
    engine = TransformersEngine(spec_of({"id": name, "weights": "random"}, **fields))
    engine.load()
    return engine


def pretrained(folder: Path, **fields: Any) -> TransformersEngine:
    engine = TransformersEngine(spec_of({"id": str(folder), **fields}))
    engine.load()
    return engine


def refusal(model: dict[str, Any], **fields: Any) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as caught:
        TransformersEngine(spec_of(model, **fields)).load()
    assert caught.value.hint
    return caught.value


def writer(engine: TransformersEngine) -> Writer:
    assert isinstance(engine._part, Writer)
    return engine._part


def new_tokens(engine: TransformersEngine, requests: tuple[Request, ...]) -> list[list[int]]:
    prepared = engine.prepare(requests)
    output = engine._model.generate(**prepared.inputs, generation_config=writer(engine).generation)
    rows: list[list[int]] = output[:, prepared.inputs["input_ids"].shape[1] :].tolist()
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny GPT-2 as save_pretrained() lays it out."""
    engine = loaded(seed=7)
    engine._model.save_pretrained(tmp_path)
    writer(engine).tokenizer.save_pretrained(tmp_path)
    return tmp_path


# --- generation -----------------------------------------------------------------------------------


@each_family
def test_every_request_yields_exactly_the_tokens_asked_for(name: str) -> None:
    engine = loaded(name)
    prepared = engine.prepare(REQUESTS)
    tokens_of = writer(engine).tokenizer
    input_tokens = sum(len(tokens_of(request.text)["input_ids"]) for request in REQUESTS)
    assert engine.run(prepared) == WorkCounts(requests=8, input_tokens=input_tokens, output_tokens=80)
    engine.synchronize()
    assert [len(row) for row in new_tokens(engine, REQUESTS)] == [10] * 8


@each_family
def test_left_padding_changes_no_answer(name: str) -> None:
    engine = loaded(name)
    together = new_tokens(engine, REQUESTS[:4])
    alone = [new_tokens(engine, (request,))[0] for request in REQUESTS[:4]]
    assert [row[0] for row in together] == [row[0] for row in alone]


def test_an_end_token_does_not_shorten_the_answer() -> None:
    engine = loaded()
    first = new_tokens(engine, REQUESTS[:1])[0][0]
    writer(engine).generation.eos_token_id = first
    row = new_tokens(engine, REQUESTS[:1])[0]
    assert len(row) == 10
    assert first not in row


def test_another_number_of_tokens_is_no_measurement() -> None:
    engine = loaded()
    writer(engine).generation.min_new_tokens = writer(engine).generation.max_new_tokens = 3
    with pytest.raises(MeasurementInvalid, match="the work is not what was asked"):
        engine.run(engine.prepare(REQUESTS))


def test_equal_seeds_answer_equally_and_others_do_not() -> None:
    answers = [new_tokens(loaded(seed=seed), REQUESTS) for seed in (1, 1, 2)]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]


def test_weights_of_zeros_are_all_zero_do_the_same_work_and_are_marked() -> None:
    spec = spec_of({"id": "tiny-llama", "weights": "zeros"}, dtype="float16")
    engine = TransformersEngine(spec)
    engine.load()
    assert not any(weight.any() for weight in engine._model.parameters())
    assert engine.run(engine.prepare(REQUESTS)).output_tokens == 80
    assert [caveat.code for caveat in of_weights(spec)] == ["constant-weights"]
    assert of_weights(spec_of({"id": "tiny-llama", "weights": "random"})) == []
    with pytest.raises(UserInputError, match="sets weights to zero"):
        check_combination(RunSpec.model_validate(spec.model_dump() | {"task": "text-to-image", "engine": "diffusers"}))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_number_format_is_that_of_the_run(dtype: str) -> None:
    engine = loaded("tiny-llama", dtype=dtype)
    assert engine._model.dtype == getattr(torch, dtype)
    assert engine.run(engine.prepare(REQUESTS)).output_tokens == 80


def test_parameters_are_counted_after_load_tied_ones_once() -> None:
    engine = TransformersEngine(spec_of({"id": "tiny-gpt2", "weights": "random"}))
    assert engine.parameter_count is None
    engine.load()
    assert engine.parameter_count == 989_952
    engine.close()
    assert engine._model is None


# --- lengths --------------------------------------------------------------------------------------


def test_prompts_are_cut_to_max_input_tokens() -> None:
    engine = loaded(text={"new_tokens": 2, "max_input_tokens": 5})
    prepared = engine.prepare(REQUESTS)
    assert tuple(prepared.inputs["input_ids"].shape) == (8, 5)
    work = engine.run(prepared)
    assert (work.input_tokens, work.inputs_cut) == (40, 0)  # as asked for: nothing to tell


def test_prompts_are_cut_to_what_the_context_leaves_beside_the_new_tokens() -> None:
    engine = loaded(text={"new_tokens": 12})
    requests = [Request(0, "word " * 3000), Request(1, "short")]
    part = writer(engine)
    work = engine.run(engine.prepare(requests))
    assert work.input_tokens == (512 - 12) + len(part.tokenizer("short")["input_ids"])
    assert work.inputs_cut == 1
    part.options = part.options.model_copy(update={"template": "Go on: {text}"})
    assert part.prepare(requests).work.inputs_cut == 1
    full = part.tokenizer.decode(part.tokenizer("word " * 3000)["input_ids"][:500])
    assert (part._length(full), part.prepare([Request(0, full)]).work.inputs_cut) == (500, 1)  # with what is asked
    part.options = part.options.model_copy(update={"template": None})
    assert part.prepare([Request(0, full)]).work.inputs_cut == 0


def test_new_tokens_that_exceed_the_context_are_refused() -> None:
    with pytest.raises(UserInputError, match="512 new tokens do not fit into the context of tiny-gpt2"):
        loaded(text={"new_tokens": 512})


@pytest.mark.parametrize("texts", [("",), ("a prompt", "")])
def test_a_prompt_without_a_token_is_refused(texts: tuple[str, ...]) -> None:
    requests = [Request(index + 30, text) for index, text in enumerate(texts)]
    with pytest.raises(UserInputError, match=f"Prompt {29 + len(texts)} has no token for this model"):
        loaded().prepare(requests)


# --- models from disk -----------------------------------------------------------------------------


def test_a_saved_model_answers_as_before(folder: Path) -> None:
    assert new_tokens(pretrained(folder), REQUESTS) == new_tokens(loaded(seed=7), REQUESTS)


def test_the_model_s_own_sampling_and_penalties_are_not_used(folder: Path) -> None:
    before = new_tokens(pretrained(folder), REQUESTS)
    settings = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 9.0, "max_length": 3, "eos_token_id": 0}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    assert new_tokens(pretrained(folder), REQUESTS) == before


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert refusal({"id": str(folder)}).message == f"Model folder {folder} has no weights (*.safetensors)."


def test_pickled_weights_are_refused_unless_allowed(folder: Path) -> None:
    state = loaded(seed=7)._model.state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    error = refusal({"id": str(folder)})
    assert "only pickled weights (pytorch_model.bin)" in error.message
    assert "allow_pickle: true" in error.hint
    assert new_tokens(pretrained(folder, allow_pickle=True), REQUESTS) == new_tokens(loaded(seed=7), REQUESTS)


def test_weights_that_lack_tensors_are_refused_not_filled_with_noise(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layer": 5}))
    message = refusal({"id": str(folder)}).message
    assert "lack 12 of the model's tensors, the first is transformer.h.4." in message


def test_broken_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not safetensors" * 100)
    assert "cannot be loaded: " in refusal({"id": str(folder)}).message


def test_a_folder_without_config_or_no_folder_at_all_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert refusal({"id": str(folder)}).message == f"Model folder {folder} has no config.json."
    assert refusal({"id": "./no/such/folder"}).message == "There is no model folder ./no/such/folder."


def test_a_revision_of_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(UserInputError, match="has no revisions"):
        pretrained(folder, revision="main")


def test_an_attention_that_the_model_lacks_is_refused_with_a_way_out() -> None:
    error = refusal({"id": "tiny-bloom", "weights": "random"}, attention="sdpa")
    assert error.hint == "Leave 'attention' out: not every model and machine has sdpa."


def test_offline_a_hub_id_says_how_to_bring_the_model_and_stdout_stays_clean(tmp_path: Path) -> None:
    code = f"""
from harness.engines.transformers import TransformersEngine
from harness.errors import ModelUnavailable
from harness.specs import RunSpec  # noqa: E402
from harness.tasks.base import Request

def spec(model):
    return RunSpec.model_validate({spec_of({"id": "tiny-gpt2"}).model_dump(mode="json")!r} | {{"model": model}})

engine = TransformersEngine(spec({{"id": "tiny-gpt2", "weights": "random"}}))
engine.load()
engine.run(engine.prepare([Request(0, "hello")]))
try:
    TransformersEngine(spec({{"id": "openai-community/gpt2"}})).load()
except ModelUnavailable as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        "Model openai-community/gpt2 is not on this machine and cannot be fetched: HF_HUB_OFFLINE is set.\n"
        "On a machine with network: hf download openai-community/gpt2 --local-dir FOLDER; then copy the folder here "
        "and give its path as the model's id.\n"
    )


# --- devices --------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_cuda_names_the_cpu_and_the_wheel() -> None:
    with pytest.raises(UserInputError, match="asks for device cuda, but PyTorch") as caught:
        loaded(device="cuda")
    assert "device: cpu" in caught.value.hint
    assert "CUDA wheel" in caught.value.hint


@pytest.mark.gpu
@each_family
def test_on_a_gpu_every_request_yields_exactly_the_tokens_asked_for(name: str) -> None:
    engine = loaded(name, device="cuda", dtype="float16")
    assert engine.run(engine.prepare(REQUESTS)).output_tokens == 80
    engine.synchronize()
