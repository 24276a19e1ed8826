"""Runs specs on the nodes of a Ray cluster, each by GPU type. The one file that knows Ray.

A run is a task that holds its GPUs and makes the run in a subprocess of its node, as the executor of one machine does:
what crashes there takes no Ray worker with it, and what Ray ends takes the subprocess with it. The task streams its
node, its progress and at last the run's files, which the driver writes. A task whose node or worker is lost is placed
again, a bounded number of times; Ray itself retries nothing, so that every placement is counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import harness
from harness.campaign import Placed
from harness.errors import StoreError, UserInputError
from harness.measure.base import Progress
from harness.records import Caveat, Failure, RunRecord
from harness.run.environment import git_commit
from harness.run.executors import GRACE_S, Report, clear_scratch
from harness.run.journal import unfinished
from harness.run.placement import (
    ClusterLanes,
    Node,
    Version,
    cluster_lanes,
    gpus_asked,
    refuse_other_versions,
    refuse_unplaceable,
    why_nowhere,
)
from harness.run.remote import made_here, unpack, version_teller
from harness.run.worker import WorkerTask, failed_record
from harness.specs import RunSpec
from harness.store.files import JOURNAL, RECORD, read_record, rewrite_record, write_run

try:
    import ray
    from ray.exceptions import NodeDiedError, RayError, RayTaskError, WorkerCrashedError
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy
except ImportError as error:
    raise UserInputError(
        f"--executor ray needs Ray, which does not load here: {error}.", "pip install 'energy-harness[ray]'"
    ) from error

CONNECT_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 120.0  # a node starts a process for it
LOOK_S = 2.0  # how often a run that waits for a GPU asks whether the cluster still has one
MOST_PLACEMENTS = 3
WAITING = "waiting for a GPU of the cluster"
TYPE_PREFIX = "accelerator_type:"
TYPE_SHARE = 0.001  # of the one unit that a node has of its type: enough to be placed by it
HOW_TO_START = (
    "Start one with: ray start --head. --address takes its host:port, and the harness runs on one of its nodes."
)

# Ray ends a process whose cluster does not answer (Ray 2.60: after 122 s), so another one asks first.
ASK = """
import sys, ray
from ray._private.services import canonicalize_bootstrap_address_or_die as found
from ray._raylet import GcsClient
print("asking", flush=True)
address = found(sys.argv[1])
GcsClient(address=address)
print(address, flush=True)
"""


class _Lost(Exception):
    """The node or the Ray worker that made a run is gone."""


class _Nowhere(Exception):
    """No node is left that could make a run."""


@dataclass
class _InFlight:
    """One placement of a run."""

    run_id: str
    stream: Any
    node: str = ""
    beside: set[str] = field(default_factory=set)


class RayExecutor:
    """Runs on an existing cluster. Several threads may run at once, as many as the cluster has GPUs."""

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: host:port of the cluster's head; "auto" finds one that was started on this machine.

        Raises:
            HarnessError: No cluster answers within 10 s, or a node has another version of the harness.
        """
        _connect(address)
        self._task = ray.remote(num_cpus=0, max_retries=0, max_calls=0, num_returns="streaming")(_run_here)
        self._in_flight: list[_InFlight] = []
        self._change = threading.Condition()
        self._running = 0
        self._closed = False
        try:
            refuse_other_versions(Version(harness.__version__, git_commit()), _versions())
        except BaseException:
            ray.shutdown()
            raise

    def lanes(self, specs: Sequence[RunSpec]) -> ClusterLanes:
        """As many runs at once as there are GPUs: Ray gives each its own.

        Raises:
            UserInputError: A run cannot be made by any node: with the list of what the cluster has.
        """
        nodes = living_nodes()
        refuse_unplaceable(specs, nodes)
        return cluster_lanes(specs, nodes)

    def run(self, spec: RunSpec, campaign: str, scratch: Path, report: Report) -> RunRecord:
        """Run on some node, and elsewhere when that node is lost.

        Raises:
            KeyboardInterrupt: Passed on, after the task and all it started were told to end.
            StoreError: The scratch folder cannot be written.
        """
        with self._change:
            self._running += 1
        try:
            return self._run(spec, campaign, scratch, report)
        finally:
            with self._change:
                self._running -= 1
                self._change.notify_all()

    def _run(self, spec: RunSpec, campaign: str, scratch: Path, report: Report) -> RunRecord:
        started, lost = datetime.now(UTC).isoformat(timespec="seconds"), list[str]()
        while len(lost) < MOST_PLACEMENTS and not self._closed:
            try:
                return self._placed(spec, campaign, scratch, report, tuple(lost))
            except _Lost as reason:
                lost.append(str(reason))
            except _Nowhere as reason:
                return _failed(spec, campaign, scratch, started, "not_placed", f"{reason}{_told(lost)}")
            except RayTaskError as error:  # the harness's own part on the node failed, not the run
                return _failed(spec, campaign, scratch, started, "exception", "The run's node failed.", str(error))
        if self._closed:
            return _failed(spec, campaign, scratch, started, "stopped", "The campaign was stopped.")
        return _failed(spec, campaign, scratch, started, "node_lost", f"No placement lasted.{_told(lost)}")

    def close(self) -> None:
        """End what is in progress and leave the cluster; again is harmless."""
        with self._change:
            first, self._closed = not self._closed, True
            for each in self._in_flight:
                _cancel(each)
            self._change.wait_for(lambda: not self._running, GRACE_S)  # Ray ends threads that still wait for it
        if first:
            ray.shutdown()

    def _placed(self, spec: RunSpec, campaign: str, scratch: Path, report: Report, lost: tuple[str, ...]) -> RunRecord:
        task = WorkerTask(spec=spec, campaign=campaign, scratch="").model_dump_json()
        with _reserved(spec, self._wait) as strategy, self._submitted(spec, task, strategy) as mine:
            files = self._follow(mine, spec, scratch, report)
        unpack(files, scratch)
        clear_scratch(scratch)
        record = read_record(scratch / RECORD)
        beside = tuple(sorted(mine.beside))
        placed = Placed(cluster=f"ray {ray.__version__}", node=mine.node, lost=lost, beside=beside)
        caveats = (*record.caveats, *_of_company(record, beside))
        record = record.model_copy(update={"placed": placed, "caveats": caveats})
        rewrite_record(scratch, record)
        return record

    @contextmanager
    def _submitted(self, spec: RunSpec, task: str, strategy: Any) -> Iterator[_InFlight]:
        """The task in flight, and ended whatever happens."""
        with self._change:
            if self._closed:
                raise _Lost("the campaign was stopped")
            resources = _type_share(spec)
            options = {"num_gpus": gpus_asked(spec), "resources": resources, "scheduling_strategy": strategy}
            mine = _InFlight(spec.run_id, self._task.options(**options).remote(task))
            self._in_flight.append(mine)
        try:
            yield mine
        except BaseException:
            _cancel(mine)
            raise
        finally:
            with self._change:
                self._in_flight.remove(mine)

    def _follow(self, mine: _InFlight, spec: RunSpec, scratch: Path, report: Report) -> dict[str, bytes]:
        """What the task tells, until it has told all. Returns the run's files."""
        journal_mode = "wb"  # the windows of an earlier placement stay until this one has some of its own
        try:
            self._wait(mine.stream, spec, report)
            for kind, content in map(ray.get, mine.stream):
                if kind == "files":
                    files: dict[str, bytes] = content
                    return files
                if kind == "node":
                    self._arrived(mine, content)
                elif kind == "windows":
                    with (scratch / JOURNAL).open(journal_mode) as journal:
                        journal.write(content)
                    journal_mode = "ab"
                else:
                    report(Progress(**json.loads(content)))
        except RayTaskError:
            raise
        except RayError as error:
            raise _Lost(_reason(error, mine.node)) from error
        except OSError as error:
            raise StoreError(f"Cannot write {scratch}: {error.strerror or error}.", "Is the disk full?") from error
        raise _Lost(f"node {mine.node[:12]}: it ended without the run's files")

    def _wait(self, awaited: Any, spec: RunSpec, report: Report | None = None) -> None:
        """Block until something is there. Ray waits in silence for a node that does not exist; this does not."""
        while not ray.wait([awaited], timeout=LOOK_S, fetch_local=False)[0]:
            if self._closed:
                raise _Lost("the campaign was stopped")
            if (reason := why_nowhere(spec, living_nodes())) is not None:
                raise _Nowhere(reason)
            if report is not None:
                report(Progress(WAITING))

    def _arrived(self, mine: _InFlight, node: str) -> None:
        """Note which runs share a node."""
        with self._change:
            mine.node = node
            for other in self._in_flight:
                if other is not mine and other.node == node:
                    other.beside.add(mine.run_id)
                    mine.beside.add(other.run_id)


def living_nodes() -> list[Node]:
    """The cluster's nodes as they are now."""
    return [
        Node(
            id=node["NodeID"],
            gpu_types=frozenset(
                name.removeprefix(TYPE_PREFIX) for name in node["Resources"] if name.startswith(TYPE_PREFIX)
            ),
            gpu_count=int(node["Resources"].get("GPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


# --- connecting ----------------------------------------------------------------------------------------


def _connect(address: str) -> None:
    """Join a cluster that is there.

    Raises:
        UserInputError: It does not answer, or cannot be joined from here.
    """
    found = _answering(address)
    if found is None:
        raise UserInputError(f"No Ray cluster answers at {address} within {CONNECT_TIMEOUT_S:g} s.", HOW_TO_START)
    try:
        ray.init(address=found, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserInputError(f"The Ray cluster at {found} cannot be joined: {first}", HOW_TO_START) from error


def _answering(address: str) -> str | None:
    """The cluster's own address, once it has answered; None where it does not."""
    with subprocess.Popen(
        [sys.executable, "-c", ASK, address], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as asking:
        assert asking.stdout is not None
        asking.stdout.readline()  # Ray is loaded, which takes as long as it takes
        try:
            return asking.communicate(timeout=CONNECT_TIMEOUT_S)[0].strip() or None
        except subprocess.TimeoutExpired:
            return None
        finally:
            asking.kill()


def _versions() -> dict[str, Version]:
    """The harness of every node with a GPU, as a process there finds it.

    Raises:
        UserInputError: A node does not answer.
    """
    nodes = [node.id for node in living_nodes() if node.gpu_count]
    asked = ray.remote(num_cpus=0, max_retries=1)(version_teller())
    try:
        answers = ray.get(
            [asked.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, False)).remote() for node in nodes],
            timeout=PROBE_TIMEOUT_S,
        )
    except RayError as error:
        raise UserInputError(
            f"A node of the cluster does not tell its version of the harness: {_reason(error, '')}", "See: ray status"
        ) from error
    return {node: Version(*answer) for node, answer in zip(nodes, answers, strict=True)}


# --- placing -------------------------------------------------------------------------------------------


def _type_share(spec: RunSpec) -> dict[str, float]:
    return {} if spec.sources.gpu is None else {f"{TYPE_PREFIX}{spec.sources.gpu}": TYPE_SHARE}


@contextmanager
def _reserved(spec: RunSpec, wait: Callable[[Any, RunSpec], None]) -> Iterator[Any]:
    """The scheduling strategy of a run: several GPUs are reserved together, on one node; a calibration has its own."""
    if spec.calibration is not None and spec.calibration.node is not None:
        yield NodeAffinitySchedulingStrategy(spec.calibration.node, soft=False)
        return
    if gpus_asked(spec) == 1:
        yield "DEFAULT"
        return
    bundle = {"GPU": gpus_asked(spec), **_type_share(spec)}
    group = placement_group([bundle], strategy="STRICT_PACK")
    try:
        wait(group.ready(), spec)
        yield PlacementGroupSchedulingStrategy(group)
    finally:
        with suppress(RayError):
            remove_placement_group(group)


def _cancel(placement: _InFlight) -> None:
    """End the task's process, and with it the fork server and the worker."""
    with suppress(RayError, ValueError):
        ray.cancel(placement.stream, force=True)


def _reason(error: RayError, node: str) -> str:
    what = {NodeDiedError: "it died", WorkerCrashedError: "it or its Ray worker died"}.get(type(error))
    told = what or next(iter(str(error).splitlines()), type(error).__name__)
    return f"node {node[:12]}: {told}" if node else told


def _of_company(record: RunRecord, beside: tuple[str, ...]) -> list[Caveat]:
    """What other runs on the node did to this one. A simulated machine is each run's own."""
    if not beside or record.simulated:
        return []
    told = f"Other GPUs of the node ran or loaded {', '.join(beside)} meanwhile: the node's energy includes theirs."
    return [Caveat(code="node-shared", message=told)]


def _told(lost: Sequence[str]) -> str:
    times = "1 time" if len(lost) == 1 else f"{len(lost)} times"
    return f" Placed {times} before and lost: {'; '.join(lost)}." if lost else ""


def _failed(
    spec: RunSpec, campaign: str, scratch: Path, started: str, kind: str, message: str, tail: str = ""
) -> RunRecord:
    failure = Failure(kind=kind, message=message, hint="See: ray status", phase="placement", stderr_tail=tail[-4000:])
    record, trace = unfinished(scratch, failure) or (failed_record(spec, campaign, started, failure), None)
    write_run(scratch, record, trace)
    clear_scratch(scratch)
    return record


def _run_here(task: str) -> Iterator[tuple[str, Any]]:
    """The task: this node, then all that the run tells and leaves."""
    yield "node", ray.get_runtime_context().get_node_id()
    yield from made_here(task)
