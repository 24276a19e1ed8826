"""Work for a simulated GPU: an engine that only takes time, and a wrapper that lets a real engine drive the board.

`SimulatedEngine` knows its cost exactly: a fixed time per batch, a time per input and per output token (or per
denoising step), and the utilisation it causes. On a virtual clock a campaign takes seconds. Its costs are assumed, not
measured on any model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.engines.base import Engine, Prepared
from harness.errors import OutOfMemory
from harness.records import WorkCounts
from harness.simulation.gpu import SimulatedNode
from harness.specs import RunSpec
from harness.tasks.base import Request
from harness.tasks.pictures import decoded

# Assumed costs of a model that does not exist; only their size is plausible.
FIXED_S = 0.004
INPUT_TOKEN_S = 4e-6
OUTPUT_TOKEN_S = 0.006
INPUT_PIXEL_S = 2e-8
STEP_S = 0.03
PIXELS_AT_STEP_S = 512 * 512
TOKENS_PER_WORD = 1.3
FULL_LOAD_BATCH = 32
TEXT_REQUEST_BYTES = 64 * 1024**2
IMAGE_REQUEST_BYTES = 2 * 1024**3  # at 512 x 512


def utilisation_of(batch_size: int) -> float:
    """How hard a batch drives the board: 0.35 for one request, rising to 0.9 for 32 and more (assumed)."""
    return min(0.9, 0.35 + 0.55 * (batch_size - 1) / (FULL_LOAD_BATCH - 1))


@dataclass
class SimulatedEngine:
    """Takes the time that its cost model says, on the node's clock, and loads the board meanwhile."""

    spec: RunSpec
    node: SimulatedNode
    gpu_indices: tuple[int, ...]

    @property
    def parameter_count(self) -> int | None:
        """There are no parameters."""
        return None

    def load(self) -> None:
        """See whether the batch fits.

        Raises:
            OutOfMemory: It does not, on the simulated board.
        """
        request_bytes = TEXT_REQUEST_BYTES
        if self.spec.image is not None:
            request_bytes = IMAGE_REQUEST_BYTES * self.spec.image.height * self.spec.image.width // PIXELS_AT_STEP_S
        needed_bytes = self.spec.batch_size * request_bytes
        board = self.node.gpus[self.gpu_indices[0]].profile
        if needed_bytes > board.memory_bytes:
            raise OutOfMemory(
                f"A batch of {self.spec.batch_size} needs about {needed_bytes / 2**30:.0f} GiB; the simulated "
                f"{board.name} has {board.memory_bytes / 2**30:.0f} GiB.",
                "Lower batch_size.",
            )

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """The work a batch will be, and how long it will take."""
        words = sum(len(f"{request.text} {request.context or ''}".split()) for request in requests)
        input_tokens = round(words * TOKENS_PER_WORD)
        count = len(requests)
        image = self.spec.image
        if image is None:
            pixels = sum(_pixels(request) for request in requests)
            new_tokens = self.spec.text.new_tokens if self.spec.text is not None else 0
            duration_s = FIXED_S + INPUT_TOKEN_S * input_tokens + INPUT_PIXEL_S * pixels + OUTPUT_TOKEN_S * new_tokens
            work = WorkCounts(
                requests=count,
                input_tokens=input_tokens,
                input_pixels=pixels,
                output_tokens=count * new_tokens,
            )
            return duration_s, work
        pixels = image.height * image.width
        duration_s = FIXED_S + STEP_S * image.steps * count * pixels / PIXELS_AT_STEP_S
        work = WorkCounts(
            requests=count,
            input_tokens=input_tokens,
            images=count,
            output_pixels=count * pixels,
            denoising_steps=count * image.steps,
        )
        return duration_s, work

    def run(self, prepared: Prepared) -> WorkCounts:
        """Wait on the node's clock with the board under load."""
        duration_s, work = prepared
        load_gpus(self.node, self.gpu_indices, utilisation_of(work.requests))
        self.node.clock.sleep_s(duration_s)
        load_gpus(self.node, self.gpu_indices, 0.0)
        assert isinstance(work, WorkCounts)
        return work

    def synchronize(self) -> None:
        """run() returns when all is done."""

    def close(self) -> None:
        """Nothing to release."""


@dataclass
class LoadingEngine:
    """A real engine, on whatever device it has, whose batches load the simulated board while they run.

    Time and work are the engine's; power is the simulation's. The product of the two is nobody's energy: every record
    that comes of it is marked simulated.
    """

    inner: Engine
    node: SimulatedNode
    gpu_indices: tuple[int, ...]

    @property
    def parameter_count(self) -> int | None:
        """The real engine's."""
        return self.inner.parameter_count

    def load(self) -> None:
        """Load the real engine."""
        self.inner.load()

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """The batch, and how many requests it holds."""
        return len(requests), self.inner.prepare(requests)

    def run(self, prepared: Prepared) -> WorkCounts:
        """Run for real, to the end, with the board under load."""
        count, inner = prepared
        load_gpus(self.node, self.gpu_indices, utilisation_of(count))
        try:
            work = self.inner.run(inner)
            self.inner.synchronize()
        finally:
            load_gpus(self.node, self.gpu_indices, 0.0)
        return work

    def synchronize(self) -> None:
        """Wait for the real engine."""
        self.inner.synchronize()

    def close(self) -> None:
        """Release the real engine."""
        self.inner.close()


def _pixels(request: Request) -> int:
    if request.picture is None:
        return 0
    width, height = decoded(request.picture, f"Picture {request.index}").size
    return int(width * height)


def load_gpus(node: SimulatedNode, gpu_indices: tuple[int, ...], utilisation: float) -> None:
    """Set the load of several boards from now on."""
    for index in gpu_indices:
        node.set_load(index, utilisation)
