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

void CopyRouterRow(const RoutedBlock& block, std::int64_t from, std::int64_t to, double noise,
                   std::uint64_t seed, TensorEdits* edits) {
  const Dtype dtype = edits->source().GetTensor(block.gate).dtype;
  const std::span<std::byte> gate = edits->Bytes(block.gate);
  std::vector<float> row = LoadFloats(EntryOf(gate, block.experts, from), dtype);
  // Seeded by the name, not by a running number: a block's noise does not depend on the others.
  const std::uint64_t row_seed =
      HashWords({HashText(seed, block.gate), static_cast<std::uint64_t>(to)});
  AddGaussianNoise(noise, row_seed, row);
  CopyBytes(StoreFloats(row, dtype), EntryOf(gate, block.experts, to));
  for (const std::string& bias : block.biases) CopyEntry(bias, block.experts, from, to, edits);
}

}  // namespace cacheready
