// Dynamic quantization of activations to e4m3, per token and group of columns.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "compute/kernels.h"
#include "compute/matmul.h"

namespace cacheready {
QuantizedTokens QuantizeTokensE4m3(const RowsView& x, std::int64_t group) {
  CR_CHECK(group > 0, "group of {} columns", group);
  const std::int64_t groups = (x.cols() + group - 1) / group;
  const std::int64_t padded = (x.rows() + kTokenPanel - 1) / kTokenPanel * kTokenPanel;
  Matrix codes = Matrix::Uninitialized(x.rows(), x.cols());
  std::vector<float> scales(static_cast<std::size_t>(groups * padded));
  ParallelFor(padded / kTokenPanel, [&](std::int64_t p) {
    const std::int64_t end = std::min(x.rows(), (p + 1) * kTokenPanel);
    for (std::int64_t t = p * kTokenPanel; t < end; ++t) {
      const float* from = x.row(t).data();
      float* to = codes.row(t).data();
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t begin = g * group, count = std::min(group, x.cols() - begin);
        scales[static_cast<std::size_t>(g * padded + t)] =
            ActiveKernels().quantize_e4m3(from + begin, count, to + begin);
      }
    }
  });
  return {std::move(codes), std::move(scales), group};
}

}  // namespace cacheready
