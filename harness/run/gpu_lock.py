"""Keeps two campaigns of one machine off the same GPU, whatever their names and folders: each would measure the other.

A lock is a file in the temporary folder, held by `flock`: it goes with the process, however that ends. Another
container with a temporary folder of its own is not seen; nor is a Ray cluster, which hands out its GPUs itself.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from harness.errors import SourceUnavailable
from harness.specs import RunSpec, SourcesSpec

NAME = "energy-harness-{uuid}.lock"
MOST_DIGITS = 20


def real_gpus(specs: Iterable[RunSpec], gpus: Mapping[SourcesSpec, Sequence[str]]) -> frozenset[str]:
    """UUIDs of the boards that the runs use; a simulated board is each run's own."""
    return frozenset(uuid for spec in specs if spec.sources.kind == "nvml" for uuid in gpus[spec.sources])


@contextmanager
def gpus_held(uuids: Iterable[str], folder: Path | None = None) -> Iterator[None]:
    """Hold these GPUs for this process.

    Args:
        uuids: Of the GPUs.
        folder: Where the locks are; None for the machine's temporary folder.

    Raises:
        SourceUnavailable: Another process holds one of them.
    """
    with ExitStack() as held:
        for uuid in sorted(uuids):
            file = _opened((folder or Path(tempfile.gettempdir())) / NAME.format(uuid=uuid.replace("/", "_")))
            if file is None:
                continue
            held.callback(os.close, file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(file, MOST_DIGITS, 0).strip().decode(errors="replace")
                raise SourceUnavailable(
                    f"Another harness (process {owner if owner.isdigit() else 'unknown'}) measures on GPU {uuid}: "
                    "each would measure the other.",
                    "Wait for its end, or choose other GPUs with sources.gpus.",
                ) from None
            with suppress(OSError):  # a full disk: the lock holds without its owner's number
                os.ftruncate(file, 0)
                os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield


def _opened(path: Path) -> int | None:
    """The lock's file, for every user of the machine; None where it cannot be had: that stops no campaign."""
    with suppress(OSError):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        os.fchmod(file, 0o666)  # whatever the umask
        return file
    with suppress(OSError):
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    return None
