"""The executors keep one contract; on a Ray cluster runs are placed by GPU type, and elsewhere when a node is lost.

The cluster has two nodes inside one machine, with simulated GPUs. Where Ray is not installed, its tests are skipped.
"""

from __future__ import annotations

import os
import re
import socket
import tempfile
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from command import config
from command import harness as harness_command

import harness
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
LIGHT = {  # nothing that no test looks at: a cluster's daemons cost more than the runs
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_num_workers_soft_limit": "4",  # idle ones beyond it end, and the next run would wait for a new one
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


@contextmanager
def started_cluster() -> Iterator[Any]:
    """A node with an H100, one with two A100s; H200s in both. Whatever they start carries a mark in its environment."""
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        told = "Ray is not installed: pip install -e '.[ray]' tests running on a cluster."
        warnings.warn(told, stacklevel=1)
        pytest.skip(told)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        # Runs of one machine see each other in its folder for temporary files: those of another suite are not ours.
        for name, value in {MARK: uuid.uuid4().hex, "TMPDIR": folder, **LIGHT}.items():
            environment.setenv(name, value)
        cluster = Cluster()
        try:
            head = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
            types = {"accelerator_type:H100": 1, "accelerator_type:H200": 1}
            cluster.add_node(num_cpus=1, num_gpus=1, resources=types, _system_config=QUICK_TO_TELL, **head)
            types = {"accelerator_type:A100": 1, "accelerator_type:H200": 1}
            cluster.add_node(num_cpus=1, num_gpus=2, resources=types)
            yield cluster
        finally:
            cluster.shutdown()


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


def test_subprocesses_keep_the_contract_of_an_executor(tmp_path: Path) -> None:
    with closing(SubprocessExecutor()) as executor:
        keeps_the_contract(executor, tmp_path)


@pytest.mark.long
def test_a_cluster_keeps_the_same_contract_and_places_runs_by_type_and_again_when_nodes_go(tmp_path: Path) -> None:
    """One test: the suite deals tests to several processes, and each of them would start a cluster of its own."""
    with started_cluster() as cluster:
        from harness.run.ray import RayExecutor

        types, driver, late, lost, contract = (tmp_path / name for name in ("types", "driver", "late", "lost", "c"))
        for folder in (types, driver, late, lost, contract):
            folder.mkdir()
        runs_go_to_nodes_with_their_type_of_gpu(cluster, types)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(driver)  # Ray adds this folder to the nodes' paths, and a checkout would hide their harness
            executor = RayExecutor(cluster.address)
        with closing(executor):
            a_run_that_asks_for_what_no_node_has_is_refused_with_what_there_is(executor)
            a_node_that_joins_with_another_harness_makes_nothing_and_is_named(cluster, executor, late)
            a_run_whose_node_is_lost_is_made_by_another_or_fails_where_there_is_none(cluster, executor, lost)
            keeps_the_contract(executor, contract)


def keeps_the_contract(executor: Executor, tmp_path: Path) -> None:
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


def runs_go_to_nodes_with_their_type_of_gpu(cluster: Any, tmp_path: Path) -> None:
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


def a_run_that_asks_for_what_no_node_has_is_refused_with_what_there_is(joined: Any) -> None:
    two = spec("H100").model_copy(update={"sources": spec("H100").sources.model_copy(update={"gpus": (0, 1)})})
    with pytest.raises(UserInputError) as refused:
        joined.lanes([two])
    assert "has 2 GPUs of type H100" in refused.value.message
    assert "The cluster has: 1 node with 1 x H100/H200, 1 node with 2 x A100/H200." in refused.value.message


def a_node_that_joins_with_another_harness_makes_nothing_and_is_named(
    cluster: Any, joined: Any, tmp_path: Path
) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text('__version__ = "0.0.9"\n')
    late = cluster.add_node(
        num_cpus=1, num_gpus=1, resources={"accelerator_type:T4": 1}, env_vars={"PYTHONPATH": str(tmp_path)}
    )
    try:
        (asked,) = asked_for = [spec("T4")]
        while len(joined.lanes([spec()]).nodes()) < 3:
            time.sleep(0.1)
        assert joined.lanes(asked_for).at_once == 1
        record = run(joined, asked, tmp_path / "late")
        assert record.failure is not None
        assert record.failure.kind == "not_placed"
        assert record.failure.message.startswith("No node of the cluster has 1 GPU of type T4, as m-b1-")
        told = f"node {late.node_id[:12]} has harness 0.0.9; this one is {harness.__version__}"
        assert f" Placed 1 time before and lost: {told}" in record.failure.message
        assert record.placed is not None
        assert record.placed.node == late.node_id
        assert record.measurements == ()
        assert late.node_id not in [node.id for node in joined.lanes([spec()]).nodes()]
    finally:
        cluster.remove_node(late, allow_graceful=False)


def a_run_whose_node_is_lost_is_made_by_another_or_fails_where_there_is_none(
    cluster: Any, joined: Any, tmp_path: Path
) -> None:
    """Two runs of two campaigns on the node that goes; the other node is full until then."""
    import ray

    (doomed,) = cluster.worker_nodes
    full = ray.util.placement_group([{"GPU": 1, "accelerator_type:H100": 0.001}])
    assert full.wait(60)
    measure = QUICK.model_copy(update={"min_repeats": 5, "max_repeats": 5})
    moving, stuck = (spec(gpu, clock="real", measure=measure) for gpu in ("H200", "A100"))
    begun, measured, records = threading.Event(), threading.Event(), dict[str, RunRecord]()

    def make(what: RunSpec, campaign: str, seen: threading.Event, at_repeat: int) -> None:
        def report(progress: Progress) -> None:
            if (progress.repeat or 0) >= at_repeat:
                seen.set()

        (tmp_path / campaign).mkdir()
        records[campaign] = joined.run(what, campaign, tmp_path / campaign, report)

    threads = [
        threading.Thread(target=make, args=(moving, "moving", begun, 1)),
        threading.Thread(target=make, args=(stuck, "stuck", measured, 3)),
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    assert measured.wait(60)
    left = workers()
    cluster.remove_node(doomed, allow_graceful=False)
    ray.util.remove_placement_group(full)
    for thread in threads:
        thread.join()
    assert len(left) >= 4  # of either run a fork server and a worker at least
    assert not psutil.wait_procs(left, timeout=20)[1]

    record = records["moving"]
    assert record.status == "complete", record.failure
    assert record.placed is not None
    assert record.placed.node == cluster.head_node.node_id
    (reason,) = record.placed.lost
    assert "died" in reason
    assert len(record.measurements) == 5

    record = records["stuck"]
    assert record.failure is not None
    assert record.failure.kind == "not_placed"
    told = f"The cluster has: 1 node with 1 x H100/H200. Placed 1 time before and lost: node {doomed.node_id[:12]}: "
    assert told in record.failure.message
    assert 2 <= len(record.measurements) < 5  # finished windows outlast their node
    assert record.placed is not None
    assert record.placed.node == doomed.node_id
    assert record.placed.beside == (f"moving/{moving.run_id}",)


def test_a_cluster_that_does_not_answer_is_given_up_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
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
