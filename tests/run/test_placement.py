"""Which nodes can make a run, how many at once, and what is refused before anything runs. No cluster is needed."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UserInputError
from harness.run.placement import Node, Version, cluster_lanes, refuse_other_versions, refuse_unplaceable, why_nowhere
from harness.run.retries import Attempt
from harness.run.sources import opened_sources
from harness.serving import ServerOptions
from harness.simulated_node import SimulatedNodeSpec
from harness.specs import ModelSpec, RunSpec, SourcesSpec, TextOptions

NODES = (
    Node("a" * 56, frozenset({"A100"}), 4),
    Node("b" * 56, frozenset({"H100"}), 2),
    Node("c" * 56, frozenset(), 0),
)


def spec(gpu: str | None, count: int = 1, **changes: Any) -> RunSpec:
    sources = SourcesSpec(gpu=gpu, gpus=tuple(range(count)))
    content = {"sources": sources, "engine": "transformers", "device": "cuda"} | changes
    return RunSpec(task="text-generation", model=ModelSpec(id="m"), text=TextOptions(), **content)


def test_a_run_that_no_node_can_make_is_told_with_what_the_cluster_has() -> None:
    assert why_nowhere(spec("H100", 2), NODES) is None
    assert why_nowhere(spec(None, 4), NODES) is None
    reason = why_nowhere(spec("H100", 4), NODES)
    assert reason is not None
    assert reason.startswith("No node of the cluster has 4 GPUs of type H100, as m-b1-")
    assert reason.endswith("The cluster has: 1 node with 2 x H100, 1 node with 4 x A100.")
    assert str(why_nowhere(spec(None), NODES[2:])).endswith("The cluster has: no node with a GPU.")


@pytest.mark.parametrize(
    ("bound", "told"),
    [
        (spec(None).model_copy(update={"sources": SourcesSpec(gpus=(1,))}), "names GPUs of one machine: 1"),
        (spec(None, device="cpu"), "runs on the CPU"),
        (spec(None, accounting="study-2023"), "counts every GPU"),
        (
            spec(None, engine="openai", server=ServerOptions(base_url="http://127.0.0.1:8000", concurrency=1)),
            "The server http://127.0.0.1:8000 is on one machine",
        ),
    ],
)
def test_a_run_that_is_bound_to_one_machine_is_refused(bound: RunSpec, told: str) -> None:
    with pytest.raises(UserInputError, match=told):
        refuse_unplaceable([bound], NODES)


def test_runs_start_while_there_are_gpus_of_their_type_and_none_waits_for_another_type() -> None:
    todo = [Attempt(spec(*asked)) for asked in (("H100", 2), ("H100", 1), ("A100", 3), (None, 1), (None, 1))]
    lanes = cluster_lanes([attempt.spec for attempt in todo], lambda: NODES)
    assert lanes.at_once == 5  # of 6 GPUs: there are no more runs
    first = lanes.startable(todo, ())
    assert first == [todo[0], todo[2], todo[3]]  # 2 + 3 + 1 GPUs: all that there are
    assert lanes.startable([todo[1], todo[4]], first) == []
    assert lanes.startable([todo[1], todo[4]], first[1:]) == [todo[1], todo[4]]


def test_runs_start_on_nodes_that_join_later_and_are_given_up_when_the_last_node_for_them_has_left() -> None:
    todo = [Attempt(spec("A100")), Attempt(spec("A100")), Attempt(spec("H100"))]
    nodes = [Node("a" * 56, frozenset({"A100"}), 1), Node("b" * 56, frozenset({"H100"}), 1)]
    lanes = cluster_lanes([attempt.spec for attempt in todo], lambda: nodes)
    assert (lanes.at_once, lanes.threads) == (2, 3)
    assert lanes.startable(todo, ()) == [todo[0], todo[2]]
    assert lanes.startable(todo[1:2], (todo[0], todo[2])) == []
    nodes.append(Node("c" * 56, frozenset({"A100"}), 1))
    assert lanes.startable(todo[1:2], (todo[0], todo[2])) == [todo[1]]
    del nodes[1:]
    assert lanes.startable(todo[1:], (todo[0],)) == [todo[2]]  # to say that there is no H100; the A100 is busy


def test_nodes_with_another_harness_or_none_are_refused_and_both_are_named() -> None:
    ours = Version("0.1.0", "abc")
    refuse_other_versions(ours, {"n" * 56: Version("0.1.0", "abc"), "m" * 56: Version("0.1.0", None)})
    for theirs, told in ((Version("0.0.9", None), "0.0.9"), (Version("0.1.0", "def"), r"0\.1\.0 \(def\)")):
        with pytest.raises(UserInputError, match=rf"Node n{{12}} .* has harness {told}; this one is 0\.1\.0 \(abc\)"):
            refuse_other_versions(ours, {"n" * 56: theirs})
    with pytest.raises(UserInputError, match="has harness none"):
        refuse_other_versions(ours, {"n" * 56: Version(None, None)})


def test_a_gpu_of_another_type_than_the_config_asks_for_is_refused_and_asking_makes_another_run() -> None:
    sources = SourcesSpec(kind="simulated", node=SimulatedNodeSpec(clock="virtual"))
    asking = sources.model_copy(update={"gpu": "A100"})
    with opened_sources(asking, None) as opened:
        assert opened.sources[0].info.device_name == "NVIDIA A100-SXM4-80GB"
    with (
        pytest.raises(UserInputError, match=r"type H100 .* this one is NVIDIA A100-SXM4-80GB[^$]*wrong label"),
        opened_sources(sources.model_copy(update={"gpu": "H100"}), None),
    ):
        pass
    plain = spec(None)
    assert "gpu" not in plain.model_dump(exclude_none=True)["sources"]
    assert plain.run_id != spec("A100").run_id
