// SPDX-License-Identifier: Apache-2.0
#include "formats/scaled_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "formats/dither.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

template <typename Stored, typename Widen>
void ReadStrided(const TensorView& tensor, std::int64_t begin, std::int64_t stride,
                 std::span<float> out, Widen widen) {
  const std::byte* at = tensor.bytes.data() + begin * static_cast<std::int64_t>(sizeof(Stored));
  for (float& value : out) {
    Stored stored;  // tensors of a mapped file are not aligned
    std::memcpy(&stored, at, sizeof(Stored));
    value = widen(stored);
    at += stride * static_cast<std::int64_t>(sizeof(Stored));
  }
}

void RequireFinite(const TensorView& tensor, std::int64_t begin, std::int64_t stride,
                   std::span<const float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    Fail("{}: tensor '{}' {} {} holds {} at element {}, expected a finite scale", tensor.file,
         tensor.name, DtypeName(tensor.dtype), ShapeText(tensor.shape), values[i],
         begin + static_cast<std::int64_t>(i) * stride);
  }
}

}  // namespace

std::int64_t CeilDiv(std::int64_t a, std::int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

bool IsScaleDtype(Dtype dtype) {
  constexpr Dtype kScaleDtypes[] = {Dtype::kF32,    Dtype::kBF16,   Dtype::kF16,
                                    Dtype::kF8E4M3, Dtype::kF8E8M0, Dtype::kU8};
  return std::find(std::begin(kScaleDtypes), std::end(kScaleDtypes), dtype) !=
         std::end(kScaleDtypes);
}

void ReadScales(const TensorView& tensor, std::int64_t begin, std::int64_t stride,
                std::span<float> out) {
  CR_CHECK(
      begin >= 0 && (out.empty() || begin + stride * (static_cast<std::int64_t>(out.size()) - 1) <
                                        tensor.NumElements()),
      "elements {} + {} x {} of '{}' {}", begin, out.size(), stride, tensor.name,
      ShapeText(tensor.shape));
  switch (tensor.dtype) {
    case Dtype::kF32:
      ReadStrided<float>(tensor, begin, stride, out, [](float value) { return value; });
      break;
    case Dtype::kBF16:
      ReadStrided<std::uint16_t>(tensor, begin, stride, out, Bf16ToFloat);
      break;
    case Dtype::kF16:
      ReadStrided<std::uint16_t>(tensor, begin, stride, out, F16ToFloat);
      break;
    case Dtype::kF8E4M3:
      ReadStrided<std::uint8_t>(tensor, begin, stride, out, E4m3ToFloat);
      break;
    case Dtype::kF8E8M0:
    case Dtype::kU8:
      ReadStrided<std::uint8_t>(tensor, begin, stride, out, E8m0ToFloat);
      break;
    default:
      CR_CHECK(false, "'{}': {} is no dtype of scales", tensor.name, DtypeName(tensor.dtype));
  }
  RequireFinite(tensor, begin, stride, out);
}

// A code's step is the distance of neighbours in its own binade: 2^-3 of it for E4M3, down to the
// subnormal 2^-9; 2^-1 of it for E2M1, down to 0.5.
void DitherE4m3(std::uint64_t stream, std::int64_t row, std::int64_t cols, float* codes) {
  AddDither(
      stream, row, cols,
      [&](std::int64_t c) { return std::max(BinadeOf(codes[c]), 0x1p-6f) * 0x1p-3f; }, codes);
}

void DitherE2m1(std::uint64_t stream, std::int64_t row, std::int64_t cols, float* codes) {
  AddDither(
      stream, row, cols, [&](std::int64_t c) { return std::max(BinadeOf(codes[c]), 1.0f) * 0.5f; },
      codes);
}

void DitherIntegers(std::uint64_t stream, std::int64_t row, std::int64_t cols, float* codes) {
  AddDither(
      stream, row, cols, [](std::int64_t) { return 1.0f; }, codes);
}

ScaledMatrix::ScaledMatrix(ScaledSpec spec)
    : EncodedMatrix(spec.rows, spec.cols),
      spec_(std::move(spec)),
      blocks_per_row_(scattered() ? spec_.scattered_blocks
                                  : CeilDiv(spec_.cols, spec_.block.cols)) {
  CR_CHECK(spec_.block.rows >= 1 && spec_.block.cols >= 1 && spec_.dither != nullptr,
           "blocks of {}x{}", spec_.block.rows, spec_.block.cols);
}

float ScaledMatrix::Scale(std::int64_t block_row, std::int64_t block_col) const {
  if (scattered()) return 1.0f;
  float scale = 0;
  ReadBlockScales(block_row, block_col, {&scale, 1});
  return scale;
}

void ScaledMatrix::Scales(std::int64_t block_row, std::span<float> out) const {
  if (scattered()) return EncodedMatrix::Scales(block_row, out);
  ReadBlockScales(block_row, 0, out);
}

void ScaledMatrix::DecodeRows(std::int64_t begin, std::int64_t count, float* out) const {
  CR_CHECK(begin >= 0 && count >= 0 && begin + count <= rows(), "rows {}+{}", begin, count);
  ReadCodes(begin, count, out);
  ApplyScales(begin, count, out);
}

void ScaledMatrix::DecodeCodes(std::int64_t begin, std::int64_t count, float* out) const {
  CR_CHECK(begin >= 0 && count >= 0 && begin + count <= rows(), "rows {}+{}", begin, count);
  ReadCodes(begin, count, out);
  if (scattered()) ApplyScales(begin, count, out);
}

void ScaledMatrix::DecodeRowsDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                                      float* out) const {
  ReadDithered(begin, count, seed, out);
  ApplyScales(begin, count, out);
}

void ScaledMatrix::DecodeCodesDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                                       float* out) const {
  ReadDithered(begin, count, seed, out);
  if (scattered()) ApplyScales(begin, count, out);
}

std::vector<std::int32_t> ScaledMatrix::BlockOfColumns() const {
  CR_CHECK(false, "'{}': the columns of its blocks are consecutive", spec_.name);
}

void ScaledMatrix::ReadDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                                float* out) const {
  CR_CHECK(begin >= 0 && count >= 0 && begin + count <= rows(), "rows {}+{}", begin, count);
  ReadCodes(begin, count, out);
  const std::uint64_t stream = HashText(seed, spec_.name) + spec_.slice;
  for (std::int64_t r = 0; r < count; ++r) {
    spec_.dither(stream, begin + r, cols(), out + r * cols());
  }
}

void ScaledMatrix::ApplyScales(std::int64_t begin, std::int64_t count, float* out) const {
  std::vector<std::int32_t> block_of_column;
  if (scattered()) block_of_column = BlockOfColumns();
  std::vector<float> scales(static_cast<std::size_t>(blocks_per_row_));
  std::int64_t read = -1;  // the row of blocks whose scales these are
  for (std::int64_t r = 0; r < count; ++r) {
    const std::int64_t block_row = (begin + r) / spec_.block.rows;
    if (block_row != read) ReadBlockScales(block_row, 0, scales);
    read = block_row;
    float* row = out + r * cols();
    if (scattered()) {
      for (std::int64_t c = 0; c < cols(); ++c) {
        row[c] *= scales[static_cast<std::size_t>(block_of_column[static_cast<std::size_t>(c)])];
      }
      continue;
    }
    for (std::int64_t block = 0; block < blocks_per_row_; ++block) {
      const float scale = scales[static_cast<std::size_t>(block)];
      const std::int64_t end = std::min(cols(), (block + 1) * spec_.block.cols);
      for (std::int64_t c = block * spec_.block.cols; c < end; ++c) row[c] *= scale;
    }
  }
}

}  // namespace cacheready
