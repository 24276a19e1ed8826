"""YAML -> RunSpecs: sweeps, short forms, defaults, and what makes a run another run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.presets_images import image_presets
from harness.errors import UserInputError
from harness.run.config import load_plan

ROOT = Path(__file__).parent.parent.parent


def plan(folder: Path, text: str):  # type: ignore[no-untyped-def]
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return load_plan(path)


def test_lists_of_models_and_batches_make_one_run_each_in_order(tmp_path: Path) -> None:
    found = plan(
        tmp_path,
        "runs:\n  - {task: text-generation, model: [gpt2, {id: b, revision: abc}], batch_size: [1, 8]}\n",
    )
    assert found.campaign == "c"
    assert [(s.model.id, s.model.revision, s.batch_size) for s in found.specs] == [
        ("gpt2", None, 1),
        ("gpt2", None, 8),
        ("b", "abc", 1),
        ("b", "abc", 8),
    ]
    assert {(s.engine, s.dtype, s.device, s.text.new_tokens) for s in found.specs} == {
        ("transformers", "float16", "cuda", 10)
    }
    assert len({s.run_id for s in found.specs}) == 4


def test_nested_options_sweep_and_merge_over_the_defaults(tmp_path: Path) -> None:
    found = plan(
        tmp_path,
        """
defaults: {task: text-to-image, sources: simulated, image: {steps: 20, height: 64}, text: {new_tokens: 3},
           measure: {window_s: 3}}
runs:
  - {model: m, image: {steps: [4, 8]}, measure: {max_repeats: 9}}
""",
    )
    assert [(s.image.steps, s.image.height) for s in found.specs] == [(4, 64), (8, 64)]
    assert all(s.text is None and s.measure.window_s == 3 and s.measure.max_repeats == 9 for s in found.specs)
    assert all((s.device, s.dtype, s.engine) == ("cpu", "float32", "diffusers") for s in found.specs)
    assert all(s.sources.node is not None and s.sources.node.gpu == "A100-SXM4-80GB" for s in found.specs)


def test_the_same_run_given_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    line = "  - {task: text-generation, model: m}\n"
    for second in (line, line.replace("m}", "m, timeout_s: 9}")):
        with pytest.raises(UserInputError, match=r"c\.yaml:3: m batch 1 is in the config twice \(m-b1-.*at line 2\)"):
            plan(tmp_path, "runs:\n" + line + second)


def test_what_a_config_says_of_the_whole_campaign(tmp_path: Path) -> None:
    runs = "runs: [{task: text-generation, model: m}]\n"
    options = plan(tmp_path, "order: as-written\nretry: {halve_batch: true, driver: 3}\n" + runs).options
    assert (options.order, options.retry.halve_batch, options.retry.driver) == ("as-written", True, 3)
    assert plan(tmp_path, runs).options.order == "interleaved"
    with pytest.raises(UserInputError, match=r"c\.yaml:1: unknown key 'halve_batches'") as caught:
        plan(tmp_path, "retry: {halve_batches: true}\n" + runs)
    assert "halve_batch" in caught.value.hint
    with pytest.raises(UserInputError, match=r"c\.yaml:1: order: input should be 'interleaved' or 'as-written'"):
        plan(tmp_path, "order: shuffled\n" + runs)


def test_an_edited_prompt_file_is_another_run_and_a_moved_one_is_not(tmp_path: Path) -> None:
    text = "runs: [{task: text-generation, model: m, prompts: p.txt}]\n"
    (tmp_path / "p.txt").write_text("one\n")
    first = plan(tmp_path, text).specs[0]
    assert first.prompts.path == str(tmp_path / "p.txt")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "p.txt").write_text("one\n")
    assert plan(elsewhere, text).specs[0].run_id == first.run_id
    (tmp_path / "p.txt").write_text("two\n")
    assert plan(tmp_path, text).specs[0].run_id != first.run_id


def test_an_error_in_the_defaults_names_the_line_of_the_defaults(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"c\.yaml:2: unknown key 'batchsize'") as caught:
        plan(tmp_path, "defaults:\n  batchsize: 3\nruns:\n  - {task: text-generation, model: m}\n")
    assert "batch_size" in caught.value.hint


def test_an_error_in_a_swept_value_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"c\.yaml:4: batch_size: .*got 0"):
        plan(tmp_path, "runs:\n  - task: text-generation\n    model: m\n    batch_size: [1, 0]\n")


def test_a_virtual_clock_refuses_a_real_engine_and_a_cross_check(tmp_path: Path) -> None:
    head = "runs: [{task: text-generation, model: m, sources: {kind: simulated, node: {clock: virtual}}"
    with pytest.raises(UserInputError, match="does not wait for a real engine"):
        plan(tmp_path, head + "}]\n")
    with pytest.raises(UserInputError, match="cannot be cross-checked"):
        plan(tmp_path, head + ", engine: simulated, measure: {cross_check: [codecarbon]}}]\n")


def test_a_misspelt_key_is_told_before_the_one_that_is_missing_for_it(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="unknown key 'modle'") as caught:
        plan(tmp_path, "runs: [{task: text-generation, modle: gpt2}]\n")
    assert caught.value.hint == "Did you mean 'model'?"


@pytest.mark.parametrize("name", ["quickstart", "image-families", "text-generation", "text-to-image"])
def test_the_shipped_configs_are_valid(name: str) -> None:
    found = load_plan(ROOT / "configs" / f"{name}.yaml")
    assert found.campaign == name
    counts = {"quickstart": 8, "image-families": 5, "text-generation": 16, "text-to-image": 15}
    assert len(found.specs) == counts[name]


def test_the_shapes_that_are_commented_out_are_those_there_are(tmp_path: Path) -> None:
    shipped = (ROOT / "configs" / "text-to-image.yaml").read_text(encoding="utf-8")
    active, commented = shipped.split("  # The same shapes without a download")
    lines = [line.replace("  # ", "  ", 1) for line in commented.splitlines() if re.match("  # (- | +)", line)]
    found = plan(tmp_path, active + "\n".join(lines) + "\n").specs
    shapes = {known.name for known in image_presets() if not known.name.startswith("tiny-")}
    assert {spec.model.id for spec in found if spec.model.weights == "random"} == shapes


# A self-referencing alias, a tag that would run code, odd keys: whatever comes, a UserInputError or a plan.
@pytest.mark.parametrize(
    "text",
    ["&a [*a]", "!!python/object/apply:os.system ['true']", "runs: [{1: 2}]", "? [a, b]\n: c", "runs: {a: b}", "\x00",
     "campaign: ../x\nruns: []", "campaign: 2024-01-01\nruns: [{}]", "defaults: 3\nruns: [{}]", "runs: [{model: {}}]",
     "- a", "3", "", "runs: [{task: [text-generation], model: m}]",
     "runs: [{text: 3, task: text-generation, model: m}]"],
)  # fmt: skip
def test_odd_configs_are_user_errors(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"c\.yaml"):
        plan(tmp_path, text)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
keys = st.sampled_from(["task", "model", "batch_size", "text", "sources", "node", "gpus", "measure", "prompts", "x"])
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


@given(run=st.dictionaries(keys, trees, max_size=6), defaults=trees)
def test_whatever_is_in_a_config_it_is_a_plan_or_a_user_error(
    run: object, defaults: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import yaml

    folder, message = tmp_path_factory.mktemp("fuzz"), ""
    try:
        found = plan(folder, yaml.safe_dump({"defaults": defaults, "runs": [run]}, allow_unicode=True))
    except UserInputError as error:
        found, message = None, error.message
    assert found.specs if found else "c.yaml" in message


def test_a_list_of_prompts_makes_one_run_each(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\n")
    found = plan(
        tmp_path,
        "runs:\n  - {task: text-generation, model: m, prompts: [builtin, p.txt, {kind: hub, dataset: d}]}\n",
    )
    assert [(s.prompts.kind, s.prompts.sha256 is not None, s.prompts.dataset) for s in found.specs] == [
        ("builtin", False, None),
        ("file", True, None),
        ("hub", False, "d"),
    ]


def test_a_study_s_accounting_is_no_part_of_a_run_s_identity(tmp_path: Path) -> None:
    line = "runs: [{task: text-generation, model: m%s}]\n"
    plain, counted = (plan(tmp_path, line % more).specs[0] for more in ("", ", accounting: study-2023"))
    assert counted.accounting == "study-2023"
    assert counted.run_id == plain.run_id


def test_what_came_later_did_not_rename_earlier_runs(tmp_path: Path) -> None:
    # as of the commit before replays, other boards and eight more tasks
    text = "runs: [{task: text-generation, model: m, sources: {kind: simulated, node: {clock: virtual}}, %s}]\n"
    assert plan(tmp_path, text % "engine: simulated").specs[0].run_id == "m-b1-646521d6969c"


def test_a_board_cannot_idle_above_its_limit(tmp_path: Path) -> None:
    node = "node: {idle_w: 400}"
    line = f"runs: [{{task: text-generation, model: m, engine: simulated, sources: {{kind: simulated, {node}}}}}]\n"
    with pytest.raises(UserInputError, match="cannot idle at 400 W: its limit is 400 W"):
        plan(tmp_path, line)


def test_another_idle_power_or_a_steady_board_is_another_run(tmp_path: Path) -> None:
    line = "runs: [{task: text-generation, model: m, engine: simulated, sources: {kind: simulated, node: {%s}}}]\n"
    ids = {plan(tmp_path, line % node).specs[0].run_id for node in ("", "idle_w: 50", "steady: true", "steady: false")}
    assert len(ids) == 3


def test_a_task_without_options_takes_none(tmp_path: Path) -> None:
    line = "runs: [{task: object-detection, model: m, text: {new_tokens: 3}}]\n"
    with pytest.raises(UserInputError, match="'text' options do not apply to object-detection"):
        plan(tmp_path, line)
    spec = plan(tmp_path, "defaults: {text: {new_tokens: 3}}\nruns: [{task: object-detection, model: m}]\n").specs[0]
    assert (spec.engine, spec.text, spec.image) == ("transformers", None, None)


def test_lengths_resolutions_and_dtypes_sweep(tmp_path: Path) -> None:
    found = plan(
        tmp_path,
        """
runs:
  - {task: text-generation, model: m, prompts: {words: [8, 64]}, text: {new_tokens: [2, 4], max_input_tokens: [9, 99]},
     dtype: [float16, bfloat16]}
  - {task: text-generation, model: m, prompts: {max_words: [5, 6]}}
  - {task: text-to-image, model: m, image: {height: [256, 512], width: [256, 512]}}
""",
    )
    assert len(found.specs) == 16 + 2 + 4
    first, last = found.specs[0], found.specs[15]
    assert (first.prompts.words, first.text.new_tokens, first.text.max_input_tokens, first.dtype) == (
        8,
        2,
        9,
        "float16",
    )
    assert (last.prompts.words, last.text.new_tokens, last.text.max_input_tokens, last.dtype) == (64, 4, 99, "bfloat16")
    assert [spec.prompts.max_words for spec in found.specs[16:18]] == [5, 6]
    assert {(spec.image.height, spec.image.width) for spec in found.specs[18:]} == {
        (256, 256), (256, 512), (512, 256), (512, 512)
    }  # fmt: skip
    with pytest.raises(UserInputError, match="exclude each other"):
        plan(tmp_path, "runs: [{task: text-generation, model: m, prompts: {words: 3, max_words: 3}}]\n")


def test_a_run_without_a_number_of_words_keeps_the_name_it_had(tmp_path: Path) -> None:
    # Computed by the version before prompts.words, from the same config.
    assert plan(tmp_path, "runs: [{task: text-generation, model: m}]\n").specs[0].run_id == "m-b1-27af5deac026"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("engine: simulated, sources: {kind: simulated, node: {clock: virtual}}, measure: {meter_preparation: true}",
         "Preparing takes no virtual time"),
        ("sources: {kind: nvml, gpus: [0, 1]}", "spread the model over all of them with device_map: balanced"),
        ("device: cpu, device_map: auto", "A model on the CPU is not spread over GPUs"),
        ("model: {id: gpt2, weights: random}, quantization: 4bit", "'quantization' needs a model that is loaded"),
        ("task: text-to-image, device: cpu, quantization: 8bit", "quantised on a GPU only"),
        ("prompts: {picture_size: [64, 64]}", "'picture_size' does not apply to text-generation"),
        ("prompts: {context_column: a}", "'context_column' does not apply to text-generation"),
        ("text: {template: hello}", "a template needs {text}"),
        ("device_map: everywhere", "device_map"),
        ("text: {template: '{text} {context}'}", "has no use for {context}"),
        ("engine: openai, server: {base_url: 'http://127.0.0.1:99999', concurrency: 1}", "a port that is none"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused_with_their_line(tmp_path: Path, line: str, words: str) -> None:
    model = "" if "model:" in line else "model: m, "
    task = "" if "task:" in line else "task: text-generation, "
    with pytest.raises(UserInputError) as caught:
        plan(tmp_path, f"runs: [{{{task}{model}{line}}}]\n")
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert "line 1" in caught.value.message or ":1" in caught.value.message


@pytest.mark.parametrize(
    ("task", "given", "told"),
    [
        ("image-classification", "a.txt", r"prompts\.path: image-classification looks at pictures, and .* is a file"),
        ("image-to-text", "empty", r"prompts\.path: There is no picture in"),
        ("text-classification", "empty", r"prompts\.path: text-classification reads texts, and .* is a folder"),
        ("text-classification", "a.png", r"prompts\.path: .*the ending \.png is not known"),
        ("question-answering", "a.txt", r"prompts\.path: .*cannot hold two columns"),
        ("question-answering", "a.csv", r"prompts\.path: Cannot tell which column .* texts in which answers"),
        ("question-answering", "a.jsonl", r"prompts\.path: Cannot tell which column .* texts in which answers"),
        ("text-generation", "blank.txt", r"prompts\.path: There is no prompt in"),
        ("image-to-text", "pictures", r"prompts\.path: .*a\.jpg is not a picture that can be opened"),
    ],
)
def test_inputs_that_are_not_the_task_s_are_refused_with_file_line_and_key(
    tmp_path: Path, task: str, given: str, told: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").mkdir()
    for name, content in (
        ("a.txt", "one\n"),
        ("a.png", "no picture"),
        ("a.csv", "question,id\nWhy?,7\n"),
        ("a.jsonl", '{"question": "Why?", "id": "7"}\n'),
        ("blank.txt", "\n"),
        ("pictures/a.jpg", "no picture"),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserInputError, match=rf"c\.yaml:2: {told}"):
        plan(tmp_path, f"defaults:\n  prompts: {given}\nruns:\n  - {{task: {task}, model: m}}\n")


def test_an_image_pipeline_is_spread_in_one_way_only(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="spread by device_map: balanced only"):
        plan(tmp_path, "runs: [{task: text-to-image, model: m, device_map: auto}]\n")


def test_unused_young_options_leave_a_run_its_name(tmp_path: Path) -> None:
    (spec,) = plan(tmp_path, "runs: [{task: text-generation, model: gpt2}]\n").specs
    assert spec.run_id == "gpt2-b1-0823ee10eeb5"
    changed = plan(tmp_path, "runs: [{task: text-generation, model: gpt2, text: {beams: 2}}]\n").specs[0]
    assert changed.run_id != spec.run_id
