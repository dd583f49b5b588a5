// SPDX-License-Identifier: Apache-2.0
#include "planning/router_correlation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace cacheready {
namespace {

// The published procedure covers 45.1 % of 256 experts on noise of this kind (48 layers, 20,000
// tokens; 2.44 experts a group). One layer scatters by about 3 percentage points.
TEST(RouterCorrelation, FindsTheSameCoverageInPureNoise) {
  double coverage = 0;
  double covered = 0;
  double groups = 0;
  constexpr int kLayers = 6;
  for (std::uint64_t layer = 0; layer < kLayers; ++layer) {
    const Matrix noise = GaussianLogits(20000, 256, 2.0, layer);
    const RouterCorrelationResult result = RouterCorrelationGroups(noise, 8, 100 + layer);
    coverage += result.coverage / kLayers;
    for (const auto& group : result.groups) covered += static_cast<double>(group.size());
    groups += static_cast<double>(result.groups.size());
  }
  EXPECT_NEAR(coverage, 0.451, 0.04);
  EXPECT_NEAR(covered / groups, 2.44, 0.15);
}

TEST(RouterCorrelation, GivesTheSameGroupsForTheSameSeedOnly) {
  const RouterStatistics statistics = MeasureRouter(GaussianLogits(1000, 64, 2.0, 1), 4);
  const RouterCorrelationResult once = RouterCorrelationGroups(statistics, 7);
  EXPECT_EQ(once.groups, RouterCorrelationGroups(statistics, 7).groups);
  EXPECT_NE(once.groups, RouterCorrelationGroups(statistics, 8).groups);
}

TEST(RouterCorrelation, CorrelationsAreThoseOfTheProbabilities) {
  Matrix logits(4, 2);  // two experts: p and 1 - p, correlation exactly -1
  for (std::int64_t t = 0; t < 4; ++t) logits.at(t, 0) = static_cast<float>(t * t);
  const RouterStatistics statistics = MeasureRouter(logits, 1);
  EXPECT_NEAR(statistics.correlation[1], 1.0, 1e-9);
  EXPECT_EQ(statistics.correlation[0], 0);
  EXPECT_EQ(statistics.usage[0], 4);  // a tie in token 0 goes to the lower expert
}

TEST(RouterCorrelation, PermutedLogitsKeepEachExpertsValuesOnly) {
  const Matrix logits = GaussianLogits(500, 8, 1.0, 3);
  const Matrix permuted = PermutedLogits(logits, 4);
  for (std::int64_t e = 0; e < 8; ++e) {
    std::vector<float> before, after;
    for (std::int64_t t = 0; t < 500; ++t) {
      before.push_back(logits.at(t, e));
      after.push_back(permuted.at(t, e));
    }
    EXPECT_NE(before, after);
    std::sort(before.begin(), before.end());
    std::sort(after.begin(), after.end());
    EXPECT_EQ(before, after);
  }
}

}  // namespace
}  // namespace cacheready
