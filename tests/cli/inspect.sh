#!/usr/bin/env bash
# What `inspect` says of checkpoints whose config and tensors are known.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
families=$CACHEREADY_SOURCE/goldens/families

# says LINE...: each is a line of stdout, blanks taken together.
says() {
  local line
  for line in "$@"; do
    tr -s ' ' <"$WORK/stdout" | grep -qxF -- "$line" || { cat "$WORK/stdout"; fail "no line '$line'"; }
  done
}

# FP8, vision and a prediction block: numbers of its headers.
run 0 inspect "$CACHEREADY_SOURCE/models/reference-fp8"
says "family qwen3_5_moe" \
  "layers 4, with routed experts: 4 (0-3)" \
  "experts 32 a layer, 4 a token" \
  "expert weights fp8-block, per-expert" \
  "quantization fp8: w8a8 dynamic per token 128 columns" \
  "routing softmax, renormalized" \
  "router rows 32 of 256 BF16 in each of 4 layers: model.language_model.layers.0.mlp.gate.weight" \
  "router biases none" \
  "MTP routers 1, left as they are: mtp.layers.0.mlp.gate.weight" \
  "a plan may touch rows of the routers, at most 65.5 kB in 4 tensors (0.2893 % of the bytes)" \
  "routed experts 768 12.6 MB fp8-block BF16 F8_E4M3" \
  "vision 21 535.3 kB bf16 BF16"

# Dense first layers, routing groups, a correction bias; a gap in the routed layers; no plan at all.
run 0 inspect "$families/deepseek_v3"
says "layers 4, with routed experts: 3 (1-3)" \
  "routing sigmoid, renormalized, times 2.5; the best 2 of 4 groups of experts first" \
  "router biases BF16, for the selection only: model.layers.1.mlp.gate.e_score_correction_bias" \
  "a plan may touch rows and biases of the routers, at most 6.2 kB in 6 tensors (0.6713 % of the bytes)"
run 0 inspect "$families/jamba"
says "layers 4, with routed experts: 2 (1, 3)" "routing softmax, not renormalized"
run 0 inspect "$families/gpt_oss"
says "expert weights bf16, fused" "router biases BF16, on the logits: model.layers.0.mlp.router.bias"
run 0 inspect "$families/llama4_text"
says "a plan may touch nothing: the router's weights multiply the experts' inputs"

run 0 inspect "$families/deepseek_v3" --json
python3 - "$WORK/stdout" <<'PY' || fail "the JSON does not say so"
import json, sys
found = json.load(open(sys.argv[1]))
assert found["router"]["num_groups"] == 4 and found["router"]["scoring"] == "sigmoid"
assert "selection_bias" not in found["router"]
assert found["router_dtypes"] == found["router_bias_dtypes"] == ["BF16"]
assert found["quantization"] == "none"
formats = {module["module"]: module["formats"] for module in found["modules"]}
assert formats["routed experts"] == ["bf16"] and formats["norms"] == []
PY
