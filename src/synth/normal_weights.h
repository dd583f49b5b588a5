// Weights drawn at random, for checkpoints of published shapes whose numbers do not matter: trials
// and benchmarks. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

#include "synth/new_checkpoint.h"

namespace cacheready {

// Writes the data of the tensors of `shard`, which begins `data_begin` bytes into the file at
// `path`, a safetensors file of full size. Normally distributed, as quantized and trained weights
// about are:
//   F8_E4M3          112 z, rounded (448 is 4 deviations)
//   *_scale_inv      such that weights have a deviation near 0.02
//   matrices         0.02 z
//   vectors in BF16  0.1 z (added to 1 where they scale a norm), in F32 1 + 0.1 z
// A value depends on the seed, the tensor's name and its index only. Fails, naming the tensor, for
// other dtypes.
void WriteNormalWeights(const std::filesystem::path& path, std::uint64_t data_begin,
                        const NewShard& shard, std::uint64_t seed);

}  // namespace cacheready
