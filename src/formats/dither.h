// Offsets for "another rounding of the same weights": counter-based, so a weight's offset does not
// depend on which rows are decoded together. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

namespace cacheready {

// SplitMix64's finalizer, inline: it runs once for four weights.
inline std::uint64_t MixBits(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// weights[c] += offset(stream, row, c) * step(c). An offset is an odd multiple of 2^-17, uniform
// over the open interval (-1/2, 1/2) and symmetric about 0. Each hash serves four neighbouring
// columns; hashes are made first, so that the second loop becomes vector code.
template <typename Step>
void AddDither(std::uint64_t stream, std::int64_t row, std::int64_t cols, Step step,
               float* weights) {
  constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15ull;
  constexpr std::int64_t kChunk = 256;
  const std::uint64_t key = MixBits(stream + kGolden * (static_cast<std::uint64_t>(row) + 1));
  std::uint64_t hashes[kChunk / 4];
  std::uint16_t offsets[kChunk];
  for (std::int64_t begin = 0; begin < cols; begin += kChunk) {
    const std::int64_t count = std::min(kChunk, cols - begin);
    const std::uint64_t first = static_cast<std::uint64_t>(begin / 4) + 1;
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(count + 3) / 4; ++i) {
      hashes[i] = MixBits(key + kGolden * (first + i));
    }
    std::memcpy(offsets, hashes, static_cast<std::size_t>((count + 3) / 4) * sizeof(hashes[0]));
    for (std::int64_t i = 0; i < count; ++i) {
      const auto odd = 2 * static_cast<std::int32_t>(offsets[i]) + 1 - (1 << 16);
      weights[begin + i] += static_cast<float>(odd) * 0x1p-17f * step(begin + i);
    }
  }
}

// The binade of a value: its power of two, 0 for zeros and subnormals.
inline float BinadeOf(float value) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0x7F800000u);
}

}  // namespace cacheready
