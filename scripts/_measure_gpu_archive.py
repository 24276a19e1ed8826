"""One file of a whole folder, and flat copies of what is read first: what a machine is given back with."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

FLAT = ("README.md", "summary.json", "sensor.yaml")


def pack(out: Path, archive: Path) -> None:
    """Write the folder into a .tar.gz, whole at any moment by a rename, and copy what is read first beside it.

    What starts with a dot is in progress, or no result, and stays out; a campaign's manifest does not.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    beside = archive.with_name(f".{archive.name}.part")
    with tarfile.open(beside, "w:gz", compresslevel=6) as packed:
        packed.add(out, arcname=out.name, filter=_visible)
    beside.replace(archive)
    for name in FLAT:
        if (out / name).exists():
            shutil.copyfile(out / name, archive.parent / f".{name}")
            (archive.parent / f".{name}").replace(archive.parent / name)


def _visible(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if any(part.startswith(".") for part in Path(member.name).parts) else member
