"""Two campaigns of one machine and the same GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from campaigns import in_child, spec_of

from harness.errors import SourceUnavailable
from harness.run.gpu_lock import gpus_held, real_gpus
from harness.specs import SourcesSpec


def test_a_gpu_is_held_by_one_process_until_it_ends(tmp_path: Path) -> None:
    def another() -> None:
        with gpus_held({"GPU-2"}, tmp_path):  # another GPU may be measured on
            pass
        with pytest.raises(SourceUnavailable) as refused, gpus_held({"GPU-2", "GPU-1"}, tmp_path):
            pass
        assert refused.value.message == (
            f"Another harness (process {os.getppid()}) measures on GPU GPU-1: each would measure the other."
        )
        with gpus_held({"GPU-2"}, tmp_path):  # what was locked before the refusal is free again
            pass

    with gpus_held({"GPU-1"}, tmp_path):
        assert in_child(another) == 0

    def killed_while_it_holds() -> None:
        with gpus_held({"GPU-1"}, tmp_path):
            os._exit(9)

    assert in_child(killed_while_it_holds) == 9
    with gpus_held({"GPU-1"}, tmp_path):
        pass


def test_a_lock_that_is_a_link_is_not_followed_and_stops_nothing(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "energy-harness-GPU-1.lock").symlink_to(precious)
    with gpus_held({"GPU-1"}, tmp_path):
        assert precious.read_text() == "kept"


def test_simulated_boards_are_not_locked() -> None:
    simulated = spec_of()
    real = simulated.model_copy(update={"sources": SourcesSpec()})
    assert real_gpus([simulated, real], {simulated.sources: ("GPU-0",), real.sources: ("GPU-a",)}) == {"GPU-a"}
