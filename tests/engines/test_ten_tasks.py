"""Nine tasks on tiny models: exactly the work that was asked for, and a sentence where it cannot be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # tiny models gain nothing from more, and tests run side by side

from harness.engines.architectures import presets  # noqa: E402
from harness.engines.heads import Looker, Reader  # noqa: E402
from harness.engines.transformers import TransformersEngine  # noqa: E402
from harness.engines.writing import Captioner, Writer  # noqa: E402
from harness.errors import MeasurementInvalid, ModelUnavailable, UserInputError  # noqa: E402
from harness.records import WorkCounts  # noqa: E402
from harness.specs import ModelTask, PromptSpec, RunSpec, Task  # noqa: E402
from harness.tasks.base import MASK, Request  # noqa: E402
from harness.tasks.pictures import drawn  # noqa: E402
from harness.tasks.prompts import load_requests  # noqa: E402


def spec_of(task: Task, model: dict[str, Any], **fields: Any) -> RunSpec:
    content = {"task": task, "engine": "transformers", "model": model, "dtype": "float32", "device": "cpu", **fields}
    return RunSpec.model_validate(content)


def loaded(task: Task, name: str, **fields: Any) -> TransformersEngine:
    engine = TransformersEngine(spec_of(task, {"id": name, "weights": "random"}, **fields))
    engine.load()
    return engine


def requests_of(task: Task, count: int = 4) -> tuple[Request, ...]:
    return load_requests(PromptSpec(count=count, picture_size=None), task)


def part_of(engine: TransformersEngine, kind: type[Any]) -> Any:
    assert isinstance(engine._part, kind)
    return engine._part


def saved(engine: TransformersEngine, folder: Path) -> Path:
    part: Any = engine._part
    engine._model.save_pretrained(folder)
    for name in ("tokenizer", "processor"):
        if getattr(part, name, None) is not None:
            getattr(part, name).save_pretrained(folder)
    return folder


READING: list[tuple[Task, str]] = [
    (task, name)
    for task in ("text-classification", "question-answering", "fill-mask", "token-classification")
    for name in ("tiny-bert", "tiny-distilbert", "tiny-roberta")
]


# --- readers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "name"), READING)
def test_a_reader_reads_every_token_of_its_requests_once(task: Task, name: str) -> None:
    engine = loaded(task, name)
    reader: Reader = part_of(engine, Reader)
    requests = requests_of(task)
    batch = engine.prepare(requests)
    texts = [request.text.replace(MASK, reader.tokenizer.mask_token) for request in requests]
    seconds = [request.context for request in requests] if task == "question-answering" else [None] * 4
    tokens = sum(len(reader.tokenizer(a, b)["input_ids"]) for a, b in zip(texts, seconds, strict=True))
    assert engine.run(batch) == WorkCounts(requests=4, input_tokens=tokens)
    assert int(batch.inputs["attention_mask"].sum()) == tokens


def test_padding_changes_no_answer_of_a_reader() -> None:
    engine = loaded("text-classification", "tiny-bert")
    requests = requests_of("text-classification")
    with torch.inference_mode():
        together = engine._model(**engine.prepare(requests).inputs).logits
        alone = torch.cat([engine._model(**engine.prepare((each,)).inputs).logits for each in requests])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_long_text_is_cut_to_what_the_model_reads_and_a_question_stays_whole() -> None:
    engine = loaded("question-answering", "tiny-roberta")
    reader: Reader = part_of(engine, Reader)
    batch = engine.prepare([Request(0, "Who was it?", context="word " * 3000)])
    assert tuple(batch.inputs["input_ids"].shape) == (1, 512)  # of 514 positions RoBERTa counts two for the padding
    assert reader.tokenizer.decode(batch.inputs["input_ids"][0]).startswith("<s>Who was it?</s>word")
    assert (engine.run(batch).input_tokens, batch.work.inputs_cut) == (512, 1)
    assert engine.prepare([Request(0, "Who was it?", context="word")]).work.inputs_cut == 0


def test_a_question_that_is_longer_than_the_model_reads_is_refused() -> None:
    engine = loaded("question-answering", "tiny-bert", text={"max_input_tokens": 16})
    with pytest.raises(UserInputError, match="A question is longer than the 16 tokens"):
        engine.prepare([Request(0, "why " * 60, context="because")])


def test_a_gap_behind_the_end_is_refused_by_its_number() -> None:
    engine = loaded("fill-mask", "tiny-bert", text={"max_input_tokens": 8})
    with pytest.raises(UserInputError, match="The gap of prompt 7 lies behind the first 8 tokens"):
        engine.prepare([Request(7, f"{'word ' * 40} {MASK}")])


def test_more_tokens_than_a_model_reads_are_refused() -> None:
    with pytest.raises(UserInputError, match="tiny-bert reads 512 tokens at most"):
        loaded("text-classification", "tiny-bert", text={"max_input_tokens": 1000})


# --- writers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny-t5", "tiny-bart"])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_summary_has_exactly_the_tokens_asked_for(name: str, beams: int) -> None:
    engine = loaded("summarization", name, text={"new_tokens": 7, "beams": beams})
    batch = engine.prepare(requests_of("summarization", 2))
    assert engine.run(batch).output_tokens == 14
    generation = part_of(engine, Writer).generation
    with torch.inference_mode():
        rows = engine._model.generate(**batch.inputs, generation_config=generation)
    assert tuple(rows.shape) == (2, 1 + 7)
    assert engine.template is None  # made for summaries: given the text alone, as in the study


def test_a_general_model_is_asked_by_the_task_s_template_on_the_same_inputs() -> None:
    (request,) = requests_of("question-answering", 1)
    engine = loaded("question-answering", "tiny-llama")
    writer: Writer = part_of(engine, Writer)
    asked = writer.tokenizer.decode(engine.prepare([request]).inputs["input_ids"][0])
    assert asked == (
        f'{request.text}? Find the answer to the question in the following text: "{request.context}". Answer:'
    )
    sentiment: Writer = part_of(loaded("text-classification", "tiny-t5"), Writer)
    ids = sentiment.prepare([Request(0, "I liked it.")]).inputs["input_ids"][0]
    assert sentiment.tokenizer.decode(ids) == (
        "what is the binary sentiment of the following sentence? I liked it.</s>"
    )
    assert sentiment.options.new_tokens == 1


def test_a_template_of_one_s_own_and_braces_in_a_text_stay_as_written() -> None:
    engine = loaded("text-classification", "tiny-gpt2", text={"new_tokens": 1, "template": "<<{text}>> {label}:"})
    writer: Writer = part_of(engine, Writer)
    assert writer._asked(Request(0, "a {text} {context}")) == "<<a {text} {context}>> {label}:"


def test_a_long_text_is_cut_and_what_is_asked_about_it_is_not() -> None:
    engine = loaded("question-answering", "tiny-gpt2")
    writer: Writer = part_of(engine, Writer)
    batch = engine.prepare([Request(0, "Who", context="word " * 3000)])
    prompt = writer.tokenizer.decode(batch.inputs["input_ids"][0])
    assert prompt.startswith('Who? Find the answer to the question in the following text: "word word')
    assert prompt.endswith('". Answer:')
    assert 480 <= batch.inputs["input_ids"].shape[1] <= 512 - 10


def test_a_chat_model_is_asked_in_its_own_template() -> None:
    engine = loaded("text-generation", "tiny-llama", text={"new_tokens": 2, "chat": True})
    writer: Writer = part_of(engine, Writer)
    batch = engine.prepare([Request(0, "Hello")])
    assert writer.tokenizer.decode(batch.inputs["input_ids"][0]) == "user: Hello\nassistant:"
    with pytest.raises(ModelUnavailable, match="tiny-t5 has no chat template"):
        loaded("text-generation", "tiny-t5", text={"chat": True})


def test_a_decoder_shorter_than_the_answer_is_refused() -> None:
    with pytest.raises(UserInputError, match="512 new tokens do not fit into the context of tiny-bart"):
        loaded("summarization", "tiny-bart", text={"new_tokens": 512})


def test_compiled_code_needs_one_length() -> None:
    for task, name in (("text-generation", "tiny-gpt2"), ("fill-mask", "tiny-bert")):
        with pytest.raises(UserInputError, match=r"Set text\.max_input_tokens"):
            loaded(task, name, compile="default")


# --- pictures -------------------------------------------------------------------------------------


def test_a_caption_has_exactly_the_tokens_asked_for() -> None:
    engine = loaded("image-to-text", "tiny-blip", text={"new_tokens": 6})
    batch = engine.prepare(requests_of("image-to-text", 2))
    assert engine.run(batch) == WorkCounts(requests=2, input_pixels=2 * 64 * 64, output_tokens=12)
    captioner: Captioner = part_of(engine, Captioner)
    captioner.generation.min_new_tokens = captioner.generation.max_new_tokens = 3
    with pytest.raises(MeasurementInvalid, match="the work is not what was asked"):
        engine.run(batch)


@pytest.mark.parametrize("name", ["tiny-vit", "tiny-resnet"])
def test_a_picture_is_seen_at_the_model_s_own_size(name: str) -> None:
    engine = loaded("image-classification", name)
    batch = engine.prepare(requests_of("image-classification", 3))
    assert engine.run(batch) == WorkCounts(requests=3, input_pixels=3 * 64 * 64)
    with torch.inference_mode():
        assert tuple(engine._model(**batch.inputs).logits.shape) == (3, 1000)


def test_a_detector_counts_the_pixels_of_pictures_and_not_their_padding() -> None:
    engine = loaded("object-detection", "tiny-detr")
    wide, high = Request(0, picture=drawn(0, (160, 80))), Request(1, picture=drawn(1, (80, 160)))
    batch = engine.prepare([wide, high])
    # Shortest side to 120 unless the longest then exceeds 160: 160 x 80 and 80 x 160, padded to 160 x 160.
    assert tuple(batch.inputs["pixel_values"].shape) == (2, 3, 160, 160)
    assert engine.run(batch).input_pixels == 2 * 160 * 80
    part_of(engine, Looker)


def test_a_request_without_a_picture_is_refused() -> None:
    with pytest.raises(UserInputError, match="Request 4 holds no picture"):
        loaded("image-classification", "tiny-vit").prepare([Request(4, "a text")])


# --- models from disk -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("text-classification", "tiny-bert"),
        ("question-answering", "tiny-distilbert"),
        ("summarization", "tiny-bart"),
        ("image-to-text", "tiny-blip"),
        ("object-detection", "tiny-detr"),
        ("image-classification", "tiny-vit"),
    ],
)
def test_a_saved_model_is_loaded_in_the_form_it_was_made_for(task: Task, name: str, tmp_path: Path) -> None:
    first = loaded(task, name, seed=5)
    again = TransformersEngine(spec_of(task, {"id": str(saved(first, tmp_path))}))
    again.load()
    requests = requests_of(task, 2)
    assert type(again._part) is type(first._part)
    assert again.run(again.prepare(requests)) == first.run(first.prepare(requests))
    state = again._model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in first._model.state_dict().items())


def test_a_model_of_another_task_is_refused_with_what_it_does(tmp_path: Path) -> None:
    folder = saved(loaded("fill-mask", "tiny-bert"), tmp_path)
    with pytest.raises(ModelUnavailable, match=r"cannot do text-classification: it is a BertForMaskedLM") as caught:
        TransformersEngine(spec_of("text-classification", {"id": str(folder)})).load()
    assert caught.value.hint.startswith("It does fill-mask.")
    assert "AutoModelForSequenceClassification or AutoModelForSeq2SeqLM" in caught.value.hint


def test_a_bare_encoder_lacks_the_task_s_head(tmp_path: Path) -> None:
    folder = saved(loaded("fill-mask", "tiny-bert"), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    with pytest.raises(
        ModelUnavailable, match=r"lack \d+ of the model's tensors, the first is (bert.pooler|classifier)"
    ):
        TransformersEngine(spec_of("text-classification", {"id": str(folder)})).load()


def test_a_missing_tokenizer_or_processor_is_named(tmp_path: Path) -> None:
    for task, name, part in (("fill-mask", "tiny-bert", "tokenizer"), ("image-classification", "tiny-vit", "picture")):
        folder = tmp_path / name
        saved(loaded(task, name), folder)
        for path in folder.iterdir():
            if path.name not in ("config.json", "model.safetensors"):
                path.unlink()
        with pytest.raises(ModelUnavailable, match=rf"{name} has no {part}.* that can be loaded: \w[^\n]*\S\.\n"):
            TransformersEngine(spec_of(task, {"id": str(folder)})).load()


def test_quantised_weights_need_their_package(tmp_path: Path) -> None:
    if __import__("importlib.util").util.find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is installed here")
    folder = saved(loaded("text-generation", "tiny-gpt2"), tmp_path)
    with pytest.raises(ModelUnavailable, match="needs the package 'bitsandbytes'"):
        TransformersEngine(spec_of("text-generation", {"id": str(folder)}, quantization="4bit")).load()


def test_every_preset_of_a_task_is_tiny_somewhere() -> None:
    tiny = [known for known in presets() if known.name.startswith("tiny-")]
    assert {task for known in tiny for task in known.tasks} >= set(ModelTask.__args__)


# --- what a reviewer broke ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "name", "text", "words"),
    [
        ("text-classification", "tiny-bert", {"max_input_tokens": 2}, "2 tokens leave no room for a text"),
        ("question-answering", "tiny-roberta", {"max_input_tokens": 3}, "wraps it in 3 of its own"),
        ("text-classification", "tiny-bert", {"beams": 4}, "'text.beams' does not apply to tiny-bert"),
        ("fill-mask", "tiny-bert", {"chat": True}, "'text.chat' does not apply to tiny-bert on fill-mask"),
        ("image-to-text", "tiny-blip", {"template": "x {text}"}, "'text.template' does not apply to tiny-blip"),
        ("text-generation", "tiny-gpt2", {"max_input_tokens": 503}, "takes 502 tokens at most beside 10 new ones, and"),
        ("image-to-text", "tiny-blip", {"new_tokens": 128}, "128 new tokens do not fit into the context of tiny-blip"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_when_the_model_is_known(
    task: Task, name: str, text: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserInputError, match=words):
        loaded(task, name, text=text)


def test_a_question_that_leaves_no_room_for_its_text_is_refused() -> None:
    engine = loaded("text-generation", "tiny-llama", text={"template": "x {text} y", "max_input_tokens": 2})
    with pytest.raises(UserInputError, match="What is asked of prompt 3 leaves no room for its text within 2 tokens"):
        engine.prepare([Request(3, "word")])


def test_a_long_chat_turn_keeps_its_end() -> None:
    engine = loaded("text-generation", "tiny-llama", text={"chat": True, "max_input_tokens": 40})
    writer: Writer = part_of(engine, Writer)
    prompt = writer.tokenizer.decode(engine.prepare([Request(0, "word " * 300)]).inputs["input_ids"][0])
    assert prompt.startswith("user: word")
    assert prompt.endswith("\nassistant:")


def test_roberta_s_positions_are_counted_where_its_tokenizer_does_not_say(tmp_path: Path) -> None:
    folder = saved(loaded("text-classification", "tiny-roberta"), tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    engine = TransformersEngine(spec_of("text-classification", {"id": str(folder)}))
    engine.load()
    assert engine.run(engine.prepare([Request(0, "word " * 3000)])).input_tokens == 512


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path: Path) -> None:
    engine = loaded("text-generation", "tiny-llama")
    part_of(engine, Writer).tokenizer.add_tokens(["one-more"])
    folder = saved(engine, tmp_path)
    with pytest.raises(ModelUnavailable, match="has 1025 tokens, the model 1024"):
        TransformersEngine(spec_of("text-generation", {"id": str(folder)})).load()


def test_a_picture_that_the_model_cannot_take_is_told_with_its_size() -> None:
    engine = loaded("object-detection", "tiny-detr")
    with pytest.raises(UserInputError, match="cannot take a picture of this batch"):
        engine.prepare([Request(0, picture=drawn(0, (3000, 8)))])
