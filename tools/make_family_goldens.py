#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes goldens/families/FAMILY-SWITCH: one tiny checkpoint for each config switch of a family, and
what transformers computes with it.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch transformers==5.17.0
    /tmp/venv/bin/python tools/make_family_goldens.py [--out goldens/families] [--only PATTERN] [--list]

A folder holds config.json, model.safetensors (BF16) and golden.safetensors: input_ids,
hidden_states.N, logits, and the input and outputs of every router, computed in fp32 by eager
attention and eager experts on the stored weights. Weights are random, from a seed that depends on
the folder's name only, so one folder can be made again without the others.
"""
import argparse
import fnmatch
import json
import pathlib
import shutil
import zlib

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKENS = 40

COMMON = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "use_cache": False,
    "tie_word_embeddings": False, "bos_token_id": None, "eos_token_id": None,
    "pad_token_id": None,
}
QWEN = {"head_dim": 8, "moe_intermediate_size": 16, "intermediate_size": 24, "num_experts": 8,
        "num_experts_per_tok": 3, "norm_topk_prob": True}
DEEPSEEK = {"moe_intermediate_size": 16, "intermediate_size": 24, "n_routed_experts": 8,
            "n_shared_experts": 1, "num_experts_per_tok": 3, "n_group": 1, "topk_group": 1,
            "first_k_dense_replace": 1}
MLA = {"kv_lora_rank": 16, "q_lora_rank": None, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
       "v_head_dim": 12, "num_key_value_heads": 4}
LOCAL = {"intermediate_size": 16, "num_local_experts": 8, "num_experts_per_tok": 2}

FAMILIES = {
    "qwen3_next": QWEN | {
        "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2,
        "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        "shared_expert_intermediate_size": 16},
    "qwen3_moe": QWEN,
    "qwen2_moe": {key: value for key, value in QWEN.items() if key != "head_dim"} | {
        "shared_expert_intermediate_size": 24},
    "mixtral": LOCAL,
    "olmoe": {"intermediate_size": 16, "num_experts": 8, "num_experts_per_tok": 3,
              "num_key_value_heads": 4},
    "phimoe": LOCAL | {"attention_bias": True, "lm_head_bias": True},
    "granitemoe": LOCAL | {"attention_multiplier": 0.3, "embedding_multiplier": 2.0,
                           "residual_multiplier": 0.7, "logits_scaling": 1.5},
    "granitemoeshared": LOCAL | {
        "attention_multiplier": 0.3, "embedding_multiplier": 2.0, "residual_multiplier": 0.7,
        "logits_scaling": 1.5, "shared_intermediate_size": 24},
    "ernie4_5_moe": {
        "intermediate_size": 24, "moe_intermediate_size": 16, "moe_num_experts": 8, "moe_k": 3,
        "moe_num_shared_experts": 1, "moe_layer_start_index": 1, "moe_layer_end_index": -1},
    "dots1": DEEPSEEK | {"head_dim": 8, "norm_topk_prob": True, "routed_scaling_factor": 2.5},
    "hunyuan_v1_moe": {"head_dim": 8, "intermediate_size": 16, "num_experts": 8, "moe_topk": 2},
    "deepseek_v2": DEEPSEEK | MLA | {"topk_method": "greedy", "routed_scaling_factor": 1.7},
    "deepseek_v3": DEEPSEEK | MLA | {"num_nextn_predict_layers": 0},
    "glm4_moe": DEEPSEEK | {"head_dim": 8, "num_nextn_predict_layers": 0,
                            "attention_bias": True},
    "gpt_oss": LOCAL | {"head_dim": 8, "sliding_window": 7},
    "minimax_m2": LOCAL | {"head_dim": 8, "rope_parameters": {
        "rope_type": "default", "rope_theta": 5e6, "partial_rotary_factor": 0.5}},
    "lfm2_moe": {
        "intermediate_size": 24, "moe_intermediate_size": 16, "num_dense_layers": 1,
        "num_experts": 8, "num_experts_per_tok": 3, "layer_types": ["conv", "full_attention"]},
    "jamba": {
        "intermediate_size": 16, "num_experts": 8, "num_experts_per_tok": 2,
        "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
        "expert_layer_offset": 1, "mamba_d_state": 4, "mamba_d_conv": 3, "mamba_expand": 2,
        "mamba_dt_rank": 4, "use_mamba_kernels": False},
    "llama4_text": LOCAL | {
        "head_dim": 8, "intermediate_size_mlp": 24, "num_experts_per_tok": 1,
        "no_rope_layers": [1, 0]},
}

YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
        "original_max_position_embeddings": 32, "beta_fast": 4.0, "beta_slow": 1.0}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0,
            "original_max_position_embeddings": 64, "short_factor": [1.0, 1.3, 1.7, 2.0],
            "long_factor": [1.5, 3.0, 6.0, 9.0], "short_mscale": 1.2, "long_mscale": 1.4}
# A key that is no config key: tensors under the names of transformers 5, not of the hub.
RESAVED = {"_resaved": True}

SWITCHES = {
    "qwen3_next": {
        "sparse_step": {"num_hidden_layers": 3, "decoder_sparse_step": 2,
                        "layer_types": ["linear_attention", "full_attention", "linear_attention"]},
        "mlp_only_layers": {"mlp_only_layers": [0], "norm_topk_prob": False,
                            "attention_bias": True},
        "yarn": {"rope_parameters": YARN | {"partial_rotary_factor": 0.5}},
        "heads": {"num_key_value_heads": 4, "linear_num_key_heads": 4, "linear_num_value_heads": 4,
                  "linear_key_head_dim": 4, "linear_value_head_dim": 12,
                  "linear_conv_kernel_dim": 3},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "qwen3_moe": {
        "sparse_step": {"num_hidden_layers": 3, "decoder_sparse_step": 2},
        "mlp_only_layers": {"mlp_only_layers": [0], "norm_topk_prob": False},
        "sliding_window": {"use_sliding_window": True, "sliding_window": 7, "attention_bias": True},
        "yarn": {"rope_parameters": YARN},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "qwen2_moe": {
        "sparse_step": {"num_hidden_layers": 3, "decoder_sparse_step": 2, "norm_topk_prob": True},
        "mlp_only_layers": {"mlp_only_layers": [0], "norm_topk_prob": False, "qkv_bias": False},
        "sliding_window": {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 2},
        "yarn": {"rope_parameters": YARN},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "mixtral": {
        "sliding_window": {"sliding_window": 7, "head_dim": 12},
        "linear_rope": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0,
                                            "factor": 3.0}},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "olmoe": {
        "clip_qkv": {"clip_qkv": 0.8},
        "norm_topk_prob": {"norm_topk_prob": True, "num_key_value_heads": 2,
                           "attention_bias": True},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "phimoe": {
        "no_bias": {"attention_bias": False, "lm_head_bias": False, "sliding_window": 7},
        "jitter": {"router_jitter_noise": 0.2, "tie_word_embeddings": True},
        "longrope": {"rope_parameters": LONGROPE},
        "resaved": RESAVED,
    },
    "granitemoe": {
        "attention_bias": {"attention_bias": True, "tie_word_embeddings": True,
                           "num_key_value_heads": 4},
        "resaved": RESAVED,
    },
    "granitemoeshared": {
        "hub": {},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "ernie4_5_moe": {
        "use_bias": {"use_bias": True, "moe_num_shared_experts": 2},
        "interval": {"num_hidden_layers": 4, "moe_layer_interval": 2, "moe_layer_start_index": 0,
                     "moe_layer_end_index": 2, "moe_num_shared_experts": 0,
                     "moe_norm_min": 0.45},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "dots1": {
        "groups": {"n_group": 4, "topk_group": 2, "norm_topk_prob": False, "n_shared_experts": 2},
        "sliding_window": {"layer_types": ["full_attention", "sliding_attention"],
                           "sliding_window": 7, "attention_bias": True,
                           "first_k_dense_replace": 0},
        "resaved": RESAVED | {"tie_word_embeddings": True, "max_window_layers": 1,
                              "sliding_window": 9},
    },
    "hunyuan_v1_moe": {
        "layer_lists": {"moe_topk": [3, 1], "attention_bias": True},
        "dynamic_alpha": {"rope_parameters": {
            "rope_type": "dynamic", "rope_theta": 10000.0, "alpha": 50.0, "factor": 1.0}},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "deepseek_v2": {
        "group_limited": {"topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2,
                          "n_shared_experts": 2},
        "q_lora": {"q_lora_rank": 12, "attention_bias": True, "mlp_bias": True,
                   "first_k_dense_replace": 0},
        "yarn": {"rope_parameters": YARN | {"mscale": 0.707, "mscale_all_dim": 0.9}},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "deepseek_v3": {
        "no_norm": {"norm_topk_prob": False, "attention_bias": True, "q_lora_rank": 12},
        "groups": {"n_group": 4, "topk_group": 2, "n_shared_experts": 2},
        "rope_halves": {"rope_interleave": False, "first_k_dense_replace": 0},
        "yarn": {"rope_parameters": YARN | {"mscale": 0.707, "mscale_all_dim": 0.9}},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "glm4_moe": {
        "qk_norm": {"use_qk_norm": True, "attention_bias": False, "norm_topk_prob": False},
        "groups": {"n_group": 4, "topk_group": 2, "n_shared_experts": 2,
                   "first_k_dense_replace": 0},
        "partial_rotary": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0,
                                               "partial_rotary_factor": 1.0}},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "gpt_oss": {
        "no_bias": {"attention_bias": False},
        "full_attention": {"layer_types": ["full_attention", "full_attention"],
                           "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        "yarn": {"rope_parameters": YARN | {"truncate": True}, "tie_word_embeddings": True},
    },
    "minimax_m2": {
        "full_rotary": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0,
                                            "partial_rotary_factor": 1.0}},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "lfm2_moe": {
        "no_expert_bias": {"use_expert_bias": False, "norm_topk_prob": False,
                           "routed_scaling_factor": 1.5, "num_dense_layers": 0},
        "conv_bias": {"conv_bias": True, "conv_L_cache": 4},
        "resaved": RESAVED | {"tie_word_embeddings": True},
    },
    "jamba": {
        "proj_bias": {"mamba_proj_bias": True, "mamba_conv_bias": False},
        "layers": {"num_hidden_layers": 3, "attn_layer_period": 3, "attn_layer_offset": 0,
                   "expert_layer_period": 2, "expert_layer_offset": 0,
                   "tie_word_embeddings": True, "num_experts_per_tok": 3},
        "resaved": RESAVED,
    },
    "llama4_text": {
        "interleave": {"interleave_moe_layer_step": 2, "use_qk_norm": False,
                       "attention_bias": True},
        "chunked": {"attention_chunk_size": 16, "rope_parameters": LLAMA3},
        "temperature": {"attn_temperature_tuning": True, "floor_scale": 8, "attn_scale": 0.3,
                        "tie_word_embeddings": True},
        "no_temperature": {"attn_temperature_tuning": False, "num_experts_per_tok": 2},
    },
}


def fill(model, generator):
    """Random values that keep hidden states near unit size and every branch of a formula alive."""
    def normal(shape):
        return torch.randn(shape, generator=generator)

    tensors = list(model.named_parameters())
    tensors += [(name, buffer) for name, buffer in model.named_buffers()
                if name.endswith(("e_score_correction_bias", "expert_bias"))]
    for name, tensor in sorted(tensors):
        leaf = name.rsplit(".", 1)[-1]
        if "embed_tokens" in name:
            value = normal(tensor.shape)
        elif "norm" in name:
            value = tensor + 0.15 * normal(tensor.shape)
        elif leaf in ("A_log", "dt_bias", "D", "sinks"):
            value = tensor + 0.3 * normal(tensor.shape)
            if leaf == "sinks":
                value = normal(tensor.shape)
        elif "correction_bias" in name or "expert_bias" in name or tensor.dim() == 1 or (
                leaf.endswith("bias")):
            value = 0.1 * normal(tensor.shape)
        elif "conv" in name and tensor.dim() == 3:
            value = normal(tensor.shape) / tensor.shape[-1] ** 0.5
        else:
            is_router = any(part in ("gate", "router", "wg") for part in name.split(".")[-3:])
            value = normal(tensor.shape) * (1.5 if is_router else 1.0)
            value /= tensor.shape[-1] ** 0.5
        tensor.data.copy_(value.to(torch.bfloat16).float())


def is_router(module):
    name = type(module).__name__
    return name.endswith(("Router", "TopKGating")) or name == "HunYuanMoEV1Gate"


def watch_routers(model, golden):
    def hook_of(name):
        def hook(_module, inputs, outputs):
            golden[f"{name}.input"] = inputs[0].reshape(-1, inputs[0].shape[-1])
            for n, output in enumerate(outputs if isinstance(outputs, tuple) else [outputs]):
                golden[f"{name}.output{n}"] = output
        return hook

    for name, module in model.named_modules():
        if is_router(module) or (name.endswith("feed_forward.router")):
            module.register_forward_hook(hook_of(name))


def make(family, switch, changes, out):
    name = f"{family}-{switch}"
    folder = out / name
    values = COMMON | FAMILIES[family] | changes
    resaved = values.pop("_resaved", False)
    config = AutoConfig.for_model(family, **values)
    config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager",
                                             dtype=torch.float32)
    if hasattr(model, "set_experts_implementation"):
        try:
            model.set_experts_implementation("eager")
        except ValueError:
            pass  # a family whose experts have one implementation only
    model = model.float().eval()
    fill(model, generator)

    golden = {}
    watch_routers(model, golden)
    input_ids = torch.randint(0, config.vocab_size, (1, TOKENS), generator=generator)
    with torch.no_grad():
        outputs = model(input_ids=input_ids, output_hidden_states=True, use_cache=False)
    golden["input_ids"] = input_ids
    for n, hidden in enumerate(outputs.hidden_states):
        golden[f"hidden_states.{n}"] = hidden[0]
    golden["logits"] = outputs.logits[0]
    if not any(".output" in key for key in golden):
        raise SystemExit(f"{name}: no router was seen")

    shutil.rmtree(folder, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(folder, save_original_format=not resaved)
    (folder / "generation_config.json").unlink(missing_ok=True)
    stored = load_file(folder / "model.safetensors")
    for key, tensor in stored.items():
        if tensor.dtype != torch.bfloat16:
            raise SystemExit(f"{name}: '{key}' is stored as {tensor.dtype}")
    save_file({key: value.contiguous().clone() for key, value in golden.items()},
              folder / "golden.safetensors",
              {"family": family, "switch": json.dumps(changes),
               "made_by": f"transformers {transformers.__version__} fp32 eager cpu"})
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{name}: {len(stored)} tensors, {size // 1024} KiB, std of logits "
          f"{golden['logits'].std():.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "goldens" / "families")
    parser.add_argument("--only", default="*", help="shell pattern of FAMILY-SWITCH")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    arguments = parser.parse_args()
    for family, switches in SWITCHES.items():
        for switch, changes in switches.items():
            if not fnmatch.fnmatch(f"{family}-{switch}", arguments.only):
                continue
            if arguments.list:
                print(f"{family}-{switch}")
            else:
                make(family, switch, changes, arguments.out)


if __name__ == "__main__":
    main()
