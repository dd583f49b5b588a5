// Softmax attention with grouped key and value heads, and what families add to it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "model/config_reader.h"
#include "model/mixer.h"
#include "model/norm.h"
#include "model/rotary.h"
#include "model/weight_reader.h"

namespace cacheready {

struct AttentionSpec {
  std::int64_t hidden = 0, heads = 0, kv_heads = 0, head_dim = 0;
  // Rows of q_proj: per head `head_dim` of the query, then `head_dim` of a gate whose sigmoid
  // multiplies the head's output.
  bool output_gate = false;
  // RMS norms `q_norm` and `k_norm` before the rotation, over each head.
  bool head_norms = false;
  double norm_eps = 1e-6;
  float norm_offset = 0;
  Rotary rotary;
};

// num_key_value_heads (absent: as many as `heads`). Fails unless it divides `heads`.
std::int64_t ReadKvHeads(const ConfigReader& config, std::int64_t heads);

// Opens {q,k,v,o}_proj (and the norms) below `module`.
std::unique_ptr<Mixer> OpenAttention(const WeightReader& weights, const std::string& module,
                                     const AttentionSpec& spec);

}  // namespace cacheready
