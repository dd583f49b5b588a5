// INT8 codes [out, in] with one scale for each row or for all: weight I8 beside weight_scale.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <vector>

#include "base/error.h"
#include "formats/decode_kernels.h"
#include "formats/format_files.h"
#include "formats/scaled_matrix.h"

namespace cacheready {
namespace {

class Int8Matrix : public ScaledMatrix {
 public:
  Int8Matrix(const TensorView& weight, const TensorView& scale, BlockShape block)
      : ScaledMatrix({.name = weight.name,
                      .rows = weight.shape[0],
                      .cols = weight.shape[1],
                      .block = block,
                      .grid = kIntegerGrid}),
        codes_(weight),
        scales_(scale) {}

  std::string_view format() const override { return "int8"; }

 protected:
  void ReadCodes(std::int64_t begin, std::int64_t count, float* out) const override {
    ActiveDecodeKernels().widen_signed_bytes(codes_.bytes.data() + begin * cols(), count * cols(),
                                             out);
  }
  void ReadBlockScales(std::int64_t block_row, std::int64_t first,
                       std::span<float> out) const override {
    ReadScales(scales_, block_row * blocks_per_row() + first, 1, out);
  }

 private:
  TensorView codes_, scales_;
};

}  // namespace

bool IsInt8(const FormatRequest& /*request*/, const WeightParts& parts) {
  return parts.Are({".weight", ".weight_scale"}, {".input_scale", ".input_zero_point"}) &&
         parts.Get(".weight").dtype == Dtype::kI8;
}

EncodedMatrixPtr OpenInt8(const FormatRequest& /*request*/, const WeightParts& parts) {
  const TensorView& weight = parts.Get(".weight");
  const TensorView& scale = parts.Get(".weight_scale");
  const std::int64_t rows = weight.shape.empty() ? 0 : weight.shape[0];
  const bool one_a_row = scale.shape == std::vector<std::int64_t>{rows} ||
                         scale.shape == std::vector<std::int64_t>{rows, 1};
  if (weight.shape.size() != 2 || !(one_a_row || scale.NumElements() == 1) ||
      !IsScaleDtype(scale.dtype)) {
    Fail(
        "{}: tensors '{}' {} and '{}' {} {} do not fit: expected I8 [out, in] and one scale for "
        "each row or for all",
        weight.file, weight.name, ShapeText(weight.shape), scale.name, DtypeName(scale.dtype),
        ShapeText(scale.shape));
  }
  const std::int64_t cols = std::max<std::int64_t>(weight.shape[1], 1);
  const BlockShape block{one_a_row ? 1 : std::max<std::int64_t>(rows, 1), cols};
  return std::make_unique<Int8Matrix>(weight, scale, block);
}

}  // namespace cacheready
