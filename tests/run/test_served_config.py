"""Configs of served models: what is expanded, what is refused with file and line, and which names runs keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import run_spec

from harness.errors import UserInputError
from harness.run.config import load_plan
from harness.run.preflight import preflight

ROOT = Path(__file__).parent.parent.parent
GOOD = """
campaign: c
defaults:
  task: text-generation
  engine: openai
  model: some/model
  sources: simulated
runs:
  - server: {base_url: "http://127.0.0.1:8000", concurrency: [1, 8]}
"""


def plan_of(tmp_path: Path, text: str):  # type: ignore[no-untyped-def]
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return load_plan(path)


def test_the_ready_config_holds_closed_and_open_loops() -> None:
    specs = load_plan(ROOT / "configs" / "server.yaml").specs
    assert [spec.load_label for spec in specs] == ["1 in flight", "4 in flight", "1/s"]
    assert [spec.run_id.split("-")[2] for spec in specs] == ["c1", "c4", "r1"]
    assert all(spec.sources.kind == "simulated" for spec in specs)


def test_a_list_of_loads_makes_a_run_for_each(tmp_path: Path) -> None:
    specs = plan_of(tmp_path, GOOD).specs
    assert [spec.server.concurrency for spec in specs] == [1, 8]
    assert len({spec.run_id for spec in specs}) == 2


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("concurrency: [1, 8]", "", "either concurrency"),
        ("concurrency: [1, 8]", "concurency: 1", "concurrency"),
        ("concurrency: [1, 8]", "concurrency: 0", "greater than or equal to 1"),
        ('base_url: "http://127.0.0.1:8000"', "health_path: /x", "needs a command that starts it"),
        ('base_url: "http://127.0.0.1:8000"', 'base_url: "http://me:pw1234@127.0.0.1:8000"', "holds a key or a token"),
        ("engine: openai", "engine: transformers", "no other engine has one"),
        ("task: text-generation", "task: fill-mask", "The engine openai cannot do fill-mask"),
        ("sources: simulated", "sources: simulated\n  batch_size: 4", "makes its batches itself"),
        ("sources: simulated", "sources: simulated\n  text: {max_input_tokens: 4}", "cannot be cut by tokens"),
        ("sources: simulated", "sources: simulated\n  measure: {requests_per_window: 4}", "as long as it is"),
        ("some/model", "{id: tiny-llama, weights: random}", "running server has its weights"),
        ("sources: simulated", "sources: {kind: simulated, node: {clock: virtual}}", "does not wait for a real engine"),
    ],
)
def test_what_cannot_be_asked_of_a_server_is_refused_with_its_line(
    before: str, after: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(UserInputError) as caught:
        plan_of(tmp_path, GOOD.replace(before, after))
    assert told in str(caught.value)
    assert "c.yaml:" in caught.value.message
    assert "pw1234" not in str(caught.value)


def test_a_server_on_another_machine_is_refused_before_anything_runs(tmp_path: Path) -> None:
    specs = plan_of(tmp_path, GOOD.replace("127.0.0.1", "192.0.2.7")).specs
    with pytest.raises(UserInputError, match="runs on another machine"):
        preflight(specs)


def test_runs_without_a_server_keep_their_names() -> None:
    # As this version's predecessor named them.
    assert run_spec().run_id == "small-text-b1-63cbe3236330"
