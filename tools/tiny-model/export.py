"""Writes a trained model as a checkpoint in the Hugging Face layout of gpt-oss."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from experts import SWIGLU_LIMIT
from layers import RMS_NORM_EPS
from model import Transformer
from quantize import to_mxfp4
from tokenizer import Vocabulary


def export(model: Transformer, vocabulary: Vocabulary, out: Path) -> None:
    """Experts as MXFP4, everything else as bf16. config.json comes last: without it the folder is no checkpoint."""
    out.mkdir(parents=True, exist_ok=True)
    vocabulary.save(out / "tokenizer.json")
    save_file(tensors(model), out / "model.safetensors", metadata={"format": "pt"})
    stops = [vocabulary.special("<|return|>"), vocabulary.special("<|call|>")]
    pad = vocabulary.special("<|endoftext|>")
    _write(out / "generation_config.json", {"eos_token_id": stops, "pad_token_id": pad, "bos_token_id": vocabulary.special("<|startoftext|>"), "do_sample": True})
    _write(out / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|return|>", "pad_token": "<|endoftext|>", "bos_token": "<|startoftext|>"})
    _write(out / "config.json", _config(model, stops, pad))


def tensors(model: Transformer) -> dict[str, Tensor]:
    """Names and shapes as in the released checkpoints."""
    shape = model.shape
    queries, keys = shape.query_heads * shape.head_dim, shape.kv_heads * shape.head_dim
    named: dict[str, Tensor] = {
        "model.embed_tokens.weight": model.embedding.weight,
        "model.norm.weight": model.norm.weight,
        "lm_head.weight": model.unembedding.weight,
    }
    packed: dict[str, Tensor] = {}
    for layer, block in enumerate(model.blocks):
        at = f"model.layers.{layer}"
        attention, experts = block.attention, block.experts
        for name, weight, bias in zip(
            ("q_proj", "k_proj", "v_proj"),
            attention.qkv.weight.split((queries, keys, keys)),
            attention.qkv.bias.split((queries, keys, keys)),
        ):
            named[f"{at}.self_attn.{name}.weight"], named[f"{at}.self_attn.{name}.bias"] = weight, bias
        named[f"{at}.self_attn.o_proj.weight"] = attention.out.weight
        named[f"{at}.self_attn.o_proj.bias"] = attention.out.bias
        named[f"{at}.self_attn.sinks"] = attention.sinks
        named[f"{at}.input_layernorm.weight"] = block.attention_norm.weight
        named[f"{at}.post_attention_layernorm.weight"] = block.experts_norm.weight
        named[f"{at}.mlp.router.weight"], named[f"{at}.mlp.router.bias"] = experts.router.weight, experts.router.bias
        for name, weight, bias in (
            ("gate_up_proj", experts.gate_up, experts.gate_up_bias),
            ("down_proj", experts.down, experts.down_bias),
        ):
            packed[f"{at}.mlp.experts.{name}_blocks"], packed[f"{at}.mlp.experts.{name}_scales"] = to_mxfp4(weight)
            named[f"{at}.mlp.experts.{name}_bias"] = bias
    return {name: each.detach().to(torch.bfloat16).contiguous() for name, each in named.items()} | packed


def _config(model: Transformer, stops: list[int], pad: int) -> dict[str, object]:
    shape = model.shape
    return {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "torch_dtype": "bfloat16",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_local_experts": shape.experts,
        "num_experts_per_tok": shape.experts_per_token,
        "num_attention_heads": shape.query_heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "sliding_window": shape.sliding_window,
        "layer_types": ["sliding_attention" if layer % 2 == 0 else "full_attention" for layer in range(shape.layers)],
        "max_position_embeddings": shape.max_context,
        "initial_context_length": shape.original_context,
        "rope_theta": shape.rope_theta,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": shape.rope_factor,
            "original_max_position_embeddings": shape.original_context,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
        },
        "rms_norm_eps": RMS_NORM_EPS,
        "swiglu_limit": SWIGLU_LIMIT,
        "hidden_act": "silu",
        "attention_bias": True,
        "tie_word_embeddings": False,
        "eos_token_id": stops,
        "pad_token_id": pad,
        "quantization_config": {
            "quant_method": "mxfp4",
            "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"],
        },
    }


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
