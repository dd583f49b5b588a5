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

// Row `to` of the gate becomes row `from` plus Gaussian noise of relative norm `noise`, rounded to
// the stored dtype; bias entries are copied.
void CopyRouterRow(const RoutedBlock& block, std::int64_t from, std::int64_t to, double noise,
                   std::uint64_t seed, TensorEdits* edits);

}  // namespace cacheready
