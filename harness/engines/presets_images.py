"""Image presets: tiny ones for a laptop's CPU, and the shapes of public models. A table; needs no torch.

A preset's parts are laid out as a pipeline's folder is: by role, each with its class (`_class_name`) and arguments.
The shapes are those of the public repositories' config.json, as far as copies of them, diffusers' conversion scripts
(convert_dit, convert_pixart_alpha and _sigma, convert_sd3, convert_flux) and its own pipelines show them; they are
confirmed by the parameter counts that others print of the downloaded weights (tests/engines/test_presets_images.py
names them). Left out are safety checkers (Stable Diffusion 1.x runs one over each image) and watermarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from harness.engines.preset import Options, Preset

_CLIP_LENGTH = 77  # tokens a CLIP text encoder takes; Radford et al. 2021
_ALPHA_LENGTH = 120  # tokens PixArt-alpha gives its text encoder; Chen et al. 2023
_SIGMA_LENGTH = 300  # PixArt-Sigma; Chen et al. 2024
_T5_LENGTH = 512  # what T5 tokenizers of SD3 and Flux take; SD3's pipeline itself stops at 256
_IMAGENET_CLASSES = 1000  # DiTPipeline takes the next number for "no class"
_TINY_VOCABULARY = 1024


def image_presets() -> tuple[Preset, ...]:
    """All image presets."""
    return _TINY + _PUBLIC


# --- parts that several have ----------------------------------------------------------------------


def _part(class_name: str, *bases: Options, **options: Any) -> Options:
    merged: dict[str, Any] = {"_class_name": class_name}
    for base in bases:
        merged |= base
    return MappingProxyType(merged | options)


def _preset(name: str, family: str, parameter_count: int, description: str, **parts: Options) -> Preset:
    by_role: Mapping[str, Options] = MappingProxyType(parts)
    return Preset(name, "text-to-image", family, parameter_count, description, by_role)


# Special tokens are the first ids of tokenizers trained here; a CLIP encoder's summary is read at its end token.
_CLIP_IDS: Options = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
_CLIP_TOKENS = _part("clip", vocabulary_size=49408, max_length=_CLIP_LENGTH)
_CLIP_L: Options = {
    "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "projection_dim": 768, "hidden_act": "quick_gelu", **_CLIP_IDS,
}  # fmt: skip
_CLIP_H: Options = {  # 23 of OpenCLIP ViT-H's 24 layers: its last but one is what conditions SD 2
    "vocab_size": 49408, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23,
    "num_attention_heads": 16, "projection_dim": 512, "hidden_act": "gelu", **_CLIP_IDS,
}  # fmt: skip
_CLIP_G: Options = {
    "vocab_size": 49408, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
    "num_attention_heads": 20, "projection_dim": 1280, "hidden_act": "gelu", **_CLIP_IDS,
}  # fmt: skip
_T5_XXL: Options = {  # google/t5-v1_1-xxl
    "vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip

_SD_VAE: Options = {
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2, "latent_channels": 4, "sample_size": 512,
    "scaling_factor": 0.18215,
}  # fmt: skip
_SDXL_VAE: Options = {**_SD_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True}
_WIDE_VAE: Options = {  # 16 channels of latents
    **_SD_VAE, "latent_channels": 16, "sample_size": 1024, "use_quant_conv": False, "use_post_quant_conv": False,
}  # fmt: skip
_SD3_VAE: Options = {**_WIDE_VAE, "scaling_factor": 1.5305, "shift_factor": 0.0609}
_FLUX_VAE: Options = {**_WIDE_VAE, "scaling_factor": 0.3611, "shift_factor": 0.1159}

_SD_NOISE: Options = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
}  # fmt: skip
_SD_DDIM = _part("DDIMScheduler", _SD_NOISE, clip_sample=False, set_alpha_to_one=False)
_SDXL_EULER = _part("EulerDiscreteScheduler", _SD_NOISE, timestep_spacing="leading")
_DIT_DDIM = _part("DDIMScheduler", beta_schedule="linear", clip_sample=False)
_DPM = _part("DPMSolverMultistepScheduler")
_FLUX_SHIFT: Options = {"base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096}
_FLUX_EULER = _part("FlowMatchEulerDiscreteScheduler", _FLUX_SHIFT, shift=3.0, use_dynamic_shifting=True)

_SD_PIPELINE = _part(
    "StableDiffusionPipeline", safety_checker=None, feature_extractor=None, requires_safety_checker=False
)
_SDXL_PIPELINE = _part("StableDiffusionXLPipeline", add_watermarker=False)

_PIXART_XL_2: Options = {
    "sample_size": 128, "num_layers": 28, "num_attention_heads": 16, "attention_head_dim": 72,
    "cross_attention_dim": 1152, "caption_channels": 4096, "in_channels": 4, "out_channels": 8, "patch_size": 2,
    "interpolation_scale": 2,
}  # fmt: skip
_FLUX: Options = {
    "patch_size": 1, "in_channels": 64, "num_layers": 19, "num_single_layers": 38, "attention_head_dim": 128,
    "num_attention_heads": 24, "joint_attention_dim": 4096, "pooled_projection_dim": 768,
    "axes_dims_rope": (16, 56, 56),
}  # fmt: skip


def _t5_tokens(length: int, vocabulary_size: int = 32128) -> Options:
    return _part("t5", vocabulary_size=vocabulary_size, max_length=length)


# --- tiny -----------------------------------------------------------------------------------------

_TINY_VAE: Options = {
    "block_out_channels": (16, 16, 32, 32), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 8,
}  # fmt: skip
_TINY_WIDE_VAE: Options = {
    **_TINY_VAE, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.1,
}  # fmt: skip
_TINY_CLIP_TOKENS = _part("clip", vocabulary_size=_TINY_VOCABULARY, max_length=_CLIP_LENGTH)
_TINY_CLIP: Options = {
    "vocab_size": _TINY_VOCABULARY, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": _CLIP_LENGTH, "projection_dim": 64, **_CLIP_IDS,
}  # fmt: skip
_TINY_T5: Options = {
    "vocab_size": _TINY_VOCABULARY, "d_model": 64, "d_kv": 16, "d_ff": 256, "num_layers": 2, "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip
_TINY_UNET: Options = {
    "sample_size": 8, "cross_attention_dim": 64, "block_out_channels": (32, 64), "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "attention_head_dim": 4, "norm_num_groups": 8,
}  # fmt: skip
_TINY_PIXART: Options = {
    "sample_size": 8, "num_layers": 4, "num_attention_heads": 4, "attention_head_dim": 16,
    "cross_attention_dim": 64, "caption_channels": 64, "in_channels": 4, "out_channels": 8, "patch_size": 2,
}  # fmt: skip

_TINY: tuple[Preset, ...] = (
    _preset(
        "tiny-sd", "Stable Diffusion", 1_234_843, "a U-Net of two resolutions, its VAE and CLIP text encoder, DDIM",
        pipeline=_SD_PIPELINE,
        unet=_part("UNet2DConditionModel", _TINY_UNET),
        vae=_part("AutoencoderKL", _TINY_VAE),
        text_encoder=_part("CLIPTextModel", _TINY_CLIP),
        tokenizer=_TINY_CLIP_TOKENS,
        # As Stable Diffusion is configured, except that DDIM calls the network exactly once a step (PNDM: once more).
        scheduler=_SD_DDIM,
    ),
    _preset(
        "tiny-sdxl", "Stable Diffusion XL", 2_036_667, "a U-Net told the image's size, two CLIP text encoders, Euler",
        pipeline=_SDXL_PIPELINE,
        unet=_part(
            "UNet2DConditionModel", _TINY_UNET,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=(1, 2),
            attention_head_dim=(2, 4), cross_attention_dim=128, use_linear_projection=True,
            addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=112,
        ),
        vae=_part("AutoencoderKL", _TINY_VAE, force_upcast=True),
        text_encoder=_part("CLIPTextModel", _TINY_CLIP),
        text_encoder_2=_part("CLIPTextModelWithProjection", _TINY_CLIP, hidden_act="gelu"),
        tokenizer=_TINY_CLIP_TOKENS,
        tokenizer_2=_TINY_CLIP_TOKENS,
        scheduler=_SDXL_EULER,
    ),
    _preset(
        "tiny-sd3", "Stable Diffusion 3", 1_069_139, "a joint transformer of 3 layers, two CLIPs and T5, flow Euler",
        pipeline=_part("StableDiffusion3Pipeline"),
        transformer=_part(
            "SD3Transformer2DModel", sample_size=32, patch_size=2, in_channels=16, out_channels=16, num_layers=3,
            attention_head_dim=16, num_attention_heads=4, joint_attention_dim=64, caption_projection_dim=64,
            pooled_projection_dim=64, pos_embed_max_size=32,
        ),
        vae=_part("AutoencoderKL", _TINY_WIDE_VAE),
        text_encoder=_part("CLIPTextModelWithProjection", _TINY_CLIP, hidden_size=32, projection_dim=32),
        text_encoder_2=_part("CLIPTextModelWithProjection", _TINY_CLIP, hidden_size=32, projection_dim=32),
        text_encoder_3=_part("T5EncoderModel", _TINY_T5),
        tokenizer=_TINY_CLIP_TOKENS,
        tokenizer_2=_TINY_CLIP_TOKENS,
        tokenizer_3=_t5_tokens(_T5_LENGTH, _TINY_VOCABULARY),
        scheduler=_part("FlowMatchEulerDiscreteScheduler", shift=3.0),
    ),
    _preset(
        "tiny-flux", "Flux", 1_256_915, "a transformer of 2 joint and 4 single layers, guidance distilled, CLIP and T5",
        pipeline=_part("FluxPipeline"),
        transformer=_part(
            "FluxTransformer2DModel", patch_size=1, in_channels=64, num_layers=2, num_single_layers=4,
            attention_head_dim=16, num_attention_heads=4, joint_attention_dim=64, pooled_projection_dim=64,
            axes_dims_rope=(4, 6, 6), guidance_embeds=True,
        ),
        vae=_part("AutoencoderKL", _TINY_WIDE_VAE),
        text_encoder=_part("CLIPTextModel", _TINY_CLIP),
        text_encoder_2=_part("T5EncoderModel", _TINY_T5),
        tokenizer=_TINY_CLIP_TOKENS,
        tokenizer_2=_t5_tokens(_T5_LENGTH, _TINY_VOCABULARY),
        scheduler=_FLUX_EULER,
    ),
    _preset(
        "tiny-pixart", "PixArt-alpha", 782_327, "a diffusion transformer of 4 layers, a VAE and T5 text encoder, DPM++",
        pipeline=_part("PixArtAlphaPipeline"),
        transformer=_part("PixArtTransformer2DModel", _TINY_PIXART),
        vae=_part("AutoencoderKL", _TINY_VAE),
        text_encoder=_part("T5EncoderModel", _TINY_T5),
        tokenizer=_t5_tokens(_ALPHA_LENGTH, _TINY_VOCABULARY),
        scheduler=_DPM,
    ),
    _preset(
        "tiny-pixart-sigma", "PixArt-Sigma", 782_327, "tiny-pixart with prompts of up to 300 tokens",
        pipeline=_part("PixArtSigmaPipeline"),
        transformer=_part("PixArtTransformer2DModel", _TINY_PIXART),
        vae=_part("AutoencoderKL", _TINY_VAE),
        text_encoder=_part("T5EncoderModel", _TINY_T5),
        tokenizer=_t5_tokens(_SIGMA_LENGTH, _TINY_VOCABULARY),
        scheduler=_DPM,
    ),
    _preset(
        "tiny-dit", "DiT", 750_647, "a diffusion transformer of 3 layers told a class, not a text; 64 x 64 only, DDIM",
        pipeline=_part("DiTPipeline"),
        transformer=_part(
            "DiTTransformer2DModel", sample_size=8, num_layers=3, num_attention_heads=4, attention_head_dim=16,
            in_channels=4, out_channels=8, patch_size=2, num_embeds_ada_norm=_IMAGENET_CLASSES,
        ),
        vae=_part("AutoencoderKL", _TINY_VAE),
        scheduler=_DIT_DDIM,
    ),
)  # fmt: skip

# --- public models' shapes ------------------------------------------------------------------------

_PUBLIC: tuple[Preset, ...] = (
    _preset(
        "sd-1.5", "Stable Diffusion", 1_066_235_307, "Stable Diffusion 1.5 for 512 x 512, PNDM",
        pipeline=_SD_PIPELINE,
        unet=_part("UNet2DConditionModel", sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        vae=_part("AutoencoderKL", _SD_VAE),
        text_encoder=_part("CLIPTextModel", _CLIP_L),
        tokenizer=_CLIP_TOKENS,
        scheduler=_part("PNDMScheduler", _SD_NOISE, skip_prk_steps=True, set_alpha_to_one=False),
    ),
    _preset(
        "sd-2.1", "Stable Diffusion", 1_289_952_427, "Stable Diffusion 2.1 for 768 x 768, DDIM",
        pipeline=_SD_PIPELINE,
        unet=_part(
            "UNet2DConditionModel", sample_size=96, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20),
            use_linear_projection=True, upcast_attention=True,
        ),
        vae=_part("AutoencoderKL", _SD_VAE, sample_size=768),
        text_encoder=_part("CLIPTextModel", _CLIP_H),
        tokenizer=_CLIP_TOKENS,
        scheduler=_part(
            "DDIMScheduler", _SD_NOISE, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction"
        ),
    ),
    _preset(
        "sdxl-base-1.0", "Stable Diffusion XL", 3_468_837_867, "SDXL base 1.0 for 1024 x 1024, Euler",
        pipeline=_SDXL_PIPELINE,
        unet=_part(
            "UNet2DConditionModel", sample_size=128, block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20), cross_attention_dim=2048,
            use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        ),
        vae=_part("AutoencoderKL", _SDXL_VAE),
        text_encoder=_part("CLIPTextModel", _CLIP_L),
        text_encoder_2=_part("CLIPTextModelWithProjection", _CLIP_G),
        tokenizer=_CLIP_TOKENS,
        tokenizer_2=_CLIP_TOKENS,
        scheduler=_SDXL_EULER,
    ),
    _preset(
        "sd3-medium", "Stable Diffusion 3", 7_692_768_483, "SD 3 Medium for 1024 x 1024, with T5, flow Euler",
        pipeline=_part("StableDiffusion3Pipeline"),
        transformer=_part(
            "SD3Transformer2DModel", sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=24,
            attention_head_dim=64, num_attention_heads=24, joint_attention_dim=4096, caption_projection_dim=1536,
            pooled_projection_dim=2048, pos_embed_max_size=192,
        ),
        vae=_part("AutoencoderKL", _SD3_VAE),
        text_encoder=_part("CLIPTextModelWithProjection", _CLIP_L),
        text_encoder_2=_part("CLIPTextModelWithProjection", _CLIP_G),
        text_encoder_3=_part("T5EncoderModel", _T5_XXL),
        tokenizer=_CLIP_TOKENS,
        tokenizer_2=_CLIP_TOKENS,
        tokenizer_3=_t5_tokens(_T5_LENGTH),
        scheduler=_part("FlowMatchEulerDiscreteScheduler", shift=3.0),
    ),
    _preset(
        "flux.1-dev", "Flux", 16_870_599_139, "FLUX.1 dev, guidance distilled, flow Euler",
        pipeline=_part("FluxPipeline"),
        transformer=_part("FluxTransformer2DModel", _FLUX, guidance_embeds=True),
        vae=_part("AutoencoderKL", _FLUX_VAE),
        text_encoder=_part("CLIPTextModel", _CLIP_L),
        text_encoder_2=_part("T5EncoderModel", _T5_XXL),
        tokenizer=_CLIP_TOKENS,
        tokenizer_2=_t5_tokens(_T5_LENGTH),
        scheduler=_FLUX_EULER,
    ),
    _preset(
        "flux.1-schnell", "Flux", 16_860_369_379, "FLUX.1 schnell, made for 4 steps, knows no guidance, flow Euler",
        pipeline=_part("FluxPipeline"),
        transformer=_part("FluxTransformer2DModel", _FLUX, guidance_embeds=False),
        vae=_part("AutoencoderKL", _FLUX_VAE),
        text_encoder=_part("CLIPTextModel", _CLIP_L),
        text_encoder_2=_part("T5EncoderModel", _T5_XXL),
        tokenizer=_CLIP_TOKENS,
        tokenizer_2=_t5_tokens(_T5_LENGTH),
        scheduler=_part("FlowMatchEulerDiscreteScheduler", _FLUX_SHIFT, shift=1.0),
    ),
    _preset(
        "pixart-alpha-xl-2-1024", "PixArt-alpha", 5_457_313_671, "PixArt-alpha XL/2 for 1024 x 1024, with T5, DPM++",
        pipeline=_part("PixArtAlphaPipeline"),
        transformer=_part("PixArtTransformer2DModel", _PIXART_XL_2, use_additional_conditions=True),
        vae=_part("AutoencoderKL", _SD_VAE),
        text_encoder=_part("T5EncoderModel", _T5_XXL),
        tokenizer=_t5_tokens(_ALPHA_LENGTH),
        scheduler=_DPM,
    ),
    _preset(
        "pixart-sigma-xl-2-1024", "PixArt-Sigma", 5_456_820_615, "PixArt-Sigma XL/2 for 1024 x 1024, with T5, DPM++",
        pipeline=_part("PixArtSigmaPipeline"),
        transformer=_part("PixArtTransformer2DModel", _PIXART_XL_2, use_additional_conditions=False),
        vae=_part("AutoencoderKL", _SDXL_VAE),
        text_encoder=_part("T5EncoderModel", _T5_XXL),
        tokenizer=_t5_tokens(_SIGMA_LENGTH),
        scheduler=_DPM,
    ),
    # diffusers gives each of DiT's 28 layers its own copy of the time and class embeddings, which the paper's model
    # shares: 749,826,464 parameters in the transformer where the paper counts 675 million.
    _preset(
        "dit-xl-2-256", "DiT", 833_480_327, "DiT-XL/2, told a class, not a text; 256 x 256 only, DDIM",
        pipeline=_part("DiTPipeline"),
        transformer=_part(
            "DiTTransformer2DModel", sample_size=32, num_layers=28, num_attention_heads=16, attention_head_dim=72,
            in_channels=4, out_channels=8, patch_size=2, num_embeds_ada_norm=_IMAGENET_CLASSES,
        ),
        vae=_part("AutoencoderKL", _SD_VAE, sample_size=256),
        scheduler=_DIT_DDIM,
    ),
)  # fmt: skip
