// SPDX-License-Identifier: Apache-2.0
#include "formats/fp4_codes.h"

#include <array>
#include <cstring>

#include "tensor/float_formats.h"

namespace cacheready {
namespace {

using Pair = std::array<float, 2>;

const std::array<Pair, 256>& PairTable() {
  static const std::array<Pair, 256> table = [] {
    std::array<Pair, 256> pairs{};
    for (std::size_t byte = 0; byte < 256; ++byte) {
      pairs[byte] = {E2m1ToFloat(static_cast<std::uint8_t>(byte & 15)),
                     E2m1ToFloat(static_cast<std::uint8_t>(byte >> 4))};
    }
    return pairs;
  }();
  return table;
}

}  // namespace

void DecodeE2m1Pairs(const std::byte* pairs, std::int64_t bytes, float* out) {
  const std::array<Pair, 256>& table = PairTable();
  for (std::int64_t i = 0; i < bytes; ++i) {
    std::memcpy(out + 2 * i, &table[static_cast<std::size_t>(pairs[i])], sizeof(Pair));
  }
}

}  // namespace cacheready
