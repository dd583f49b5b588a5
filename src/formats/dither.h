// Offsets for "another rounding of the same weights": counter-based, so a weight's offset does not
// depend on which rows are decoded together. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

namespace cacheready {

// SplitMix64's finalizer, inline: it runs once for two weights.
inline std::uint64_t MixBits(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// The offset of weight (row, col) in steps is an odd multiple of 2^-25: uniform over the open
// interval (-1/2, 1/2) and symmetric about 0. One hash serves two neighbouring columns.
inline float DitherOffset(std::uint64_t bits24) {
  return static_cast<float>(static_cast<std::int32_t>(bits24 * 2 + 1) - (1 << 24)) * 0x1p-25f;
}

// weights[c] += offset(stream, row, c) * step(c)
template <typename Step>
void AddDither(std::uint64_t stream, std::int64_t row, std::int64_t cols, Step step,
               float* weights) {
  constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15ull;
  const std::uint64_t key = MixBits(stream + kGolden * (static_cast<std::uint64_t>(row) + 1));
  for (std::int64_t c = 0; c < cols; c += 2) {
    const std::uint64_t bits = MixBits(key + kGolden * (static_cast<std::uint64_t>(c / 2) + 1));
    weights[c] += DitherOffset(bits >> 40) * step(c);
    if (c + 1 < cols) weights[c + 1] += DitherOffset((bits >> 8) & 0xFFFFFF) * step(c + 1);
  }
}

// The binade of a value: its power of two, 0 for zeros and subnormals.
inline float BinadeOf(float value) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0x7F800000u);
}

}  // namespace cacheready
