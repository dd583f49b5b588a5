// Floats in memory as an encoded matrix, and the whole of an encoded matrix as floats.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "formats/encoded_matrix.h"

namespace cacheready {
namespace {

class DenseMatrix : public EncodedMatrix {
 public:
  explicit DenseMatrix(Matrix values)
      : EncodedMatrix(values.rows(), values.cols()), values_(std::move(values)) {}

  std::string_view format() const override { return "f32"; }

  void DecodeRows(std::int64_t begin, std::int64_t count, float* out) const override {
    CR_CHECK(begin >= 0 && count >= 0 && begin + count <= rows(), "rows {}+{}", begin, count);
    std::copy_n(values_.values().data() + begin * cols(), count * cols(), out);
  }

  // Half a step of fp32 is below what fp32 arithmetic can add.
  void DecodeRowsDithered(std::int64_t begin, std::int64_t count, std::uint64_t,
                          float* out) const override {
    DecodeRows(begin, count, out);
  }

 private:
  Matrix values_;
};

}  // namespace

EncodedMatrixPtr MakeDenseMatrix(Matrix values) {
  return std::make_unique<DenseMatrix>(std::move(values));
}

Matrix DecodeAll(const EncodedMatrix& matrix) {
  constexpr std::int64_t kStrip = 64;
  Matrix values(matrix.rows(), matrix.cols());
  ParallelFor((matrix.rows() + kStrip - 1) / kStrip, [&](std::int64_t strip) {
    const std::int64_t begin = strip * kStrip;
    const std::int64_t count = std::min(kStrip, matrix.rows() - begin);
    matrix.DecodeRows(begin, count, values.values().data() + begin * matrix.cols());
  });
  return values;
}

}  // namespace cacheready
