"""Samples every source from a helper process, so that the model's interpreter never delays a sample.

`python -m harness.power.sampler` is that process. It is handed a pickled factory for its sources on standard input,
answers `ready`, appends fixed-size rows to a file, and stops when standard input closes: also when its parent dies.
Rows are flushed once a second.
"""

from __future__ import annotations

import gc
import json
import math
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from harness.clock import VirtualClock
from harness.errors import HarnessError, SourceUnavailable
from harness.own_process import own_command, own_environment
from harness.power.base import PowerSource, Reading
from harness.power.trace import COLUMNS, PowerTrace, read_samples
from harness.stats import FloatArray

SourceFactory = Callable[[], Sequence[PowerSource]]
SLOW_EVERY = 10  # all but power is read on every tenth sample: each call costs the machine that is measured
FLUSH_S = 1.0
ANSWER_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 10.0


class Sampler(Protocol):
    """Samples from start to stop."""

    def start(self) -> None:
        """Begin; returns when the first sample is about to be taken."""
        ...

    def trace(self) -> PowerTrace:
        """Everything sampled so far."""
        ...

    def stop(self) -> PowerTrace:
        """End, and everything sampled."""
        ...


def _row(index: int, reading: Reading) -> tuple[float, ...]:
    # Spelled out, because this is what every sample costs beside the reading itself.
    nan = math.nan
    return (
        reading.t_s,
        index,
        nan if reading.power_w is None else reading.power_w,
        nan if reading.average_power_w is None else reading.average_power_w,
        nan if reading.energy_j is None else reading.energy_j,
        nan if reading.clock_hz is None else reading.clock_hz,
        nan if reading.temperature_c is None else reading.temperature_c,
        nan if reading.throttle is None else reading.throttle,
        nan if reading.utilisation_fraction is None else reading.utilisation_fraction,
    )


class ProcessSampler:
    """The helper process seen from the worker."""

    def __init__(self, factory: SourceFactory, source_ids: tuple[str, ...], path: Path, period_s: float = 0.02) -> None:
        self._factory = factory
        self._ids = source_ids
        self._path = path
        self._period_s = period_s
        self._process: subprocess.Popen[bytes] | None = None
        self._missed: int | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the helper, for measuring its cost."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the helper and wait until its sources are open.

        Raises:
            SourceUnavailable: The helper could not open its sources.
        """
        self._path.touch()
        task = pickle.dumps((self._factory, str(self._path), self._period_s))
        # Its standard error is the worker's, which is kept; a pipe that nobody reads would block it one day.
        process = subprocess.Popen(
            own_command("harness.power.sampler"), env=own_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(len(task).to_bytes(8, "little") + task)
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if answer != b"ready\n":
            process.kill()
            process.communicate()
            reason = json.loads(answer)["error"] if answer.startswith(b"{") else "its standard error tells more."
            raise SourceUnavailable(
                f"The power sampler did not start: {reason}", "Run harness doctor to see which sources can be read."
            )

    def trace(self) -> PowerTrace:
        """Everything that has reached the file; up to a second may still be on its way while sampling."""
        if self._process is not None and self._process.poll() is None:
            self._ask(b"f")
        return read_samples(self._path, self._ids, self._period_s, self._missed)

    def stop(self) -> PowerTrace:
        """End the helper and return the whole trace. A helper that died leaves what it wrote."""
        process, self._process = self._process, None
        if process is not None:
            try:
                stdout, _ = process.communicate(timeout=STOP_TIMEOUT_S)
                self._missed = int(json.loads(stdout.splitlines()[-1])["missed_deadlines"])
            except (subprocess.TimeoutExpired, IndexError, ValueError, KeyError, BrokenPipeError):
                process.kill()
                process.wait()
        return self.trace()

    def _ask(self, command: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(command)
            self._process.stdin.flush()
            if select.select([self._process.stdout], [], [], ANSWER_TIMEOUT_S)[0]:
                self._process.stdout.readline()
        except (BrokenPipeError, ValueError):
            return


class VirtualSampler:
    """Samples on a virtual clock: whenever time is moved, the samples due on the way are taken."""

    def __init__(self, sources: Sequence[PowerSource], clock: VirtualClock, period_s: float = 0.02) -> None:
        self._sources = tuple(sources)
        self._clock = clock
        self._period_s = period_s
        self._taken: FloatArray = np.empty((0, len(COLUMNS)))
        self._rows: list[tuple[float, ...]] = []  # sampled since then
        self._ticks = self._missed = 0

    def start(self) -> None:
        """Begin sampling as virtual time moves."""
        self._clock.every(self._period_s, self._sample)

    def trace(self) -> PowerTrace:
        """Everything sampled so far."""
        if self._rows:
            self._taken = np.concatenate([self._taken, np.array(self._rows, dtype=np.float64)])
            self._rows.clear()
        ids = tuple(source.info.id for source in self._sources)
        return PowerTrace(ids, self._period_s, self._taken, self._missed)

    def stop(self) -> PowerTrace:
        """End sampling."""
        self._clock.every(self._period_s, None)
        return self.trace()

    def _sample(self) -> None:
        slow = self._ticks % SLOW_EVERY == 0
        try:
            for index, source in enumerate(self._sources):
                self._rows.append(_row(index, source.read(slow)))
        except SourceUnavailable:  # as in the helper process
            self._missed += 1
        self._ticks += 1


def _serve(sources: Sequence[PowerSource], file: BinaryIO, period_s: float) -> int:
    """Sample until standard input closes. Returns the number of missed deadlines."""
    gc.disable()
    stdin = sys.stdin.fileno()
    pack = struct.Struct(f"={len(COLUMNS)}d").pack
    pending = bytearray()
    missed = ticks = 0
    due_s = flush_s = time.monotonic()
    while True:
        ready, _, _ = select.select([stdin], [], [], max(0.0, due_s - time.monotonic()))
        if ready or due_s - flush_s >= FLUSH_S:
            file.write(pending)
            pending.clear()
            flush_s = due_s
        if ready:
            if os.read(stdin, 1) != b"f":
                return missed
            sys.stdout.write("flushed\n")
            sys.stdout.flush()
            continue
        slow = ticks % SLOW_EVERY == 0
        try:
            for index, source in enumerate(sources):
                pending += pack(*_row(index, source.read(slow)))
        except SourceUnavailable:  # what does not pass is told by the worker, which reads the same source
            missed += 1
        ticks += 1
        now_s = time.monotonic()
        due_s += period_s
        late = int((now_s - due_s) / period_s)
        if late >= 1:
            missed += late
            due_s += late * period_s


def _read_exactly(size: int) -> bytes:
    """Unbuffered, so that select() on standard input sees every byte that comes after."""
    data = b""
    while len(data) < size:
        piece = os.read(sys.stdin.fileno(), size - len(data))
        if not piece:
            raise EOFError("the parent closed the pipe before it said what to sample")
        data += piece
    return data


def main() -> None:
    """The helper process."""
    # A Ctrl-C reaches every process of a terminal; the parent ends this one, by closing its standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    size = int.from_bytes(_read_exactly(8), "little")
    factory, path, period_s = pickle.loads(_read_exactly(size))
    try:
        sources: Sequence[PowerSource] = factory()
    except HarnessError as error:
        print(json.dumps({"error": error.message}))
        return
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        with Path(path).open("ab", buffering=0) as file:
            missed = _serve(sources, file, period_s)
    finally:
        for source in sources:
            source.close()
    print(json.dumps({"missed_deadlines": missed}))


if __name__ == "__main__":
    main()
