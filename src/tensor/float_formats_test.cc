// SPDX-License-Identifier: Apache-2.0
#include "tensor/float_formats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

namespace cacheready {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNaN = std::nanf("");

// The value of a code by the definition of the format: sign, exponent field, mantissa.
double ValueOf(unsigned code, int exponent_bits, int mantissa_bits, int bias) {
  const unsigned mantissa = code & ((1u << mantissa_bits) - 1);
  const unsigned field = code >> mantissa_bits & ((1u << exponent_bits) - 1);
  const double sign = (code >> (exponent_bits + mantissa_bits) & 1) != 0 ? -1 : 1;
  const double fraction = mantissa / std::pow(2.0, mantissa_bits);
  return field == 0 ? sign * std::ldexp(fraction, 1 - bias)
                    : sign * std::ldexp(1 + fraction, static_cast<int>(field) - bias);
}

// Checks rounding at the only places where it can go wrong: each value itself, the middle between
// two neighbours (to the even code), and one float on either side of the middle. `last` is the
// largest finite code without sign.
void ExpectRoundsToNearestEven(unsigned last, unsigned sign_bit,
                               const std::function<float(unsigned)>& widen,
                               const std::function<unsigned(float)>& narrow) {
  for (unsigned code = 0; code <= last; ++code) {
    const float value = widen(code);
    ASSERT_EQ(narrow(value), code);
    ASSERT_EQ(narrow(-value), code | sign_bit);
    if (code == last) break;
    const float middle = value / 2 + widen(code + 1) / 2;  // exact: floats have bits to spare
    ASSERT_EQ(narrow(middle), code % 2 == 0 ? code : code + 1) << code;
    ASSERT_EQ(narrow(std::nextafter(middle, 0.0f)), code) << code;
    ASSERT_EQ(narrow(std::nextafter(middle, kInfinity)), code + 1) << code;
    ASSERT_EQ(narrow(-middle), (code % 2 == 0 ? code : code + 1) | sign_bit) << code;
  }
}

TEST(FloatFormats, Bf16IsTheUpperHalfOfAFloatRoundedToEven) {
  EXPECT_EQ(Bf16ToFloat(0x3F80), 1.0f);
  EXPECT_EQ(Bf16ToFloat(0xC000), -2.0f);
  ExpectRoundsToNearestEven(
      0x7F7F, 0x8000, [](unsigned c) { return Bf16ToFloat(static_cast<std::uint16_t>(c)); },
      [](float v) { return unsigned{FloatToBf16(v)}; });
  EXPECT_EQ(FloatToBf16(kInfinity), 0x7F80);
  EXPECT_EQ(FloatToBf16(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_TRUE(std::isnan(RoundToBf16(kNaN)));
  // A NaN whose payload is only in the lower half must not become infinity.
  EXPECT_TRUE(std::isnan(RoundToBf16(std::bit_cast<float>(0x7F800001u))));
}

TEST(FloatFormats, F16ReadsEveryCodeByItsDefinition) {
  for (unsigned code = 0; code < 65536; ++code) {
    if ((code & 0x7C00) == 0x7C00) continue;
    ASSERT_EQ(F16ToFloat(static_cast<std::uint16_t>(code)), ValueOf(code, 5, 10, 15)) << code;
  }
  EXPECT_EQ(F16ToFloat(0x7C00), kInfinity);
  EXPECT_EQ(F16ToFloat(0xFC00), -kInfinity);
  EXPECT_TRUE(std::isnan(F16ToFloat(0x7C01)));
  EXPECT_TRUE(std::signbit(F16ToFloat(0x8000)));
}

TEST(FloatFormats, F16RoundsToNearestEvenAndOverflowsToInfinity) {
  ExpectRoundsToNearestEven(
      0x7BFF, 0x8000, [](unsigned c) { return F16ToFloat(static_cast<std::uint16_t>(c)); },
      [](float v) { return unsigned{FloatToF16(v)}; });
  EXPECT_EQ(FloatToF16(65519.996f), 0x7BFF);
  EXPECT_EQ(FloatToF16(65520.0f), 0x7C00);
  EXPECT_EQ(FloatToF16(-1e30f), 0xFC00);
  EXPECT_EQ(FloatToF16(kInfinity), 0x7C00);
  EXPECT_TRUE(std::isnan(F16ToFloat(FloatToF16(kNaN))));
  EXPECT_EQ(FloatToF16(1e-30f), 0);
}

TEST(FloatFormats, E4m3ReadsEveryCodeByItsDefinition) {
  for (unsigned code = 0; code < 256; ++code) {
    const float value = E4m3ToFloat(static_cast<std::uint8_t>(code));
    if ((code & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(value));
    } else {
      EXPECT_EQ(value, ValueOf(code, 4, 3, 7)) << code;
    }
    EXPECT_EQ(std::bit_cast<std::uint32_t>(E4m3Table()[code]), std::bit_cast<std::uint32_t>(value));
  }
  EXPECT_EQ(E4m3ToFloat(0x7E), 448.0f);
}

TEST(FloatFormats, E4m3RoundsToNearestEvenAndSaturates) {
  ExpectRoundsToNearestEven(
      0x7E, 0x80, [](unsigned c) { return E4m3ToFloat(static_cast<std::uint8_t>(c)); },
      [](float v) { return unsigned{FloatToE4m3(v)}; });
  for (const float large : {449.0f, 480.0f, 1e30f, kInfinity}) {
    EXPECT_EQ(FloatToE4m3(large), 0x7E);
    EXPECT_EQ(FloatToE4m3(-large), 0xFE);
  }
  EXPECT_EQ(FloatToE4m3(kNaN) & 0x7F, 0x7F);
}

TEST(FloatFormats, E5m2ReadsEveryCodeByItsDefinition) {
  for (unsigned code = 0; code < 256; ++code) {
    if ((code & 0x7C) == 0x7C) continue;
    EXPECT_EQ(E5m2ToFloat(static_cast<std::uint8_t>(code)), ValueOf(code, 5, 2, 15)) << code;
  }
  EXPECT_EQ(E5m2ToFloat(0x7C), kInfinity);
  EXPECT_TRUE(std::isnan(E5m2ToFloat(0x7D)));
}

TEST(FloatFormats, E8m0IsAPowerOfTwo) {
  for (int code = 0; code < 255; ++code) {
    EXPECT_EQ(E8m0ToFloat(static_cast<std::uint8_t>(code)), std::ldexp(1.0, code - 127)) << code;
  }
  EXPECT_TRUE(std::isnan(E8m0ToFloat(255)));
}

TEST(FloatFormats, E2m1HasItsSixteenValues) {
  const std::vector<float> magnitudes = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (unsigned code = 0; code < 8; ++code) {
    EXPECT_EQ(E2m1ToFloat(static_cast<std::uint8_t>(code)), magnitudes[code]);
    EXPECT_EQ(E2m1ToFloat(static_cast<std::uint8_t>(code | 8)), -magnitudes[code]);
  }
  EXPECT_EQ(E2m1ToFloat(0xF3), 1.5f);  // only the low four bits count
  ExpectRoundsToNearestEven(
      7, 8, [](unsigned c) { return E2m1ToFloat(static_cast<std::uint8_t>(c)); },
      [](float v) { return unsigned{FloatToE2m1(v)}; });
  EXPECT_EQ(FloatToE2m1(7.0f), 7);
  EXPECT_EQ(FloatToE2m1(-kInfinity), 15);
}

}  // namespace
}  // namespace cacheready
