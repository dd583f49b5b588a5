// SPDX-License-Identifier: Apache-2.0
#include "base/math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"

namespace cacheready {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kPoints = 200'000;

// The largest relative error against libm in long double over seeded points of [low, high], and
// where it is.
struct Worst {
  double error = 0;
  double at = 0;
};

template <typename Ours, typename Theirs>
Worst WorstRelativeError(double low, double high, Ours ours, Theirs theirs) {
  Worst worst;
  for (int i = 0; i < kPoints; ++i) {
    const double x = low + (high - low) * UniformAt(7, static_cast<std::uint64_t>(i));
    const long double expected = theirs(static_cast<long double>(x));
    if (expected == 0) continue;
    const auto error =
        static_cast<double>(std::fabs((static_cast<long double>(ours(x)) - expected) / expected));
    if (!(error <= worst.error)) worst = {error, x};
  }
  return worst;
}

#define EXPECT_ACCURATE(worst) \
  EXPECT_LT((worst).error, 1e-13) << "at " << ::testing::PrintToString((worst).at)

TEST(Math, ExpAgreesWithLongDouble) {
  const auto exact = [](long double x) { return std::exp(x); };
  EXPECT_ACCURATE(WorstRelativeError(-1, 1, Exp, exact));
  EXPECT_ACCURATE(WorstRelativeError(-700, 709.7, Exp, exact));
  EXPECT_ACCURATE(WorstRelativeError(-1e-8, 1e-8, Exp, exact));
}

TEST(Math, ExpKeepsItsPromisesAtTheEnds) {
  EXPECT_EQ(Exp(0.0), 1.0);
  EXPECT_EQ(Exp(-0.0), 1.0);
  EXPECT_EQ(Exp(709.79), kInfinity);
  EXPECT_EQ(Exp(kInfinity), kInfinity);
  EXPECT_EQ(Exp(-745.2), 0.0);
  EXPECT_EQ(Exp(-kInfinity), 0.0);
  EXPECT_TRUE(std::isnan(Exp(std::nan(""))));
  // Subnormal results have an absolute step of 2^-1074.
  EXPECT_NEAR(Exp(-740.0), static_cast<double>(std::exp(-740.0L)), 0x1p-1074);
}

TEST(Math, Expm1AgreesWithLongDouble) {
  const auto exact = [](long double x) { return std::expm1(x); };
  EXPECT_ACCURATE(WorstRelativeError(-1, 1, Expm1, exact));
  EXPECT_ACCURATE(WorstRelativeError(-50, 700, Expm1, exact));
  EXPECT_ACCURATE(WorstRelativeError(-1e-10, 1e-10, Expm1, exact));
}

TEST(Math, LogAgreesWithLongDouble) {
  const auto exact = [](long double x) { return std::log(x); };
  EXPECT_ACCURATE(WorstRelativeError(0, 2, Log, exact));
  EXPECT_ACCURATE(WorstRelativeError(0.999, 1.001, Log, exact));
  EXPECT_ACCURATE(WorstRelativeError(0, 1e300, Log, exact));
  EXPECT_ACCURATE(WorstRelativeError(0, 1e-308, Log, exact));  // subnormal
  EXPECT_EQ(Log(1.0), 0.0);
  EXPECT_EQ(Log(0.0), -kInfinity);
  EXPECT_EQ(Log(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(Log(-1.0)));
  EXPECT_TRUE(std::isnan(Log(std::nan(""))));
}

TEST(Math, Log1pAgreesWithLongDouble) {
  const auto exact = [](long double x) { return std::log1p(x); };
  EXPECT_ACCURATE(WorstRelativeError(-0.999999, 1, Log1p, exact));
  EXPECT_ACCURATE(WorstRelativeError(-1e-9, 1e-9, Log1p, exact));
  EXPECT_ACCURATE(WorstRelativeError(0, 1e10, Log1p, exact));
  EXPECT_EQ(Log1p(-1.0), -kInfinity);
  EXPECT_EQ(Log1p(kInfinity), kInfinity);
}

TEST(Math, SinAndCosAgreeWithLongDouble) {
  const auto sine = [](long double x) { return std::sin(x); };
  const auto cosine = [](long double x) { return std::cos(x); };
  for (const double reach : {1e-4, 1.0, 10.0, 1e4, 1e6}) {
    EXPECT_ACCURATE(WorstRelativeError(-reach, reach, Sin, sine));
    EXPECT_ACCURATE(WorstRelativeError(-reach, reach, Cos, cosine));
  }
}

// Near a multiple of pi/2 nearly all digits cancel. Expected values from mpmath at 80 digits.
TEST(Math, SinAndCosKeepTheirErrorNearTheirZeros) {
  EXPECT_NEAR(Sin(0x1.921fb54442d18p+1) / 1.2246467991473531772e-16, 1.0, 1e-13);
  EXPECT_NEAR(Cos(0x1.921fb54442d18p+0) / 6.1232339957367658862e-17, 1.0, 1e-13);
  EXPECT_NEAR(Cos(-0x1.921fb54442d18p+0) / 6.1232339957367658862e-17, 1.0, 1e-13);
  EXPECT_NEAR(Sin(0x1.6c6cbc45dc8dep+6) / -1.23796127317671540003e-18, 1.0, 1e-13);
  EXPECT_NEAR(Sin(0x1.bf9b3c6059d24p+19) / -1.26462966483895209143e-15, 1.0, 1e-13);
  EXPECT_NEAR(Sin(0x1.921fb54442d18p+2) / -2.4492935982947063545e-16, 1.0, 1e-13);
}

TEST(Math, PowAgreesWithLongDouble) {
  // Rotary frequencies: base^(-i/n).
  const auto frequency = [](double x) { return Pow(1e7, x); };
  EXPECT_ACCURATE(
      WorstRelativeError(-1, 1, frequency, [](long double x) { return std::pow(1e7L, x); }));
  const auto power = [](double x) { return Pow(x, 2.5); };
  EXPECT_ACCURATE(
      WorstRelativeError(1e-30, 1e30, power, [](long double x) { return std::pow(x, 2.5L); }));
}

TEST(Math, SigmoidAndTanhAgreeWithLongDouble) {
  const auto sigmoid = [](long double x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_ACCURATE(WorstRelativeError(-700, 700, Sigmoid, sigmoid));
  EXPECT_ACCURATE(WorstRelativeError(-5, 5, Sigmoid, sigmoid));
  EXPECT_EQ(Sigmoid(-kInfinity), 0.0);
  EXPECT_EQ(Sigmoid(kInfinity), 1.0);
  const auto tanh = [](long double x) { return std::tanh(x); };
  EXPECT_ACCURATE(WorstRelativeError(-30, 30, Tanh, tanh));
  EXPECT_ACCURATE(WorstRelativeError(-1e-3, 1e-3, Tanh, tanh));
}

TEST(Math, SoftplusIsTorchs) {
  const auto softplus = [](long double x) { return std::log1p(std::exp(x)); };
  EXPECT_ACCURATE(WorstRelativeError(-700, 20, Softplus, softplus));
  EXPECT_EQ(Softplus(20.5), 20.5);  // above 20 torch returns its argument
  EXPECT_GT(Softplus(20.0), 20.0);
}

TEST(Math, NormalCdfAgreesWithErfc) {
  for (int i = -1000; i <= 1000; ++i) {
    const double x = i * 0.01;
    const auto expected = static_cast<double>(0.5L * std::erfc(-x / std::sqrt(2.0L)));
    EXPECT_NEAR(NormalCdf(x), expected, 1e-12) << x;
  }
  EXPECT_EQ(NormalCdf(0.0), 0.5);
  EXPECT_EQ(NormalCdf(-kInfinity), 0.0);
  EXPECT_EQ(NormalCdf(kInfinity), 1.0);
}

// The double's error is far below a float's half step: all but a few ties must round as exact
// values do.
TEST(Math, ExpFIsCorrectlyRounded) {
  int different = 0;
  for (int i = 0; i < kPoints; ++i) {
    const auto x = static_cast<float>(-80 + 160 * UniformAt(8, static_cast<std::uint64_t>(i)));
    different += ExpF(x) != static_cast<float>(std::exp(static_cast<long double>(x)));
  }
  EXPECT_LE(different, 1);
}

}  // namespace
}  // namespace cacheready
