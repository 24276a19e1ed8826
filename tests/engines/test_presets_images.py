"""Image presets have the parameters they claim, and public shapes those that were published of the public models."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from harness.engines.architectures import preset  # noqa: E402
from harness.engines.preset import Options, Preset  # noqa: E402
from harness.engines.presets_images import image_presets  # noqa: E402
from harness.engines.random_pipelines import build_module  # noqa: E402

each_preset = pytest.mark.parametrize("chosen", image_presets(), ids=lambda known: known.name)

# Where it is published what a part counts. "Printed" are counts that programs print of the downloaded weights, as read
# in public repositories in 2026; rounded ones are the model cards' and papers'.
CLIP_L = 123_060_480  # SDXL's two are 817 million together (Podell et al. 2023, Table 1)
CLIP_L_PROJECTED = 123_060_480 + 768 * 768  # SD3 takes its summary through CLIP's own projection
CLIP_H = 340_387_840  # printed (buddy-mlir's example of SD 2.1): 23 layers
CLIP_G = 694_659_840  # printed (profile of SD3 Medium); "695 million" of OpenCLIP
T5_XXL = 4_762_310_656  # printed (profile of SD3 Medium, and of PixArt-Sigma)
VAE = 83_653_863  # printed (beside SDXL's U-Net)
WIDE_VAE = 83_819_683  # printed (of FLUX.1 dev)
SD3_VAE = WIDE_VAE  # of the same shape; diffusers' convert_sd3 script
PUBLISHED: dict[str, dict[str, float]] = {
    # 859,520,964: diffusers' documentation of num_parameters. "860M UNet and 123M text encoder": CompVis' README.
    "sd-1.5": {"unet": 859_520_964, "text_encoder": CLIP_L, "vae": VAE},
    # 865 million: Podell et al. 2023, Table 1; 865,910,724 printed (buddy-mlir).
    "sd-2.1": {"unet": 865_910_724, "text_encoder": CLIP_H, "vae": VAE},
    # 2.6 billion: Podell et al. 2023, Table 1; 2,567,463,684 printed (training logs).
    "sdxl-base-1.0": {"unet": 2_567_463_684, "text_encoder": CLIP_L, "text_encoder_2": CLIP_G, "vae": VAE},
    # 2 billion: its model card; 2,028,328,000 printed (profile of its pipeline).
    "sd3-medium": {
        "transformer": 2_028_328_000,
        "text_encoder": CLIP_L_PROJECTED,
        "text_encoder_2": CLIP_G,
        "text_encoder_3": T5_XXL,
        "vae": SD3_VAE,
    },
    # 12 billion: their model cards; the counts are the Hub's of their safetensors.
    "flux.1-dev": {"transformer": 11_901_408_320, "text_encoder": CLIP_L, "text_encoder_2": T5_XXL, "vae": WIDE_VAE},
    "flux.1-schnell": {
        "transformer": 11_891_178_560,
        "text_encoder": CLIP_L,
        "text_encoder_2": T5_XXL,
        "vae": WIDE_VAE,
    },
    # "0.6B" and 611 million: Chen et al. 2023.
    "pixart-alpha-xl-2-1024": {"transformer": 611e6, "text_encoder": T5_XXL, "vae": VAE},
    # "0.6B": Chen et al. 2024; 610,856,096 printed (a profile of the repository's weights).
    "pixart-sigma-xl-2-1024": {"transformer": 610_856_096, "text_encoder": T5_XXL, "vae": VAE},
    # 675 million: Peebles and Xie 2023, Table 1, with one embedding for all layers; see below.
    "dit-xl-2-256": {"vae": VAE},
}


COUNTED: dict[str, int] = {}  # several presets have the same T5: by class and arguments


def count(part: Options) -> int:
    """Parameters of a network, from its constructor on the meta device: no memory."""
    key = repr(part)
    if key not in COUNTED:
        with torch.device("meta"):
            COUNTED[key] = sum(weight.numel() for weight in build_module(part).parameters())
    return COUNTED[key]


def counts(name: str) -> dict[str, int]:
    parts = preset(name, "text-to-image").parts
    return {
        role: count(part)
        for role, part in parts.items()
        if role not in ("pipeline", "scheduler") and not role.startswith("tokenizer")
    }


@each_preset
def test_a_preset_has_the_parameters_it_claims(chosen: Preset) -> None:
    assert sum(counts(chosen.name).values()) == chosen.parameter_count
    assert not chosen.name.startswith("tiny-") or 300_000 <= chosen.parameter_count <= 3_000_000


def test_every_public_shape_has_published_counts() -> None:
    assert {known.name for known in image_presets() if not known.name.startswith("tiny-")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_public_shape_has_the_published_parameters(name: str) -> None:
    found = counts(name)
    for role, published in PUBLISHED[name].items():
        assert found[role] == pytest.approx(published, rel=0.01), role
    assert set(found) - set(PUBLISHED[name]) <= {"transformer"}


def test_dit_has_its_published_parameters_but_for_27_copies_of_its_embeddings() -> None:
    # Time: 256 -> 1152 -> 1152 with biases; class: 1,001 rows of 1,152. The paper shares one among 28 layers.
    embeddings = 256 * 1152 + 1152 + 1152 * 1152 + 1152 + 1001 * 1152
    shared = counts("dit-xl-2-256")["transformer"] - 27 * embeddings
    assert shared == 674_834_720
    assert shared == pytest.approx(675e6, rel=0.01)


def test_two_roles_of_one_class_have_their_own_sizes() -> None:
    parts: Any = preset("sdxl-base-1.0", "text-to-image").parts
    assert (parts["text_encoder"]["hidden_size"], parts["text_encoder_2"]["hidden_size"]) == (768, 1280)
