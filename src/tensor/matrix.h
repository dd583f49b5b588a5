// The owner of float activations: row-major, one row a token.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "tensor/aligned.h"

namespace cacheready {

class Matrix {
 public:
  Matrix() = default;
  Matrix(std::int64_t rows, std::int64_t cols) : Matrix(Uninitialized(rows, cols)) {
    std::ranges::fill(values_, 0.0f);
  }
  // For who writes every value, on all threads: the first to touch new memory has the kernel clear
  // it.
  static Matrix Uninitialized(std::int64_t rows, std::int64_t cols) {
    Matrix matrix;
    matrix.rows_ = rows;
    matrix.cols_ = cols;
    matrix.values_.resize(static_cast<std::size_t>(rows * cols));
    return matrix;
  }

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  std::span<float> row(std::int64_t r) {
    return {values_.data() + r * cols_, static_cast<std::size_t>(cols_)};
  }
  std::span<const float> row(std::int64_t r) const {
    return {values_.data() + r * cols_, static_cast<std::size_t>(cols_)};
  }
  float& at(std::int64_t r, std::int64_t c) {
    return values_[static_cast<std::size_t>(r * cols_ + c)];
  }
  float at(std::int64_t r, std::int64_t c) const {
    return values_[static_cast<std::size_t>(r * cols_ + c)];
  }
  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  bool empty() const { return values_.empty(); }

 private:
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  UnsetVector<float> values_;
};

// All rows of a matrix, or some in some order. Valid while what it was made of lives.
class RowsView {
 public:
  RowsView(const Matrix& x) : x_(&x), count_(x.rows()) {}  // NOLINT: a matrix is its rows
  RowsView(const Matrix& x, std::span<const std::int32_t> indices)
      : x_(&x), indices_(indices.data()), count_(static_cast<std::int64_t>(indices.size())) {}

  std::int64_t rows() const { return count_; }
  std::int64_t cols() const { return x_->cols(); }
  std::span<const float> row(std::int64_t r) const;

 private:
  const Matrix* x_;
  const std::int32_t* indices_ = nullptr;  // null: all
  std::int64_t count_;
};

// Calls body(row) for every row of x, on all threads where there are enough of them.
void ForEachRow(const Matrix& x, const std::function<void(std::int64_t row)>& body);

// Columns [begin, begin + count) of `source`.
Matrix CopyColumns(const Matrix& source, std::int64_t begin, std::int64_t count);
Matrix FirstRows(const Matrix& source, std::int64_t count);
// Rows `indices` of `source`, in that order.
Matrix GatherRows(const Matrix& source, std::span<const std::int32_t> indices);

}  // namespace cacheready
