// SPDX-License-Identifier: Apache-2.0
#include "base/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace cacheready {
namespace {

TEST(Statistics, MeanAndRootMeanSquareOfKnownValues) {
  const std::vector<double> values = {3, -4, 0, 1};
  EXPECT_DOUBLE_EQ(Mean(values), 0.0);
  EXPECT_DOUBLE_EQ(RootMeanSquare(values), std::sqrt(26.0 / 4));
}

// numpy.quantile's documented linear rule: the value at position q (n - 1).
TEST(Statistics, QuantileInterpolatesAsNumpyDoes) {
  const std::vector<double> values = {10, 7, 4, 3, 2, 1};
  EXPECT_DOUBLE_EQ(Quantile(values, 0.0), 1);
  EXPECT_DOUBLE_EQ(Quantile(values, 1.0), 10);
  EXPECT_DOUBLE_EQ(Quantile(values, 0.5), 3.5);
  EXPECT_DOUBLE_EQ(Quantile(values, 0.95), 9.25);
  EXPECT_DOUBLE_EQ(Quantile(values, 0.2), 2);
  EXPECT_DOUBLE_EQ(Quantile(std::vector<double>{5}, 0.95), 5);
}

Clustered NormalSample(int clusters, int copies, std::uint64_t seed) {
  Clustered data;
  for (int c = 0; c < clusters; ++c) {
    const double value = 10 + NormalAt(seed, static_cast<std::uint64_t>(c));
    for (int i = 0; i < copies; ++i) {
      data.values.push_back(value);
      data.cluster.push_back(c);
    }
  }
  return data;
}

double StandardError(const Clustered& data) {
  const double mean = Mean(data.values);
  double squares = 0;
  for (const double v : data.values) squares += (v - mean) * (v - mean);
  const auto n = static_cast<double>(data.values.size());
  return std::sqrt(squares / (n - 1) / n);
}

TEST(Statistics, BootstrapUpperOfAMeanIsTheNormalLimit) {
  const Clustered data = NormalSample(400, 1, 3);
  const double upper = BootstrapUpper(data, Mean, 0.95, 2000, 1);
  const double width = 1.645 * StandardError(data);
  EXPECT_NEAR(upper - Mean(data.values), width, 0.1 * width);
}

// Ten copies of each value say nothing new: resampling whole clusters sees that, resampling values
// would give a limit sqrt(10) times too close.
TEST(Statistics, BootstrapUpperResamplesWholeClusters) {
  const Clustered data = NormalSample(400, 10, 3);
  const double upper = BootstrapUpper(data, Mean, 0.95, 2000, 1);
  const double width = 1.645 * StandardError(NormalSample(400, 1, 3));
  EXPECT_NEAR(upper - Mean(data.values), width, 0.1 * width);
}

TEST(Statistics, BootstrapUpperDependsOnTheSeedOnlyAndNotOnTheOrderOfClusters) {
  const Clustered data = NormalSample(30, 3, 4);
  Clustered rotated = data;
  std::rotate(rotated.values.begin(), rotated.values.begin() + 45, rotated.values.end());
  std::rotate(rotated.cluster.begin(), rotated.cluster.begin() + 45, rotated.cluster.end());
  const double limit = BootstrapUpper(data, RootMeanSquare, 0.95, 300, 1);
  EXPECT_EQ(BootstrapUpper(data, RootMeanSquare, 0.95, 300, 1), limit);
  EXPECT_EQ(BootstrapUpper(rotated, RootMeanSquare, 0.95, 300, 1), limit);
  EXPECT_NE(BootstrapUpper(data, RootMeanSquare, 0.95, 300, 2), limit);
}

TEST(Statistics, BootstrapUpperIsNeverBelowTheStatistic) {
  // The maximum of a resample cannot exceed that of the sample, and is often below it.
  const Clustered data = NormalSample(50, 1, 5);
  const auto maximum = [](std::span<const double> values) { return Quantile(values, 1.0); };
  EXPECT_EQ(BootstrapUpper(data, maximum, 0.05, 200, 1), maximum(data.values));
}

TEST(Statistics, ClusteredMeanOfIndependentValuesIsTheTextbookInterval) {
  const Clustered data = NormalSample(400, 1, 6);
  const MeanInterval result = ClusteredMean(data, 0.95, 2000, 1);
  EXPECT_DOUBLE_EQ(result.mean, Mean(data.values));
  EXPECT_NEAR(result.standard_error, StandardError(data), 1e-12);
  EXPECT_NEAR(result.design_effect, 1.0, 1e-9);
  EXPECT_EQ(result.clusters, 400);
  EXPECT_NEAR(result.interval.high - result.mean, 1.96 * result.standard_error,
              0.2 * result.standard_error);
  EXPECT_NEAR(result.mean - result.interval.low, 1.96 * result.standard_error,
              0.2 * result.standard_error);
}

TEST(Statistics, CopiesInAClusterRaiseTheDesignEffectToTheirNumber) {
  const MeanInterval result = ClusteredMean(NormalSample(200, 8, 6), 0.95, 500, 1);
  // (n-1)/n * C/(C-1) * 8 for n = 8 C copies.
  EXPECT_NEAR(result.design_effect, 8.0 * (1599.0 / 1600) * (200.0 / 199), 1e-9);
  EXPECT_NEAR(result.standard_error, StandardError(NormalSample(200, 1, 6)), 1e-12);
}

// What the interval is for: it holds the true mean in 95 of 100 samples, also with few clusters of
// skewed values, where the normal interval holds it in about 88.
TEST(Statistics, ClusteredMeanCoversTheTruth) {
  int covered = 0;
  constexpr int kSamples = 400;
  for (int sample = 0; sample < kSamples; ++sample) {
    Clustered data;
    RandomStream random(HashWords({77, static_cast<std::uint64_t>(sample)}));
    for (std::int32_t c = 0; c < 16; ++c) {
      const double z = random.Normal();
      for (int i = 0; i < 3; ++i) {
        data.values.push_back(z * z + 0.1 * random.Normal());  // mean 1
        data.cluster.push_back(c);
      }
    }
    const Interval interval = ClusteredMean(data, 0.95, 500, 1).interval;
    covered += interval.low <= 1 && 1 <= interval.high;
  }
  EXPECT_GE(covered, 0.915 * kSamples);
  EXPECT_LE(covered, 0.985 * kSamples);
}

Clustered OneValueEach(const std::vector<double>& values) {
  Clustered data;
  data.values = values;
  for (std::size_t c = 0; c < values.size(); ++c) {
    data.cluster.push_back(static_cast<std::int32_t>(c));
  }
  return data;
}

// scipy 1.17 stats.bootstrap(method="BCa", n_resamples=1000000, confidence_level=0.9) of the same.
TEST(Statistics, BcaIntervalIsThatOfScipy) {
  const MeanInterval result =
      ClusteredMean(OneValueEach({0.1, 0.2, 0.3, 0.1, 2.5, 0.4, 0.2, 1.1, 0.3, 0.1, 0.6, 0.2}), 0.9,
                    20000, 1, IntervalKind::kBca);
  EXPECT_NEAR(result.interval.low, 0.28333, 0.01);
  EXPECT_NEAR(result.interval.high, 1.025, 0.02);
}

TEST(Statistics, BcaIntervalOfIndependentValuesIsTheTextbookInterval) {
  const MeanInterval result =
      ClusteredMean(NormalSample(400, 1, 6), 0.95, 2000, 1, IntervalKind::kBca);
  EXPECT_NEAR(result.interval.high - result.mean, 1.96 * result.standard_error,
              0.2 * result.standard_error);
  EXPECT_NEAR(result.mean - result.interval.low, 1.96 * result.standard_error,
              0.2 * result.standard_error);
}

// One document of 24 holds everything. The exact limits of one event seen are 0.05 and 4.74 events.
TEST(Statistics, BcaLimitsOfOneRareEventAreNearThoseOfAPoissonCount) {
  std::vector<double> values(24, 0.0);
  values[7] = 24;
  const auto interval =
      ClusteredMean(OneValueEach(values), 0.9, 2000, 1, IntervalKind::kBca).interval;
  EXPECT_GE(interval.high, 4);
  EXPECT_LE(interval.high, 6);
  EXPECT_EQ(interval.low, 0);
  values.assign(24, 0.001);
  values[7] = 24;
  EXPECT_GT(ClusteredMean(OneValueEach(values), 0.9, 2000, 1).interval.high, 100);  // studentized
}

TEST(Statistics, BcaIntervalOfConstantValuesHasNoWidth) {
  const MeanInterval result =
      ClusteredMean(OneValueEach({0, 0, 0, 0}), 0.9, 200, 1, IntervalKind::kBca);
  EXPECT_EQ(result.interval.low, 0);
  EXPECT_EQ(result.interval.high, 0);
}

TEST(Statistics, WeighsClustersByTheirValues) {
  const Clustered data = {{1, 1, 1, 5}, {0, 0, 0, 9}};
  EXPECT_DOUBLE_EQ(ClusteredMean(data, 0.95, 200, 1).mean, 2.0);
}

TEST(Statistics, FallsBackToPercentilesForTwoClusters) {
  const MeanInterval result = ClusteredMean({{1, 3}, {0, 1}}, 0.95, 1000, 1);
  EXPECT_EQ(result.interval.low, 1.0);  // the four resamples have means 1, 2, 2, 3
  EXPECT_EQ(result.interval.high, 3.0);
}

TEST(Statistics, ConstantValuesHaveAnIntervalOfNoWidth) {
  const MeanInterval result = ClusteredMean({{2, 2, 2, 2}, {0, 1, 2, 3}}, 0.95, 200, 1);
  EXPECT_EQ(result.interval.low, 2.0);
  EXPECT_EQ(result.interval.high, 2.0);
  EXPECT_EQ(result.standard_error, 0.0);
}

}  // namespace
}  // namespace cacheready
