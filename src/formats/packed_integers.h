// Integers of 4 or 8 bits packed into 32-bit words, and the groups of columns that share a scale
// and a zero point: what GPTQ, AWQ and compressed-tensors' pack-quantized have in common.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "formats/weight_formats.h"
#include "formats/weight_parts.h"

namespace cacheready {

inline std::uint32_t LoadWord(const TensorView& tensor, std::int64_t index) {
  std::uint32_t word;  // tensors of a mapped file are not aligned
  std::memcpy(&word, tensor.bytes.data() + index * static_cast<std::int64_t>(sizeof word),
              sizeof word);
  return word;
}

// How many integers of `bits` bits are in a word, and the one at `place`, lowest bits first.
constexpr std::int64_t PerWord(int bits) { return 32 / bits; }
inline int IntegerAt(std::uint32_t word, int bits, std::int64_t place) {
  return static_cast<int>(
      (word >> (static_cast<std::uint32_t>(bits) * static_cast<std::uint32_t>(place))) &
      ((1u << bits) - 1u));
}

// `count` integers packed into consecutive words from `bytes` on.
void UnpackIntegers(const std::byte* bytes, std::int64_t count, int bits, float* out);

// row[c] -= zeros[group of c]: groups of `group_size` consecutive columns, or as `group_of` tells,
// where it is not empty.
void SubtractZeros(std::span<const float> zeros, std::int64_t group_size,
                   std::span<const std::int32_t> group_of, std::span<float> row);

// 4 or 8: what the config says if the shapes fit it, else the only one that they fit. Fails, naming
// all tensors, if there is none.
int BitsOf(const FormatRequest& request, const WeightParts& parts,
           const std::function<bool(int bits)>& fits);

// Columns that share a scale, with `groups` of them in a row of `cols`. Fails, naming `scales`, if
// the groups do not cover the columns, or are not what the config says.
std::int64_t GroupSizeOf(const FormatRequest& request, const TensorView& scales,
                         std::int64_t groups, std::int64_t cols);

// g_idx: the group of every column. Fails, naming the tensor, on one outside of [0, groups). One
// that was never filled in (-1) means groups of consecutive columns.
std::vector<std::int32_t> ReadGroupIndex(const TensorView& g_idx, std::int64_t groups,
                                         std::int64_t group_size);

}  // namespace cacheready
