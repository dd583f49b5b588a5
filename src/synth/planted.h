// Planted copies: a checkpoint in which known experts are exact copies of others, with router rows
// that differ a little. What a scan must find, by construction.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace cacheready {

struct CopiedExperts {
  std::int64_t layer = 0;
  bool mtp = false;
  std::vector<std::int32_t> members;  // members[0] is the original
};

struct PlantedOptions {
  std::int64_t groups = 8;      // in each layer
  std::int64_t group_size = 2;  // group j: experts j * group_size ... (j + 1) * group_size - 1
  double row_noise = 0.01;      // ||noise|| / ||row|| of each copy's router row, before rounding
  double bias_noise = 0;        // the same of each copy's bias entries
  std::uint64_t seed = 1;
  bool mtp = false;  // plant in multi-token-prediction blocks too
  // Not empty: these groups, in these layers, instead of the first `groups` of every layer.
  std::vector<CopiedExperts> chosen = {};
};

// Copies all stored bytes (codes and scales alike) of the first expert of each group over the
// others, gives their router rows and bias entries as those of the first + Gaussian noise in the
// stored dtype, and writes the whole folder as `out`: same files, headers and layout. Returns what
// was planted, by layer. Fails if groups * group_size exceeds the experts, a chosen group names a
// layer or an expert that is not there, the gate (with bias noise: a bias) is not BF16, F16 or F32,
// or `out` is not empty.
std::vector<CopiedExperts> WritePlanted(const Checkpoint& source, const PlantedOptions& options,
                                        const std::filesystem::path& out);

}  // namespace cacheready
