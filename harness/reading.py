"""Files that others made are read whole, and never beyond a limit: what is larger, or no file, is refused at once.

The limits are far above anything that the harness writes or was shown. They are there for what is not what it claims.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MIB = 1024**2
MOST_CONFIG_BYTES = MIB // 2  # a config or a sensor profile, read by pure Python; the shipped ones have 10 kB
MOST_TABLE_BYTES = 512 * MIB  # a recording, a CSV file of CodeCarbon, a file of prompts; 10,000 runs take 5 MB
MOST_HOURLY_BYTES = 16 * MIB  # fifty years of hours
MOST_RECORD_BYTES = 256 * MIB  # record.json, or a file of imported runs
MOST_PICTURE_BYTES = 64 * MIB
MOST_TRACE_BYTES = 2048 * MIB  # trace.parquet, or prompts in Parquet


def read_limited(path: Path, most_bytes: int, pipes: bool = False) -> bytes:
    """All bytes of a file.

    Args:
        path: A regular file, or a link to one.
        most_bytes: The limit.
        pipes: Read a pipe too, as a shell's <(...) makes them: of what a user names on the command line. One in a
            folder that others made may never end, or never begin.

    Raises:
        OSError: It cannot be read, is something else (a folder, a device), or is larger.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if pipes else os.O_NONBLOCK))
    except ValueError as error:  # a NUL, or half a character, in the name
        raise FileNotFoundError(errno.ENOENT, f"no file can have this name ({error})") from error
    with open(opened, "rb") as file:
        _refuse_no_file(os.fstat(opened).st_mode, path, pipes)
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes / MIB:,g} MiB, the most that is read", str(path))
    return content


def size_of_file(path: Path) -> int:
    """Bytes of a regular file, or of one that a link leads to: asked before a library opens it by its name.

    Raises:
        OSError: There is none, or it is something else.
    """
    found = os.stat(path)
    _refuse_no_file(found.st_mode, path, pipes=False)
    return found.st_size


def _refuse_no_file(mode: int, path: Path, pipes: bool) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode)):
        return
    kind = "pipe" if stat.S_ISFIFO(mode) else "device"
    raise OSError(errno.EINVAL, f"it is a {kind}, not a file", str(path))


def read_limited_text(path: Path, most_bytes: int, encoding: str = "utf-8", pipes: bool = False) -> str:
    """The text of a file, its line ends as they are.

    Raises:
        OSError: As `read_limited`.
        UnicodeDecodeError: It is not a text in that encoding.
    """
    return read_limited(path, most_bytes, pipes).decode(encoding)
