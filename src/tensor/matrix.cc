// SPDX-License-Identifier: Apache-2.0
#include "tensor/matrix.h"

#include <algorithm>

#include "base/error.h"

namespace cacheready {

Matrix GatherRows(const Matrix& source, std::span<const std::int32_t> indices) {
  Matrix gathered(static_cast<std::int64_t>(indices.size()), source.cols());
  for (std::size_t r = 0; r < indices.size(); ++r) {
    CR_CHECK(indices[r] >= 0 && indices[r] < source.rows(), "row {} of {}", indices[r],
             source.rows());
    const std::span<const float> from = source.row(indices[r]);
    std::copy(from.begin(), from.end(), gathered.row(static_cast<std::int64_t>(r)).begin());
  }
  return gathered;
}

}  // namespace cacheready
