// Multi-head latent attention (DeepSeek-V2): keys and values of all heads come from one small
// vector a token, and so may the queries; a part of each query, and one key part that all heads
// share, carry the positions. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model/config_reader.h"
#include "model/mixer.h"
#include "model/rotary.h"
#include "model/weight_reader.h"

namespace cacheready {

struct LatentAttentionSpec {
  std::int64_t hidden = 0, heads = 0;
  std::int64_t query_rank = 0;  // 0: queries straight from the input (q_proj)
  std::int64_t key_rank = 0;    // of the vector that keys and values come from
  std::int64_t plain_dim = 0;   // of a head's query and key, without positions ...
  std::int64_t rotary_dim = 0;  // ... and with them, behind the former
  std::int64_t value_dim = 0;
  bool bias = false;   // of q_a_proj, kv_a_proj_with_mqa and o_proj
  float scale = 1;     // of the scores
  Rotary rotary = {};  // of rotary_dim columns

  std::int64_t head_dim() const { return plain_dim + rotary_dim; }
};

// q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim, attention_bias and the
// positions; mscale_all_dim of scaled positions raises the scores.
LatentAttentionSpec ReadLatentAttention(const ConfigReader& config, std::int64_t hidden,
                                        RotaryPairs pairs);

// Opens q_proj or q_{a,b}_proj, kv_a_proj_with_mqa, kv_b_proj, o_proj and the norms below `module`.
std::unique_ptr<Mixer> OpenLatentAttention(const WeightReader& weights, const std::string& module,
                                           const LatentAttentionSpec& spec);

}  // namespace cacheready
