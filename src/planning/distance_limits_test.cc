// SPDX-License-Identifier: Apache-2.0
#include "planning/distance_limits.h"

#include <gtest/gtest.h>

#include <span>

#include "base/random.h"
#include "base/statistics.h"

namespace cacheready {
namespace {

TokenDistances Uneven(std::uint64_t seed) {
  TokenDistances distances;
  for (std::int32_t document = 0; document < 13; ++document) {
    for (std::int32_t n = 0; n <= document; ++n) {
      distances.Add(
          UniformAt(seed, static_cast<std::uint64_t>(document * 100 + n)) + 0.1 * document,
          document * 7);
    }
  }
  return distances;
}

// The plain bootstrap, one copy of the sample a draw, is the reference.
TEST(DistanceLimits, EqualThePlainBootstrapOfTheSameSeed) {
  const TokenDistances distances = Uneven(3);
  const Clustered clustered{distances.values, distances.documents};
  const DistanceLimits limits = MeasureLimits(distances, 400, 99);
  const auto quantile = [](double q) {
    return [q](std::span<const double> values) { return Quantile(values, q); };
  };
  EXPECT_NEAR(limits.upper.rms, BootstrapUpper(clustered, RootMeanSquare, 0.95, 400, 99), 1e-12);
  EXPECT_NEAR(limits.upper.p95, BootstrapUpper(clustered, quantile(0.95), 0.95, 400, 99), 1e-12);
  EXPECT_NEAR(limits.upper.p99, BootstrapUpper(clustered, quantile(0.99), 0.95, 400, 99), 1e-12);
  EXPECT_EQ(limits.tokens, 91);
  EXPECT_EQ(limits.documents, 13);
}

TEST(DistanceLimits, OfAConstantAreTheConstant) {
  TokenDistances distances;
  for (std::int32_t n = 0; n < 40; ++n) distances.Add(0.25, n / 4);
  const DistanceLimits limits = MeasureLimits(distances, 200, 1);
  EXPECT_DOUBLE_EQ(limits.upper.rms, 0.25);
  EXPECT_DOUBLE_EQ(limits.upper.p95, 0.25);
  EXPECT_DOUBLE_EQ(limits.upper.p99, 0.25);
}

TEST(DistanceLimits, OneLargeDocumentWidensThem) {
  TokenDistances even, lumpy;
  for (std::int32_t n = 0; n < 100; ++n) {
    const double value = n < 10 ? 1.0 : 0.1;
    even.Add(value, n % 10);
    lumpy.Add(value, n / 10);  // the same values, the large ones in one document
  }
  EXPECT_GT(MeasureLimits(lumpy, 1000, 5).upper.rms, 1.2 * MeasureLimits(even, 1000, 5).upper.rms);
}

TEST(DistanceLimits, NothingMeasuresAsZero) { EXPECT_EQ(Measure({}).p99, 0); }

}  // namespace
}  // namespace cacheready
