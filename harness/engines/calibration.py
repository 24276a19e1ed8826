"""The fixed loads of a calibration: the same work on every board, once bound by arithmetic and once by memory.

Two loads, because boards differ in more than one way: what two boards take for the one need not differ as it does for
the other, and how far the two differences lie apart says how well either speaks of a model (compare/boards). Random
numbers, drawn on the CPU by a fixed seed so that every board gets the same bits: power depends on the values.

A change of any number here is another load, and needs another name: results under one name are compared.

Run on CPU tensors only so far: no GPU could be reached when this was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.engines.base import Prepared
from harness.errors import ModelUnavailable, OutOfMemory, SourceUnavailable
from harness.records import WorkCounts
from harness.specs import CALIBRATION_LOADS, MATRIX_PRODUCTS, RunSpec
from harness.tasks.base import Request

try:
    import torch
except ImportError as error:
    raise ModelUnavailable(
        "A calibration of a real GPU needs PyTorch, which is not installed here.",
        "pip install 'energy-harness[models]'",
    ) from error

SEED = 20_260_101
STEPS = 4  # products or copies in one request
SIDE = {"cuda": 8192, "cpu": 512}  # of the square matrices; 1.1e12 floating point operations a product on a GPU
COPIED_VALUES = {"cuda": 2**29, "cpu": 2**22}  # 1 GiB of float16 on a GPU, beyond every board's cache
SMALLEST_PART = 2**20  # values drawn at once; repeated to fill what is copied


class CalibrationEngine:
    """One of the two loads, on one device. A request is STEPS products, or STEPS copies, and yields nothing."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._device = torch.device(spec.device)
        self._left: Any = None
        self._right: Any = None
        self._result: Any = None

    @property
    def parameter_count(self) -> int | None:
        """There is no model."""
        return None

    def load(self) -> None:
        """Draw the numbers, bring them onto the device, and work once: the first call chooses and loads kernels.

        Raises:
            ModelUnavailable: A load that this version does not have.
            SourceUnavailable: PyTorch cannot use the device.
            OutOfMemory: They do not fit.
        """
        if self._spec.model.id not in CALIBRATION_LOADS:
            raise ModelUnavailable(
                f"There is no calibration load {self._spec.model.id}.",
                f"This version has {' and '.join(CALIBRATION_LOADS)}.",
            )
        if self._device.type == "cuda" and not torch.cuda.is_available():
            raise SourceUnavailable(
                f"PyTorch {torch.__version__} finds no GPU to calibrate.",
                "Install the CUDA wheel of PyTorch that fits the driver.",
            )
        try:
            self._fill()
            self._work()
            self.synchronize()
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"There is no room on {self._device} for the load {self._spec.model.id}.",
                "Stop what else uses this GPU.",
            ) from error

    def _fill(self) -> None:
        kind, dtype = self._device.type, getattr(torch, self._spec.dtype)
        drawn = torch.Generator().manual_seed(SEED)
        if self._spec.model.id == MATRIX_PRODUCTS:
            side = SIDE[kind]
            self._left, self._right = (
                torch.randn(side, side, generator=drawn).to(self._device, dtype) for _ in range(2)
            )
        else:
            part = torch.randn(SMALLEST_PART, generator=drawn).to(self._device, dtype)
            self._left = part.repeat(COPIED_VALUES[kind] // SMALLEST_PART)
        self._result = torch.empty_like(self._left)

    def _work(self) -> None:
        for _ in range(STEPS):
            if self._right is None:
                self._result.copy_(self._left)
            else:
                torch.matmul(self._left, self._right, out=self._result)

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """How many there are: their content is nothing."""
        return len(requests)

    def run(self, prepared: Prepared) -> WorkCounts:
        """Work through them; returns before the device has."""
        for _ in range(prepared):
            self._work()
        return WorkCounts(requests=prepared)

    def synchronize(self) -> None:
        """Block until the device is idle."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def close(self) -> None:
        """Give the memory back."""
        self._left = self._right = self._result = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
