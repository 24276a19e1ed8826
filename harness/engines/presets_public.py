"""Architectures with the sizes of public models, to be filled with random weights: real energy without a download.

`parameter_count` is what is published: the sum over the tensors of the model's safetensors file where its card on
huggingface.co shows it, else the number in its paper; a test compares it with what is built, within 1 %. Sizes are
those of each model's config.json.
"""

from __future__ import annotations

from harness.engines.preset import BLIP_SCALE, Form, Options, Preset, frozen_parts
from harness.specs import Task

_BLIP_WORDS = 30_524 * 768
_READER_FORMS: tuple[Form, ...] = ("mask-filler", "classifier", "tagger", "answer-finder")


def _causal(name: str, family: str, count: int, description: str, config: str, options: Options) -> Preset:
    parts = frozen_parts(**{config: options})
    return Preset(name, "text-generation", family, count, description, parts, ("causal",))


def _gpt2(name: str, count: int, width: int, layers: int, heads: int) -> Preset:
    options = {"vocab_size": 50257, "n_positions": 1024, "n_embd": width, "n_layer": layers, "n_head": heads}
    return _causal(name, "GPT-2", count, f"{layers} layers of {width}", "GPT2Config", options)


def _opt(name: str, count: int, width: int, layers: int) -> Preset:
    options = {"vocab_size": 50272, "hidden_size": width, "word_embed_proj_dim": width, "ffn_dim": 4 * width,
               "num_hidden_layers": layers, "num_attention_heads": 32, "max_position_embeddings": 2048}  # fmt: skip
    return _causal(name, "OPT", count, f"{layers} layers of {width}", "OPTConfig", options)


def _llama_like(
    name: str, family: str, count: int, config: str, vocabulary: int, inner: int, layers: int, kv_heads: int,
    context: int, **more: object,
) -> Preset:  # fmt: skip
    options = {"vocab_size": vocabulary, "hidden_size": 4096, "intermediate_size": inner, "num_hidden_layers": layers,
               "num_attention_heads": 32, "num_key_value_heads": kv_heads, "max_position_embeddings": context,
               "tie_word_embeddings": False, **more}  # fmt: skip
    description = f"{layers} layers of 4096, {kv_heads} key and value heads"
    return _causal(name, family, count, description, config, options)


def _reader(name: str, family: str, count: int, config: str, options: Options) -> Preset:
    return Preset(name, "fill-mask", family, count, "an encoder, all its reading tasks",
                  frozen_parts(**{config: options}), _READER_FORMS)  # fmt: skip


def _bert(name: str, count: int, width: int, layers: int) -> Preset:
    return _reader(name, "BERT", count, "BertConfig", {
        "vocab_size": 30522, "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
        "num_attention_heads": width // 64, "max_position_embeddings": 512,
    })  # fmt: skip


def _t5(name: str, count: int, width: int, inner: int, layers: int, heads: int, *, gated: bool) -> Preset:
    kind = {"feed_forward_proj": "gated-gelu" if gated else "relu", "tie_word_embeddings": not gated}
    options = {"vocab_size": 32128, "d_model": width, "d_kv": 64, "d_ff": inner, "num_layers": layers,
               "num_heads": heads, "decoder_start_token_id": 0, **kind}  # fmt: skip
    description = f"{layers} + {layers} layers of {width}"
    return Preset(name, "summarization", "T5", count, description, frozen_parts(T5Config=options), ("seq2seq",))


def _bart(name: str, count: int, width: int, layers: int, vocabulary: int) -> Preset:
    options = {"vocab_size": vocabulary, "d_model": width, "encoder_layers": layers, "decoder_layers": layers,
               "encoder_attention_heads": width // 64, "decoder_attention_heads": width // 64,
               "encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width,
               "max_position_embeddings": 1024}  # fmt: skip
    description = f"{layers} + {layers} layers of {width}"
    return Preset(name, "summarization", "BART", count, description, frozen_parts(BartConfig=options), ("seq2seq",))


def _seeing(name: str, task: Task, family: str, count: int, description: str, form: Form, **parts: Options) -> Preset:
    return Preset(name, task, family, count, description, frozen_parts(**parts), (form,))


def _vit(name: str, count: int, width: int, layers: int) -> Preset:
    return _seeing(
        name, "image-classification", "ViT", count, f"{layers} layers of {width} on 196 patches", "image-classifier",
        ViTConfig={"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
                   "num_attention_heads": width // 64, "image_size": 224, "patch_size": 16, "num_labels": 1000},
        ViTImageProcessor={"size": {"height": 224, "width": 224}},
    )  # fmt: skip


def _resnet(name: str, count: int, depths: list[int], *, deep: bool) -> Preset:
    widths = [256, 512, 1024, 2048] if deep else [64, 128, 256, 512]
    return _seeing(
        name, "image-classification", "ResNet", count, "224 x 224 pixels", "image-classifier",
        ResNetConfig={"embedding_size": 64, "hidden_sizes": widths, "depths": depths, "num_labels": 1000,
                      "layer_type": "bottleneck" if deep else "basic"},
        ConvNextImageProcessor={"size": {"shortest_edge": 224}},
    )  # fmt: skip


def _detr(name: str, count: int, depths: list[int]) -> Preset:
    return _seeing(
        name, "object-detection", "DETR", count, "a ResNet, 6 + 6 layers of 256, 100 objects, 800 pixels high",
        "detector",
        DetrConfig={
            "use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None,
            "backbone_config": {"model_type": "resnet", "embedding_size": 64, "hidden_sizes": [256, 512, 1024, 2048],
                                "depths": depths, "layer_type": "bottleneck", "out_features": ["stage4"]},
            "num_labels": 91,
        },
        DetrImageProcessor={"size": {"shortest_edge": 800, "longest_edge": 1333}},
    )  # fmt: skip


def _blip(name: str, count: int, width: int, layers: int) -> Preset:
    return _seeing(
        name, "image-to-text", "BLIP", count, f"a vision transformer of {layers} layers, a text decoder of 12",
        "captioner",
        BlipConfig={
            "image_text_hidden_size": 256, "projection_dim": 512,
            "vision_config": {
**BLIP_SCALE, "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
                              "num_attention_heads": width // 64, "image_size": 384, "patch_size": 16},
            "text_config": {"vocab_size": 30524, "hidden_size": 768, "encoder_hidden_size": width,
                            "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
                            "max_position_embeddings": 512, "bos_token_id": 30522, "eos_token_id": 2,
                            "sep_token_id": 102, "pad_token_id": 0},
        },
        BlipImageProcessor={"size": {"height": 384, "width": 384}},
    )  # fmt: skip


PUBLIC: tuple[Preset, ...] = (
    # The study's text generators.
    _gpt2("distilgpt2", 81_912_576, 768, 6, 12),
    _gpt2("gpt2", 124_439_808, 768, 12, 12),
    _gpt2("gpt2-medium", 354_823_168, 1024, 24, 16),
    _gpt2("gpt2-xl", 1_557_611_200, 1600, 48, 25),
    _causal(
        "gpt-neo-125m", "GPT-Neo", 125_198_592, "12 layers of 768, attention global and local in turn", "GPTNeoConfig",
        {"vocab_size": 50257, "hidden_size": 768, "num_layers": 12, "num_heads": 12, "max_position_embeddings": 2048,
         "attention_types": [[["global", "local"], 6]], "window_size": 256},
    ),
    _opt("opt-1.3b", 1_315_758_080, 2048, 24),
    _opt("opt-6.7b", 6_658_473_984, 4096, 32),
    _causal(
        "bloom-560m", "BLOOM", 559_214_592, "24 layers of 1024, ALiBi", "BloomConfig",
        {"vocab_size": 250880, "hidden_size": 1024, "n_layer": 24, "n_head": 16},
    ),
    # Chat models of 7 and 8 billion weights.
    _llama_like("llama-2-7b", "Llama", 6_738_415_616, "LlamaConfig", 32000, 11008, 32, 32, 4096),
    _llama_like("llama-3.1-8b", "Llama", 8_030_261_248, "LlamaConfig", 128256, 14336, 32, 8, 131072),
    _llama_like("qwen3-8b", "Qwen3", 8_190_735_360, "Qwen3Config", 151936, 12288, 36, 8, 40960, head_dim=128),
    _llama_like("mistral-7b", "Mistral", 7_241_732_096, "MistralConfig", 32000, 14336, 32, 8, 32768,
                sliding_window=4096),
    # Encoders.
    _bert("bert-base", 109_514_298, 768, 12),
    _bert("bert-large", 335_174_458, 1024, 24),
    _reader("distilbert-base", "DistilBERT", 66_985_530, "DistilBertConfig",
            {"vocab_size": 30522, "dim": 768, "hidden_dim": 3072, "n_layers": 6, "n_heads": 12,
             "max_position_embeddings": 512}),
    _reader("roberta-base", "RoBERTa", 124_697_433, "RobertaConfig",
            {"vocab_size": 50265, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
             "num_attention_heads": 12, "max_position_embeddings": 514, "type_vocab_size": 1}),
    # Encoders with decoders.
    _t5("t5-small", 60_506_624, 512, 2048, 6, 8, gated=False),
    _t5("t5-base", 222_903_552, 768, 3072, 12, 12, gated=False),
    _t5("flan-t5-base", 247_577_856, 768, 2048, 12, 12, gated=True),
    _t5("flan-t5-xl", 2_849_757_184, 2048, 5120, 24, 32, gated=True),
    _bart("bart-base", 139_420_416, 768, 6, 50265),
    _bart("bart-large-cnn", 406_290_432, 1024, 12, 50264),
    # Models that look at pictures.
    _vit("vit-base-patch16-224", 86_567_656, 768, 12),
    _vit("vit-large-patch16-224", 304_326_632, 1024, 24),
    _resnet("resnet-18", 11_689_512, [2, 2, 2, 2], deep=False),
    _resnet("resnet-50", 25_557_032, [3, 4, 6, 3], deep=True),
    _detr("detr-resnet-50", 41_302_368, [3, 4, 6, 3]),
    _detr("detr-resnet-101", 60_294_496, [3, 4, 23, 3]),
    # Their files hold the decoder's word matrix twice; it is one, tied.
    _blip("blip-image-captioning-base", 247_414_076 - _BLIP_WORDS, 768, 12),
    _blip("blip-image-captioning-large", 469_732_924 - _BLIP_WORDS, 1024, 24),
)  # fmt: skip
