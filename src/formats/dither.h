// Offsets for "another rounding of the same weights": counter-based, so a weight's offset does not
// depend on which rows are decoded together. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace cacheready {

// SplitMix64's finalizer, inline: it runs once a weight.
inline std::uint64_t MixBits(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// The offsets of one row of one matrix, in steps: odd multiples of 2^-25, uniform over the open
// interval (-1/2, 1/2) and symmetric about 0.
class DitherRow {
 public:
  DitherRow(std::uint64_t stream, std::int64_t row)
      : key_(MixBits(stream + 0x9E3779B97F4A7C15ull * (static_cast<std::uint64_t>(row) + 1))) {}

  float Offset(std::int64_t col) const {
    const std::uint64_t bits =
        MixBits(key_ + 0x9E3779B97F4A7C15ull * (static_cast<std::uint64_t>(col) + 1));
    const auto odd = static_cast<std::int32_t>((bits >> 40) * 2 + 1) - (1 << 24);
    return static_cast<float>(odd) * 0x1p-25f;
  }

 private:
  std::uint64_t key_;
};

}  // namespace cacheready
