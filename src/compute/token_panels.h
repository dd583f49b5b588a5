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

// [count rows][words] -> [words][kTokenPanel], a cache line of words at a time.
template <typename Word, typename RowOf>
void TransposePanel(RowOf row_of, std::int64_t count, std::int64_t words, Word* panel) {
  constexpr std::int64_t kLine = 16;
  for (std::int64_t begin = 0; begin < words; begin += kLine) {
    const std::int64_t end = std::min(words, begin + kLine);
    for (std::int64_t t = 0; t < count; ++t) {
      const Word* row = row_of(t);
      for (std::int64_t c = begin; c < end; ++c) panel[c * kTokenPanel + t] = row[c];
    }
  }
}

}  // namespace cacheready
