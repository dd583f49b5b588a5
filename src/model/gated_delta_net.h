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

  std::int64_t key_width() const { return key_heads * key_dim; }
  std::int64_t value_width() const { return value_heads * value_dim; }
  std::int64_t convolved_width() const { return 2 * key_width() + value_width(); }
};
GatedDeltaNetSpec ReadGatedDeltaNetSpec(const ConfigReader& config, std::int64_t hidden,
                                        double norm_eps);

// Opens in_proj_{qkv,z,b,a}, conv1d, A_log, dt_bias, norm and out_proj below `module`; rows of
// in_proj_qkv are q | k | v, head by head.
std::unique_ptr<Mixer> OpenGatedDeltaNet(const WeightReader& weights, const std::string& module,
                                         const GatedDeltaNetSpec& spec);

}  // namespace cacheready
