// Activations in the order the kernels read them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "compute/matmul.h"

namespace cacheready {
namespace {

// [count rows][cols] -> [cols][kTokenPanel], a cache line of columns at a time.
template <typename RowOf>
void TransposePanel(RowOf row_of, std::int64_t count, std::int64_t cols, float* panel) {
  constexpr std::int64_t kLine = 16;
  for (std::int64_t begin = 0; begin < cols; begin += kLine) {
    const std::int64_t end = std::min(cols, begin + kLine);
    for (std::int64_t t = 0; t < count; ++t) {
      const float* row = row_of(t);
      for (std::int64_t c = begin; c < end; ++c) panel[c * kTokenPanel + t] = row[c];
    }
  }
}

template <typename RowOf>
std::vector<float> PackPanels(std::int64_t tokens, std::int64_t cols, RowOf row_of) {
  const std::int64_t panels = (tokens + kTokenPanel - 1) / kTokenPanel;
  std::vector<float> values(static_cast<std::size_t>(panels * kTokenPanel * cols));
  ParallelFor(panels, [&](std::int64_t p) {
    const std::int64_t first = p * kTokenPanel;
    TransposePanel([&](std::int64_t t) { return row_of(first + t); },
                   std::min(kTokenPanel, tokens - first), cols, values.data() + first * cols);
  });
  return values;
}

}  // namespace

PackedTokens::PackedTokens(const Matrix& x) : tokens_(x.rows()), cols_(x.cols()) {
  values_ = PackPanels(tokens_, cols_, [&](std::int64_t t) { return x.row(t).data(); });
}

PackedTokens::PackedTokens(const Matrix& x, std::span<const std::int32_t> rows)
    : tokens_(static_cast<std::int64_t>(rows.size())), cols_(x.cols()) {
  values_ = PackPanels(tokens_, cols_, [&](std::int64_t t) {
    const std::int32_t row = rows[static_cast<std::size_t>(t)];
    CR_CHECK(row >= 0 && row < x.rows(), "row {} of {}", row, x.rows());
    return x.row(row).data();
  });
}

std::int64_t PackedTokens::PanelTokens(std::int64_t p) const {
  const std::int64_t left = tokens_ - p * kTokenPanel;
  return std::min(kTokenPanel, (left + kTokenPad - 1) / kTokenPad * kTokenPad);
}

}  // namespace cacheready
