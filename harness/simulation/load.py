"""The load that drives a simulated node: an append-only log of (time, GPU, utilisation).

On the real clock the log is a file mapped by the worker, which writes, and the sampler process, which reads:
both then see the same GPU. On the virtual clock it stays in memory.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError

Row = tuple[float, float, float]  # t_s, GPU index, utilisation

_ROW = struct.Struct("=3d")
_COUNT = struct.Struct("=q")
FILE_CAPACITY = 2_000_000


class LoadLog(Protocol):
    """Rows of (t_s, gpu_index, utilisation_fraction), times rising."""

    def append(self, t_s: float, gpu_index: int, utilisation: float) -> None:
        """Add one event; visible to every reader of the same log."""
        ...

    def count(self) -> int:
        """Number of events so far: asked at every reading, so it has to cost nothing."""
        ...

    def rows(self, start: int) -> list[Row]:
        """Events from row `start` on."""
        ...


class MemoryLoadLog:
    """For one process and any clock."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def append(self, t_s: float, gpu_index: int, utilisation: float) -> None:
        """Add one event."""
        self._rows.append((t_s, float(gpu_index), utilisation))

    def count(self) -> int:
        """Number of events so far."""
        return len(self._rows)

    def rows(self, start: int) -> list[Row]:
        """Events from row `start` on."""
        return self._rows[start:]


class FileLoadLog:
    """For several processes of one machine. One writer; the count is written after the row."""

    def __init__(self, path: Path, capacity: int = FILE_CAPACITY) -> None:
        self._capacity = capacity
        size = _COUNT.size + capacity * _ROW.size
        if not path.exists():
            with path.open("xb") as file:
                file.truncate(size)  # sparse: takes room only as it fills
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def append(self, t_s: float, gpu_index: int, utilisation: float) -> None:
        """Add one event.

        Raises:
            HarnessError: The log is full.
        """
        count = self.count()
        if count >= self._capacity:
            raise HarnessError(
                f"The simulated GPU's load log is full ({self._capacity} events).",
                "Use larger batches or fewer repeats in a simulated run.",
            )
        _ROW.pack_into(self._map, _COUNT.size + count * _ROW.size, t_s, gpu_index, utilisation)
        _COUNT.pack_into(self._map, 0, count + 1)

    def count(self) -> int:
        """Number of events so far."""
        (count,) = _COUNT.unpack_from(self._map)
        return int(count)

    def rows(self, start: int) -> list[Row]:
        """Events from row `start` on."""
        return [_ROW.unpack_from(self._map, _COUNT.size + row * _ROW.size) for row in range(start, self.count())]
