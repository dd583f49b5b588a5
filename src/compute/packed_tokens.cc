// Activations in the order the kernels read them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/parallel.h"
#include "compute/matmul.h"
#include "compute/token_panels.h"

namespace cacheready {

PackedTokens::PackedTokens(const RowsView& x) : tokens_(x.rows()), cols_(x.cols()) {
  const std::int64_t panel_size = kTokenPanel * cols_;
  values_.resize(static_cast<std::size_t>(panels() * panel_size));
  const Kernels& kernels = ActiveKernels();
  ParallelFor(panels(), [&](std::int64_t p) {
    const std::int64_t first = p * kTokenPanel;
    const std::int64_t count = std::min(kTokenPanel, tokens_ - first);
    const void* rows[kTokenPanel];
    for (std::int64_t t = 0; t < count; ++t) rows[t] = x.row(first + t).data();
    float* panel = values_.data() + p * panel_size;
    if (count < kTokenPanel) std::fill_n(panel, panel_size, 0.0f);
    kernels.transpose(rows, count, cols_, panel, kTokenPanel);
  });
}

std::int64_t PackedTokens::PanelTokens(std::int64_t p) const { return TokensOfPanel(tokens_, p); }

}  // namespace cacheready
