// The few statistics the tool reports, with seeded bootstrap intervals clustered by document.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace cacheready {

double Mean(std::span<const double> values);
double RootMeanSquare(std::span<const double> values);
// Type-7 (linear interpolation) quantile, as numpy's default. q in [0,1]; Requires non-empty.
// Copies and sorts.
double Quantile(std::span<const double> values, double q);

struct Interval {
  double low = 0;
  double high = 0;
};

// Values with the cluster (document) each belongs to; clusters are resampled whole, with
// replacement.
struct Clustered {
  std::vector<double> values;
  std::vector<std::int32_t> cluster;  // same length
};

// Upper one-sided limit at `level` (0.95) of statistic(values) by percentile bootstrap over
// clusters; never below the statistic itself. `draws` >= 200. Deterministic in seed, independent of
// thread count.
double BootstrapUpper(const Clustered& data,
                      const std::function<double(std::span<const double>)>& statistic, double level,
                      int draws, std::uint64_t seed);

enum class IntervalKind : std::uint8_t {
  // Bootstrap-t (Efron & Tibshirani 1993, ch. 12): the best for values of either sign.
  kStudentized,
  // Bias-corrected and accelerated percentiles (ibid., ch. 14): for values that cannot be negative
  // and may be rare. Where one cluster holds nearly all of the sum, resamples without it have next
  // to no spread, and dividing by that sends the studentized limit to absurd heights.
  kBca,
};

// Two-sided interval of the token-weighted mean of a clustered sample, `draws` resamples of
// clusters; falls back to the percentile interval below 3 clusters.
struct MeanInterval {
  double mean = 0;
  double standard_error = 0;  // cluster-robust
  Interval interval;
  int clusters = 0;
  double design_effect = 1;  // cluster-robust variance over the iid variance
};
MeanInterval ClusteredMean(const Clustered& data, double level, int draws, std::uint64_t seed,
                           IntervalKind kind = IntervalKind::kStudentized);

}  // namespace cacheready
