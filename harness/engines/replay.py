"""An engine that runs no model: it takes the time that a study's runs took, with their power on the board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.engines.base import Prepared
from harness.engines.simulated import load_gpus
from harness.errors import UserInputError
from harness.records import WorkCounts
from harness.simulation.gpu import SimulatedNode
from harness.specs import ReplaySpec, RunSpec
from harness.tasks.base import Request


@dataclass
class ReplayEngine:
    """Takes the study's mean time per inference on the node's clock and loads one board to the study's mean power."""

    spec: RunSpec
    replay: ReplaySpec
    node: SimulatedNode
    gpu_index: int

    @property
    def parameter_count(self) -> int | None:
        """No model was loaded."""
        return None

    @property
    def utilisation(self) -> float:
        """The load at which the board draws the study's power, as a fraction of its range above idle."""
        board = self.node.gpus[self.gpu_index].profile
        return (self.replay.active_gpu_w - board.idle_w) / (board.power_limit_w - board.idle_w)

    def load(self) -> None:
        """See that the board can draw it.

        Raises:
            UserInputError: The study's power is below the board's idle or above its limit.
        """
        if not 0 < self.utilisation <= 1:
            board = self.node.gpus[self.gpu_index].profile
            raise UserInputError(
                f"The {board.name} draws {board.idle_w:.0f} to {board.power_limit_w:.0f} W and cannot replay "
                f"{self.replay.active_gpu_w:.0f} W.",
                "Let --replay choose the node.",
            )

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """How many inferences."""
        return len(requests)

    def run(self, prepared: Prepared) -> WorkCounts:
        """Wait as long as the study did, with the board under load."""
        count = int(prepared)
        load_gpus(self.node, (self.gpu_index,), self.utilisation)
        self.node.clock.sleep_s(count * self.replay.duration_s)
        load_gpus(self.node, (self.gpu_index,), 0.0)
        text, image = self.spec.text, self.spec.image
        return WorkCounts(
            requests=count,
            output_tokens=count * text.new_tokens if text else 0,
            images=count if image else 0,
            output_pixels=count * image.height * image.width if image else 0,
            denoising_steps=count * image.steps if image else 0,
        )

    def synchronize(self) -> None:
        """run() returns when all is done."""

    def close(self) -> None:
        """Nothing to release."""
