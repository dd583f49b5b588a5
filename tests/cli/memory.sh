#!/usr/bin/env bash
# --max-memory is kept to, whatever is read in which way, by a scan of more weights than it allows; the
# bytes of the scan do not depend on it; and what cannot be kept to is refused with the least that can.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
cat >"$WORK/config.json" <<'JSON'
{"architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe", "dtype": "bfloat16",
 "tie_word_embeddings": false,
 "text_config": {"model_type": "qwen3_5_moe_text", "vocab_size": 1024, "hidden_size": 512,
  "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
  "attn_output_gate": true, "hidden_act": "silu", "max_position_embeddings": 4096, "rms_norm_eps": 1e-6,
  "tie_word_embeddings": false, "attention_bias": false,
  "rope_parameters": {"rope_type": "default", "rope_theta": 10000, "partial_rotary_factor": 0.25,
   "mrope_interleaved": true, "mrope_section": [4, 2, 2]},
  "linear_conv_kernel_dim": 4, "linear_key_head_dim": 32, "linear_value_head_dim": 32,
  "linear_num_key_heads": 4, "linear_num_value_heads": 8, "moe_intermediate_size": 256,
  "shared_expert_intermediate_size": 256, "num_experts": 64, "num_experts_per_tok": 4,
  "full_attention_interval": 4, "mtp_num_hidden_layers": 1, "eos_token_id": 0, "mamba_ssm_dtype": "float32",
  "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention",
                  "linear_attention", "linear_attention", "linear_attention", "full_attention"]},
 "vision_config": {"model_type": "qwen3_5_moe", "depth": 1, "hidden_size": 64, "hidden_act": "gelu_pytorch_tanh",
  "intermediate_size": 64, "num_heads": 2, "in_channels": 3, "patch_size": 16, "spatial_merge_size": 2,
  "temporal_patch_size": 2, "out_hidden_size": 512, "num_position_embeddings": 16},
 "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
  "weight_block_size": [128, 128]}}
JSON
"$CACHEREADY" -q synth skeleton --config "$WORK/config.json" --weights normal -o "$WORK/src" >/dev/null
make_text "$WORK/text.jsonl"
scan=(scan "$WORK/src" -c "$WORK/text.jsonl" --tokens 512 --document-tokens 64)
weights=200  # MiB that a scan reads

"$CACHEREADY" -q --threads 2 "${scan[@]}" -o "$WORK/scan" >/dev/null

# held MIB RESIDENCY OPTION...: a scan within MIB keeps RESIDENCY and gives the same bytes.
held() {
  local limit=$1 residency=$2
  shift 2
  rm -rf "$WORK/held"
  python3 "$CACHEREADY_SOURCE/tests/python/peak_memory.py" "$WORK/peak" "$CACHEREADY" -v --threads 2 \
    --max-memory "${limit}MiB" "$@" "${scan[@]}" -o "$WORK/held" >"$WORK/stdout" 2>"$WORK/stderr" ||
    { cat "$WORK/stderr"; fail "$limit MiB $*"; }
  grep -q "^memory: of the weights $residency;" "$WORK/stderr" || { cat "$WORK/stderr"; fail "not $residency"; }
  [ "$(cat "$WORK/peak")" -le $((limit << 20)) ] || fail "$limit MiB $*: had $(cat "$WORK/peak") bytes"
  same "$WORK/scan" "$WORK/held"
}
held 194 "one layer" --io direct
held 194 "one layer" --io mmap
[ 194 -lt "$weights" ] || fail "all weights would fit"
held 178 "one layer without its experts, which are read again in each pass over them" --io direct
held 178 "one layer without its experts, which are read again in each pass over them" --io mmap

run 3 --threads 2 --max-memory 64MiB "${scan[@]}" -o "$WORK/refused"
refused "--max-memory" "64 MiB" "needs at least"
[ ! -e "$WORK/refused" ] || fail "a refused scan left something"
least=$(sed -n 's/.*needs at least \([0-9]*\) MiB.*/\1/p' "$WORK/stderr")
run 0 --threads 2 --max-memory $((least + 1))MiB "${scan[@]}" -o "$WORK/refused" --dry-run
grep -q "without its experts" "$WORK/stdout" || fail "the least that is enough is not enough"

# The scan would fit, the check that follows it does not: said before the scan.
run 3 --threads 2 --max-memory 180MiB canonicalize "$WORK/src" -c "$WORK/text.jsonl" -o "$WORK/out" \
  --tokens 512 --document-tokens 64 --check-tokens 20000
refused "--max-memory" "needs at least"
[ ! -e "$WORK/out.run" ] || fail "a refused run left something"
