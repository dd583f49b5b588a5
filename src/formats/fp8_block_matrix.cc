// FP8 E4M3 codes with one multiplier per block of rows and columns, as DeepSeek-V3 and Qwen publish
// them ("weight_scale_inv" is a multiplier despite its name). SPDX-License-Identifier: Apache-2.0
#include <array>
#include <memory>
#include <vector>

#include "base/error.h"
#include "formats/format_files.h"
#include "formats/scaled_matrix.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

class Fp8BlockMatrix : public ScaledMatrix {
 public:
  Fp8BlockMatrix(const TensorView& weight, const TensorView& scale, BlockShape block)
      : ScaledMatrix({.name = weight.name,
                      .rows = weight.shape[0],
                      .cols = weight.shape[1],
                      .block = block,
                      .dither = DitherE4m3}),
        codes_(weight),
        scales_(scale) {}

  std::string_view format() const override { return "fp8-block"; }

 protected:
  void ReadCodes(std::int64_t begin, std::int64_t count, float* out) const override {
    const std::byte* codes = codes_.bytes.data() + begin * cols();
    const std::array<float, 256>& table = E4m3Table();
    const std::int64_t total = count * cols();
    for (std::int64_t i = 0; i < total; ++i) out[i] = table[static_cast<std::size_t>(codes[i])];
  }
  void ReadBlockScales(std::int64_t block_row, std::int64_t first,
                       std::span<float> out) const override {
    ReadScales(scales_, block_row * blocks_per_row() + first, 1, out);
  }

 private:
  TensorView codes_, scales_;
};

}  // namespace

EncodedMatrixPtr MakeFp8BlockMatrix(const TensorView& weight, const TensorView& scale,
                                    BlockShape block) {
  if (weight.dtype != Dtype::kF8E4M3 || weight.shape.size() != 2) {
    Fail("{}: tensor '{}' is {} {}, expected an F8_E4M3 matrix [out, in]", weight.file, weight.name,
         DtypeName(weight.dtype), ShapeText(weight.shape));
  }
  if (block.rows < 1 || block.cols < 1) {
    Fail("{}: tensor '{}': weight_block_size [{}, {}] is not positive", weight.file, weight.name,
         block.rows, block.cols);
  }
  const std::vector<std::int64_t> expected = {CeilDiv(weight.shape[0], block.rows),
                                              CeilDiv(weight.shape[1], block.cols)};
  if (scale.shape != expected) {
    Fail("{}: tensor '{}' has shape {}, expected {}: one scale per {}x{} block of '{}' {}",
         scale.file, scale.name, ShapeText(scale.shape), ShapeText(expected), block.rows,
         block.cols, weight.name, ShapeText(weight.shape));
  }
  CR_CHECK(static_cast<std::int64_t>(weight.bytes.size()) == weight.NumElements(),
           "tensor '{}' holds {} bytes", weight.name, weight.bytes.size());
  return std::make_unique<Fp8BlockMatrix>(weight, scale, block);
}

bool IsFp8Block(const FormatRequest& /*request*/, const WeightParts& parts) {
  return parts.Are({".weight", ".weight_scale_inv"}) &&
         parts.Get(".weight").dtype == Dtype::kF8E4M3 &&
         IsScaleDtype(parts.Get(".weight_scale_inv").dtype);
}

EncodedMatrixPtr OpenFp8Block(const FormatRequest& request, const WeightParts& parts) {
  return MakeFp8BlockMatrix(parts.Get(".weight"), parts.Get(".weight_scale_inv"),
                            request.fp8_block);
}

}  // namespace cacheready
