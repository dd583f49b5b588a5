// What a benchmark says of the same thing measured several times.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <vector>

#include "base/json.h"

namespace cacheready {

// At least one value.
inline Json Summary(std::vector<double> values) {
  std::ranges::sort(values);
  const double median = values[values.size() / 2];
  return {{"median", median},
          {"min", values.front()},
          {"max", values.back()},
          {"spread", (values.back() - values.front()) / median}};
}

}  // namespace cacheready
