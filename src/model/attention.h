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

// RMS norms of queries and keys.
enum class QkNorm : std::uint8_t {
  kNone,
  kHead,        // over each head, one weight a column of a head
  kProjection,  // over all heads together, one weight a column of the projection
  kUnitHead,    // over each head, without weights
};

struct AttentionNames {
  std::string q = "q_proj", k = "k_proj", v = "v_proj", o = "o_proj";
  std::string q_norm = "q_norm", k_norm = "k_norm";
};

// Queries times 1 + strength ln(1 + floor((position + 1) / positions)).
struct QueryTemperature {
  double strength = 0;
  double positions = 1;
};

struct AttentionSpec {
  std::int64_t hidden = 0, heads = 0, kv_heads = 0, head_dim = 0;
  // Rows of q_proj: per head `head_dim` of the query, then `head_dim` of a gate whose sigmoid
  // multiplies the head's output.
  bool output_gate = false;
  bool input_bias = false;   // of q, k and v
  bool output_bias = false;  // of o
  QkNorm qk_norm = QkNorm::kNone;
  bool norm_after_rotary = false;
  float clip = 0;   // q, k and v between -clip and clip, after the norms; 0: not clipped
  float scale = 0;  // of the scores; 0: 1 / sqrt(head_dim)
  double norm_eps = 1e-6;
  float norm_offset = 0;
  std::optional<Rotary> rotary = {};  // none: the layer knows no positions
  std::optional<QueryTemperature> temperature = {};
  std::int64_t window = 0;  // 0 = full; else key > query - window
  std::int64_t chunk = 0;   // 0 = full; else the query's own chunk of the document only
  bool sinks = false;       // one more logit a head, stored as `sinks`, that gets no value
  AttentionNames names = {};
};

// num_key_value_heads (absent: as many as `heads`). Fails unless it divides `heads`.
std::int64_t ReadKvHeads(const ConfigReader& config, std::int64_t heads);

// Opens {q,k,v,o}_proj (and the norms, biases and sinks) below `module`.
std::unique_ptr<Mixer> OpenAttention(const WeightReader& weights, const std::string& module,
                                     const AttentionSpec& spec);

}  // namespace cacheready
