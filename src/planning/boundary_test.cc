// SPDX-License-Identifier: Apache-2.0
#include "planning/boundary.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/math.h"
#include "base/random.h"
#include "planning/budget.h"

namespace cacheready {
namespace {

const RouterSpec kSpec{.experts = 6, .top_k = 2};

Matrix OneToken(std::vector<float> logits) {
  Matrix matrix(1, static_cast<std::int64_t>(logits.size()));
  std::copy(logits.begin(), logits.end(), matrix.values().begin());
  return matrix;
}

// Drawn: every value deviates by its own normal number.
double DrawnFlips(const Matrix& logits, double sigma, int draws) {
  const Routing before = Route(kSpec, logits, Fp32Arithmetic());
  const std::vector<std::int32_t> singles = ClassesOf(6, {});
  double flips = 0;
  for (int draw = 0; draw < draws; ++draw) {
    Matrix served = logits;
    for (std::size_t n = 0; n < served.values().size(); ++n) {
      served.values()[n] += static_cast<float>(
          sigma / std::sqrt(2.0) * NormalAt(HashWords({9, static_cast<std::uint64_t>(draw)}), n));
    }
    flips += static_cast<double>(
        CountFlips(before, Route(kSpec, served, Fp32Arithmetic()), singles).flips);
  }
  return flips / draws;
}

TEST(Boundary, ExpectedFlipsOfSingleExpertsAreThoseThatNoiseMakes) {
  Matrix logits(400, 6);
  for (std::size_t n = 0; n < logits.values().size(); ++n) {
    logits.values()[n] = static_cast<float>(NormalAt(1, n));
  }
  for (const double sigma : {0.02, 0.1}) {
    const double expected =
        ExpectedFlips(kSpec, logits, ClassesOf(6, {}), LogitNoise::Uniform(6, sigma));
    EXPECT_NEAR(expected, DrawnFlips(logits, sigma, 200), 0.08 * expected) << sigma;
  }
}

TEST(Boundary, AClassThatFillsTheSelectionFlipsOnlyAgainstTheNextOne) {
  const Matrix logits = OneToken({1.0f, 0.7f, 1.0f, 0.7f, -9.0f, -9.0f});
  const double flips =
      ExpectedFlips(kSpec, logits, ClassesOf(6, {{0, 2}, {1, 3}}), LogitNoise::Uniform(6, 0.2));
  // Each class moves by the mean of two independent deviations.
  EXPECT_NEAR(flips, NormalCdf(-(1.0 - 0.7) / (0.2 / std::sqrt(2.0))), 1e-6);
}

TEST(Boundary, AClassThatTheBoundaryCutsFlipsOnEitherSide) {
  // 4 is selected, and of the class {0, 1, 2} one member; the others are far.
  const Matrix logits = OneToken({0.5f, 0.5f, 0.5f, -9.0f, 0.8f, 0.1f});
  const double sigma = 0.3 * std::sqrt((1 + 1.0 / 3) / 2);  // one expert against the mean of three
  const double above = NormalCdf(-(0.8 - 0.5) / sigma), below = NormalCdf(-(0.5 - 0.1) / sigma);
  const double far = NormalCdf(-(0.8 - 0.1) / 0.3);
  EXPECT_NEAR(ExpectedFlips(kSpec, logits, ClassesOf(6, {{0, 1, 2}}), LogitNoise::Uniform(6, 0.3)),
              1 - (1 - above) * (1 - below) * (1 - far), 1e-6);
}

TEST(Boundary, OneClassOfAllNeverFlips) {
  const Matrix logits = OneToken({0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f});
  EXPECT_EQ(
      ExpectedFlips(kSpec, logits, ClassesOf(6, {{0, 1, 2, 3, 4, 5}}), LogitNoise::Uniform(6, 0.3)),
      0);
}

TEST(LogitNoise, ExpertsThatMoveTogetherDoNotPassEachOther) {
  Matrix values(100, 3), served(100, 3);
  for (std::int64_t t = 0; t < 100; ++t) {
    const auto deviation = static_cast<float>(0.3 * NormalAt(4, static_cast<std::uint64_t>(t)));
    served.at(t, 0) = served.at(t, 1) = deviation;
    served.at(t, 2) = -deviation;
  }
  const LogitNoise noise(values, served);
  EXPECT_EQ(noise.Between(0, 1), 0);
  double squares = 0;
  for (std::int64_t t = 0; t < 100; ++t) {
    squares += 4 * std::pow(static_cast<double>(served.at(t, 0)), 2) / 100;
  }
  EXPECT_NEAR(noise.Between(0, 2), std::sqrt(squares), 1e-9);
  // The mean of 0 and 2 stands still.
  EXPECT_NEAR(noise.OfClasses(ClassesOf(3, {{0, 2}})).Between(0, 1), std::sqrt(squares) / 2, 1e-9);
}

}  // namespace
}  // namespace cacheready
