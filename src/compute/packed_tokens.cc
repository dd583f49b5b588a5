// Activations in the order the kernels read them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "compute/matmul.h"
#include "compute/token_panels.h"

namespace cacheready {
namespace {

template <typename RowOf>
UnsetVector<float> PackPanels(std::int64_t tokens, std::int64_t cols, RowOf row_of) {
  const std::int64_t panels = PanelsOf(tokens), panel_size = kTokenPanel * cols;
  UnsetVector<float> values(static_cast<std::size_t>(panels * panel_size));
  const Kernels& kernels = ActiveKernels();
  ParallelFor(panels, [&](std::int64_t p) {
    const std::int64_t first = p * kTokenPanel;
    const std::int64_t count = std::min(kTokenPanel, tokens - first);
    const void* rows[kTokenPanel];
    for (std::int64_t t = 0; t < count; ++t) rows[t] = row_of(first + t);
    float* panel = values.data() + p * panel_size;
    if (count < kTokenPanel) std::fill_n(panel, panel_size, 0.0f);
    kernels.transpose(rows, count, cols, panel, kTokenPanel);
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

std::int64_t PackedTokens::PanelTokens(std::int64_t p) const { return TokensOfPanel(tokens_, p); }

}  // namespace cacheready
