"""The executors keep one contract; on a Ray cluster runs are placed by GPU type, and elsewhere when a node is lost.

The cluster has two nodes inside one machine, with simulated GPUs. Where Ray is not installed, its tests are skipped.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from command import config
from command import harness as harness_command

from harness.errors import UserInputError
from harness.measure.base import Progress
from harness.records import RunRecord
from harness.run.executors import Executor, InProcessExecutor, SubprocessExecutor
from harness.simulated_node import SimulatedNodeSpec
from harness.specs import CALIBRATION_LOADS, MeasureSpec, ModelSpec, PromptSpec, RunSpec, SourcesSpec, TextOptions
from harness.store.files import find_runs, read_trace

MARK = "HARNESS_TEST_CLUSTER"
QUICK_TO_TELL = {  # that a node is gone: Ray's own 15 s are for networks
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 6,
}
QUICK = MeasureSpec(
    window_s=0.2, null_window_s=0.1, idle_s=0.5, settle_s=0, warm_up_max_s=0, min_repeats=2, max_repeats=2
)


def spec(gpu: str | None = None, clock: str = "virtual", **changes: Any) -> RunSpec:
    node = SimulatedNodeSpec(gpu="H200" if gpu == "H200" else "A100-SXM4-80GB", clock=clock)
    content = {"sources": SourcesSpec(kind="simulated", gpu=gpu, node=node), "measure": QUICK} | changes
    return RunSpec(
        task="text-generation",
        model=ModelSpec(id="m"),
        engine="simulated",
        text=TextOptions(),
        device="cpu",
        **content,
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One node with an H100, one with two A100s; whatever they start carries a mark in its environment."""
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        told = "Ray is not installed: pip install -e '.[ray]' tests running on a cluster."
        warnings.warn(told, stacklevel=1)
        pytest.skip(told)
    os.environ |= {MARK: uuid.uuid4().hex, "RAY_USAGE_STATS_ENABLED": "0"}
    cluster = Cluster()
    try:
        head = {"include_dashboard": False, "_system_config": QUICK_TO_TELL}
        cluster.add_node(num_cpus=4, num_gpus=1, resources={"accelerator_type:H100": 1}, **head)
        cluster.add_node(num_cpus=4, num_gpus=2, resources={"accelerator_type:A100": 1})
        yield cluster
    finally:
        cluster.shutdown()
        del os.environ[MARK]


@pytest.fixture(params=["subprocess", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "subprocess":
        made: Executor = SubprocessExecutor()
    else:
        address = request.getfixturevalue("cluster").address
        from harness.run.ray import RayExecutor

        made = RayExecutor(address)
    with closing(made):
        yield made


def workers() -> list[psutil.Process]:
    """Fork servers and what they started, of these tests, wherever in the cluster they are."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = "harness.run.fork_server" in process.cmdline()
            marked = process.environ().get(MARK) == os.environ.get(MARK) if MARK in os.environ else False
            if ours and (marked or psutil.Process() in process.parents()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def run(
    executor: Executor, what: RunSpec, scratch: Path, then: Callable[[], object] = lambda: None, at_repeat: int = 0
) -> RunRecord:
    """Make a run; `then` happens once, when it idles or comes to a repeat."""
    scratch.mkdir(exist_ok=True)
    seen = threading.Event()

    def report(progress: Progress) -> None:
        due = progress.phase == "idle" if at_repeat == 0 else (progress.repeat or 0) >= at_repeat
        if due and not seen.is_set():
            seen.set()
            then()

    return executor.run(what, "c", scratch, report)


def test_every_executor_keeps_the_same_contract(executor: Executor, tmp_path: Path) -> None:
    """The same joules and files as in this process; what fails or dies is recorded; a stop leaves no process."""
    with closing(InProcessExecutor()) as here:
        expected = run(here, spec(), tmp_path / "here")
    record = run(executor, spec(), tmp_path / "there")
    assert record.status == "complete"
    assert record.measurements == expected.measurements
    assert record.environment is not None
    for name in ("here", "there"):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["record.json", "trace.parquet"]
    trace, mine = read_trace(tmp_path / "here", expected), read_trace(tmp_path / "there", record)
    assert trace is not None
    assert mine is not None
    assert np.array_equal(trace.rows, mine.rows, equal_nan=True)

    impossible = spec(prompts=PromptSpec(kind="file", path="~no-such-user/b.txt"))
    failure = run(executor, impossible, tmp_path / "impossible").failure
    assert failure is not None
    assert (failure.kind, failure.phase) == ("exception", "read prompts")
    assert "in file_texts" in failure.stderr_tail

    endless = spec(clock="real", measure=MeasureSpec(idle_s=600))
    failure = run(executor, endless, tmp_path / "killed", kill_worker).failure
    assert failure is not None
    assert (failure.kind, failure.phase) == ("killed", "idle")
    assert failure.message == "The worker was killed by SIGKILL."

    left: list[psutil.Process] = []

    def stop() -> None:
        left.extend(workers())
        threading.Thread(target=executor.close).start()

    assert run(executor, endless, tmp_path / "stopped", stop).status == "failed"
    assert len(left) >= 2
    assert not psutil.wait_procs(left, timeout=20)[1]


def kill_worker() -> None:
    forked = {process.pid: process for process in workers()}
    for process in forked.values():
        if process.ppid() in forked:
            process.kill()


CAMPAIGN = """\
campaign: placed
calibration: true
defaults:
  engine: simulated
  task: text-generation
  measure: {window_s: 0.2, null_window_s: 0.1, idle_s: 0.5, warm_up_max_s: 0, min_repeats: 2, max_repeats: 2}
runs:
  - model: h
    sources: {kind: simulated, gpu: H100, node: {clock: virtual, gpu: H100-SXM, steady: true}}
  - model: a
    sources: {kind: simulated, gpu: A100, node: {clock: virtual, steady: true}}
  - model: two
    sources: {kind: simulated, gpu: A100, gpus: [0, 1], node: {clock: virtual, gpu_count: 2, steady: true}}
"""


def test_runs_go_to_nodes_with_their_type_of_gpu_or_are_refused_with_what_there_is(
    cluster: Any, tmp_path: Path
) -> None:
    h100, a100s = (node.node_id for node in cluster.list_all_nodes())
    where = ["--executor", "ray", "--address", cluster.address]
    answer = harness_command("run", config(tmp_path, CAMPAIGN), *where, "--json", cwd=tmp_path)
    assert answer.code == 0, answer.err
    placed, visible, calibrated = {}, {}, []
    for stored in find_runs([tmp_path / "results"]):
        record = stored.record
        assert record.placed is not None
        assert record.environment is not None
        if record.spec.calibration is not None:
            assert record.status == "complete"
            assert record.placed.node == record.spec.calibration.node
            calibrated.append((record.spec.model.id, record.placed.node))
            continue
        placed[record.spec.model.id] = record.placed.node
        visible[record.spec.model.id] = len(record.environment.variables["CUDA_VISIBLE_DEVICES"].split(","))
        assert record.placed.lost == ()
    assert placed == {"h": h100, "a": a100s, "two": a100s}
    assert visible == {"h": 1, "a": 1, "two": 2}
    # Each of three GPUs once with each load; those of the node with two for the runs that are simulated there with one
    # board and with two.
    assert Counter(calibrated) == {
        (load, node): count for load in CALIBRATION_LOADS for node, count in ((h100, 1), (a100s, 4))
    }

    too_many = config(tmp_path, CAMPAIGN.replace("gpu: A100, gpus", "gpu: H100, gpus").replace("placed", "refused"))
    answer = harness_command("run", too_many, *where, cwd=tmp_path)
    assert answer.code == 2
    assert "has 2 GPUs of type H100" in answer.err
    assert "The cluster has: 1 node with 1 x H100, 1 node with 2 x A100." in answer.err
    assert not (tmp_path / "results" / "refused").exists()


def test_a_run_whose_node_is_lost_is_made_by_another_and_fails_once_there_is_none(cluster: Any, tmp_path: Path) -> None:
    from harness.run.ray import RayExecutor

    extra = {
        node.node_id: node
        for node in (cluster.add_node(num_cpus=1, num_gpus=1, resources={"accelerator_type:H200": 1}) for _ in "ab")
    }
    cluster.wait_for_nodes()
    asked = spec("H200", clock="real", measure=QUICK.model_copy(update={"min_repeats": 5, "max_repeats": 5}))
    left: list[psutil.Process] = []

    def lose_node() -> None:
        left.extend(workers())
        (node,) = {stored.node for stored in executor._in_flight}
        cluster.remove_node(extra.pop(node), allow_graceful=False)

    with closing(RayExecutor(cluster.address)) as executor:
        record = run(executor, asked, tmp_path / "moved", lose_node)
        assert record.status == "complete", record.failure
        assert record.placed is not None
        assert record.placed.node in extra
        (reason,) = record.placed.lost
        assert "died" in reason
        assert not psutil.wait_procs(left, timeout=20)[1]
        assert len(record.measurements) == 5
        record = run(executor, asked, tmp_path / "nowhere", lose_node, at_repeat=3)
        assert record.failure is not None
        assert record.failure.kind == "not_placed"
        told = "The cluster has: 1 node with 1 x H100, 1 node with 2 x A100. Placed 1 time before and lost: node "
        assert told in record.failure.message
        assert 2 <= len(record.measurements) < 5  # finished windows outlast their node


def test_a_cluster_that_does_not_answer_is_given_up_in_one_sentence(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import harness.run.cluster

    monkeypatch.setattr(harness.run.cluster, "CONNECT_TIMEOUT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        answer = harness_command("run", config(tmp_path), "--executor", "ray", "--address", address, cwd=tmp_path)
    assert answer.code == 2
    assert f"No Ray cluster answers at {address} within 1 s, although something listens there." in answer.err
    assert answer.out == ""
    for malformed in ("garbage", "ray://head:6379", "-c", "", "head:0", "head:65536"):
        with pytest.raises(UserInputError, match=re.escape(f"{malformed!r} names no Ray cluster")):
            harness.run.cluster.connect(malformed)
    with pytest.raises(UserInputError, match=f"No Ray cluster answers at {address}: Connection refused."):
        harness.run.cluster.connect(address)
