// SPDX-License-Identifier: Apache-2.0
#include "synth/planted_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "synth/stored_floats.h"

namespace cacheready {
namespace {

void CopyBytes(std::span<const std::byte> from, std::span<std::byte> to) {
  std::copy(from.begin(), from.end(), to.begin());
}

void CopyEntry(const std::string& tensor, std::int64_t count, std::int64_t from, std::int64_t to,
               TensorEdits* edits) {
  const std::span<std::byte> bytes = edits->Bytes(tensor);
  CopyBytes(EntryOf(bytes, count, from), EntryOf(bytes, count, to));
}

struct FromTo {
  std::int64_t from, to;
};

void CopyNoisyEntry(const std::string& tensor, std::int64_t count, FromTo experts, double noise,
                    std::uint64_t seed, TensorEdits* edits) {
  if (noise == 0) return CopyEntry(tensor, count, experts.from, experts.to, edits);
  const Dtype dtype = edits->source().GetTensor(tensor).dtype;
  const std::span<std::byte> bytes = edits->Bytes(tensor);
  std::vector<float> values = LoadFloats(EntryOf(bytes, count, experts.from), dtype);
  // Seeded by the name, not by a running number: a block's noise does not depend on the others.
  const std::uint64_t entry_seed =
      HashWords({HashText(seed, tensor), static_cast<std::uint64_t>(experts.to)});
  AddGaussianNoise(noise, entry_seed, values);
  CopyBytes(StoreFloats(values, dtype), EntryOf(bytes, count, experts.to));
}

}  // namespace

void CopyExpert(const RoutedBlock& block, std::int64_t from, std::int64_t to, TensorEdits* edits) {
  for (const std::string& tensor : block.fused) {
    CopyEntry(tensor, block.experts, from, to, edits);
  }
  for (const std::string& leaf : block.leaves) {
    CopyBytes(edits->Bytes(fmt::format("{}experts.{}.{}", block.prefix, from, leaf)),
              edits->Bytes(fmt::format("{}experts.{}.{}", block.prefix, to, leaf)));
  }
}

void CopyRouterRow(const RoutedBlock& block, std::int64_t from, std::int64_t to,
                   const RowNoise& noise, TensorEdits* edits) {
  CopyNoisyEntry(block.gate, block.experts, {from, to}, noise.row, noise.seed, edits);
  for (const std::string& bias : block.biases) {
    CopyNoisyEntry(bias, block.experts, {from, to}, noise.bias, noise.seed, edits);
  }
}

}  // namespace cacheready
