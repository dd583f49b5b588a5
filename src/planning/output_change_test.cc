// Changes estimated from distances against those of the outputs themselves.
// SPDX-License-Identifier: Apache-2.0
#include "planning/output_change.h"

#include <gtest/gtest.h>

#include <cmath>

#include "planning/synthetic_layer.h"

namespace cacheready {
namespace {

constexpr std::int64_t kExperts = 16;

// Every expert is the first one plus a difference of its own.
SyntheticLayer OneFamily(double difference = 0.1) {
  SyntheticOptions options;
  options.documents = 8;
  for (std::int32_t e = 1; e < kExperts; ++e) options.copies.push_back({0, e, difference, 1.0});
  return SyntheticLayer(options);
}

double TrueNorm(const SyntheticLayer& layer, std::int64_t token,
                std::span<const WeightChange> changes) {
  std::vector<double> sum(static_cast<std::size_t>(layer.x().cols()), 0.0);
  for (const WeightChange& change : changes) {
    const std::vector<double> f = layer.Output(change.expert, token);
    for (std::size_t h = 0; h < sum.size(); ++h) sum[h] += change.change * f[h];
  }
  return SyntheticLayer::Norm(sum);
}

// |f_i - f_j| / max(|f_i|, |f_j|) of all pairs on one token, times [1 - slack, 1 + slack].
OutputDistances DistancesAt(const SyntheticLayer& layer, std::int64_t token, double slack) {
  OutputDistances distances(kExperts);
  for (std::int64_t i = 0; i < kExperts; ++i) {
    for (std::int64_t j = i + 1; j < kExperts; ++j) {
      const auto a = layer.Output(i, token), b = layer.Output(j, token);
      const double d = SyntheticLayer::Distance(a, b) /
                       std::max(SyntheticLayer::Norm(a), SyntheticLayer::Norm(b));
      distances.Set(i, j, {d * (1 - slack), d * (1 + slack)});
    }
  }
  return distances;
}

std::int32_t Ranked(const SyntheticLayer& layer, std::int64_t token, std::int64_t rank) {
  return BestExperts(layer.spec(), layer.record().logits,
                     kExperts)[static_cast<std::size_t>(token * kExperts + rank)];
}

// The two best leave, two from beyond the stored ranks come, with weights of sum `total`.
std::vector<WeightChange> SwapBest(const SyntheticLayer& layer, std::int64_t token, double total) {
  return {{Ranked(layer, token, 0), -0.5},
          {Ranked(layer, token, 1), -0.5},
          {Ranked(layer, token, 12), 0.5},
          {Ranked(layer, token, 14), 0.5 + total}};
}

TEST(OutputChange, FollowsFromExactDistancesIfWeightsKeepTheirSum) {
  const SyntheticLayer layer = OneFamily(0.01);
  for (std::int64_t token = 0; token < 20; ++token) {
    const std::vector<WeightChange> changes = SwapBest(layer, token, 0);
    const OutputDistances distances = DistancesAt(layer, token, 0);
    const OutputChange change(layer.record(), kExperts, &distances);
    const OutputChange::Norm norm = change.Of(token, changes);
    const double truth = TrueNorm(layer, token, changes);
    EXPECT_EQ(norm.known, Knowledge::kStandIn);
    EXPECT_GE(norm.value, truth * (1 - 1e-6)) << token;
    // Distances d of about 0.015 are relative to norms that are known within d. So squared ones are
    // off by 4 d at most, their difference, two thirds smaller than their sum, by 12 d, its root by
    // 6 d.
    EXPECT_NEAR(norm.value, truth, 0.1 * truth) << token;
  }
}

TEST(OutputChange, LimitsOfDistancesBoundTheChange) {
  const SyntheticLayer layer = OneFamily();
  double estimated = 0, bounded = 0;
  for (std::int64_t token = 0; token < 50; ++token) {
    for (const double total : {0.0, 0.2, -0.2}) {
      const std::vector<WeightChange> changes = SwapBest(layer, token, total);
      const OutputDistances distances = DistancesAt(layer, token, 0.1);
      const OutputChange change(layer.record(), kExperts, &distances);
      const double value = change.Of(token, changes).value;
      EXPECT_GE(value, TrueNorm(layer, token, changes) * (1 - 1e-6)) << token << ", " << total;
      if (total == 0) estimated += value * value;
    }
    // One pair without a distance: all that is left is the triangle inequality.
    OutputDistances fewer = DistancesAt(layer, token, 0.1);
    fewer.Set(Ranked(layer, token, 12), Ranked(layer, token, 14), {});
    const std::vector<WeightChange> changes = SwapBest(layer, token, 0);
    const OutputChange::Norm triangle =
        OutputChange(layer.record(), kExperts, &fewer).Of(token, changes);
    EXPECT_EQ(triangle.known, Knowledge::kStandIn);
    EXPECT_GE(triangle.value, TrueNorm(layer, token, changes) * (1 - 1e-6)) << token;
    bounded += triangle.value * triangle.value;
  }
  EXPECT_LT(estimated, 0.7 * bounded);
}

TEST(OutputChange, TakesRankedExpertsFromTheGramMatrixAlone) {
  const SyntheticLayer layer = OneFamily();
  const OutputChange change(layer.record(), kExperts, nullptr);
  for (std::int64_t token = 0; token < 20; ++token) {
    const std::vector<WeightChange> changes = {{Ranked(layer, token, 1), -0.7},
                                               {Ranked(layer, token, 6), 0.4},
                                               {Ranked(layer, token, 7), 0.1}};
    const OutputChange::Norm norm = change.Of(token, changes);
    EXPECT_EQ(norm.known, Knowledge::kExact);
    EXPECT_NEAR(norm.value, TrueNorm(layer, token, changes), 1e-9);
  }
}

}  // namespace
}  // namespace cacheready
