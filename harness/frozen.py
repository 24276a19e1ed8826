"""What every frozen type is made of: the base class, and the kinds of field that several of them have."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Provenance = Literal["measured", "modelled", "assumed", "simulated"]
Kernel = Literal["boxcar", "first_order"]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]  # a year: more is a slip of the pen


LONGEST_NAME = 200  # characters; a file system takes 255 bytes, and numbers are appended


def is_folder_name(name: str, longest: int = LONGEST_NAME) -> bool:
    """Whether a run or a campaign may have this name: it leads nowhere, hides nothing, and is no file of the store."""
    inside = name.isprintable() and "/" not in name and not name.startswith(".")
    return inside and 0 < len(name) <= longest and len(name.encode()) <= 240 and not name.endswith(".jsonl")


def _names_a_folder(name: str) -> str:
    if not is_folder_name(name):
        raise ValueError(f"it names a folder, so it must be a plain name of at most {LONGEST_NAME} letters")
    return name


FolderName = Annotated[str, AfterValidator(_names_a_folder)]  # what is stored must not lead out of the results


def _tells_a_time(text: str) -> str:
    try:
        if datetime.fromisoformat(text).tzinfo is not None:
            return text
    except ValueError:
        pass
    raise ValueError("it must be a time with its zone, like 2026-01-31T12:00:00+00:00")


UtcTime = Annotated[str, AfterValidator(_tells_a_time)]


class Frozen(BaseModel):
    """Base of every record: immutable, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
