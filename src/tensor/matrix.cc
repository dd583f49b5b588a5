// SPDX-License-Identifier: Apache-2.0
#include "tensor/matrix.h"

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"

namespace cacheready {
namespace {

// Floats that a task copies at least: below it, waking a thread costs more.
constexpr std::int64_t kGrain = 1 << 16;

template <typename Copy>
void CopyRows(const Matrix& to, Copy copy) {
  const std::int64_t rows = kGrain / std::max<std::int64_t>(1, to.cols()) + 1;
  ParallelFor((to.rows() + rows - 1) / rows, [&](std::int64_t task) {
    const std::int64_t end = std::min(to.rows(), (task + 1) * rows);
    for (std::int64_t r = task * rows; r < end; ++r) copy(r);
  });
}

}  // namespace

Matrix CopyColumns(const Matrix& source, std::int64_t begin, std::int64_t count) {
  CR_CHECK(begin >= 0 && count >= 0 && begin + count <= source.cols(), "columns {}+{} of {}", begin,
           count, source.cols());
  Matrix part = Matrix::Uninitialized(source.rows(), count);
  CopyRows(part, [&](std::int64_t r) {
    std::copy_n(source.row(r).begin() + begin, count, part.row(r).begin());
  });
  return part;
}

Matrix FirstRows(const Matrix& source, std::int64_t count) {
  CR_CHECK(count >= 0 && count <= source.rows(), "the first {} of {} rows", count, source.rows());
  Matrix first = Matrix::Uninitialized(count, source.cols());
  CopyRows(first, [&](std::int64_t r) { std::ranges::copy(source.row(r), first.row(r).begin()); });
  return first;
}

Matrix GatherRows(const Matrix& source, std::span<const std::int32_t> indices) {
  Matrix gathered = Matrix::Uninitialized(static_cast<std::int64_t>(indices.size()), source.cols());
  CopyRows(gathered, [&](std::int64_t r) {
    const std::int32_t index = indices[static_cast<std::size_t>(r)];
    CR_CHECK(index >= 0 && index < source.rows(), "row {} of {}", index, source.rows());
    std::ranges::copy(source.row(index), gathered.row(r).begin());
  });
  return gathered;
}

}  // namespace cacheready
