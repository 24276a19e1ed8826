"""A disk that is full from some write on, or may only be read."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from harness.errors import StoreError
from harness.store import files


class FullDisk:
    """Lets so many writes to files pass, and then half of one and no more."""

    def __init__(self, writes: int, patch: pytest.MonkeyPatch) -> None:
        self.left = writes
        self._open, self._parquet = Path.open, files.write_parquet
        patch.setattr(Path, "open", lambda path, *a, **k: self._spoiled(self._open(path, *a, **k)))
        patch.setattr(files, "write_parquet", self._write_parquet)
        patch.setattr(os, "fsync", lambda fd: None)

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _spoiled(self, file: Any) -> Any:
        write = file.write

        def limited(content: Any) -> int:
            try:
                self._spend()
            except OSError:
                write(content[: len(content) // 2])
                file.flush()
                raise
            return write(content)

        if not isinstance(file, io.TextIOWrapper | io.BufferedIOBase) or not file.writable():
            return file
        return Limited(file, limited)

    def _write_parquet(self, path: Path, *rest: Any) -> None:
        try:
            self._spend()
        except OSError as error:
            path.write_bytes(b"PAR1")
            raise StoreError(f"Cannot write {path}: {error.strerror}.", "Free some space.") from error
        self._parquet(path, *rest)


class Limited:
    """A file with another way to write."""

    def __init__(self, file: Any, write: Any) -> None:
        self._file, self.write = file, write

    def __enter__(self) -> Limited:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
