// NVFP4: E2M1 codes, two a byte, with an E4M3 scale for 16 of them under one F32 scale for the
// whole tensor. modelopt stores weight U8 [out, in / 2], weight_scale, and a weight_scale_2 that
// multiplies; compressed-tensors weight_packed, weight_scale, and a weight_global_scale that
// divides.
// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <vector>

#include "base/error.h"
#include "formats/decode_kernels.h"
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

  // A code (two significant bits) times its E4M3 scale (four) is exact in bf16.
  Bf16Form bf16_form() const override {
    const float global = GlobalScale();
    return {.factor = tensors_.divide ? 1 / global : global};
  }
  void DecodeBf16Form(std::int64_t begin, std::int64_t count, float* out) const override {
    DecodeCodes(begin, count, out);
    std::vector<float> scales(static_cast<std::size_t>(blocks_per_row()));
    for (std::int64_t r = 0; r < count; ++r) {
      ReadScales(tensors_.scales, (begin + r) * blocks_per_row(), 1, scales);
      ActiveDecodeKernels().multiply_blocks(scales.data(), kNvfp4Group, cols(), out + r * cols());
    }
  }

 protected:
  void ReadCodes(std::int64_t begin, std::int64_t count, float* out) const override {
    const std::int64_t row_bytes = cols() / 2;
    DecodeE2m1Pairs(tensors_.codes.bytes.data() + begin * row_bytes, count * row_bytes, out);
  }
  // The two scales are combined first, rounded to fp32, as the engines do.
  void ReadBlockScales(std::int64_t block_row, std::int64_t first,
                       std::span<float> out) const override {
    const float global = GlobalScale();
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
  float GlobalScale() const {
    float global = 0;
    ReadScales(tensors_.global, 0, 1, {&global, 1});
    if (tensors_.divide && global == 0) {
      Fail("{}: tensor '{}' is 0, and the scales are divided by it", tensors_.global.file,
           tensors_.global.name);
    }
    return global;
  }

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
