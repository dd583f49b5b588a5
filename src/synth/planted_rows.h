// The copying of experts and router rows inside one routed block, shared by planted.cc and
// graded.cc.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "synth/edited_checkpoint.h"
#include "synth/routed_blocks.h"

namespace cacheready {

// All stored bytes of expert `from` over those of expert `to`.
void CopyExpert(const RoutedBlock& block, std::int64_t from, std::int64_t to, TensorEdits* edits);

// Relative norms of the Gaussian noise that a copy gets.
struct RowNoise {
  double row = 0;   // of the router row
  double bias = 0;  // of each bias entry
  std::uint64_t seed = 1;
};

// Row `to` of the gate becomes row `from` plus noise, rounded to the stored dtype, and so do the
// entries of its biases. Without noise the bytes are copied.
void CopyRouterRow(const RoutedBlock& block, std::int64_t from, std::int64_t to,
                   const RowNoise& noise, TensorEdits* edits);

}  // namespace cacheready
