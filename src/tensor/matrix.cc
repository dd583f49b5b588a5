// SPDX-License-Identifier: Apache-2.0
#include "tensor/matrix.h"

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"

namespace cacheready {

std::span<const float> RowsView::row(std::int64_t r) const {
  if (indices_ == nullptr) return x_->row(r);
  const std::int32_t index = indices_[r];
  CR_CHECK(index >= 0 && index < x_->rows(), "row {} of {}", index, x_->rows());
  return x_->row(index);
}

void ForEachRow(const Matrix& x, const std::function<void(std::int64_t row)>& body) {
  constexpr std::int64_t kGrain = 1 << 14;  // elements of a task: below, waking a thread costs more
  const std::int64_t rows = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, x.cols()));
  ParallelFor((x.rows() + rows - 1) / rows, [&](std::int64_t block) {
    const std::int64_t end = std::min(x.rows(), (block + 1) * rows);
    for (std::int64_t row = block * rows; row < end; ++row) body(row);
  });
}

Matrix CopyColumns(const Matrix& source, std::int64_t begin, std::int64_t count) {
  CR_CHECK(begin >= 0 && count >= 0 && begin + count <= source.cols(), "columns {}+{} of {}", begin,
           count, source.cols());
  Matrix part = Matrix::Uninitialized(source.rows(), count);
  ForEachRow(part, [&](std::int64_t r) {
    std::copy_n(source.row(r).begin() + begin, count, part.row(r).begin());
  });
  return part;
}

Matrix FirstRows(const Matrix& source, std::int64_t count) {
  CR_CHECK(count >= 0 && count <= source.rows(), "the first {} of {} rows", count, source.rows());
  Matrix first = Matrix::Uninitialized(count, source.cols());
  ForEachRow(first,
             [&](std::int64_t r) { std::ranges::copy(source.row(r), first.row(r).begin()); });
  return first;
}

Matrix GatherRows(const Matrix& source, std::span<const std::int32_t> indices) {
  const RowsView rows(source, indices);
  Matrix gathered = Matrix::Uninitialized(rows.rows(), rows.cols());
  ForEachRow(gathered,
             [&](std::int64_t r) { std::ranges::copy(rows.row(r), gathered.row(r).begin()); });
  return gathered;
}

}  // namespace cacheready
