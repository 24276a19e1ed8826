"""What both torch engines share. Devices and models are tested where the engines load them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from harness.engines.loading import memory_shortage_named  # noqa: E402
from harness.errors import OutOfMemory  # noqa: E402
from harness.specs import RunSpec  # noqa: E402


def test_running_out_of_memory_is_named_and_says_what_to_lower() -> None:
    spec = RunSpec.model_validate(
        {
            "task": "text-generation",
            "engine": "transformers",
            "model": {"id": "tiny-gpt2", "weights": "random"},
            "batch_size": 64,
            "dtype": "float32",
            "device": "cpu",
        }
    )
    with (
        pytest.raises(OutOfMemory, match="batch_size 64 in float32 does not fit") as caught,
        memory_shortage_named(spec),
    ):
        torch.empty(2**52, dtype=torch.uint8)
    assert caught.value.hint.startswith("Lower batch_size")
    with pytest.raises(OutOfMemory), memory_shortage_named(spec):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    with pytest.raises(RuntimeError, match="unrelated"), memory_shortage_named(spec):
        raise RuntimeError("unrelated")
