// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace cacheready {

// Of a clock that never goes back: for differences.
inline double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace cacheready
