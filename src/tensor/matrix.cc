// SPDX-License-Identifier: Apache-2.0
#include "tensor/matrix.h"

#include <algorithm>

#include "base/error.h"

namespace cacheready {

Matrix CopyColumns(const Matrix& source, std::int64_t begin, std::int64_t count) {
  CR_CHECK(begin >= 0 && count >= 0 && begin + count <= source.cols(), "columns {}+{} of {}", begin,
           count, source.cols());
  Matrix part(source.rows(), count);
  for (std::int64_t r = 0; r < source.rows(); ++r) {
    std::copy_n(source.row(r).begin() + begin, count, part.row(r).begin());
  }
  return part;
}

Matrix FirstRows(const Matrix& source, std::int64_t count) {
  CR_CHECK(count >= 0 && count <= source.rows(), "the first {} of {} rows", count, source.rows());
  Matrix first(count, source.cols());
  std::copy_n(source.values().begin(), first.values().size(), first.values().begin());
  return first;
}

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
