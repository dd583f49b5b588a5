// The published method on logits in which nothing is to be found.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>

#include "base/parallel.h"
#include "base/random.h"
#include "planning/router_correlation.h"

namespace cacheready {
namespace {

constexpr std::int64_t kLayers = 48, kExperts = 256, kTokens = 20000, kTopK = 8;

// The release reports 45 % of the experts in groups of 2.4 on average; independent Gaussian logits
// of the same shape give the same.
TEST(CorrelationControl, GaussianLogitsOfThePublishedShapeAreCoveredAsThePublishedModel) {
  double coverage = 0, grouped = 0, groups = 0;
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const auto seed = static_cast<std::uint64_t>(layer);
    const Matrix logits = GaussianLogits(kTokens, kExperts, 1.0, HashWords({7, seed}));
    const RouterCorrelationResult result = RouterCorrelationGroups(logits, kTopK, seed);
    coverage += result.coverage / static_cast<double>(kLayers);
    groups += static_cast<double>(result.groups.size());
    for (const auto& members : result.groups) grouped += static_cast<double>(members.size());
  }
  std::printf("Gaussian logits, %lld layers: coverage %.3f, mean group %.2f\n",
              static_cast<long long>(kLayers), coverage, grouped / groups);
  EXPECT_NEAR(coverage, 0.451, 0.015);
  EXPECT_NEAR(grouped / groups, 2.44, 0.1);
}

}  // namespace
}  // namespace cacheready
