"""Which nodes of a cluster can make a run: by type and number of GPUs, and by their harness. Knows no library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import UserInputError
from harness.run.lanes import Lanes
from harness.run.retries import Attempt
from harness.specs import RunSpec


@dataclass(frozen=True)
class Node:
    """What one living node has to offer."""

    id: str
    gpu_types: frozenset[str]
    gpu_count: int

    def can_make(self, spec: RunSpec) -> bool:
        """Whether the run fits on it, once its GPUs are free."""
        if spec.calibration is not None and spec.calibration.node not in (None, self.id):
            return False
        return gpus_asked(spec) <= self.gpu_count and spec.sources.gpu in (None, *self.gpu_types)


@dataclass(frozen=True)
class Version:
    """Which harness a node would measure with; `number` is None where there is none."""

    number: str | None
    commit: str | None

    def __str__(self) -> str:
        return "none" if self.number is None else f"{self.number}{f' ({self.commit})' if self.commit else ''}"

    def may_be(self, other: Version) -> bool:
        """False where the two are known to differ: a package that was installed does not tell its commit."""
        return self.number == other.number and (None in (self.commit, other.commit) or self.commit == other.commit)


@dataclass(frozen=True)
class ClusterLanes(Lanes):
    """As many runs at once as the cluster has GPUs for; which GPUs, its scheduler decides."""

    most: int = 1
    nodes: Callable[[], Sequence[Node]] = tuple  # as they are now: some leave, some join

    @property
    def threads(self) -> int:
        """For nodes that join later, more than runs at once now."""
        return self.most

    def startable(self, todo: Sequence[Attempt], in_flight: Iterable[Attempt]) -> list[Attempt]:
        """The next attempts that there are free GPUs of their type for, in their order.

        Also those whose last node is gone: somebody has to say so.
        """
        nodes = self.nodes()
        free = Counter((node.gpu_types, node.gpu_count) for node in nodes)
        for spec in sorted(
            (attempt.spec for attempt in in_flight), key=lambda spec: (spec.sources.gpu is None, -gpus_asked(spec))
        ):
            _take(spec, free)
        chosen: list[Attempt] = []
        full: dict[object, bool] = {}  # what there is no room for now, and whether there will be
        for attempt in todo:
            node = attempt.spec.calibration.node if attempt.spec.calibration is not None else None
            shape = attempt.spec.sources.gpu, gpus_asked(attempt.spec), node
            if shape not in full and not _take(attempt.spec, free):
                full[shape] = any(node.can_make(attempt.spec) for node in nodes)
            if not full.get(shape, False):
                chosen.append(attempt)
        return chosen


def cluster_lanes(specs: Sequence[RunSpec], nodes: Callable[[], Sequence[Node]]) -> ClusterLanes:
    """Lanes for these runs on the nodes that there are.

    Args:
        specs: The runs.
        nodes: Asked whenever a run may start.
    """
    at_once = max(1, min(sum(node.gpu_count for node in nodes()), len(specs)))
    return ClusterLanes(at_once, owns=lambda spec: frozenset(), most=max(1, len(specs)), nodes=nodes)


def _take(spec: RunSpec, free: Counter[tuple[frozenset[str], int]]) -> bool:
    """Take the GPUs of a run from the node that it leaves the least of. `free`: how many nodes have what left."""
    count, kind = gpus_asked(spec), spec.sources.gpu
    fitting = [
        (left, types) for (types, left), many in free.items() if many and left >= count and kind in (None, *types)
    ]
    if not fitting:
        return False
    left, types = min(fitting, key=lambda each: each[0])
    free[types, left] -= 1
    free[types, left - count] += 1
    return True


def gpus_asked(spec: RunSpec) -> int:
    """How many GPUs the run owns."""
    return len(spec.sources.gpus)


def refuse_unplaceable(specs: Sequence[RunSpec], nodes: Sequence[Node]) -> None:
    """See that every run can be made by some node, before anything runs.

    Raises:
        UserInputError: A run is bound to one machine, or to GPUs that the cluster does not have.
    """
    for spec in specs:
        _refuse_bound(spec)
        if (reason := why_nowhere(spec, nodes)) is not None:
            raise UserInputError(reason, "Ask for one of these with sources.gpu, or add nodes to the cluster.")


def why_nowhere(spec: RunSpec, nodes: Sequence[Node]) -> str | None:
    """Why no node can make the run, with what the cluster has; None where one can."""
    if any(node.can_make(spec) for node in nodes):
        return None
    count, kind = gpus_asked(spec), f" of type {spec.sources.gpu}" if spec.sources.gpu is not None else ""
    asked = f"{count} GPU{'s' if count > 1 else ''}{kind}"
    return f"No node of the cluster has {asked}, as {spec.run_id} asks for. The cluster has: {offer(nodes)}."


def offer(nodes: Iterable[Node]) -> str:
    """What the cluster has, in words: `2 nodes with 8 x H100, 1 node with 1 x T4`."""
    kinds = Counter(
        (node.gpu_count, "/".join(sorted(node.gpu_types)) or "GPU of unknown type") for node in nodes if node.gpu_count
    )
    told = [
        f"{many} node{'s' if many > 1 else ''} with {count} x {kind}" for (count, kind), many in sorted(kinds.items())
    ]
    return ", ".join(told) or "no node with a GPU"


def refuse_other_versions(ours: Version, nodes: Mapping[str, Version]) -> None:
    """Records of one campaign come from one harness.

    Raises:
        UserInputError: A node has another one, or none; the first is named with it.
    """
    for node, theirs in nodes.items():
        if not ours.may_be(theirs):
            raise UserInputError(
                f"Node {node[:12]} of the cluster has harness {theirs}; this one is {ours}.",
                "Install the same version on every node.",
            )


def _refuse_bound(spec: RunSpec) -> None:
    """What a cluster would quietly measure as something else."""
    if spec.sources.gpus != tuple(range(gpus_asked(spec))):
        raise UserInputError(
            f"sources.gpus of {spec.model.id} names GPUs of one machine: {', '.join(map(str, spec.sources.gpus))}.",
            "On a cluster it only says how many: [0], [0, 1], ... The type is sources.gpu.",
        )
    if spec.server is not None and spec.server.base_url is not None:
        raise UserInputError(
            f"The server {spec.server.base_url} is on one machine, not on the node that a run is placed on.",
            "Let each run start its own: server.command with {port}, without base_url.",
        )
    if spec.accounting is not None:
        raise UserInputError(
            f"The accounting {spec.accounting} counts every GPU of a machine, and other runs may be placed beside.",
            "Leave --executor ray or the accounting out.",
        )
    if spec.engine not in ("simulated", "openai") and spec.device == "cpu":
        raise UserInputError(
            f"{spec.model.id} runs on the CPU, which all runs that are placed on a node share.",
            "Leave --executor ray out, or run it on a GPU.",
        )
