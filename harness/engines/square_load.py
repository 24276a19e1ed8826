"""A load with sharp edges for a real GPU: matrix products in short chunks, never more than two of them waiting.

CUDA launches are asynchronous: a loop that only launches would fill a queue that works on for seconds after the loop
has ended. Here a chunk takes about half a millisecond, the loop waits for the chunk before last, and both edges are
synchronized, so that what the caller stamps around `hold` is when the board really worked, to within a millisecond.
The caller polls NVML from another process (power/sampler): neither can hold the other up by Python's lock.

Run on CPU tensors only so far: no GPU could be reached when this was written.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from harness.clock import Clock
from harness.errors import ModelUnavailable, OutOfMemory, SourceUnavailable

try:
    import torch
except ImportError as error:
    raise ModelUnavailable(
        "Loading a real GPU needs PyTorch, which is not installed here.",
        "pip install 'energy-harness[models]'; or add --simulated A100-SXM4-80GB to see what the command does.",
    ) from error

CHUNK_S = 0.0005
WAITING_CHUNKS = 2
SMALLEST_SIDE, LARGEST_SIDE = 256, 4096
TIMED_PRODUCTS = 10


class MatrixLoad:
    """Works the device on demand. Allocates three square matrices once; see `product_s` for what one product takes."""

    def __init__(self, clock: Clock, device: str = "cuda") -> None:
        """Choose the largest matrices whose product takes at most a chunk, and how many products make one.

        Args:
            clock: The clock on which `hold` is told when to end.
            device: "cuda", "cuda:N", or "cpu" for tests.

        Raises:
            SourceUnavailable: PyTorch cannot use the device.
            OutOfMemory: Another process leaves no room for three matrices of 256 x 256.
        """
        if device != "cpu" and not torch.cuda.is_available():
            why = "was built without CUDA" if torch.version.cuda is None else "finds no GPU"
            raise SourceUnavailable(
                f"PyTorch {torch.__version__} {why}, so the GPU cannot be put under load.",
                "Install the CUDA wheel of PyTorch that fits the driver.",
            )
        self._clock, self._device = clock, torch.device(device)
        try:
            self._choose_size()
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"There is no room on {device} for the matrices of the load.", "Stop what else uses this GPU."
            ) from error

    def _choose_size(self) -> None:
        side = SMALLEST_SIDE
        while True:
            self._allocate(side)
            self.product_s = self._timed_product_s()
            if self.product_s >= CHUNK_S / 2 or side == LARGEST_SIDE:
                break
            side *= 2
        self.products_per_chunk = max(1, round(CHUNK_S / self.product_s))

    def _allocate(self, side: int) -> None:
        # Random, not zeros: a multiplier that toggles no bits draws far less power.
        dtype = torch.float32 if self._device.type == "cpu" else torch.float16
        self._left, self._right = (torch.randn(side, side, device=self._device, dtype=dtype) for _ in range(2))
        self._product = torch.empty_like(self._left)

    def _timed_product_s(self) -> float:
        self._multiply(2)  # the first calls choose and load kernels
        self.synchronize()
        start_s = self._clock.now_s()
        self._multiply(TIMED_PRODUCTS)
        self.synchronize()
        return max(1e-6, (self._clock.now_s() - start_s) / TIMED_PRODUCTS)

    def _multiply(self, count: int) -> None:
        for _ in range(count):
            torch.matmul(self._left, self._right, out=self._product)

    def hold(self, until_s: float) -> None:
        """Work the device from now on; returns when it is idle again, at most three chunks after `until_s`."""
        waiting: deque[Any] = deque()
        try:
            while self._clock.now_s() < until_s:
                self._multiply(self.products_per_chunk)
                waiting.append(self._marked())
                if len(waiting) > WAITING_CHUNKS:
                    waiting.popleft().synchronize()
        finally:  # also on Ctrl-C: nothing is left running
            self.synchronize()

    def _marked(self) -> Any:
        if self._device.type == "cpu":
            return _Done()
        event: Any = torch.cuda.Event()
        event.record()
        return event

    def synchronize(self) -> None:
        """Block until the device is idle."""
        if self._device.type != "cpu":
            torch.cuda.synchronize(self._device)

    def close(self) -> None:
        """Give the memory back."""
        del self._left, self._right, self._product
        if self._device.type != "cpu":
            torch.cuda.empty_cache()


class _Done:
    """On a CPU a product is finished when the call returns."""

    def synchronize(self) -> None:
        """Nothing to wait for."""
