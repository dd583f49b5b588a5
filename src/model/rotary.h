// Rotary position embeddings as configs describe them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "arithmetic/profile.h"
#include "compute/sequence_ops.h"
#include "model/config_reader.h"
#include "tensor/matrix.h"

namespace cacheready {

struct Rotary {
  std::int64_t head_dim = 0;
  std::int64_t rotary_dim = 0;   // the first columns of a head; the others stay
  std::vector<double> inv_freq;  // [rotary_dim / 2], float values as transformers computes them
  double factor = 1;             // on cos and sin
};

// What a family assumes where the config is silent.
struct RotaryDefaults {
  double theta = 10000;
  double partial = 1;
};

// Reads rope_parameters (transformers 5) or the flat keys rope_theta, partial_rotary_factor; a
// value inside rope_parameters wins. Fails on a rope_type other than "default". Sections of
// multimodal RoPE are not read: for text all their positions are equal.
Rotary ReadRotary(const ConfigReader& config, std::int64_t head_dim,
                  const RotaryDefaults& defaults);

void RunRotary(const Arithmetic& arithmetic, const Rotary& rotary, DocumentBounds documents,
               Matrix& x);

}  // namespace cacheready
