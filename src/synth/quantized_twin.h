// A twin of a checkpoint whose routed experts are quantized in one of the published layouts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "checkpoint/checkpoint.h"

namespace cacheready {

struct QuantizedTwinOptions {
  std::string quantizer;                    // a name of Quantizers()
  std::uint64_t shard_bytes = 16ULL << 20;  // of tensor data
};

// Writes into the new or empty folder `out`:
// - experts one by one, <module>.experts.E.{gate,up,down}_proj and what the format puts behind (by
//   the source's own names where they are one by one already); or, with a quantizer of fused
//   experts, <module>.experts.{gate_up,down}_proj_blocks and _scales;
// - all other tensors byte for byte;
// - config.json with the quantizer's quantization_config.
// The source's experts are plain and the source is not quantized: one by one, or fused as [experts,
// out, in] or [experts, in, out], with the gate's rows first if they are to be taken apart. Fails
// otherwise.
void WriteQuantizedTwin(const Checkpoint& source, const QuantizedTwinOptions& options,
                        const std::filesystem::path& out);

}  // namespace cacheready
