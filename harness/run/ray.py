"""Runs specs on the nodes of a Ray cluster, each by GPU type.

A run is a task that holds its GPUs and makes the run in a subprocess of its node, as the executor of one machine does:
what crashes there takes no Ray worker with it, and what Ray ends takes the subprocess with it. The task streams its
node, its progress and at last the run's files, which the driver writes. A task whose node or worker is lost is placed
again, a bounded number of times; Ray itself retries nothing, so that every placement is counted.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import StoreError, UserInputError

try:  # before what needs it
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy
except ImportError as error:
    raise UserInputError(
        f"--executor ray needs Ray, which does not load here: {error}.", "pip install 'energy-harness[ray]'"
    ) from error

import harness
from harness.campaign import Placed
from harness.measure.base import Progress
from harness.records import Caveat, Failure, RunRecord
from harness.run.cluster import LOOK_S, TYPE_PREFIX, Watch, connect, leave, versions, what_happened
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
from harness.run.remote import unpack, version_of, version_teller
from harness.run.worker import WorkerTask, failed_record
from harness.specs import RunSpec
from harness.store.files import JOURNAL, RECORD, read_record, rewrite_record, write_run

NODE_LABEL = "ray.io/node-id"
HINT = "See: ray status"
MOST_PLACEMENTS = 3
WAITING = "waiting for a GPU of the cluster"
TYPE_SHARE = 0.001  # of the one unit that a node has of its type: enough to be placed by it


class _Lost(Exception):
    """The node or the Ray worker that made a run is gone."""


class _Refused(Exception):
    """A node that joined later, or changed, has another harness."""


class _Nowhere(Exception):
    """No node is left that could make a run."""


@dataclass
class _InFlight:
    """One placement of a run. `beside`: runs that were made on its node meanwhile, of other campaigns too."""

    run_id: str
    stream: Any
    node: str = ""
    beside: tuple[str, ...] = ()


@dataclass
class _Past:
    """The placements of a run that came to nothing.

    `counted`: those of them that were lost. `last`: the one whose windows are kept, or that reached a node at least.
    """

    lost: list[str] = field(default_factory=list)
    counted: int = 0
    last: _InFlight | None = None


class RayExecutor:
    """Runs on an existing cluster. Several threads may run at once, as many as the cluster has GPUs."""

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: host:port of the cluster's head; "auto" finds one that was started on this machine.

        Raises:
            HarnessError: No cluster answers within 10 s, or a node has another version of the harness.
        """
        self._head = connect(address)
        self._task = ray.remote(num_cpus=0, max_retries=0, max_calls=0, num_returns="streaming")(_task())
        self._in_flight: list[_InFlight] = []
        self._change = threading.Condition()
        self._running = 0
        self._closed = False
        self._ours = Version(harness.__version__, git_commit())
        try:
            asked = versions()
            refuse_other_versions(self._ours, asked)
            self._alike, self._refused = set(asked), set[str]()
            self._watch = Watch(self._head)
        except BaseException:
            ray.shutdown()
            raise

    def lanes(self, specs: Sequence[RunSpec]) -> ClusterLanes:
        """As many runs at once as there are GPUs, also of nodes that join later: Ray gives each its own.

        Raises:
            UserInputError: A run cannot be made by any node: with the list of what the cluster has.
        """
        refuse_unplaceable(specs, self._nodes())
        return cluster_lanes(specs, self._nodes)

    def _nodes(self) -> list[Node]:
        return [node for node in self._watch.nodes if node.id not in self._refused]

    def run(self, spec: RunSpec, campaign: str, scratch: Path, report: Report) -> RunRecord:
        """Run on some node, and elsewhere when that node is lost.

        Raises:
            KeyboardInterrupt: Passed on, after the task and all it started were told to end.
            StoreError: The scratch folder cannot be written.
            HarnessError: The cluster's head is gone.
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
        started, past = datetime.now(UTC).isoformat(timespec="seconds"), _Past()

        def failed(kind: str, message: str, tail: str = "") -> RunRecord:
            failure = Failure(kind=kind, message=message, hint=HINT, phase="placement", stderr_tail=tail[-4000:])
            record, trace = unfinished(scratch, failure) or (failed_record(spec, campaign, started, failure), None)
            write_run(scratch, record if past.last is None else _with_place(record, past.last, past.lost), trace)
            clear_scratch(scratch)
            return read_record(scratch / RECORD)

        while past.counted < MOST_PLACEMENTS and not self._closed:
            try:
                return self._placed(spec, campaign, scratch, report, past)
            except _Lost as reason:
                past.lost.append(str(reason))
                past.counted += 1
            except _Refused as reason:
                past.lost.append(str(reason))
            except _Nowhere as reason:
                return failed("not_placed", f"{reason}{_told(past.lost)}")
            except RayTaskError as error:  # the harness's own part on the node failed, not the run
                return failed("exception", "The run's node failed.", str(error))
        if self._closed:
            return failed("stopped", "The campaign was stopped.")
        return failed("node_lost", f"No placement lasted.{_told(past.lost)}")

    def close(self) -> None:
        """End what is in progress and leave the cluster; again is harmless."""
        with self._change:
            first, self._closed = not self._closed, True
            for each in self._in_flight:
                _cancel(each)
            self._change.wait_for(lambda: not self._running, GRACE_S)  # Ray ends threads that still wait for it
        if first:
            self._watch.close()
            leave(self._watch.is_silent)

    def _placed(self, spec: RunSpec, campaign: str, scratch: Path, report: Report, past: _Past) -> RunRecord:
        task = WorkerTask(spec=spec, campaign=campaign, scratch="").model_dump_json()
        with _reserved(spec, self._refused, self._wait) as where, self._submitted(spec, task, where) as mine:
            files = self._follow(mine, spec, campaign, scratch, report, past)
        if (theirs := version_of(files)) not in (None, self._ours.number):
            (scratch / JOURNAL).unlink(missing_ok=True)
            raise self._refuse(mine.node, Version(theirs, None))
        unpack(files, scratch)
        clear_scratch(scratch)
        record = _with_place(read_record(scratch / RECORD), mine, past.lost)
        rewrite_record(scratch, record)
        return record

    @contextmanager
    def _submitted(self, spec: RunSpec, task: str, where: dict[str, Any]) -> Iterator[_InFlight]:
        """The task in flight, and ended whatever happens."""
        with self._change:
            if self._closed:
                raise _Lost("the campaign was stopped")
            options = {"num_gpus": gpus_asked(spec), "resources": _type_share(spec), **where}
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

    def _follow(
        self, mine: _InFlight, spec: RunSpec, campaign: str, scratch: Path, report: Report, past: _Past
    ) -> dict[str, bytes]:
        """What the task tells, until it has told all. Returns the run's files."""
        journal_mode = "wb"  # the windows of an earlier placement stay until this one has some of its own
        try:
            self._wait(_has_come(mine.stream), spec, report)
            for kind, content in self._told(mine.stream):
                if kind == "files":
                    files: dict[str, bytes] = content
                    return files
                if kind == "node":
                    past.last = past.last or mine
                    self._arrived(mine, *content)
                elif kind == "beside":
                    mine.beside = tuple(sorted({run if of == campaign else f"{of}/{run}" for of, run in content}))
                elif kind == "windows":
                    past.last = mine
                    with (scratch / JOURNAL).open(journal_mode) as journal:
                        journal.write(content)
                    journal_mode = "ab"
                else:
                    report(Progress(**json.loads(content)))
        except RayTaskError:
            raise
        except RayError as error:
            raise _Lost(what_happened(error, mine.node)) from error
        except OSError as error:
            raise StoreError(f"Cannot write {scratch}: {error.strerror or error}.", "Is the disk full?") from error
        raise _Lost(f"node {mine.node[:12]}: it ended without the run's files")

    def _told(self, stream: Any) -> Iterator[Any]:
        for told in stream:
            yield ray.get(told)
            self._wait(_has_come(stream))

    def _wait(self, is_there: Callable[[], bool], spec: RunSpec | None = None, report: Report | None = None) -> None:
        """Block until something is there. Ray waits in silence for a head or node that is not there; this does not.

        Args:
            is_there: Blocks for LOOK_S at most.
            spec: Of the run that waits for a GPU.
            report: Is told of it.
        """
        while True:
            self._watch.refuse_silence()
            if is_there():
                return
            if self._closed:
                raise _Lost("the campaign was stopped")
            if spec is not None and (reason := why_nowhere(spec, self._nodes())) is not None:
                raise _Nowhere(reason)
            if report is not None:
                report(Progress(WAITING))

    def _arrived(self, mine: _InFlight, node: str, number: str | None, commit: str | None) -> None:
        """Note where it is. A node that was not there at the start may have another harness."""
        mine.node = node
        if node in self._alike:
            return
        theirs = Version(number, commit)
        if not self._ours.may_be(theirs):
            raise self._refuse(node, theirs)
        self._alike.add(node)

    def _refuse(self, node: str, theirs: Version) -> _Refused:
        """From now on nothing is placed there."""
        self._refused.add(node)
        return _Refused(f"node {node[:12]} has harness {theirs}; this one is {self._ours}")


# --- placing -------------------------------------------------------------------------------------------


def _type_share(spec: RunSpec) -> dict[str, float]:
    return {} if spec.sources.gpu is None else {f"{TYPE_PREFIX}{spec.sources.gpu}": TYPE_SHARE}


@contextmanager
def _reserved(
    spec: RunSpec, refused: set[str], wait: Callable[[Callable[[], bool], RunSpec], None]
) -> Iterator[dict[str, Any]]:
    """Where Ray may place a run: several GPUs are reserved together, on one node; a calibration has its own."""
    if spec.calibration is not None and spec.calibration.node is not None:
        yield {"scheduling_strategy": NodeAffinitySchedulingStrategy(spec.calibration.node, soft=False)}
        return
    elsewhere = {NODE_LABEL: f"!in({','.join(sorted(refused))})"} if refused else {}
    if gpus_asked(spec) == 1:
        yield {"label_selector": elsewhere} if refused else {}
        return
    bundle = {"GPU": gpus_asked(spec), **_type_share(spec)}
    group = placement_group(
        [bundle], strategy="STRICT_PACK", **({"bundle_label_selector": [elsewhere]} if refused else {})
    )
    try:
        wait(lambda: bool(group.wait(LOOK_S)), spec)
        yield {"scheduling_strategy": PlacementGroupSchedulingStrategy(group)}
    finally:
        with suppress(RayError):
            remove_placement_group(group)


def _has_come(stream: Any) -> Callable[[], bool]:
    return lambda: bool(ray.wait([stream], timeout=LOOK_S, fetch_local=False)[0])


def _cancel(placement: _InFlight) -> None:
    """End the task's process, and with it the fork server and the worker."""
    with suppress(RayError, ValueError):
        ray.cancel(placement.stream, force=True)


def _of_company(record: RunRecord, beside: tuple[str, ...]) -> list[Caveat]:
    """What other runs on the node did to this one. A simulated machine is each run's own."""
    if not beside or record.simulated:
        return []
    told = f"Other GPUs of the node ran or loaded {', '.join(beside)} meanwhile: the node's energy includes theirs."
    return [Caveat(code="node-shared", message=told)]


def _told(lost: Sequence[str]) -> str:
    times = "1 time" if len(lost) == 1 else f"{len(lost)} times"
    return f" Placed {times} before and lost: {'; '.join(lost)}." if lost else ""


def _with_place(record: RunRecord, placement: _InFlight, lost: Sequence[str]) -> RunRecord:
    beside = placement.beside
    placed = Placed(cluster=f"ray {ray.__version__}", node=placement.node, lost=tuple(lost), beside=beside)
    return record.model_copy(
        update={"placed": placed, "caveats": (*record.caveats, *_of_company(record, placement.beside))}
    )


def _task() -> Callable[[str], Iterator[tuple[str, Any]]]:
    """What a node does: this node, its harness, then all that the run tells and leaves."""
    version = version_teller()

    def made(task: str) -> Iterator[tuple[str, Any]]:
        """Travels whole: a node that joined later may have no harness or another one, which is then not asked."""
        import ray

        yield "node", (ray.get_runtime_context().get_node_id(), *version())
        from harness.run.remote import made_here

        yield from made_here(task)

    return made
