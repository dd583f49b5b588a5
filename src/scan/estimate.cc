// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "scan/scan.h"
#include "scan/scan_text.h"

namespace cacheready {
namespace {

// Passes side by side, and activations of `hidden` columns that each holds at its widest: hidden,
// x, y, and the mixer's own.
constexpr std::int64_t kPasses = 2;
constexpr std::int64_t kMatricesPerPass = 8;

std::int64_t PairBytes(const ModelInfo& info, const ScanOptions& options, std::int64_t probe) {
  const std::int64_t all = info.experts * (info.experts - 1) / 2;
  const std::int64_t few = std::min(all, options.pairs_per_expert * info.experts);
  const std::int64_t shared_side =
      std::min(options.sample_per_side, options.shared_sample * info.top_k / info.experts + 1);
  const auto bytes = [&](std::int64_t pairs, std::int64_t side) {
    return pairs * (4 * side + probe) * 4;
  };
  return std::max(bytes(few, options.sample_per_side), bytes(all, shared_side));
}

}  // namespace

ScanEstimate EstimateScan(const Checkpoint& checkpoint, const Model& model,
                          const ScanOptions& options) {
  const ModelInfo& info = model.info();
  const std::int64_t probe = kProbeDocuments * kProbeUsedTokens;
  // A part takes documents that begin in its share: the last one may reach beyond it.
  const std::int64_t share =
      options.tokens / options.part.of + 1 + std::min(options.document_tokens, options.tokens);
  const std::int64_t tokens = std::min(options.tokens, share);
  const std::int64_t batch = tokens + kProbeDocuments * kProbeDocumentTokens;
  const std::int64_t ranked = std::min(2 * info.top_k, info.experts);
  const std::int64_t gram = (ranked + 1) * (ranked + 2) / 2;
  const std::int64_t per_token =
      2 * info.experts * 4 + 3 * 4 + info.hidden * 4 + ranked * 4 + gram * 8;
  const std::int64_t layer_bytes =
      tokens * per_token + probe * info.experts * 4 + info.experts * info.hidden * 4 +
      info.experts * options.sample_per_side * 8 + PairBytes(info, options, probe);
  const std::int64_t hidden_bytes = batch * info.hidden * 4;

  ScanEstimate estimate;
  for (const Shard& shard : checkpoint.shards()) estimate.read_bytes += shard.size_bytes;
  estimate.record_bytes =
      static_cast<std::uint64_t>(layer_bytes) * static_cast<std::uint64_t>(info.moe_layers.size());
  estimate.state_bytes = static_cast<std::uint64_t>(2 * kPasses * hidden_bytes);
  // A record is held twice while it is written: as numbers and as the bytes of its file.
  estimate.memory_bytes =
      static_cast<std::uint64_t>(kPasses * kMatricesPerPass * hidden_bytes + 2 * layer_bytes) +
      options.memory_bytes;
  return estimate;
}

}  // namespace cacheready
