// SPDX-License-Identifier: Apache-2.0
#include "tensor/float_formats.h"

#include <algorithm>
#include <limits>

namespace cacheready {
namespace {

constexpr std::uint32_t kSignBit = 0x80000000u;
constexpr std::uint32_t kInfinityBits = 0x7F800000u;

// 2^exponent as a float, for exponents of normal floats.
constexpr float PowerOfTwo(int exponent) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23);
}

// Rounds |value| (finite, below 2^(126 - mantissa_bits)) to a format with `mantissa_bits` whose
// smallest normal exponent is `min_exponent`, ties to even, and returns its code without sign: the
// exponent field rises by carry, so subnormals and the step to the next binade need no case.
std::uint32_t RoundToCode(float magnitude, int mantissa_bits, int min_exponent) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(magnitude);
  const int exponent = static_cast<int>(bits >> 23) - 127;
  if (exponent < min_exponent) {
    // The sum's last bit is worth one subnormal step, so the hardware does the rounding.
    const float shift = PowerOfTwo(min_exponent - mantissa_bits + 23);
    return std::bit_cast<std::uint32_t>(magnitude + shift) - std::bit_cast<std::uint32_t>(shift);
  }
  const int dropped = 23 - mantissa_bits;
  const std::uint32_t half = (1u << (dropped - 1)) - 1u + ((bits >> dropped) & 1u);
  const std::uint32_t rebias = static_cast<std::uint32_t>(127 - 1 + min_exponent) << 23;
  return (bits + half - rebias) >> dropped;
}

// A code without sign back to float: `mantissa_bits` below an exponent field with `min_exponent`.
float CodeToMagnitude(std::uint32_t code, int mantissa_bits, int min_exponent) {
  const std::uint32_t field = code >> mantissa_bits;
  const std::uint32_t mantissa = code & ((1u << mantissa_bits) - 1u);
  const float step = PowerOfTwo(min_exponent - mantissa_bits);
  if (field == 0) return static_cast<float>(mantissa) * step;
  return static_cast<float>((1u << mantissa_bits) + mantissa) * step *
         PowerOfTwo(static_cast<int>(field) - 1);
}

float WithSign(float magnitude, bool negative) { return negative ? -magnitude : magnitude; }

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

}  // namespace

float F16ToFloat(std::uint16_t bits) {
  const std::uint32_t code = bits & 0x7FFFu;
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  if (code >= 0x7C00u) {
    const std::uint32_t quiet = code > 0x7C00u ? 0x400000u : 0u;
    return std::bit_cast<float>(sign | kInfinityBits | quiet | (code & 0x3FFu) << 13);
  }
  return WithSign(CodeToMagnitude(code, 10, -14), sign != 0);
}

std::uint16_t FloatToF16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits & kSignBit) >> 16;
  const std::uint32_t magnitude = bits & ~kSignBit;
  if (magnitude > kInfinityBits) {
    return static_cast<std::uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x1FFu));
  }
  // From 65520 on, halfway to the next value, rounding reaches infinity.
  if (magnitude >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);
  return static_cast<std::uint16_t>(sign | RoundToCode(std::bit_cast<float>(magnitude), 10, -14));
}

const std::array<float, 256>& E4m3Table() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> values{};
    for (std::uint32_t code = 0; code < 256; ++code) {
      const std::uint32_t magnitude = code & 0x7Fu;
      values[code] = WithSign(magnitude == 0x7Fu ? kNaN : CodeToMagnitude(magnitude, 3, -6),
                              (code & 0x80u) != 0);
    }
    return values;
  }();
  return table;
}

const std::array<std::uint16_t, 256>& E4m3Bf16Table() {
  static const std::array<std::uint16_t, 256> table = [] {
    std::array<std::uint16_t, 256> values{};
    std::ranges::transform(E4m3Table(), values.begin(), FloatToBf16);
    return values;
  }();
  return table;
}

float E4m3ToFloat(std::uint8_t code) { return E4m3Table()[code]; }

std::uint8_t FloatToE4m3(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits & kSignBit) >> 24;
  const std::uint32_t magnitude = bits & ~kSignBit;
  if (magnitude > kInfinityBits) return static_cast<std::uint8_t>(sign | 0x7Fu);
  const float clamped = std::min(std::bit_cast<float>(magnitude), 448.0f);
  return static_cast<std::uint8_t>(sign | RoundToCode(clamped, 3, -6));
}

float E5m2ToFloat(std::uint8_t code) {
  // The upper half of a float16.
  return F16ToFloat(static_cast<std::uint16_t>(code << 8));
}

float E8m0ToFloat(std::uint8_t code) {
  if (code == 255) return kNaN;
  // 2^-127 is a subnormal float.
  return std::bit_cast<float>(code == 0 ? 0x00400000u : static_cast<std::uint32_t>(code) << 23);
}

float E2m1ToFloat(std::uint8_t code) {
  return WithSign(CodeToMagnitude(code & 7u, 1, 0), (code & 8u) != 0);
}

std::uint8_t FloatToE2m1(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits & kSignBit) >> 28;
  // The format has no NaN; min's order of arguments turns one into 6, as a saturating cast does.
  const float clamped = std::min(6.0f, std::bit_cast<float>(bits & ~kSignBit));
  return static_cast<std::uint8_t>(sign | RoundToCode(clamped, 1, 0));
}

// Without a branch: the loop becomes vector code.
bool AllFinite(std::span<const float> values) {
  std::uint32_t others = 0;
  for (const float value : values) {
    others += (std::bit_cast<std::uint32_t>(value) & kInfinityBits) == kInfinityBits;
  }
  return others == 0;
}

}  // namespace cacheready
