// SPDX-License-Identifier: Apache-2.0
#include "synth/graded.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "synth/edited_checkpoint.h"
#include "synth/planted_rows.h"
#include "synth/routed_blocks.h"
#include "synth/stored_floats.h"

namespace cacheready {
namespace {

std::vector<RoutedBlock> FusedMainBlocks(const Checkpoint& source) {
  std::vector<RoutedBlock> blocks = RoutedBlocks(source);
  std::erase_if(blocks, [](const RoutedBlock& block) { return block.mtp; });
  for (const RoutedBlock& block : blocks) {
    if (block.fused.empty()) {
      Fail("{}: experts of '{}' are stored one by one; graded pairs need the fused layout",
           source.folder().string(), block.gate);
    }
  }
  return blocks;
}

// Stored bytes of expert 2 * pair + noise for one fused tensor.
std::vector<std::byte> NoisyEntry(const Checkpoint& source, const RoutedBlock& block,
                                  const std::string& tensor, std::int64_t pair, double scale,
                                  std::uint64_t seed) {
  const TensorView& view = source.GetTensor(tensor);
  std::vector<float> weights = LoadFloats(EntryOf(view.bytes, block.experts, 2 * pair), view.dtype);
  AddGaussianNoise(scale,
                   HashWords({HashText(seed, tensor), static_cast<std::uint64_t>(2 * pair + 1)}),
                   weights);
  return StoreFloats(weights, view.dtype);
}

void GradePair(const RoutedBlock& block, std::int64_t pair, double scale,
               const GradedOptions& options, TensorEdits* edits) {
  for (const std::string& tensor : block.fused) {
    const std::vector<std::byte> noisy =
        NoisyEntry(edits->source(), block, tensor, pair, scale, options.seed);
    const std::span<std::byte> bytes = edits->Bytes(tensor);
    std::copy(noisy.begin(), noisy.end(), EntryOf(bytes, block.experts, 2 * pair + 1).begin());
  }
  CopyRouterRow(block, 2 * pair, 2 * pair + 1, {.row = options.row_noise, .seed = options.seed},
                edits);
}

}  // namespace

void WriteGraded(const Checkpoint& source, const GradedOptions& options,
                 const std::filesystem::path& out) {
  const std::vector<RoutedBlock> blocks = FusedMainBlocks(source);
  if (blocks.size() != options.scales.size()) {
    Fail("{}: has {} routed layers, found scales for {}", source.folder().string(), blocks.size(),
         options.scales.size());
  }
  TensorEdits edits(source);
  for (std::size_t layer = 0; layer < blocks.size(); ++layer) {
    const std::vector<double>& scales = options.scales[layer];
    if (2 * static_cast<std::int64_t>(scales.size()) > blocks[layer].experts) {
      Fail("{}: '{}' has {} experts, too few for {} pairs", source.folder().string(),
           blocks[layer].gate, blocks[layer].experts, scales.size());
    }
    for (std::size_t pair = 0; pair < scales.size(); ++pair) {
      GradePair(blocks[layer], static_cast<std::int64_t>(pair), scales[pair], options, &edits);
    }
  }
  WriteEditedCheckpoint(edits, out);
}

GradedExpert MakeGradedExpert(const Checkpoint& source, std::size_t layer, std::int64_t pair,
                              double scale, std::uint64_t seed) {
  const std::vector<RoutedBlock> blocks = FusedMainBlocks(source);
  CR_CHECK(layer < blocks.size(), "layer {} of {}", layer, blocks.size());
  const RoutedBlock& block = blocks[layer];
  const auto weights = [&](const std::string& leaf) {
    const std::string tensor = block.prefix + "experts." + leaf;
    return LoadFloats(NoisyEntry(source, block, tensor, pair, scale, seed),
                      source.GetTensor(tensor).dtype);
  };
  return {weights("gate_up_proj"), weights("down_proj")};
}

NoiseScale FindNoiseScale(double target, double start, double tolerance,
                          const std::function<double(double)>& measure) {
  constexpr int kMaxCalls = 60;
  constexpr int kMaxBracketing = 30;
  CR_CHECK(target > 0 && start > 0, "target {}, start {}", target, start);
  int calls = 0;
  NoiseScale best;
  const auto measured_at = [&](double scale) {
    const double measured = measure(scale);
    if (calls++ == 0 || std::abs(measured - target) < std::abs(best.measured - target)) {
      best = {scale, measured};
    }
    return measured;
  };
  const auto good_enough = [&] { return std::abs(best.measured - target) <= tolerance * target; };

  double low = start, high = start;
  const bool start_is_low = measured_at(start) < target;
  while (!good_enough()) {  // until low is below the target and high is not
    if (calls > kMaxBracketing) {
      Fail("no noise scale between {} and {} gives a distance of {}; closest {} at scale {}", low,
           high, target, best.measured, best.scale);
    }
    if (start_is_low) {
      high *= 2;
      if (measured_at(high) >= target) break;
      low = high;
    } else {
      low /= 2;
      if (measured_at(low) < target) break;
      high = low;
    }
  }
  while (!good_enough() && calls < kMaxCalls) {
    const double middle = low + (high - low) / 2;
    (measured_at(middle) < target ? low : high) = middle;
  }
  return best;
}

}  // namespace cacheready
