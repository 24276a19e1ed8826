"""Tiny architectures that answer on a laptop's CPU: one of every family and form."""

from __future__ import annotations

from harness.engines.preset import BLIP_SCALE, Form, Options, Preset, frozen_parts

_VOCABULARY = 1024
_ENDS: Options = {"bos_token_id": 0, "eos_token_id": 0}
_TINY: Options = {"vocab_size": _VOCABULARY, **_ENDS}
_READER_FORMS: tuple[Form, ...] = ("mask-filler", "classifier", "tagger", "answer-finder")
_ENCODER: Options = {"vocab_size": _VOCABULARY, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4,
                     "num_attention_heads": 4}  # fmt: skip


def _writer(name: str, family: str, count: int, description: str, config: str, options: Options) -> Preset:
    parts = frozen_parts(**{config: {**_TINY, **options}})
    return Preset(name, "text-generation", family, count, description, parts, ("causal",))


TINY: tuple[Preset, ...] = (
    _writer(
        "tiny-gpt2", "GPT-2", 989_952, "4 layers of 128, learned positions, GELU",
        "GPT2Config", {"n_positions": 512, "n_embd": 128, "n_layer": 4, "n_head": 4},
    ),
    _writer(
        "tiny-llama", "Llama", 1_000_576, "4 layers of 128, rotary positions, RMSNorm, SwiGLU, grouped queries",
        "LlamaConfig",
        {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 512},
    ),
    _writer(
        "tiny-opt", "OPT", 990_208, "4 layers of 128, learned positions, ReLU",
        "OPTConfig",
        {"hidden_size": 128, "word_embed_proj_dim": 128, "ffn_dim": 512, "num_hidden_layers": 4,
         "num_attention_heads": 4, "max_position_embeddings": 512, "pad_token_id": 1},
    ),
    _writer(
        "tiny-gpt-neo", "GPT-Neo", 988_416, "4 layers of 128, attention global and local in turn",
        "GPTNeoConfig",
        {"hidden_size": 128, "num_layers": 4, "num_heads": 4, "max_position_embeddings": 512,
         "attention_types": [[["global", "local"], 2]], "window_size": 64},
    ),
    _writer(
        "tiny-bloom", "BLOOM", 924_672, "4 layers of 128, ALiBi instead of positions",
        "BloomConfig", {"hidden_size": 128, "n_layer": 4, "n_head": 4},
    ),
    Preset(
        "tiny-t5", "summarization", "T5", 1_050_368, "2 + 2 layers of 128, relative positions, gated GELU",
        frozen_parts(T5Config={
            "vocab_size": _VOCABULARY, "d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 2, "num_heads": 4,
            "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "decoder_start_token_id": 0,
        }),
        ("seq2seq",),
    ),
    Preset(
        "tiny-bart", "summarization", "BART", 925_696, "2 + 2 layers of 128, learned positions",
        frozen_parts(BartConfig={
            "vocab_size": _VOCABULARY, "d_model": 128, "encoder_layers": 2, "decoder_layers": 2,
            "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 256,
            "decoder_ffn_dim": 256, "max_position_embeddings": 512,
        }),
        ("seq2seq",),
    ),
    Preset(
        "tiny-bert", "fill-mask", "BERT", 744_832, "4 layers of 128, two segments",
        frozen_parts(BertConfig={**_ENCODER, "max_position_embeddings": 512}),
        _READER_FORMS,
    ),
    Preset(
        "tiny-distilbert", "fill-mask", "DistilBERT", 479_616, "2 layers of 128, no segments",
        frozen_parts(DistilBertConfig={
            "vocab_size": _VOCABULARY, "dim": 128, "hidden_dim": 256, "n_layers": 2, "n_heads": 4,
            "max_position_embeddings": 512,
        }),
        _READER_FORMS,
    ),
    Preset(
        "tiny-roberta", "fill-mask", "RoBERTa", 744_960, "4 layers of 128, positions counted from the padding on",
        frozen_parts(RobertaConfig={**_ENCODER, "max_position_embeddings": 514, "type_vocab_size": 1}),
        _READER_FORMS,
    ),
    Preset(
        "tiny-vit", "image-classification", "ViT", 315_432, "4 layers of 64 on 16 patches of 16 x 16 pixels",
        frozen_parts(
            ViTConfig={"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
                       "image_size": 64, "patch_size": 16, "num_labels": 1000},
            ViTImageProcessor={"size": {"height": 64, "width": 64}},
        ),
        ("image-classifier",),
    ),
    Preset(
        "tiny-resnet", "image-classification", "ResNet", 1_487_240, "4 stages of one block, 64 x 64 pixels",
        frozen_parts(
            ResNetConfig={"embedding_size": 32, "hidden_sizes": [32, 64, 128, 256], "depths": [1, 1, 1, 1],
                          "layer_type": "basic", "num_labels": 1000},
            ConvNextImageProcessor={"size": {"shortest_edge": 64}},
        ),
        ("image-classifier",),
    ),
    Preset(
        "tiny-detr", "object-detection", "DETR", 499_664, "a small ResNet, 2 + 2 layers of 64, 20 objects",
        frozen_parts(
            DetrConfig={
                "use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None,
                "backbone_config": {"model_type": "resnet", "embedding_size": 16, "hidden_sizes": [16, 32, 64, 128],
                                    "depths": [1, 1, 1, 1], "layer_type": "basic", "out_features": ["stage4"]},
                "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
                "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "num_queries": 20,
                "num_labels": 91,
            },
            DetrImageProcessor={"size": {"shortest_edge": 120, "longest_edge": 160}},
        ),
        ("detector",),
    ),
    Preset(
        "tiny-blip", "image-to-text", "BLIP", 297_088, "a vision transformer and a text decoder of 2 layers of 64 each",
        frozen_parts(
            BlipConfig={
                "projection_dim": 64, "image_text_hidden_size": 64,
                "vision_config": {
**BLIP_SCALE, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                                  "num_attention_heads": 4, "image_size": 64, "patch_size": 16},
                "text_config": {"vocab_size": _VOCABULARY, "hidden_size": 64, "encoder_hidden_size": 64,
                                "intermediate_size": 128, "projection_dim": 64, "num_hidden_layers": 2,
                                "num_attention_heads": 4, "max_position_embeddings": 128, "pad_token_id": 0,
                                "bos_token_id": 4, "eos_token_id": 3, "sep_token_id": 3},
            },
            BlipImageProcessor={"size": {"height": 64, "width": 64}},
        ),
        ("captioner",),
    ),
)  # fmt: skip
