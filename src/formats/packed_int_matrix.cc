// compressed-tensors' "pack-quantized": integers of 4 or 8 bits, stored with half their range
// added, packed along the row into weight_packed I32 [out, ceil(in * bits / 32)], with a scale for
// each group of columns [out, groups] and the true shape in weight_shape. Zero points, where there
// are any, are packed along the column: weight_zero_point I32 [ceil(out * bits / 32), groups].
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "formats/format_files.h"
#include "formats/packed_integers.h"
#include "formats/scaled_matrix.h"

namespace cacheready {
namespace {

constexpr std::string_view kFormat = "int-packed";

struct Packed {
  TensorView codes, scales, shape;
  std::optional<TensorView> zeros = {}, group_index = {};
  int bits = 4;
  std::int64_t rows = 0, cols = 0, groups = 1, group_size = 1;
};

class PackedIntMatrix : public ScaledMatrix {
 public:
  explicit PackedIntMatrix(Packed packed)
      : ScaledMatrix({.name = packed.codes.name,
                      .rows = packed.rows,
                      .cols = packed.cols,
                      .block = {1, packed.group_size},
                      .scattered_blocks = packed.group_index ? packed.groups : 0,
                      .grid = kIntegerGrid}),
        packed_(std::move(packed)) {}

  std::string_view format() const override { return kFormat; }

 protected:
  void ReadCodes(std::int64_t begin, std::int64_t count, float* out) const override {
    CheckShape();
    const std::int64_t row_bytes = packed_.codes.shape[1] * 4;
    std::vector<float> zeros(static_cast<std::size_t>(packed_.groups));
    std::vector<std::int32_t> group_of;
    if (packed_.group_index) group_of = BlockOfColumns();
    for (std::int64_t r = 0; r < count; ++r) {
      float* row = out + r * cols();
      UnpackIntegers(packed_.codes.bytes.data() + (begin + r) * row_bytes, cols(), packed_.bits,
                     row);
      ReadZeros(begin + r, zeros);
      SubtractZeros(zeros, packed_.group_size, group_of, {row, static_cast<std::size_t>(cols())});
    }
  }
  void ReadBlockScales(std::int64_t block_row, std::int64_t first,
                       std::span<float> out) const override {
    const bool one_for_all = packed_.scales.NumElements() == 1;
    ReadScales(packed_.scales, one_for_all ? 0 : block_row * packed_.groups + first, 1, out);
  }
  std::vector<std::int32_t> BlockOfColumns() const override {
    return ReadGroupIndex(*packed_.group_index, packed_.groups, packed_.group_size);
  }

 private:
  // Codes and zero points are stored with the same number added.
  void ReadZeros(std::int64_t row, std::vector<float>& zeros) const {
    std::fill(zeros.begin(), zeros.end(), static_cast<float>(1 << (packed_.bits - 1)));
    if (!packed_.zeros) return;
    const std::int64_t per_word = PerWord(packed_.bits);
    for (std::int64_t g = 0; g < packed_.groups; ++g) {
      const std::uint32_t word = LoadWord(*packed_.zeros, row / per_word * packed_.groups + g);
      zeros[static_cast<std::size_t>(g)] =
          static_cast<float>(IntegerAt(word, packed_.bits, row % per_word));
    }
  }

  void CheckShape() const {
    const std::vector<std::int64_t> shape = ReadInts(packed_.shape);
    if (shape == std::vector<std::int64_t>{rows(), cols()}) return;
    Fail("{}: tensor '{}' says {}, and '{}' {} is read as [{}, {}]", packed_.shape.file,
         packed_.shape.name, ShapeText(shape), packed_.codes.name, ShapeText(packed_.codes.shape),
         rows(), cols());
  }

  Packed packed_;
};

[[noreturn]] void FailShape(const TensorView& tensor, const Packed& packed,
                            std::string_view expected) {
  Fail("{}: tensor '{}' is {} {}, expected {} beside '{}' {} of {} bits for {} columns",
       tensor.file, tensor.name, DtypeName(tensor.dtype), ShapeText(tensor.shape), expected,
       packed.codes.name, ShapeText(packed.codes.shape), packed.bits, packed.cols);
}

void CheckTensors(const Packed& packed) {
  const std::vector<std::int64_t>& scales = packed.scales.shape;
  const bool scales_fit =
      packed.scales.NumElements() == 1 || (scales.size() == 2 && scales[0] == packed.rows);
  if (!scales_fit || !IsScaleDtype(packed.scales.dtype)) {
    FailShape(packed.scales, packed, "scales [out, groups]");
  }
  const std::int64_t zero_rows = CeilDiv(packed.rows, PerWord(packed.bits));
  if (packed.zeros &&
      (packed.zeros->dtype != Dtype::kI32 ||
       packed.zeros->shape != std::vector<std::int64_t>{zero_rows, packed.groups})) {
    FailShape(*packed.zeros, packed, fmt::format("I32 [{}, {}]", zero_rows, packed.groups));
  }
  if (packed.group_index && (packed.group_index->dtype != Dtype::kI32 ||
                             packed.group_index->shape != std::vector<std::int64_t>{packed.cols})) {
    FailShape(*packed.group_index, packed, fmt::format("I32 [{}]", packed.cols));
  }
}

}  // namespace

bool IsPackedInt(const FormatRequest& /*request*/, const WeightParts& parts) {
  return parts.Are({".weight_packed", ".weight_scale", ".weight_shape"},
                   {".weight_zero_point", ".weight_g_idx", ".input_global_scale"}) &&
         parts.Get(".weight_packed").dtype == Dtype::kI32;
}

EncodedMatrixPtr OpenPackedInt(const FormatRequest& request, const WeightParts& parts) {
  Packed packed{.codes = parts.Get(".weight_packed"),
                .scales = parts.Get(".weight_scale"),
                .shape = parts.Get(".weight_shape")};
  if (const TensorView* zeros = parts.Find(".weight_zero_point")) packed.zeros = *zeros;
  if (const TensorView* index = parts.Find(".weight_g_idx")) packed.group_index = *index;
  const TensorView& codes = packed.codes;
  const bool shape_fits = packed.shape.NumElements() == 2 &&
                          (packed.shape.dtype == Dtype::kI64 || packed.shape.dtype == Dtype::kI32);
  if (codes.shape.size() != 2 || !shape_fits) {
    Fail(
        "{}: tensors '{}' {} and '{}' {} {} do not fit: expected [out, in * bits / 32] and two "
        "numbers I64",
        codes.file, codes.name, ShapeText(codes.shape), packed.shape.name,
        DtypeName(packed.shape.dtype), ShapeText(packed.shape.shape));
  }
  packed.rows = codes.shape[0];
  packed.cols = request.cols >= 0 ? request.cols : ReadInts(packed.shape)[1];
  if (packed.cols < 0 || packed.cols > codes.shape[1] * PerWord(4)) packed.cols = 0;
  packed.bits = BitsOf(request, parts, [&](int bits) {
    return codes.shape[1] == CeilDiv(packed.cols, PerWord(bits));
  });
  if (packed.scales.shape.size() == 2) packed.groups = packed.scales.shape[1];
  CheckTensors(packed);
  packed.group_size = GroupSizeOf(request, packed.scales, packed.groups, packed.cols);
  return std::make_unique<PackedIntMatrix>(std::move(packed));
}

}  // namespace cacheready
