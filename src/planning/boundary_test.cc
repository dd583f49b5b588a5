// SPDX-License-Identifier: Apache-2.0
#include "planning/boundary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

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

TEST(Boundary, ExpectedFlipsOfSingleExpertsAreThoseOfTheirBoundaries) {
  Matrix logits(50, 6), served(50, 6);
  for (std::size_t n = 0; n < logits.values().size(); ++n) {
    logits.values()[n] = static_cast<float>(NormalAt(1, n));
    served.values()[n] = logits.values()[n] + static_cast<float>(0.2 * NormalAt(2, n));
  }
  const Boundaries boundaries = FindBoundaries(kSpec, logits, served);
  const double sum =
      std::accumulate(boundaries.flip_probability.begin(), boundaries.flip_probability.end(), 0.0);
  EXPECT_GT(sum, 1);
  EXPECT_NEAR(ExpectedFlips(kSpec, logits, ClassesOf(6, {}), boundaries.noise), sum, 1e-12);
}

TEST(Boundary, AClassThatFillsTheSelectionFlipsOnlyAgainstTheNextOne) {
  const Matrix logits = OneToken({1.0f, 0.7f, 1.0f, 0.7f, 0.1f, 0.0f});
  const double flips =
      ExpectedFlips(kSpec, logits, ClassesOf(6, {{0, 2}, {1, 3}}), LogitNoise::Uniform(6, 0.2));
  // Each class moves by the mean of two independent deviations.
  EXPECT_NEAR(flips, NormalCdf(-(1.0 - 0.7) / (0.2 / std::sqrt(2.0))), 1e-6);
}

TEST(Boundary, AClassThatTheBoundaryCutsFlipsOnEitherSide) {
  // 4 is selected, and of the class {0, 1, 2} one member; 5 is next.
  const Matrix logits = OneToken({0.5f, 0.5f, 0.5f, 0.0f, 0.8f, 0.1f});
  const double sigma = 0.3 * std::sqrt((1 + 1.0 / 3) / 2);  // one expert against the mean of three
  const double above = NormalCdf(-(0.8 - 0.5) / sigma), below = NormalCdf(-(0.5 - 0.1) / sigma);
  EXPECT_NEAR(ExpectedFlips(kSpec, logits, ClassesOf(6, {{0, 1, 2}}), LogitNoise::Uniform(6, 0.3)),
              1 - (1 - above) * (1 - below), 1e-6);
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
