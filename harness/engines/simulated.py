"""Work for a simulated GPU: an engine that only takes time, and a wrapper that lets a real engine drive the board.

`SimulatedEngine` knows its cost exactly: phases with a time and a load each (simulation/costs). A batch loads the board
evenly with the mean of its phases, which takes the same energy. On a virtual clock a campaign takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.engines.base import Engine, Prepared
from harness.errors import OutOfMemory
from harness.records import WorkCounts
from harness.simulation.costs import (
    PIXELS_AT_STEP_S,
    PhaseCost,
    calibration_batch,
    duration_s,
    image_batch,
    mean_load,
    text_batch,
    utilisation_of,
)
from harness.simulation.gpu import SimulatedNode
from harness.specs import RunSpec
from harness.tasks.base import Request
from harness.tasks.pictures import decoded

TOKENS_PER_WORD = 1.3
TEXT_REQUEST_BYTES = 64 * 1024**2
IMAGE_REQUEST_BYTES = 2 * 1024**3  # at 512 x 512


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
        count = len(requests)
        input_tokens = self._input_tokens(requests)
        image = self.spec.image
        if image is None:
            new_tokens = self.spec.text.new_tokens if self.spec.text is not None else 0
            work = WorkCounts(
                requests=count,
                input_tokens=input_tokens,
                input_pixels=sum(_pixels(request) for request in requests),
                output_tokens=count * new_tokens,
            )
            return duration_s(self._phases(work)), work
        work = WorkCounts(
            requests=count,
            input_tokens=input_tokens,
            images=count,
            output_pixels=count * image.height * image.width,
            denoising_steps=count * image.steps,
        )
        return duration_s(self._phases(work)), work

    def _input_tokens(self, requests: Sequence[Request]) -> int:
        """Of the whole batch; each request cut to the tokens that the config allows."""
        limit = self.spec.text.max_input_tokens if self.spec.text is not None else None
        if limit is None:
            return round(sum(map(_words, requests)) * TOKENS_PER_WORD)
        return sum(min(limit, round(_words(request) * TOKENS_PER_WORD)) for request in requests)

    def _phases(self, work: WorkCounts) -> tuple[PhaseCost, ...]:
        count = int(work.requests)  # of a batch, whole
        assert work.input_tokens is not None
        assert work.input_pixels is not None
        return _phases_of(self.spec, count, work.input_tokens, work.input_pixels)

    def run(self, prepared: Prepared) -> WorkCounts:
        """Wait on the node's clock with the board under load."""
        batch_s, work = prepared
        assert isinstance(work, WorkCounts)
        load_gpus(self.node, self.gpu_indices, mean_load(self._phases(work)))
        self.node.clock.sleep_s(batch_s)
        load_gpus(self.node, self.gpu_indices, 0.0)
        return work

    def synchronize(self) -> None:
        """run() returns when all is done."""

    def close(self) -> None:
        """Nothing to release."""


def _phases_of(spec: RunSpec, count: int, input_tokens: int, input_pixels: int) -> tuple[PhaseCost, ...]:
    if spec.calibration is not None:
        return calibration_batch(spec.model.id, count)
    if spec.image is not None:
        return image_batch(count, spec.image.steps, spec.image.height * spec.image.width)
    return text_batch(count, input_tokens, spec.text.new_tokens if spec.text is not None else 0, input_pixels)


def known_batch_s(spec: RunSpec) -> float | None:
    """How long a batch of this engine takes without reading its inputs (microseconds each); None for other engines."""
    if spec.engine != "simulated" or spec.replay is not None:
        return None
    return duration_s(_phases_of(spec, spec.batch_size, 0, 0))


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


def _words(request: Request) -> int:
    return len(f"{request.text} {request.context or ''}".split())


def _pixels(request: Request) -> int:
    if request.picture is None:
        return 0
    width, height = decoded(request.picture, f"Picture {request.index}").size
    return int(width * height)


def load_gpus(node: SimulatedNode, gpu_indices: tuple[int, ...], utilisation: float) -> None:
    """Set the load of several boards from now on."""
    for index in gpu_indices:
        node.set_load(index, utilisation)
