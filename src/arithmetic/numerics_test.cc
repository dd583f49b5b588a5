// SPDX-License-Identifier: Apache-2.0
#include "arithmetic/numerics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "arithmetic/profile.h"
#include "base/cpu.h"
#include "base/error.h"
#include "compute/random_weights.h"
#include "compute/test_matrices.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr Numerics kClasses[] = {Numerics::kFp32Chain, Numerics::kBf16Amx, Numerics::kBf16Avx512};
constexpr Numerics kBf16Classes[] = {Numerics::kBf16Amx, Numerics::kBf16Avx512};

TEST(Numerics, AreFoundByTheirDistinctNames) {
  std::set<std::string_view> names;
  for (const Numerics numerics : kClasses) {
    EXPECT_TRUE(names.insert(NumericsClassName(numerics)).second);
    EXPECT_EQ(ParseNumerics(NumericsClassName(numerics)), numerics);
  }
  EXPECT_EQ(ParseNumerics(""), Numerics::kFp32Chain);
  EXPECT_EQ(ParseNumerics("fp32"), Numerics::kFp32Chain);
  EXPECT_THAT([] { ParseNumerics("fp16"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("'fp16'"), HasSubstr("bf16-amx-1"))));
}

TEST(Numerics, Bf16IsWhatThisCpuHasAnInstructionFor) {
  if (Cpu().amx_bf16) {
    EXPECT_EQ(ParseNumerics("bf16"), Numerics::kBf16Amx);
    EXPECT_EQ(ParseNumerics("auto"), Numerics::kBf16Amx);
  } else if (Cpu().avx512_bf16) {
    EXPECT_EQ(ParseNumerics("bf16"), Numerics::kBf16Avx512);
    EXPECT_EQ(ParseNumerics("auto"), Cpu().amd ? Numerics::kBf16Avx512 : Numerics::kFp32Chain);
  } else {
    EXPECT_EQ(ParseNumerics("auto"), Numerics::kFp32Chain);
    EXPECT_THAT([] { ParseNumerics("bf16"); }, ThrowsMessage<Error>(HasSubstr("no instruction")));
  }
}

TEST(Linear, OfRoutersGatesAndHeadsHasTheBitsOfFp32InEveryClass) {
  const RandomWeight w("bf16", 40, 200, 1);
  const Matrix x = Normals(9, 200, 2);
  for (const Profile& profile : Profiles()) {
    for (const Numerics numerics : kBf16Classes) {
      for (const Role role : {Role::kRouter, Role::kFp32Router, Role::kGate, Role::kHead}) {
        EXPECT_TRUE(
            SameBits(Linear({.profile = &profile, .numerics = numerics}, role, w.matrix(), x),
                     Linear({.profile = &profile}, role, w.matrix(), x)));
      }
    }
  }
}

TEST(Linear, OfExpertsAndMixersIsThatOfTheClass) {
  const RandomWeight w("fp8-block", 136, 264, 3);
  const Matrix x = Normals(9, 264, 4);
  for (const Role role : {Role::kExpert, Role::kSharedExpert, Role::kDenseFfn, Role::kMixerInput,
                          Role::kMixerOutput}) {
    EXPECT_TRUE(SameBits(Linear(Fp32Arithmetic(Numerics::kBf16Amx), role, w.matrix(), x),
                         MatMulBf16(w.matrix(), Bf16Tokens(x, 128), Bf16Numerics::kAmx)));
    EXPECT_TRUE(SameBits(Linear(Fp32Arithmetic(Numerics::kBf16Avx512), role, w.matrix(), x),
                         MatMulBf16(w.matrix(), Bf16Tokens(x, 128), Bf16Numerics::kAvx512)));
  }
}

TEST(Linear, OfQuantizedActivationsMultipliesTheirCodesInTheClass) {
  const RandomWeight w("fp8-block", 136, 264, 5), other("bf16", 24, 264, 6);
  const Matrix x = Normals(9, 264, 7);
  LinearInput input(x);
  const Arithmetic w8a8{.profile = &GetProfile("fp8-w8a8"), .numerics = Numerics::kBf16Amx};
  Matrix expected =
      MatMulBf16(w.matrix(), Bf16Tokens(QuantizeTokensE4m3(x, 128)), Bf16Numerics::kAmx);
  Round(w8a8, RoundingPoint::kLinear, expected.values());
  EXPECT_TRUE(SameBits(Linear(w8a8, Role::kExpert, w.matrix(), input), expected));
  EXPECT_TRUE(SameBits(Linear(w8a8, Role::kExpert, other.matrix(), input),
                       Linear(w8a8, Role::kExpert, other.matrix(), x)));
  EXPECT_TRUE(SameBits(Linear(w8a8, Role::kExpert, w.matrix(), input), expected));
}

// Tokens are rounded to 8 bits (2^-9 each), weights too where their codes are not exact in bf16; a
// term then passes at most columns + blocks + 2 roundings of fp32 (compute/matmul_bf16.h).
TEST(Linear, OfABf16ClassAgreesWithFp32WithinTheBoundOfTheFormat) {
  for (const std::string_view format : {"bf16", "fp8-block", "nvfp4", "f32"}) {
    const std::int64_t cols = 256;
    const RandomWeight w(std::string(format), 32, cols, 8);
    const Matrix x = Normals(16, cols, 9), weights = DecodeAll(w.matrix());
    const double unit = format == "f32" ? 0x1p-8 + 0x1p-18 : 0x1p-9;
    const double bound = unit + (cols + 16 + 2) * 0x1p-24 * 2;
    for (const Numerics numerics : kBf16Classes) {
      const Matrix y = Linear(Fp32Arithmetic(numerics), Role::kExpert, w.matrix(), x);
      const Matrix exact = Linear(Fp32Arithmetic(), Role::kExpert, w.matrix(), x);
      double largest = 0;  // error, in units of the bound
      for (std::int64_t t = 0; t < x.rows(); ++t) {
        for (std::int64_t n = 0; n < y.cols(); ++n) {
          double terms = 0;
          for (std::int64_t k = 0; k < cols; ++k) {
            terms += std::fabs(double{weights.at(n, k)} * double{x.at(t, k)});
          }
          largest = std::fmax(largest, std::fabs(y.at(t, n) - exact.at(t, n)) / (bound * terms));
        }
      }
      EXPECT_LT(largest, 1) << format;
      EXPECT_GT(largest, 0.01) << format << ": tokens are rounded, so that something must differ";
    }
  }
}

}  // namespace
}  // namespace cacheready
