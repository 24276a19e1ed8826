"""Files that a command writes: all of them can be, before the first is; each is whole, or is not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def check_targets(paths: Sequence[Path]) -> None:
    """Refuse before any work is done.

    Raises:
        UserInputError: One is a folder, lies in none that can be written, or is named twice.
    """
    import os

    from harness.errors import UserInputError

    for path in paths:
        if _is_device(path):
            continue
        target = path.resolve()
        if target.is_dir() or not target.parent.is_dir():
            why = "it is a folder" if target.is_dir() else f"there is no folder {path.parent}"
            raise UserInputError(f"Cannot write {path}: {why}.", "Give a file in a folder that exists.")
        if not os.access(target if target.exists() else target.parent, os.W_OK):
            raise UserInputError(f"Cannot write {path}: no permission.", "Give a file in a folder that is writable.")
    twice = next(
        (path for place, path in enumerate(paths) if path.resolve() in [p.resolve() for p in paths[:place]]), None
    )
    if twice is not None:
        raise UserInputError(f"{twice} is named for two files, of which one would be lost.", "Give each its own name.")


def write_target(path: Path, text: str) -> None:
    """Write beside the file and move there; what is no regular file (a pipe, /dev/stdout) is written to as it is.

    Raises:
        StoreError: It cannot be written.
    """
    import os

    from harness.errors import StoreError

    target = path.resolve()
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if _is_device(path):
            path.write_text(text, encoding="utf-8")
            return
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, target)
    except OSError as error:
        raise StoreError(
            f"Cannot write {path}: {error.strerror or error}.", "Give a file in a folder that exists and is writable."
        ) from error
    finally:
        if beside.exists():
            beside.unlink()


def _is_device(path: Path) -> bool:
    """A pipe or a device: nothing can be moved there."""
    return path.exists() and not path.is_file() and not path.is_dir()
