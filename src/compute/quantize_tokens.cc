// Dynamic quantization of activations to e4m3, per token and group of columns.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "compute/matmul.h"

namespace cacheready {
namespace {

// E4m3ToFloat(FloatToE4m3(value)) for finite values, without a branch: 3 bits of mantissa are kept
// by integer rounding, subnormals (step 2^-9) by adding 1.5 * 2^14, whose own step is 2^-9.
inline float RoundToE4m3(float value) {
  const float clamped = std::min(std::max(value, -448.0f), 448.0f);
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(clamped);
  const std::uint32_t rounded = (bits + 0x7FFFFu + ((bits >> 20) & 1u)) & 0xFFF00000u;
  const float subnormal = (clamped + 0x1.8p14f) - 0x1.8p14f;
  return std::fabs(clamped) < 0x1p-6f ? subnormal : std::bit_cast<float>(rounded);
}

float Quantize(std::span<const float> x, std::span<float> codes) {
  // Magnitudes compare as integers: the loop vectorizes, a chain of float maxima would not.
  std::uint32_t largest = std::bit_cast<std::uint32_t>(1e-10f);
  for (const float value : x) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(value) & 0x7FFFFFFFu);
  }
  const float scale = std::bit_cast<float>(largest) / 448.0f;
  for (std::size_t i = 0; i < x.size(); ++i) codes[i] = RoundToE4m3(x[i] / scale);
  return scale;
}

}  // namespace

QuantizedTokens QuantizeTokensE4m3(const Matrix& x, std::int64_t group) {
  CR_CHECK(group > 0, "group of {} columns", group);
  const std::int64_t groups = (x.cols() + group - 1) / group;
  const std::int64_t padded = (x.rows() + kTokenPanel - 1) / kTokenPanel * kTokenPanel;
  Matrix codes(x.rows(), x.cols());
  std::vector<float> scales(static_cast<std::size_t>(groups * padded));
  ParallelFor(padded / kTokenPanel, [&](std::int64_t p) {
    const std::int64_t end = std::min(x.rows(), (p + 1) * kTokenPanel);
    for (std::int64_t t = p * kTokenPanel; t < end; ++t) {
      for (std::int64_t g = 0; g < groups; ++g) {
        const auto begin = static_cast<std::size_t>(g * group);
        const auto count = static_cast<std::size_t>(std::min(group, x.cols() - g * group));
        scales[static_cast<std::size_t>(g * padded + t)] =
            Quantize(x.row(t).subspan(begin, count), codes.row(t).subspan(begin, count));
      }
    }
  });
  return {PackedTokens(codes), std::move(scales), group};
}

}  // namespace cacheready
