"""Tiny image pipelines, built once for the tests that only look at them. Who changes one puts it back."""

from __future__ import annotations

from functools import cache
from typing import Any

from harness.engines.architectures import preset
from harness.engines.random_pipelines import build_image_pipeline

FAMILIES = ("tiny-sd", "tiny-sdxl", "tiny-sd3", "tiny-flux", "tiny-pixart", "tiny-pixart-sigma", "tiny-dit")


@cache
def tiny_pipeline(name: str, dtype: str = "float32") -> Any:
    built = build_image_pipeline(preset(name, "text-to-image"), dtype=dtype, device="cpu", seed=3)
    built.set_progress_bar_config(disable=True)
    return built
