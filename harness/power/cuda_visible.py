"""Which GPUs a run means: CUDA counts what CUDA_VISIBLE_DEVICES lets through, NVML counts them all. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.errors import SourceUnavailable

NO_GPU_HINT = "A config with `sources: simulated` runs without a GPU."


def parse_visible_devices(value: str | None, uuids: Sequence[str]) -> list[str]:
    """What CUDA makes of CUDA_VISIBLE_DEVICES, as UUIDs in CUDA's order.

    The rules are those of the CUDA programming guide and of torch.cuda: the first entry that names no device ends the
    list; a device named twice leaves none; UUIDs may be shortened while they stay unique; integers are read as
    strtoul does ("1gpu" is 1); entries of the other kind than the first end the list.

    Args:
        value: The variable's content; None where it is not set: every device. Empty: none.
        uuids: UUIDs of all boards in index order.

    Returns:
        Board UUIDs. MIG slices stay as they were written ("MIG-..."): this module cannot tell their board.
    """
    if value is None:
        return list(uuids)
    entries = [entry.strip() for entry in value.split(",")]
    for prefix in ("MIG-", "GPU-"):
        if entries[0].startswith(prefix):
            break
    else:
        prefix = ""
    visible: list[str] = []
    for entry in entries:
        if prefix == "MIG-":
            found = entry if entry.startswith(prefix) else None
        elif prefix == "GPU-":
            matches = [uuid for uuid in uuids if uuid.lower().startswith(entry.lower())]
            found = matches[0] if len(matches) == 1 and entry.startswith(prefix) else None
        else:
            number = re.match(r"\+?([0-9]{1,9})", entry)
            index = int(number[1]) if number else -1
            found = uuids[index] if 0 <= index < len(uuids) else None
        if found is None:
            break
        if found in visible:
            return []
        visible.append(found)
    return visible


def resolve_selection(
    selection: Sequence[int | str], uuids: Sequence[str], names: Sequence[str], environ: Mapping[str, str]
) -> set[str]:
    """UUIDs of the selected boards.

    Args:
        selection: Numbers as CUDA counts them, UUIDs or their beginnings.
        uuids, names: Of all boards in NVML's index order.
        environ: Where CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER are.

    Raises:
        SourceUnavailable: One does not exist, is not visible to CUDA, is a MIG slice, or its number is ambiguous.
    """
    _refuse_ambiguous_order(selection, names, environ)
    variable = environ.get("CUDA_VISIBLE_DEVICES")
    visible = parse_visible_devices(variable, uuids)
    limited = "" if variable is None else f" with CUDA_VISIBLE_DEVICES={variable!r}"
    seen = f"CUDA sees {len(visible)} of this machine's {len(uuids)} GPU(s){limited}"
    chosen = set()
    for entry in selection:
        if _is_number(entry):
            index = int(entry)
            matches = [visible[index]] if 0 <= index < len(visible) else []
            hint = f"Choose from 0 to {len(visible) - 1}." if visible else NO_GPU_HINT
        else:
            name = str(entry)
            candidates = [*visible, name] if name.startswith("MIG-") else visible
            matches = [uuid for uuid in candidates if uuid.startswith(name)]
            hint = "`harness doctor` lists the UUIDs; CUDA_VISIBLE_DEVICES must let the GPU through."
        if not matches:
            raise SourceUnavailable(f"There is no GPU {entry}: {seen}.", hint)
        if any(uuid.startswith("MIG-") for uuid in matches):
            raise mig_refused(f"'{matches[0]}' is a MIG slice")
        if len(matches) > 1:
            raise SourceUnavailable(f"'{entry}' fits {len(matches)} GPUs: {', '.join(matches)}.", "Write more.")
        chosen.add(matches[0])
    return chosen


def mig_refused(what: str) -> SourceUnavailable:
    """The refusal of a board that is cut into slices; `what` begins the sentence."""
    return SourceUnavailable(
        f"{what}, and NVML meters only the whole board: the energy of one slice cannot be told.",
        "Switch MIG off (`sudo nvidia-smi -i <gpu> -mig 0`) or choose another GPU.",
    )


def _is_number(entry: int | str) -> bool:
    return isinstance(entry, int) or (entry.isascii() and entry.isdigit())


def _refuse_ambiguous_order(selection: Sequence[int | str], names: Sequence[str], environ: Mapping[str, str]) -> None:
    """CUDA counts the fastest board first unless told otherwise; NVML counts by PCI bus."""
    by_number = any(_is_number(entry) for entry in selection)
    by_uuid = environ.get("CUDA_VISIBLE_DEVICES", "").strip().startswith("GPU-")
    if by_number and not by_uuid and len(set(names)) > 1 and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise SourceUnavailable(
            f"GPU numbers are ambiguous here: different boards ({', '.join(dict.fromkeys(names))}) and CUDA "
            "counts the fastest first, NVML by PCI bus.",
            "Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the GPU by its UUID.",
        )
