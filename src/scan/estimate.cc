// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "scan/layer_scan.h"
#include "scan/scan.h"
#include "scan/scan_text.h"

namespace cacheready {
namespace {

constexpr std::int64_t kPasses = 2;  // fp32 and the profile, side by side
constexpr std::int64_t kProbeTokens = kProbeDocuments * kProbeUsedTokens;

// How much text a scan of these options runs, at most.
struct ScanSize {
  std::int64_t tokens;  // recorded
  std::int64_t batch;   // run: with the probe
};

ScanSize SizeOf(const ScanOptions& options) {
  // A part takes documents that begin in its share: the last one may reach beyond it.
  const std::int64_t share =
      options.tokens / options.part.of + 1 + std::min(options.document_tokens, options.tokens);
  const std::int64_t tokens = std::min(options.tokens, share);
  return {tokens, tokens + kProbeDocuments * kProbeDocumentTokens};
}

std::int64_t PairBytes(const ModelInfo& info, const ScanOptions& options) {
  const std::int64_t all = info.experts * (info.experts - 1) / 2;
  const std::int64_t few = std::min(all, options.pairs_per_expert * info.experts);
  const std::int64_t shared_side =
      std::min(options.sample_per_side, options.shared_sample * info.top_k / info.experts + 1);
  const auto bytes = [&](std::int64_t pairs, std::int64_t side) {
    return pairs * (4 * side + kProbeTokens) * 4;
  };
  return std::max(bytes(few, options.sample_per_side), bytes(all, shared_side));
}

std::int64_t Ranked(const ModelInfo& info) { return std::min(2 * info.top_k, info.experts); }

// Of one layer's record.
std::int64_t RecordBytes(const ModelInfo& info, const ScanOptions& options) {
  const std::int64_t ranked = Ranked(info);
  const std::int64_t gram = (ranked + 1) * (ranked + 2) / 2;
  const std::int64_t per_token =
      2 * info.experts * 4 + std::int64_t{3} * 4 + info.hidden * 4 + ranked * 4 + gram * 8;
  return SizeOf(options).tokens * per_token + kProbeTokens * info.experts * 4 +
         info.experts * info.hidden * 4 + info.experts * options.sample_per_side * 8 +
         PairBytes(info, options);
}

// How often each expert is gone through, where `outputs` rows of expert outputs are taken in
// blocks.
std::int64_t Passes(const ModelInfo& info, std::int64_t outputs, std::uint64_t output_bytes) {
  const std::int64_t held =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(output_bytes) / (info.hidden * 4));
  return (outputs + held - 1) / held;
}

struct Flops {
  double all = 0;
  double fp32 = 0;  // of these, in fp32 whatever the numerics class
};

// What is computed in one layer; attention over the tokens of a document, which is short, is left
// out, and so are decoys. With candidates the runs of the ranked experts come on top, and more of
// the pairs'.
Flops FlopsOfLayer(const ModelInfo& info, const ScanOptions& options) {
  const ScanSize size = SizeOf(options);
  const std::int64_t sampled =
      std::min(options.sample_per_side, size.tokens * info.top_k / info.experts + 1);
  // Runs of an expert on a token: what noise is measured from; that again as it is served, and in
  // the class; outputs that are compared.
  const std::int64_t references = kProbeNoiseTokens + sampled;
  const bool in_class = options.numerics != Numerics::kFp32Chain;
  const std::int64_t of_each = 2 * references + (in_class ? kProbeNoiseTokens : 0) + kProbeTokens +
                               2 * std::min(options.neighbour_tokens, sampled);
  const double runs = static_cast<double>(kPasses * size.batch * info.top_k) +
                      static_cast<double>(info.experts * of_each);
  const auto hidden = static_cast<double>(info.hidden), experts = static_cast<double>(info.experts);
  const double run = 6 * hidden * static_cast<double>(info.expert_width);
  const double of_pairs = static_cast<double>(kProbeTokens) * experts * experts * 2 * hidden;
  return {runs * run + static_cast<double>(kPasses * size.batch * info.token_columns) * 2 * hidden +
              of_pairs,
          static_cast<double>(info.experts * references) * run + of_pairs};
}

}  // namespace

MemoryUse ScanMemory(const Model& model, const ScanOptions& options) {
  const ModelInfo& info = model.info();
  MemoryUse use = StreamMemory(model, SizeOf(options).batch, kPasses);
  // A record is held twice while it is written, as numbers and as the bytes of its file, beside the
  // states after its layer and the record that the next layer makes meanwhile.
  use.held_bytes += static_cast<std::uint64_t>(
      3 * RecordBytes(info, options) + kPasses * SizeOf(options).batch * info.hidden * 4 +
      2 * info.experts * info.experts * 8 + kProbeTokens * info.experts * info.experts / 2 * 4);
  const std::int64_t sampled =
      kProbeTokens + 2 * (options.pairs_per_expert + 1) * options.sample_per_side;
  use.output_rows = std::max({use.output_rows, SizeOf(options).tokens * Ranked(info),
                              info.experts * std::min(SizeOf(options).batch, sampled)});
  use.reads_head = false;
  return use;
}

ScanEstimate EstimateScan(const Model& model, const ScanOptions& options, const MemoryPlan& plan) {
  const ModelInfo& info = model.info();
  const ScanSize size = SizeOf(options);
  const std::uint64_t outputs = plan.reading.output_bytes;

  ScanEstimate estimate;
  estimate.record_bytes = static_cast<std::uint64_t>(RecordBytes(info, options)) *
                          static_cast<std::uint64_t>(info.moe_layers.size());
  estimate.state_bytes = static_cast<std::uint64_t>(2 * kPasses * size.batch * info.hidden * 4);
  // Both runs; noise on the probe and on the samples; the probe itself; pairs, of which each expert
  // meets two at most as a rule; the decoys' experts; the ranked ones.
  if (plan.reading.residency == Residency::kExperts) {
    estimate.expert_passes =
        kPasses * Passes(info, size.batch * info.top_k, outputs) + 2 +
        Passes(info, kProbeTokens * info.experts, outputs) +
        Passes(info, info.experts * (kProbeTokens + 3 * options.sample_per_side), outputs) + 1 +
        Passes(info, size.tokens * Ranked(info), outputs);
  }
  const WeightTraffic traffic = TrafficOf(model, false);
  estimate.read_bytes =
      traffic.once + traffic.experts * static_cast<std::uint64_t>(estimate.expert_passes - 1);
  estimate.memory_bytes = plan.peak_bytes;
  const Flops of_layer = FlopsOfLayer(info, options);
  estimate.flops = static_cast<double>(info.layers) * of_layer.all;
  estimate.fp32_flops = static_cast<double>(info.layers) * of_layer.fp32;
  return estimate;
}

}  // namespace cacheready
