"""The load that drives a simulated node: an append-only log of (time, GPU, utilisation).

On the real clock the log is a file mapped by the worker, which writes, and the sampler process, which reads:
both then see the same GPU. On the virtual clock it stays in memory.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError

_ROW = 3  # t_s, gpu index, utilisation
_HEADER_BYTES = 8
FILE_CAPACITY = 2_000_000


class LoadLog(Protocol):
    """Rows of (t_s, gpu_index, utilisation_fraction), times rising."""

    def append(self, t_s: float, gpu_index: int, utilisation: float) -> None:
        """Add one event; visible to every reader of the same log."""
        ...

    def rows(self, start: int) -> NDArray[np.float64]:
        """Events from row `start` on, shape (n, 3)."""
        ...


class MemoryLoadLog:
    """For one process and any clock."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float]] = []

    def append(self, t_s: float, gpu_index: int, utilisation: float) -> None:
        """Add one event."""
        self._rows.append((t_s, float(gpu_index), utilisation))

    def rows(self, start: int) -> NDArray[np.float64]:
        """Events from row `start` on."""
        return np.array(self._rows[start:], dtype=np.float64).reshape(-1, _ROW)


class FileLoadLog:
    """For several processes of one machine. One writer; the count is written after the row."""

    def __init__(self, path: Path, capacity: int = FILE_CAPACITY) -> None:
        self._capacity = capacity
        size = _HEADER_BYTES + capacity * _ROW * 8
        if not path.exists():
            with path.open("xb") as file:
                file.truncate(size)  # sparse: takes room only as it fills
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self._count = np.frombuffer(self._map, dtype=np.int64, count=1)
        self._data = np.frombuffer(self._map, dtype=np.float64, offset=_HEADER_BYTES).reshape(-1, _ROW)

    def append(self, t_s: float, gpu_index: int, utilisation: float) -> None:
        """Add one event.

        Raises:
            HarnessError: The log is full.
        """
        count = int(self._count[0])
        if count >= self._capacity:
            raise HarnessError(
                f"The simulated GPU's load log is full ({self._capacity} events).",
                "Use larger batches or fewer repeats in a simulated run.",
            )
        self._data[count] = (t_s, gpu_index, utilisation)
        self._count[0] = count + 1

    def rows(self, start: int) -> NDArray[np.float64]:
        """Events from row `start` on."""
        return self._data[start : int(self._count[0])].copy()
