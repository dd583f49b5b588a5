// MXFP4: E2M1 codes with a power-of-two scale for 32 of them. gpt-oss stores the experts of a layer
// together as <module>_blocks [experts, out, in / 32, 16] and <module>_scales [experts, out, in /
// 32]; others store each matrix as weight_packed or weight [out, in / 2] beside weight_scale [out,
// in / 32].
// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "base/error.h"
#include "formats/format_files.h"
#include "formats/fp4_codes.h"
#include "formats/scaled_matrix.h"

namespace cacheready {
namespace {

constexpr std::int64_t kMxfp4Group = 32;
constexpr std::int64_t kGroupBytes = kMxfp4Group / 2;

bool IsPowerScale(Dtype dtype) { return dtype == Dtype::kU8 || dtype == Dtype::kF8E8M0; }

// Rows first, first + step, ... of the stored ones, all slices counted through.
struct StoredRows {
  std::int64_t first = 0, step = 1, count = 0;
};

class Mxfp4Matrix : public ScaledMatrix {
 public:
  Mxfp4Matrix(const TensorView& codes, const TensorView& scales, const StoredRows& stored,
              std::int64_t cols)
      : ScaledMatrix({.name = codes.name,
                      .slice = static_cast<std::uint64_t>(stored.first),
                      .rows = stored.count,
                      .cols = cols,
                      .block = {1, kMxfp4Group},
                      .grid = kE2m1Grid}),
        codes_(codes),
        scales_(scales),
        stored_(stored) {}

  std::string_view format() const override { return "mxfp4"; }

  // Powers of two leave a code exact in bf16.
  Bf16Form bf16_form() const override { return {}; }
  void DecodeBf16Form(std::int64_t begin, std::int64_t count, float* out) const override {
    DecodeRows(begin, count, out);
  }

 protected:
  void ReadCodes(std::int64_t begin, std::int64_t count, float* out) const override {
    const std::int64_t row_bytes = cols() / 2;
    for (std::int64_t r = 0; r < count; ++r) {
      DecodeE2m1Pairs(codes_.bytes.data() + StoredRow(begin + r) * row_bytes, row_bytes,
                      out + r * cols());
    }
  }
  void ReadBlockScales(std::int64_t block_row, std::int64_t first,
                       std::span<float> out) const override {
    ReadScales(scales_, StoredRow(block_row) * blocks_per_row() + first, 1, out);
  }

 private:
  std::int64_t StoredRow(std::int64_t row) const { return stored_.first + row * stored_.step; }

  TensorView codes_, scales_;
  StoredRows stored_;
};

[[noreturn]] void FailShapes(const TensorView& codes, const TensorView& scales,
                             std::string_view expected) {
  Fail("{}: MXFP4 tensors '{}' {} {} and '{}' {} {} do not fit: expected {}", codes.file,
       codes.name, DtypeName(codes.dtype), ShapeText(codes.shape), scales.name,
       DtypeName(scales.dtype), ShapeText(scales.shape), expected);
}

EncodedMatrixPtr OpenMatrix(const TensorView& codes, const TensorView& scales) {
  const bool fits = codes.dtype == Dtype::kU8 && codes.shape.size() == 2 &&
                    scales.shape == std::vector<std::int64_t>{
                                        codes.shape[0], CeilDiv(2 * codes.shape[1], kMxfp4Group)};
  if (!fits) FailShapes(codes, scales, "U8 [out, in / 2] and U8 or F8_E8M0 [out, in / 32]");
  return std::make_unique<Mxfp4Matrix>(codes, scales, StoredRows{.count = codes.shape[0]},
                                       2 * codes.shape[1]);
}

EncodedMatrixPtr OpenSlice(const TensorView& blocks, const TensorView& scales,
                           const PlainSlice& slice) {
  const std::vector<std::int64_t>& shape = blocks.shape;
  const bool fits = blocks.dtype == Dtype::kU8 && IsPowerScale(scales.dtype) && shape.size() == 4 &&
                    shape[3] == kGroupBytes &&
                    scales.shape == std::vector<std::int64_t>(shape.begin(), shape.begin() + 3);
  if (!fits) {
    FailShapes(blocks, scales,
               "U8 [experts, out, in / 32, 16] and U8 or F8_E8M0 [experts, out, in / 32]");
  }
  if (slice.transposed) {
    Fail("{}: tensor '{}' {} is read as [experts, in, out], and MXFP4 packs rows of [out, in]",
         blocks.file, blocks.name, ShapeText(shape));
  }
  const std::int64_t rows = RowsOfSlice(blocks, shape[0], shape[1], slice);
  return std::make_unique<Mxfp4Matrix>(
      blocks, scales, StoredRows{slice.index * shape[1] + slice.row_begin, slice.row_stride, rows},
      shape[2] * kMxfp4Group);
}

}  // namespace

bool IsMxfp4(const FormatRequest& request, const WeightParts& parts) {
  if (request.slice) return parts.Are({"_blocks", "_scales"});
  constexpr std::string_view kScale = ".weight_scale";
  for (const std::string_view codes : {".weight_packed", ".weight"}) {
    if (!parts.Are({codes, kScale}, {".input_scale", ".input_global_scale"})) continue;
    return parts.Get(codes).dtype == Dtype::kU8 && IsPowerScale(parts.Get(kScale).dtype);
  }
  return false;
}

EncodedMatrixPtr OpenMxfp4(const FormatRequest& request, const WeightParts& parts) {
  if (request.slice) return OpenSlice(parts.Get("_blocks"), parts.Get("_scales"), *request.slice);
  const TensorView* packed = parts.Find(".weight_packed");
  return OpenMatrix(packed != nullptr ? *packed : parts.Get(".weight"), parts.Get(".weight_scale"));
}

}  // namespace cacheready
