// Scalar conversions between float and the low-precision formats. All exact in the widening
// direction; narrowing rounds to nearest, ties to even. e4m3 is OCP "fn": bias 7, max 448, no
// infinity, NaN = 0x7F/0xFF.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>

namespace cacheready {

inline float Bf16ToFloat(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}
inline std::uint16_t FloatToBf16(float value) {  // NaN stays NaN
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}
inline float RoundToBf16(float value) { return Bf16ToFloat(FloatToBf16(value)); }

float F16ToFloat(std::uint16_t bits);   // NaN becomes quiet, as instructions have it
std::uint16_t FloatToF16(float value);  // overflow to infinity
float E4m3ToFloat(std::uint8_t code);
std::uint8_t FloatToE4m3(
    float value);  // saturates at +-448 (as serving kernels clamp); NaN stays NaN
float E5m2ToFloat(std::uint8_t code);
float E8m0ToFloat(std::uint8_t code);   // 2^(code-127), 255 = NaN
float E2m1ToFloat(std::uint8_t code);   // low 4 bits: {0,.5,1,1.5,2,3,4,6}, bit 3 = sign
std::uint8_t FloatToE2m1(float value);  // saturates at +-6

const std::array<float, 256>& E4m3Table();
const std::array<std::uint16_t, 256>& E4m3Bf16Table();  // the same in bf16, which holds them all

bool AllFinite(std::span<const float> values);  // neither NaN nor infinity

}  // namespace cacheready
