// NVFP4: E2M1 codes, two a byte, with an E4M3 scale for 16 of them under one F32 scale for the
// whole tensor. modelopt stores weight U8 [out, in / 2], weight_scale, and a weight_scale_2 that
// multiplies; compressed-tensors weight_packed, weight_scale, and a weight_global_scale that
// divides.
// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <vector>

#include "base/error.h"
#include "formats/format_files.h"
#include "formats/fp4_codes.h"
#include "formats/scaled_matrix.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

constexpr std::int64_t kNvfp4Group = 16;

struct Tensors {
  TensorView codes, scales, global;
  bool divide = false;  // by the global scale
};

class Nvfp4Matrix : public ScaledMatrix {
 public:
  explicit Nvfp4Matrix(const Tensors& tensors)
      : ScaledMatrix({.name = tensors.codes.name,
                      .rows = tensors.codes.shape[0],
                      .cols = 2 * tensors.codes.shape[1],
                      .block = {1, kNvfp4Group},
                      .grid = kE2m1Grid}),
        tensors_(tensors) {}

  std::string_view format() const override { return "nvfp4"; }

 protected:
  void ReadCodes(std::int64_t begin, std::int64_t count, float* out) const override {
    const std::int64_t row_bytes = cols() / 2;
    DecodeE2m1Pairs(tensors_.codes.bytes.data() + begin * row_bytes, count * row_bytes, out);
  }
  // The two scales are combined first, rounded to fp32, as the engines do.
  void ReadBlockScales(std::int64_t block_row, std::int64_t first,
                       std::span<float> out) const override {
    float global = 0;
    ReadScales(tensors_.global, 0, 1, {&global, 1});
    if (tensors_.divide && global == 0) {
      Fail("{}: tensor '{}' is 0, and the scales are divided by it", tensors_.global.file,
           tensors_.global.name);
    }
    ReadScales(tensors_.scales, block_row * blocks_per_row() + first, 1, out);
    if (tensors_.divide) {
      for (float& scale : out) scale /= global;
    } else {
      for (float& scale : out) scale *= global;
    }
    if (AllFinite(out)) return;
    Fail("{}: tensor '{}' holds {}: the scales of '{}' leave the range of numbers",
         tensors_.global.file, tensors_.global.name, global, tensors_.codes.name);
  }

 private:
  Tensors tensors_;
};

bool AreNvfp4(const WeightParts& parts, std::string_view codes, std::string_view global,
              std::string_view input_scale) {
  return parts.Are({codes, ".weight_scale", global}, {input_scale}) &&
         parts.Get(codes).dtype == Dtype::kU8 && parts.Get(".weight_scale").dtype == Dtype::kF8E4M3;
}

bool IsModelopt(const WeightParts& parts) {
  return AreNvfp4(parts, ".weight", ".weight_scale_2", ".input_scale");
}

}  // namespace

bool IsNvfp4(const FormatRequest& /*request*/, const WeightParts& parts) {
  return IsModelopt(parts) ||
         AreNvfp4(parts, ".weight_packed", ".weight_global_scale", ".input_global_scale");
}

EncodedMatrixPtr OpenNvfp4(const FormatRequest& /*request*/, const WeightParts& parts) {
  const bool modelopt = IsModelopt(parts);
  const Tensors tensors{
      parts.Get(modelopt ? ".weight" : ".weight_packed"), parts.Get(".weight_scale"),
      parts.Get(modelopt ? ".weight_scale_2" : ".weight_global_scale"), !modelopt};
  const TensorView& codes = tensors.codes;
  const bool fits =
      codes.shape.size() == 2 &&
      tensors.scales.shape ==
          std::vector<std::int64_t>{codes.shape[0], CeilDiv(2 * codes.shape[1], kNvfp4Group)};
  if (!fits) {
    Fail(
        "{}: NVFP4 tensors '{}' {} and '{}' {} do not fit: expected [out, in / 2] and [out, in / "
        "16]",
        codes.file, codes.name, ShapeText(codes.shape), tensors.scales.name,
        ShapeText(tensors.scales.shape));
  }
  if (tensors.global.dtype != Dtype::kF32 || tensors.global.NumElements() != 1) {
    Fail("{}: tensor '{}' is {} {}, expected one F32 scale for the whole of '{}'",
         tensors.global.file, tensors.global.name, DtypeName(tensors.global.dtype),
         ShapeText(tensors.global.shape), codes.name);
  }
  return std::make_unique<Nvfp4Matrix>(tensors);
}

}  // namespace cacheready
