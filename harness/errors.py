"""Errors that tell what happened, why, and what to do next.

A HarnessError prints without a traceback. Anything else that escapes is a bug of ours and prints one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class HarnessError(Exception):
    """What happened (`message`) and what to do next (`hint`)."""

    kind = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.hint)


class UserInputError(HarnessError):
    """The config or the command line asks for something that cannot be. Exit code 2."""

    kind = "invalid_input"


class SourceUnavailable(HarnessError):
    """A power source cannot be opened or read."""

    kind = "source_unavailable"


class MeasurementInvalid(HarnessError):
    """Readings do not allow a number, not even a weak one."""

    kind = "measurement_invalid"


class ModelUnavailable(HarnessError):
    """The model or its data cannot be loaded."""

    kind = "model_unavailable"


class OutOfMemory(HarnessError):
    """The model or the batch does not fit."""

    kind = "out_of_memory"


class StoreError(HarnessError):
    """A result cannot be written or read. `path`: the file that cannot be read, where it is one."""

    kind = "store"
    path: Path | None = None


class OtherSchemaVersion(StoreError):
    """A stored document of a schema version that this harness does not read. `campaign_folder`: where it lies."""

    def __init__(self, message: str, hint: str, version: int, campaign_folder: Path) -> None:
        super().__init__(message, hint)
        self.version = version
        self.campaign_folder = campaign_folder

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.hint, self.version, self.campaign_folder)
