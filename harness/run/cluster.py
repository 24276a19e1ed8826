"""A Ray cluster that is there: joining it, its nodes and their versions of the harness, whether its head answers."""

from __future__ import annotations

import atexit
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import ray
import ray._private.worker
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.exceptions import NodeDiedError, RayError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.errors import HarnessError, UserInputError
from harness.run.placement import Node, Version
from harness.run.remote import version_teller

CONNECT_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 120.0  # a node starts a process for it
LOOK_S = 2.0
LONGEST_SILENCE_S = 30.0  # Ray ends this process after a minute of it (gcs_rpc_server_reconnect_timeout_s)
EXIT_LOST = 2  # as of the HarnessError that told of it
TYPE_PREFIX = "accelerator_type:"
HOW_TO_START = (
    "Start one with: ray start --head. --address takes its host:port, and the harness runs on one of its nodes."
)
HOST_PORT = re.compile(r"(\w[\w.-]*|\[[0-9A-Fa-f:.]+\]):(\d{1,5})", re.ASCII)

# Ray ends a process whose cluster does not answer (Ray 2.60: after 122 s), so another one asks first.
ASK = """
import sys, ray
from ray._private.services import canonicalize_bootstrap_address_or_die as found
from ray._raylet import GcsClient
print("asking", flush=True)
try:
    address = found(sys.argv[1])
    GcsClient(address=address)
except Exception as error:
    print("no", " ".join(str(error).split()) or type(error).__name__)
else:
    print("yes", address)
"""


def connect(address: str) -> str:
    """Join a cluster that is there.

    Args:
        address: host:port of its head; "auto" finds one that was started on this machine.

    Returns:
        host:port of its head.

    Raises:
        UserInputError: It does not answer, or cannot be joined from here.
    """
    if address != "auto":
        _refuse_unreachable(address)
    found = _answering(address)
    # Of nodes that die Ray prints whole logs amidst tables and JSON, whatever log_to_driver says.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    try:
        ray.init(address=found, log_to_driver=False, logging_level="CRITICAL")
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserInputError(f"The Ray cluster at {found} cannot be joined: {first}", HOW_TO_START) from error
    ray._private.worker.global_worker.threads_stopped.set()  # what would print them spins once the head is gone
    return found


def _refuse_unreachable(address: str) -> None:
    matched = HOST_PORT.fullmatch(address)
    if matched is None or not 0 < int(matched[2]) < 1 << 16:
        raise UserInputError(
            f"--address {address!r} names no Ray cluster: it is host:port of its head, or auto.", HOW_TO_START
        )
    try:
        socket.create_connection((matched[1].strip("[]"), int(matched[2])), CONNECT_TIMEOUT_S).close()
    except TimeoutError as error:
        raise _silent(address, "") from error
    except OSError as error:
        raise UserInputError(
            f"No Ray cluster answers at {address}: {error.strerror or error}.", HOW_TO_START
        ) from error


def _silent(address: str, but: str) -> UserInputError:
    return UserInputError(f"No Ray cluster answers at {address} within {CONNECT_TIMEOUT_S:g} s{but}.", HOW_TO_START)


def _answering(address: str) -> str:
    """The cluster's own address, once it has answered.

    Raises:
        UserInputError: It does not.
    """
    with subprocess.Popen(
        [sys.executable, "-c", ASK, address], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as asking:
        assert asking.stdout is not None
        asking.stdout.readline()  # Ray is loaded, which takes as long as it takes
        try:
            told = asking.communicate(timeout=CONNECT_TIMEOUT_S)[0].strip()
        except subprocess.TimeoutExpired as error:
            raise _silent(address, "" if address == "auto" else ", although something listens there") from error
        finally:
            asking.kill()
    answer, _, content = told.partition(" ")
    if answer == "yes":
        return content
    if address == "auto":
        raise UserInputError("No Ray cluster was started on this machine.", HOW_TO_START)
    raise UserInputError(
        f"What listens at {address} is no head of a Ray cluster: {content or 'it ended the question'}.", HOW_TO_START
    )


def leave(is_lost: bool) -> None:
    """Leave the cluster; one that is lost is told nothing, since Ray would wait for its answer without an end."""
    if is_lost:
        atexit.unregister(ray.shutdown)
        atexit.register(_end_at_once)
    else:
        ray.shutdown()


def _end_at_once() -> None:
    """Ray's threads still wait for the head, and crash an interpreter that is taken down under them."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(EXIT_LOST)


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


class Watch:
    """Asks the head for its nodes again and again, in a thread of its own: without a head Ray's own calls block.

    `nodes`: those that were there when it answered last.
    """

    def __init__(self, head: str) -> None:
        self.nodes = living_nodes()
        self._head = head
        self._heard_s = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        head = GcsClient(address=self._head)
        while not self._over.wait(LOOK_S):
            with suppress(RayError):
                head.check_alive([], timeout=LOOK_S)
                self.nodes = living_nodes()
                self._heard_s = time.monotonic()

    @property
    def is_silent(self) -> bool:
        """Whether the head has not answered for so long that it is taken for lost."""
        return time.monotonic() - self._heard_s > LONGEST_SILENCE_S

    def refuse_silence(self) -> None:
        """See that the head is there.

        Raises:
            HarnessError: It has not answered for long.
        """
        if self.is_silent:
            raise HarnessError(
                f"The head of the Ray cluster, {self._head}, has not answered for {LONGEST_SILENCE_S:g} s.",
                "Finished runs and windows are kept. Once the cluster is there again, the same command goes on.",
            )

    def close(self) -> None:
        """Look no more."""
        self._over.set()


def versions() -> dict[str, Version]:
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
            f"A node of the cluster does not tell its version of the harness: {what_happened(error, '')}",
            "See: ray status",
        ) from error
    return {node: Version(*answer) for node, answer in zip(nodes, answers, strict=True)}


def what_happened(error: RayError, node: str) -> str:
    """In words, why a task came to nothing."""
    what = {NodeDiedError: "it died", WorkerCrashedError: "it or its Ray worker died"}.get(type(error))
    told = what or next(iter(str(error).splitlines()), type(error).__name__)
    return f"node {node[:12]}: {told}" if node else told
