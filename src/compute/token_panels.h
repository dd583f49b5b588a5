// Tokens in the order the kernels read them. Private to this folder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "compute/kernel_functions.h"

namespace cacheready {

inline std::int64_t PanelsOf(std::int64_t tokens) {
  return (tokens + kTokenPanel - 1) / kTokenPanel;
}

// Tokens of panel p that a kernel must compute: kTokenPanel, or fewer in the last one.
inline std::int64_t TokensOfPanel(std::int64_t tokens, std::int64_t p) {
  const std::int64_t left = tokens - p * kTokenPanel;
  return std::min(kTokenPanel, (left + kTokenPad - 1) / kTokenPad * kTokenPad);
}

}  // namespace cacheready
