// SPDX-License-Identifier: Apache-2.0
#include "formats/scaled_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "formats/decode_kernels.h"
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
  if (AllFinite(values)) return;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    Fail("{}: tensor '{}' {} {} holds {} at element {}, expected a finite scale", tensor.file,
         tensor.name, DtypeName(tensor.dtype), ShapeText(tensor.shape), values[i],
         begin + static_cast<std::int64_t>(i) * stride);
  }
}

// Scales that lie side by side, of the dtypes that come in thousands; false for others.
bool ReadTogether(const TensorView& tensor, std::int64_t begin, std::span<float> out) {
  const auto count = static_cast<std::int64_t>(out.size());
  const std::byte* at = tensor.bytes.data() + begin * DtypeBits(tensor.dtype) / 8;
  if (tensor.dtype == Dtype::kBF16) {
    ActiveDecodeKernels().widen_bf16(at, count, out.data());
  } else if (tensor.dtype == Dtype::kF8E4M3) {
    ActiveDecodeKernels().widen_e4m3(reinterpret_cast<const std::uint8_t*>(at), count,
                                     E4m3Table().data(), out.data());
  } else {
    return false;
  }
  return true;
}

void ReadEach(const TensorView& tensor, std::int64_t begin, std::int64_t stride,
              std::span<float> out) {
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
  if (stride != 1 || !ReadTogether(tensor, begin, out)) ReadEach(tensor, begin, stride, out);
  RequireFinite(tensor, begin, stride, out);
}

ScaledMatrix::ScaledMatrix(ScaledSpec spec)
    : EncodedMatrix(spec.rows, spec.cols),
      spec_(std::move(spec)),
      blocks_per_row_(scattered() ? spec_.scattered_blocks
                                  : CeilDiv(spec_.cols, spec_.block.cols)) {
  CR_CHECK(spec_.block.rows >= 1 && spec_.block.cols >= 1 && spec_.grid.factor > 0,
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
  Decode(begin, count, std::nullopt, true, out);
}

void ScaledMatrix::DecodeCodes(std::int64_t begin, std::int64_t count, float* out) const {
  Decode(begin, count, std::nullopt, false, out);
}

void ScaledMatrix::DecodeRowsDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                                      float* out) const {
  Decode(begin, count, seed, true, out);
}

void ScaledMatrix::DecodeCodesDithered(std::int64_t begin, std::int64_t count, std::uint64_t seed,
                                       float* out) const {
  Decode(begin, count, seed, false, out);
}

std::vector<std::int32_t> ScaledMatrix::BlockOfColumns() const {
  CR_CHECK(false, "'{}': the columns of its blocks are consecutive", spec_.name);
}

struct ScaledMatrix::RowScales {
  std::vector<std::int32_t> block_of_column;  // of scattered blocks
  std::vector<float> scales;
  std::int64_t block_row = -1;
};

void ScaledMatrix::Decode(std::int64_t begin, std::int64_t count, std::optional<std::uint64_t> seed,
                          bool scaled, float* out) const {
  CR_CHECK(begin >= 0 && count >= 0 && begin + count <= rows(), "rows {}+{}", begin, count);
  const std::uint64_t stream = seed ? HashText(*seed, spec_.name) + spec_.slice : 0;
  RowScales scales;
  if (scattered()) scales.block_of_column = BlockOfColumns();
  // A few rows at a time, so that all steps find them in the first cache.
  constexpr std::int64_t kFew = 4096;
  const std::int64_t few = spec_.column_major ? std::max<std::int64_t>(count, 1)
                                              : kFew / std::max<std::int64_t>(cols(), 1) + 1;
  for (std::int64_t first = 0; first < count; first += few) {
    const std::int64_t end = std::min(count, first + few);
    ReadCodes(begin + first, end - first, out + first * cols());
    for (std::int64_t r = first; r < end; ++r) {
      float* row = out + r * cols();
      if (seed) ActiveDecodeKernels().add_dither(stream, begin + r, cols(), spec_.grid, row);
      if (scaled || scattered()) ApplyScales(begin + r, scales, row);
    }
  }
}

void ScaledMatrix::ApplyScales(std::int64_t row, RowScales& scales, float* codes) const {
  const std::int64_t block_row = row / spec_.block.rows;
  if (block_row != scales.block_row) {
    scales.scales.resize(static_cast<std::size_t>(blocks_per_row_));
    ReadBlockScales(block_row, 0, scales.scales);
    scales.block_row = block_row;
  }
  if (!scattered()) {
    ActiveDecodeKernels().multiply_blocks(scales.scales.data(), spec_.block.cols, cols(), codes);
    return;
  }
  for (std::size_t c = 0; c < scales.block_of_column.size(); ++c) {
    codes[c] *= scales.scales[static_cast<std::size_t>(scales.block_of_column[c])];
  }
}

}  // namespace cacheready
