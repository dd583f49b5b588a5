// How fast this machine reads and computes, found by doing a little of it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "model/model.h"

namespace cacheready {

struct MeasuredRates {
  std::int64_t layer = 0, experts = 0;  // the first `experts` of this layer were read and run
  double bytes_per_second = 0;
  std::string way;  // of reading
  // Products on all threads: in the numerics class, and in fp32 (the same for the fp32 class).
  double flops_per_second = 0, fp32_flops_per_second = 0;
};

// Reads some experts of the first routed layer and runs them on random rows. Requires: the model
// has a store that was told to read (Use), and no part is entered.
MeasuredRates MeasureRates(const Model& model, Numerics numerics);

}  // namespace cacheready
