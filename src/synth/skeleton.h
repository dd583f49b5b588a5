// Checkpoints of full published size without their weights: every header byte is there, the data
// is a hole in the file. For tests and benchmarks of everything that reads headers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "synth/new_checkpoint.h"

namespace cacheready {

// config.json of a published Qwen3.5-MoE-FP8 shape: "35B-A3B", "122B-A10B" or "397B-A17B". Fails
// listing the names for another.
Json Qwen35MoeFp8Config(std::string_view size);

// All tensors of a Qwen3.5-MoE checkpoint with this config in the FP8 layout (per-expert codes with
// BF16 block scales), without bytes: language model, MTP block, vision tower; in the order layer by
// layer. Fails, naming the key, if the config lacks a number.
std::vector<NewTensor> Qwen35MoeFp8Tensors(const Json& config);

struct SkeletonOptions {
  std::uint64_t shard_bytes = 4ULL << 30;
  std::filesystem::path tokenizer_from;  // folder whose companion files are copied; empty: none
  std::optional<std::uint64_t> normal_weights;  // by this seed, see WriteNormalWeights
};
// Writes the skeleton, or the whole checkpoint with random weights, into the new or empty folder
// `out`, which should lie on a file system with sparse files.
void WriteSkeleton(const Json& config, const SkeletonOptions& options,
                   const std::filesystem::path& out);

}  // namespace cacheready
