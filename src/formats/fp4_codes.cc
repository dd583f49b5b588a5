// SPDX-License-Identifier: Apache-2.0
#include "formats/fp4_codes.h"

#include <array>

#include "formats/decode_kernels.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

const std::array<float, 16>& E2m1Table() {
  static const std::array<float, 16> table = [] {
    std::array<float, 16> values{};
    for (std::size_t code = 0; code < 16; ++code) {
      values[code] = E2m1ToFloat(static_cast<std::uint8_t>(code));
    }
    return values;
  }();
  return table;
}

}  // namespace

void DecodeE2m1Pairs(const std::byte* pairs, std::int64_t bytes, float* out) {
  ActiveDecodeKernels().widen_nibbles(reinterpret_cast<const std::uint8_t*>(pairs), 2 * bytes,
                                      E2m1Table().data(), out);
}

}  // namespace cacheready
