"""What both torch engines share. Devices and models are tested where the engines load them."""

from __future__ import annotations

import importlib
import json
import os
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from harness.engines.loading import (  # noqa: E402
    load_failure_named,
    locate_model,
    memory_shortage_named,
    refuse_fetched_attention,
)
from harness.errors import HarnessError, ModelUnavailable, OutOfMemory  # noqa: E402
from harness.specs import ModelSpec, RunSpec  # noqa: E402

SPEC = RunSpec.model_validate(
    {
        "task": "text-generation",
        "engine": "transformers",
        "model": {"id": "tiny-gpt2", "weights": "random"},
        "batch_size": 64,
        "dtype": "float32",
        "device": "cpu",
    }
)


def test_running_out_of_memory_is_named_and_says_what_to_lower() -> None:
    spec = SPEC
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


def test_what_a_load_failed_of_is_told_with_its_cause() -> None:
    cases = {
        "tiny-gpt2 cannot be loaded: Error(s) in state_dict of X: size mismatch for wte.": RuntimeError(
            "Error(s) in state_dict of X:\n\tsize mismatch for wte. And more.\n\tsize mismatch for wpe."
        ),
        "cannot be loaded: Could not do it, because of OSError: disk full.": caused("Could not do it. Why not?"),
        "cannot be loaded: The disk full made it stop.": caused("The disk full made it stop."),
        "cannot be loaded: RuntimeError.": RuntimeError(),
    }
    for told, error in cases.items():
        with pytest.raises(ModelUnavailable) as caught, load_failure_named(SPEC):
            raise error
        assert told in caught.value.message


def caused(message: str) -> ValueError:
    try:
        raise OSError("disk full")
    except OSError as cause:
        error = ValueError(message)
        error.__cause__ = cause
        return error


def test_an_index_cannot_name_files_elsewhere_or_pickles(tmp_path: Path) -> None:
    for name in ("config.json", "model-1.safetensors"):
        (tmp_path / name).write_bytes(b"{}")

    def told(name: str) -> str:
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(HarnessError) as caught:
            locate_model(ModelSpec(id=str(tmp_path)), "config.json")
        return caught.value.message

    assert "names a file that is not beside it: ../../other.safetensors" in told("../../other.safetensors")
    assert "can run code when they are opened" in told("model-1.bin")
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    assert locate_model(ModelSpec(id=str(tmp_path)), "config.json").name == os.fspath(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", {"_attn_implementation": "evil-org/evil-kernel"}),
        ("config.json", {"attn_implementation": "paged|evil-org/evil-kernel"}),
        ("config.json", {"text_config": {"_attn_implementation_internal": {"": "evil-org/evil-kernel"}}}),
        ("config.json", {"layers": [{"_experts_implementation": "evil-org/evil-kernel"}]}),
        ("text_encoder/config.json", {"_attn_implementation": "evil-org/evil-kernel"}),
    ],
)
def test_a_configuration_cannot_choose_code_from_the_hub(file: str, content: object, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "text_encoder/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"_attn_implementation": "sdpa"}')
    assert locate_model(ModelSpec(id=str(tmp_path)), "config.json").local_files_only
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(ModelUnavailable) as caught:
        locate_model(ModelSpec(id=str(tmp_path)), "config.json")
    assert caught.value.message.startswith(f"{tmp_path / file} chooses code from the hub (")
    assert "evil-org/evil-kernel), and the harness runs none" in caught.value.message


def test_flash_attention_is_not_fetched_where_its_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kernels.py").touch()  # the package that would fetch it; flash-attn needs a GPU and is not here
    monkeypatch.syspath_prepend(tmp_path)
    refuse_fetched_attention("sdpa")
    with pytest.raises(ModelUnavailable, match="flash_attention_2 would be fetched from the hub and run"):
        refuse_fetched_attention("flash_attention_2")
    (tmp_path / "flash_attn.py").touch()
    importlib.invalidate_caches()
    refuse_fetched_attention("flash_attention_2")


def test_a_pickle_that_holds_more_than_tensors_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(os.getcwd))
    with pytest.raises(ModelUnavailable, match="tiny-gpt2 cannot be loaded: ") as caught, load_failure_named(SPEC):
        torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    assert caught.value.hint.startswith("Its weights hold more than tensors")
    with pytest.raises(ModelUnavailable, match="Ran out of input"), load_failure_named(SPEC):
        pickle.loads(b"")
