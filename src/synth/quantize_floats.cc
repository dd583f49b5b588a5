// Quantizers to codes of 8 and 4 bits with scales: E4M3, INT8, E2M1.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "synth/quantizers.h"
#include "synth/stored_floats.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

constexpr float kLargestE4m3 = 448, kLargestE2m1 = 6;

// Blocks of rows x cols, ragged at the edges.
struct Blocks {
  std::int64_t rows, cols;

  std::int64_t Down(const Matrix& weights) const { return (weights.rows() + rows - 1) / rows; }
  std::int64_t Across(const Matrix& weights) const { return (weights.cols() + cols - 1) / cols; }
};

Matrix LargestOfBlocks(const Matrix& weights, const Blocks& blocks) {
  Matrix largest(blocks.Down(weights), blocks.Across(weights));
  for (std::int64_t r = 0; r < weights.rows(); ++r) {
    for (std::int64_t c = 0; c < weights.cols(); ++c) {
      float& value = largest.at(r / blocks.rows, c / blocks.cols);
      value = std::max(value, std::fabs(weights.at(r, c)));
    }
  }
  return largest;
}

template <typename Scale>
Matrix MapValues(Matrix values, Scale scale) {
  for (float& value : values.values()) value = scale(value);
  return values;
}

// Weights over the scales of their blocks, encoded one by one.
template <typename Encode>
std::vector<std::uint8_t> EncodeBlocks(const Matrix& weights, const Matrix& scales,
                                       const Blocks& blocks, Encode encode) {
  std::vector<std::uint8_t> codes;
  codes.reserve(weights.values().size());
  for (std::int64_t r = 0; r < weights.rows(); ++r) {
    for (std::int64_t c = 0; c < weights.cols(); ++c) {
      const float scale = scales.at(r / blocks.rows, c / blocks.cols);
      codes.push_back(encode(scale == 0 ? 0.0f : weights.at(r, c) / scale));
    }
  }
  return codes;
}

std::vector<std::byte> Bytes(const std::vector<std::uint8_t>& values) {
  std::vector<std::byte> bytes(values.size());
  std::memcpy(bytes.data(), values.data(), values.size());
  return bytes;
}

// Two codes a byte, the even column in the low bits.
std::vector<std::byte> PairBytes(const std::vector<std::uint8_t>& codes) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < codes.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(codes[i] | codes[i + 1] << 4));
  }
  return bytes;
}

std::uint8_t RoundToInt8(float value) {
  return static_cast<std::uint8_t>(
      static_cast<std::int8_t>(std::clamp(std::nearbyint(value), -128.0f, 127.0f)));
}

// The power of two that brings `largest` into the top binade of a format whose largest exponent is
// `top`: its E8M0 code.
std::uint8_t PowerCode(float largest, int top) {
  if (largest == 0) return 0;
  return static_cast<std::uint8_t>(std::clamp(std::ilogb(largest) - top + 127, 0, 254));
}

std::vector<std::uint8_t> PowerCodes(const Matrix& largest, int top) {
  std::vector<std::uint8_t> codes;
  for (const float value : largest.values()) codes.push_back(PowerCode(value, top));
  return codes;
}

std::vector<QuantizedPart> QuantizeScaled(const Matrix& weights, const Blocks& blocks,
                                          const std::string& scale_name,
                                          std::vector<std::int64_t> scale_shape) {
  const Matrix scales = MapValues(LargestOfBlocks(weights, blocks), [](float largest) {
    return RoundToBf16(largest / kLargestE4m3);
  });
  return {{".weight",
           Dtype::kF8E4M3,
           {weights.rows(), weights.cols()},
           Bytes(EncodeBlocks(weights, scales, blocks, FloatToE4m3))},
          {scale_name, Dtype::kBF16, std::move(scale_shape),
           StoreFloats(scales.values(), Dtype::kBF16)}};
}

struct Powers {
  std::vector<std::uint8_t> codes, scales;
  std::int64_t groups = 0;
};

// Codes under a power of two for each 32 of a row.
template <typename Encode>
Powers QuantizeToPowers(const Matrix& weights, int top, Encode encode) {
  const Blocks blocks{1, 32};
  const Matrix largest = LargestOfBlocks(weights, blocks);
  Powers powers{{}, PowerCodes(largest, top), largest.cols()};
  Matrix scales = largest;
  for (std::size_t i = 0; i < powers.scales.size(); ++i) {
    scales.values()[i] = E8m0ToFloat(powers.scales[i]);
  }
  powers.codes = EncodeBlocks(weights, scales, blocks, encode);
  return powers;
}

// Codes, E4M3 scales for each 16 of a row, and one global scale `top`, by which scales are
// multiplied or divided.
std::vector<QuantizedPart> QuantizeTwoScales(const Matrix& weights, bool divide) {
  const Blocks blocks{1, 16};
  const Matrix largest = LargestOfBlocks(weights, blocks);
  const float most =
      std::max(*std::max_element(largest.values().begin(), largest.values().end()), 1e-12f);
  const float range = kLargestE2m1 * kLargestE4m3;
  const float top = divide ? range / most : most / range;
  std::vector<std::uint8_t> scale_codes;
  Matrix scales = largest;
  for (float& scale : scales.values()) {
    const float wanted = scale / kLargestE2m1;
    scale_codes.push_back(FloatToE4m3(divide ? wanted * top : wanted / top));
    const float stored = E4m3ToFloat(scale_codes.back());
    scale = divide ? stored / top : stored * top;
  }
  return {{divide ? ".weight_packed" : ".weight",
           Dtype::kU8,
           {weights.rows(), weights.cols() / 2},
           PairBytes(EncodeBlocks(weights, scales, blocks, FloatToE2m1))},
          {".weight_scale", Dtype::kF8E4M3, {scales.rows(), scales.cols()}, Bytes(scale_codes)},
          {divide ? ".weight_global_scale" : ".weight_scale_2", Dtype::kF32,
           divide ? std::vector<std::int64_t>{1} : std::vector<std::int64_t>{},
           StoreFloats({&top, 1}, Dtype::kF32)}};
}

}  // namespace

std::vector<QuantizedPart> QuantizeFp8Block(const Matrix& weights) {
  const Blocks blocks{16, 32};
  return QuantizeScaled(weights, blocks, ".weight_scale_inv",
                        {blocks.Down(weights), blocks.Across(weights)});
}

std::vector<QuantizedPart> QuantizeFp8Channel(const Matrix& weights) {
  return QuantizeScaled(weights, {1, weights.cols()}, ".weight_scale", {weights.rows(), 1});
}

std::vector<QuantizedPart> QuantizeFp8Tensor(const Matrix& weights) {
  return QuantizeScaled(weights, {weights.rows(), weights.cols()}, ".weight_scale", {});
}

std::vector<QuantizedPart> QuantizeMxfp8(const Matrix& weights) {
  const Powers powers = QuantizeToPowers(weights, 8, FloatToE4m3);
  return {{".weight", Dtype::kF8E4M3, {weights.rows(), weights.cols()}, Bytes(powers.codes)},
          {".weight_scale", Dtype::kU8, {weights.rows(), powers.groups}, Bytes(powers.scales)}};
}

std::vector<QuantizedPart> QuantizeInt8(const Matrix& weights) {
  const Blocks blocks{1, weights.cols()};
  const Matrix scales = MapValues(LargestOfBlocks(weights, blocks),
                                  [](float largest) { return RoundToBf16(largest / 127); });
  return {{".weight",
           Dtype::kI8,
           {weights.rows(), weights.cols()},
           Bytes(EncodeBlocks(weights, scales, blocks, RoundToInt8))},
          {".weight_scale",
           Dtype::kBF16,
           {weights.rows(), 1},
           StoreFloats(scales.values(), Dtype::kBF16)}};
}

std::vector<QuantizedPart> QuantizeNvfp4(const Matrix& weights) {
  return QuantizeTwoScales(weights, false);
}

std::vector<QuantizedPart> QuantizeNvfp4Packed(const Matrix& weights) {
  return QuantizeTwoScales(weights, true);
}

std::vector<QuantizedPart> QuantizeMxfp4Packed(const Matrix& weights) {
  const Powers powers = QuantizeToPowers(weights, 2, FloatToE2m1);
  return {
      {".weight_packed", Dtype::kU8, {weights.rows(), weights.cols() / 2}, PairBytes(powers.codes)},
      {".weight_scale", Dtype::kU8, {weights.rows(), powers.groups}, Bytes(powers.scales)}};
}

std::vector<QuantizedPart> QuantizeMxfp4Blocks(const Matrix& weights) {
  if (weights.cols() % 32 != 0) {
    Fail("{} columns are no multiple of the 32 of an MXFP4 block", weights.cols());
  }
  const Powers powers = QuantizeToPowers(weights, 2, FloatToE2m1);
  return {{"_blocks", Dtype::kU8, {weights.rows(), powers.groups, 16}, PairBytes(powers.codes)},
          {"_scales", Dtype::kU8, {weights.rows(), powers.groups}, Bytes(powers.scales)}};
}

}  // namespace cacheready
