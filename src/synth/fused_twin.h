// The unquantized twin of an FP8 checkpoint: the same weights as plain numbers in the fused layout
// in which Qwen publishes its bf16 models.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

#include "checkpoint/checkpoint.h"
#include "tensor/dtype.h"

namespace cacheready {

struct FusedTwinOptions {
  Dtype dtype = Dtype::kBF16;               // or kF32, which holds code x scale exactly
  std::uint64_t shard_bytes = 16ULL << 20;  // of tensor data
};

// Writes into the new or empty folder `out`:
// - experts of the main layers as <block>.experts.gate_up_proj [experts, 2 I, H] (gate rows first)
//   and <block>.experts.down_proj [experts, H, I], no ".weight"; MTP experts stay one by one;
// - every FP8 block-scaled matrix dequantized to `dtype`, its scales gone;
// - all other tensors (gates among them) byte for byte, so a plan for one fits the other;
// - config.json without quantization_config.
// Fails if `source` has no per-expert gate_proj / up_proj / down_proj.
void WriteFusedTwin(const Checkpoint& source, const FusedTwinOptions& options,
                    const std::filesystem::path& out);

}  // namespace cacheready
