// Gated DeltaNet (Yang et al. 2024) with a short convolution and a gated norm, as Qwen3-Next and
// Qwen3.5 use it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model/config_reader.h"
#include "model/mixer.h"
#include "model/weight_reader.h"

namespace cacheready {

struct GatedDeltaNetSpec {
  std::int64_t hidden = 0;
  std::int64_t key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0;
  std::int64_t convolution_width = 4;
  double norm_eps = 1e-6;
  // Stored as in_proj_qkvz and in_proj_ba, whose rows go by key head: q, k, then v and z (b and a)
  // of the value heads that share it. Else as in_proj_{qkv,z,b,a}.
  bool rows_by_key_head = false;

  std::int64_t heads_per_key() const { return value_heads / key_heads; }
  std::int64_t key_width() const { return key_heads * key_dim; }
  std::int64_t value_width() const { return value_heads * value_dim; }
  std::int64_t convolved_width() const { return 2 * key_width() + value_width(); }
};
GatedDeltaNetSpec ReadGatedDeltaNetSpec(const ConfigReader& config, std::int64_t hidden,
                                        double norm_eps);

// Opens the input projections, conv1d, A_log, dt_bias, norm and out_proj below `module`; rows of
// in_proj_qkv, and the channels of conv1d, are q | k | v, head by head.
std::unique_ptr<Mixer> OpenGatedDeltaNet(const WeightReader& weights, const std::string& module,
                                         const GatedDeltaNetSpec& spec);

}  // namespace cacheready
