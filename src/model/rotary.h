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

struct RotaryFrequencies {
  std::vector<double> inv_freq;  // [rotary_dim / 2], float values as transformers computes them
  double factor = 1;             // on cos and sin
};

struct Rotary {
  std::int64_t head_dim = 0;
  std::int64_t first = 0;       // columns of a head before the rotated ones
  std::int64_t rotary_dim = 0;  // rotated columns; what comes after them stays too
  RotaryPairs pairs = RotaryPairs::kHalves;
  RotaryFrequencies frequencies;
  // LongRoPE: documents of more than `long_above` tokens turn by other frequencies. 0: none do.
  std::int64_t long_above = 0;
  RotaryFrequencies long_frequencies = {};
};

// What a family assumes where the config is silent.
struct RotaryDefaults {
  double theta = 10000;
  double partial = 1;
};

// The object that describes the positions: rope_scaling (the name before transformers 5) where it
// is given, else rope_parameters. Fails if it describes kinds of layers apart.
ConfigReader RotaryParameters(const ConfigReader& config);

// Reads RotaryParameters or, where it is silent, the flat keys rope_theta and
// partial_rotary_factor. Fails on a rope_type that is not in the table of rotary_scaling.cc.
// Sections of multimodal RoPE are not read: for text all their positions are equal.
Rotary ReadRotary(const ConfigReader& config, std::int64_t head_dim,
                  const RotaryDefaults& defaults);

void RunRotary(const Arithmetic& arithmetic, const Rotary& rotary, DocumentBounds documents,
               Matrix& x);

}  // namespace cacheready
