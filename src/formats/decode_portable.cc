// The decoders in plain C++: the meaning of the others, and the fallback.
// SPDX-License-Identifier: Apache-2.0
#include "formats/decode_functions.h"
#include "tensor/float_formats.h"

namespace cacheready::portable {

constexpr int kLanes = 4;
#include "formats/decode_loops.inc"

void WidenE4m3(const std::uint8_t* codes, std::int64_t count, const float* table, float* out) {
  LookUpBytes(codes, count, table, out);
}

void E4m3ToBf16(const std::uint8_t* codes, std::int64_t count, const std::uint16_t* table,
                std::uint16_t* out) {
  LookUpBytes(codes, count, table, out);
}

void WidenF16(const void* from, std::int64_t count, float* out) {
  const char* bytes = static_cast<const char*>(from);
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint16_t bits;
    __builtin_memcpy(&bits, bytes + 2 * i, sizeof bits);
    out[i] = F16ToFloat(bits);
  }
}

void WidenNibbles(const std::uint8_t* bytes, std::int64_t count, const float* table, float* out) {
  LookUpNibbles(bytes, count, table, out);
}

}  // namespace cacheready::portable
