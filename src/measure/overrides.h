// A plan, or another checkpoint's routers, applied in memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "checkpoint/checkpoint.h"
#include "model/model.h"
#include "records/plan.h"
#include "stream/stream.h"

namespace cacheready {

// The routers of the layers that `groups` name, decoded, with the planned rows and bias entries
// laid in. Fails, naming layer and tensor, on a tensor that is not the router's, another dtype or
// row width, an expert that is not there, or a row named twice.
RouterOverrides MakeOverrides(const Model& model, std::span<const PlannedGroup> groups);
// The same after comparing the SHA-256 of every row to be replaced with the plan's.
RouterOverrides MakeOverrides(const Model& model, const Checkpoint& checkpoint,
                              std::span<const PlannedGroup> groups);

// All routers of `other`, to be run in place of those of `model`: a patched copy whose other
// tensors are equal. Fails unless both have the same routed layers and shapes.
RouterOverrides RoutersOf(const Model& other, const Model& model);

}  // namespace cacheready
