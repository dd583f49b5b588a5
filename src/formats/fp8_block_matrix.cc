// FP8 E4M3 codes with one multiplier per block of rows and columns, as DeepSeek-V3 and Qwen publish
// them ("weight_scale_inv" is a multiplier despite its name). SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "formats/dither.h"
#include "formats/encoded_matrix.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

std::int64_t CeilDiv(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Distance of neighbouring codes in the binade of `code`: 2^(max(exponent, 1) - 10).
inline float StepOfCode(std::uint8_t code) {
  const std::uint32_t exponent = (code >> 3) & 0xFu;
  return std::bit_cast<float>((std::max(exponent, 1u) + 117u) << 23);
}

std::vector<float> ReadScales(const TensorView& scale) {
  if (scale.dtype != Dtype::kU8 && scale.dtype != Dtype::kF8E8M0) return ReadFloats(scale);
  std::vector<float> values;
  values.reserve(scale.bytes.size());
  for (const std::byte code : scale.bytes) {
    values.push_back(E8m0ToFloat(static_cast<std::uint8_t>(code)));
  }
  return values;
}

class Fp8BlockMatrix : public EncodedMatrix {
 public:
  Fp8BlockMatrix(const TensorView& weight, const TensorView& scale, BlockShape block)
      : EncodedMatrix(weight.shape[0], weight.shape[1]),
        name_(weight.name),
        codes_(reinterpret_cast<const std::uint8_t*>(weight.bytes.data())),
        block_(block),
        blocks_per_row_(CeilDiv(cols(), block.cols)),
        scales_(ReadScales(scale)) {}

  std::string_view format() const override { return "fp8-block"; }
  BlockShape block_shape() const override { return block_; }
  float Scale(std::int64_t block_row, std::int64_t block_col) const override {
    return scales_[static_cast<std::size_t>(block_row * blocks_per_row_ + block_col)];
  }

  void DecodeCodes(std::int64_t begin, std::int64_t count, float* out) const override {
    CR_CHECK(begin >= 0 && count >= 0 && begin + count <= rows(), "rows {}+{}", begin, count);
    const std::uint8_t* codes = codes_ + begin * cols();
    const std::array<float, 256>& table = E4m3Table();
    const std::int64_t total = count * cols();
    for (std::int64_t i = 0; i < total; ++i) out[i] = table[codes[i]];
  }

  void DecodeRows(std::int64_t begin, std::int64_t count, float* out) const override {
    DecodeCodes(begin, count, out);
    ApplyScales(begin, count, out);
  }

  void DecodeCodesDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                           float* out) const override {
    DecodeCodes(begin, count, out);
    const std::uint64_t stream = HashText(seed, name_);
    for (std::int64_t r = 0; r < count; ++r) {
      const std::uint8_t* codes = codes_ + (begin + r) * cols();
      AddDither(
          stream, begin + r, cols(), [&](std::int64_t c) { return StepOfCode(codes[c]); },
          out + r * cols());
    }
  }

  void DecodeRowsDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                          float* out) const override {
    DecodeCodesDithered(begin, count, seed, out);
    ApplyScales(begin, count, out);
  }

 private:
  void ApplyScales(std::int64_t begin, std::int64_t count, float* out) const {
    for (std::int64_t r = 0; r < count; ++r) {
      float* row = out + r * cols();
      for (std::int64_t block = 0; block < blocks_per_row_; ++block) {
        const float scale = Scale((begin + r) / block_.rows, block);
        const std::int64_t end = std::min(cols(), (block + 1) * block_.cols);
        for (std::int64_t c = block * block_.cols; c < end; ++c) row[c] *= scale;
      }
    }
  }

  std::string name_;
  const std::uint8_t* codes_;
  BlockShape block_;
  std::int64_t blocks_per_row_;
  std::vector<float> scales_;  // [ceil(rows / block.rows), blocks_per_row_]
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

}  // namespace cacheready
