// Quantizers to integers of 4 and 8 bits in groups of 16 columns, packed into words.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "base/error.h"
#include "synth/quantizers.h"
#include "synth/stored_floats.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

constexpr std::int64_t kGroup = 16;

// Integers of a matrix [rows, cols].
struct Integers {
  std::int64_t rows = 0, cols = 0;
  std::vector<std::uint32_t> values = {};

  Integers(std::int64_t r, std::int64_t c)
      : rows(r), cols(c), values(static_cast<std::size_t>(r * c)) {}
  std::uint32_t& at(std::int64_t r, std::int64_t c) {
    return values[static_cast<std::size_t>(r * cols + c)];
  }
  std::uint32_t at(std::int64_t r, std::int64_t c) const {
    return values[static_cast<std::size_t>(r * cols + c)];
  }
};

struct Grouped {
  Integers codes;                      // [out, in]
  Integers zeros;                      // [out, groups]
  Matrix scales;                       // [out, groups]
  std::vector<std::int32_t> group_of;  // [in]
};

struct Options {
  int bits = 4;
  bool symmetric = true;
  Dtype scale_dtype = Dtype::kBF16;
  bool ordered = false;  // columns belong to groups in no order
};

// Columns c and 16 positions on share no group: c -> c * 5 mod in, in groups of 16.
std::vector<std::int32_t> GroupOfColumns(std::int64_t cols, bool ordered) {
  std::vector<std::int32_t> group_of;
  for (std::int64_t c = 0; c < cols; ++c) {
    const std::int64_t place = ordered && std::gcd(cols, std::int64_t{5}) == 1 ? c * 5 % cols : c;
    group_of.push_back(static_cast<std::int32_t>(place / kGroup));
  }
  return group_of;
}

// Scale and zero point of one group by its least and largest weight.
void ChooseGrid(float least, float most, const Options& options, float& scale,
                std::uint32_t& zero) {
  const auto levels = static_cast<float>((1 << options.bits) - 1);
  const auto round = [&](float value) {
    return options.scale_dtype == Dtype::kF16 ? F16ToFloat(FloatToF16(value)) : RoundToBf16(value);
  };
  if (options.symmetric) {
    zero = 1u << (options.bits - 1);
    scale = round(std::max(most, -least) / static_cast<float>(zero - 1));
    return;
  }
  scale = round((std::max(most, 0.0f) - std::min(least, 0.0f)) / levels);
  const float exact = scale == 0 ? 0.0f : std::nearbyint(-std::min(least, 0.0f) / scale);
  zero = static_cast<std::uint32_t>(std::clamp(exact, 1.0f, levels));
}

Grouped QuantizeGroups(const Matrix& weights, const Options& options) {
  const std::int64_t groups = (weights.cols() + kGroup - 1) / kGroup;
  Grouped result{Integers(weights.rows(), weights.cols()), Integers(weights.rows(), groups),
                 Matrix(weights.rows(), groups), GroupOfColumns(weights.cols(), options.ordered)};
  const auto group_of = [&](std::int64_t c) {
    return std::int64_t{result.group_of[static_cast<std::size_t>(c)]};
  };
  Matrix least(weights.rows(), groups), most = least;
  const auto levels = static_cast<float>((1 << options.bits) - 1);
  for (std::int64_t r = 0; r < weights.rows(); ++r) {
    for (std::int64_t c = 0; c < weights.cols(); ++c) {
      least.at(r, group_of(c)) = std::min(least.at(r, group_of(c)), weights.at(r, c));
      most.at(r, group_of(c)) = std::max(most.at(r, group_of(c)), weights.at(r, c));
    }
    for (std::int64_t g = 0; g < groups; ++g) {
      ChooseGrid(least.at(r, g), most.at(r, g), options, result.scales.at(r, g),
                 result.zeros.at(r, g));
    }
    for (std::int64_t c = 0; c < weights.cols(); ++c) {
      const float scale = result.scales.at(r, group_of(c));
      const float steps = scale == 0 ? 0.0f : std::nearbyint(weights.at(r, c) / scale);
      const auto zero = static_cast<float>(result.zeros.at(r, group_of(c)));
      result.codes.at(r, c) = static_cast<std::uint32_t>(std::clamp(steps + zero, 0.0f, levels));
    }
  }
  return result;
}

Integers Transposed(const Integers& values) {
  Integers result(values.cols, values.rows);
  for (std::int64_t r = 0; r < values.rows; ++r) {
    for (std::int64_t c = 0; c < values.cols; ++c) result.at(c, r) = values.at(r, c);
  }
  return result;
}

Matrix Transposed(const Matrix& values) {
  Matrix result(values.cols(), values.rows());
  for (std::int64_t r = 0; r < values.rows(); ++r) {
    for (std::int64_t c = 0; c < values.cols(); ++c) result.at(c, r) = values.at(r, c);
  }
  return result;
}

// Rows into words, lowest bits first.
Integers PackRows(const Integers& values, int bits) {
  const std::int64_t per_word = 32 / bits;
  Integers words(values.rows, (values.cols + per_word - 1) / per_word);
  for (std::int64_t r = 0; r < values.rows; ++r) {
    for (std::int64_t c = 0; c < values.cols; ++c) {
      const auto shift =
          static_cast<std::uint32_t>(bits) * static_cast<std::uint32_t>(c % per_word);
      words.at(r, c / per_word) |= values.at(r, c) << shift;
    }
  }
  return words;
}

Integers PackColumns(const Integers& values, int bits) {
  return Transposed(PackRows(Transposed(values), bits));
}

template <typename T>
std::vector<std::byte> BytesOfValues(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

QuantizedPart Words(const char* suffix, const Integers& words) {
  return {suffix, Dtype::kI32, {words.rows, words.cols}, BytesOfValues(words.values)};
}

QuantizedPart Scales(const char* suffix, const Matrix& scales, Dtype dtype) {
  return {suffix, dtype, {scales.rows(), scales.cols()}, StoreFloats(scales.values(), dtype)};
}

std::vector<QuantizedPart> QuantizePacked(const Matrix& weights, const Options& options) {
  const Grouped grouped = QuantizeGroups(weights, options);
  const std::vector<std::int64_t> shape = {weights.rows(), weights.cols()};
  std::vector<QuantizedPart> parts = {
      Words(".weight_packed", PackRows(grouped.codes, options.bits)),
      Scales(".weight_scale", grouped.scales, options.scale_dtype),
      {".weight_shape", Dtype::kI64, {2}, BytesOfValues(shape)}};
  if (!options.symmetric) {
    parts.push_back(Words(".weight_zero_point", PackColumns(grouped.zeros, options.bits)));
  }
  return parts;
}

std::vector<QuantizedPart> QuantizeInputPacked(const Matrix& weights, const Options& options,
                                               std::uint32_t subtract) {
  const Grouped grouped = QuantizeGroups(weights, options);
  Integers zeros = PackRows(Transposed(grouped.zeros), options.bits);
  for (std::uint32_t& word : zeros.values) word -= subtract;
  return {Words(".qweight", PackColumns(Transposed(grouped.codes), options.bits)),
          Words(".qzeros", zeros),
          Scales(".scales", Transposed(grouped.scales), options.scale_dtype),
          {".g_idx", Dtype::kI32, {weights.cols()}, BytesOfValues(grouped.group_of)}};
}

// Outputs of every eight in the order of AWQ's kernels.
Integers InAwqOrder(const Integers& values) {
  constexpr std::int64_t kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};
  CR_CHECK(values.cols % 8 == 0, "{} outputs", values.cols);
  Integers ordered(values.rows, values.cols);
  for (std::int64_t r = 0; r < values.rows; ++r) {
    for (std::int64_t c = 0; c < values.cols; ++c) {
      ordered.at(r, c) = values.at(r, c / 8 * 8 + kOrder[c % 8]);
    }
  }
  return ordered;
}

}  // namespace

std::vector<QuantizedPart> QuantizePacked4(const Matrix& weights) {
  return QuantizePacked(weights, {});
}

std::vector<QuantizedPart> QuantizePacked4Zeros(const Matrix& weights) {
  return QuantizePacked(weights, {.symmetric = false});
}

std::vector<QuantizedPart> QuantizePacked8(const Matrix& weights) {
  return QuantizePacked(weights, {.bits = 8});
}

std::vector<QuantizedPart> QuantizeGptq(const Matrix& weights) {
  return QuantizeInputPacked(weights, {.scale_dtype = Dtype::kF16}, 0x11111111u);
}

std::vector<QuantizedPart> QuantizeGptqOrdered(const Matrix& weights) {
  return QuantizeInputPacked(weights,
                             {.symmetric = false, .scale_dtype = Dtype::kF16, .ordered = true}, 0);
}

std::vector<QuantizedPart> QuantizeGptq8(const Matrix& weights) {
  return QuantizeInputPacked(weights, {.bits = 8, .symmetric = false, .scale_dtype = Dtype::kF16},
                             0x01010101u);
}

std::vector<QuantizedPart> QuantizeAwq(const Matrix& weights) {
  const Grouped grouped = QuantizeGroups(weights, {.symmetric = false, .scale_dtype = Dtype::kF16});
  return {Words(".qweight", PackRows(InAwqOrder(Transposed(grouped.codes)), 4)),
          Words(".qzeros", PackRows(InAwqOrder(Transposed(grouped.zeros)), 4)),
          Scales(".scales", Transposed(grouped.scales), Dtype::kF16)};
}

}  // namespace cacheready
