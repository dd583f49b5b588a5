#!/usr/bin/env python3
"""checkpoint.py CACHEREADY FOLDER LAYERS: makes FOLDER/src, a checkpoint of random FP8 weights,
0.423 GB a layer and 0.7 GB beside them."""
# SPDX-License-Identifier: Apache-2.0
import json
import pathlib
import shutil
import subprocess
import sys


def config(layers):
    kinds = ["full_attention" if n % 4 == 3 else "linear_attention" for n in range(layers)]
    return {
        "architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe",
        "dtype": "bfloat16", "tie_word_embeddings": False,
        "text_config": {
            "model_type": "qwen3_5_moe_text", "vocab_size": 32768, "hidden_size": 2048,
            "num_hidden_layers": layers, "num_attention_heads": 16, "num_key_value_heads": 2,
            "head_dim": 128, "attn_output_gate": True, "hidden_act": "silu",
            "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
            "attention_bias": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000, "partial_rotary_factor": 0.25,
                                "mrope_interleaved": True, "mrope_section": [8, 4, 4]},
            "linear_conv_kernel_dim": 4, "linear_key_head_dim": 64, "linear_value_head_dim": 64,
            "linear_num_key_heads": 16, "linear_num_value_heads": 32, "moe_intermediate_size": 512,
            "shared_expert_intermediate_size": 512, "num_experts": 128, "num_experts_per_tok": 8,
            "full_attention_interval": 4, "mtp_num_hidden_layers": 1, "eos_token_id": 0,
            "mamba_ssm_dtype": "float32", "layer_types": kinds},
        "vision_config": {
            "model_type": "qwen3_5_moe", "depth": 1, "hidden_size": 64, "hidden_act": "gelu_pytorch_tanh",
            "intermediate_size": 64, "num_heads": 2, "in_channels": 3, "patch_size": 16,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 2048,
            "num_position_embeddings": 16},
        "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                                "weight_block_size": [128, 128]}}


def make(cacheready, folder, layers):
    folder = pathlib.Path(folder)
    (folder / "config.json").write_text(json.dumps(config(layers)))
    subprocess.run([cacheready, "-q", "synth", "skeleton", "--config", folder / "config.json", "--weights", "normal",
                    "-o", folder / "src"], check=True, stdout=subprocess.DEVNULL)


def make_published(cacheready, folder, size, layers=None, vocabulary=None, experts=None, tokenizer=None):
    """folder/src: a checkpoint of a published size with random normal weights, or with fewer layers, tokens or experts."""
    folder = pathlib.Path(folder)
    skeleton = [cacheready, "-q", "synth", "skeleton"]
    subprocess.run([*skeleton, "--size", size, "-o", folder / "skeleton"], check=True, stdout=subprocess.DEVNULL)
    numbers = json.loads((folder / "skeleton/config.json").read_text())
    shutil.rmtree(folder / "skeleton")
    text = numbers["text_config"]
    if layers:
        text["num_hidden_layers"] = layers
        # One layer has attention: a linear one would be no smaller.
        text["layer_types"] = text["layer_types"][:layers] if layers > 1 else ["full_attention"]
    if vocabulary:
        text["vocab_size"] = vocabulary
    if experts:
        text["num_experts"] = experts
    (folder / "config.json").write_text(json.dumps(numbers))
    subprocess.run([*skeleton, "--config", folder / "config.json", "--weights", "normal", "-o", folder / "src",
                    *(["--tokenizer-from", tokenizer] if tokenizer else [])], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    make(sys.argv[1], sys.argv[2], int(sys.argv[3]))
