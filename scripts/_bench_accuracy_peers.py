"""Accuracy benchmark: other tools around the same work on the same virtual board, each through its own code.

As a program it reads cells as JSON lines on standard input and answers each with one line: that is how it runs in the
virtual environment of Zeus, which cannot share one with ray. Every reading is taken right at the begin and the end of
the work, as the tools' own examples do. Both tools read NVML's energy counter then; no clock enters their energy.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

from _bench_accuracy_world import Cell, Work, node_of, play

from harness.simulation.gpu import SimulatedNode
from harness.simulation.nvml import installed

PAUSE_S = 2.0


class Peer(Protocol):
    """Another tool's window."""

    def start(self) -> None:
        """Open it."""
        ...

    def stop(self) -> float | None:
        """Close it: GPU energy in joules; None where the tool has none."""
        ...

    def close(self) -> None:
        """Release the tool."""
        ...


def peer_windows(node: SimulatedNode, cell: Cell, count: int, peer: Peer) -> list[dict[str, float | None]]:
    """True energy and the peer's figure of some windows on end, joules, each after a rest of random length."""
    rng, work, found = random.Random(f"rests/{cell.key}"), Work(cell), []
    gpu = node.gpus[0]
    for _ in range(count):
        node.clock.sleep_s(PAUSE_S + rng.random())
        batches = work.window()
        start_s = node.clock.now_s()
        peer.start()
        for batch in batches:
            play(node, batch)
        said_j, end_s = peer.stop(), node.clock.now_s()
        method_j = said_j
        if said_j is not None and cell.counter == "sensor":  # less what the board itself does to every tool
            method_j = (said_j - gpu.offset_w * (end_s - start_s)) / gpu.gain
        found.append({"true_j": gpu.true_energy_j(start_s, end_s), "said_j": said_j, "method_j": method_j})
    return found


class ZeusPeer:
    """ZeusMonitor, without synchronising: there is no CUDA device to wait for."""

    def __init__(self) -> None:
        import zeus.device.gpu
        from zeus.monitor import ZeusMonitor

        zeus.device.gpu._gpus = None  # Zeus keeps the boards it found for the life of a process; this is another one
        self._monitor: Any = ZeusMonitor(gpu_indices=[0], cpu_indices=[])

    def start(self) -> None:
        """Open a window."""
        self._monitor.begin_window("window", sync_execution=False)

    def stop(self) -> float:
        """Close it."""
        return float(self._monitor.end_window("window", sync_execution=False).gpu_energy[0])

    def close(self) -> None:
        """Nothing to release."""


class CodeCarbonPeer:
    """The harness's reference meter: CodeCarbon's own offline tracker, its start_task and stop_task."""

    def __init__(self) -> None:
        from harness.power.host import CodeCarbonMeter

        self._meter = CodeCarbonMeter(1)

    def start(self) -> None:
        """Open a window."""
        self._meter.start()

    def stop(self) -> float | None:
        """Close it."""
        return self._meter.stop().gpu_energy_j

    def close(self) -> None:
        """Stop its thread."""
        self._meter.close()


def run_cell(cell: Cell, count: int, open_peer: Callable[[], Peer]) -> list[dict[str, float | None]]:
    """A fresh board, a fresh monitor, some windows."""
    node = node_of(cell)
    with installed(node):
        peer = open_peer()
        try:
            return peer_windows(node, cell, count, peer)
        finally:
            peer.close()


def main() -> None:
    """Serve cells to Zeus until standard input ends."""
    from importlib.metadata import version

    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # Zeus may print
        print(json.dumps({"version": version("zeus")}), file=answers, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            cell = Cell(**asked["cell"])
            windows = run_cell(cell, asked["count"], ZeusPeer)
            print(json.dumps({"cell": asdict(cell), "windows": windows}), file=answers, flush=True)


if __name__ == "__main__":
    main()
