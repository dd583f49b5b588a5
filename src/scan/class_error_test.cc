// SPDX-License-Identifier: Apache-2.0
#include "scan/class_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "scan/small_moe.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class ClassErrorTest : public ::testing::Test {
 protected:
  const MoeBlock moe_ = SmallMoe(4);
  const Matrix x_ = NormalMatrix(20, 24, 1.0, 5);
  // Expert 3 has no rows.
  const std::vector<std::vector<std::int32_t>> rows_ = {{0, 1, 2}, {3, 4, 19}, {5}, {}};

  std::vector<ExpertErrors> Errors(Numerics numerics) const {
    const NoiseSource source{&GetProfile("bf16-tp1"), 1, 7, numerics};
    std::vector<ExpertErrors> errors(rows_.size());
    for (std::size_t e = 0; e < 3; ++e) {
      errors[e] = MeasureErrors(moe_, static_cast<std::int64_t>(e), x_, rows_[e], source);
    }
    return errors;
  }
};

// Three products, each of operands rounded to 8 bits: a relative error of at most 2^-9 each, spread
// over its range.
TEST_F(ClassErrorTest, IsThatOfAFewRoundingsToBf16) {
  EXPECT_EQ(ClassError(Errors(Numerics::kFp32Chain)), 0);
  for (const Numerics numerics : {Numerics::kBf16Amx, Numerics::kBf16Avx512}) {
    const double error = ClassError(Errors(numerics));
    EXPECT_GT(error, 0x1p-11);
    EXPECT_LT(error, 6 * 0x1p-9);
  }
}

TEST_F(ClassErrorTest, MustBeAQuarterOfTheNoiseAtMost) {
  const double error = ClassError(Errors(Numerics::kBf16Amx));
  const auto require = [&](double noise_of_each, Numerics numerics) {
    // An expert without rows has no say.
    std::vector<ExpertErrors> errors = Errors(numerics);
    for (ExpertErrors& expert : errors) {
      std::ranges::fill(expert.noise, static_cast<float>(noise_of_each));
    }
    RequirePreciseClass(errors, numerics, {7, "bf16-tp1"});
  };
  EXPECT_NO_THROW(require(4.001 * error, Numerics::kBf16Amx));
  EXPECT_THAT([&] { require(3.999 * error, Numerics::kBf16Amx); },
              ThrowsMessage<Error>(AllOf(HasSubstr("layer 7"), HasSubstr("bf16-amx-1"),
                                         HasSubstr("bf16-tp1"), HasSubstr("--numerics fp32"))));
  EXPECT_NO_THROW(require(0, Numerics::kFp32Chain));
}

}  // namespace
}  // namespace cacheready
