// SPDX-License-Identifier: Apache-2.0
#include "base/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/math.h"
#include "base/random.h"

namespace cacheready {
namespace {

// Values with equal cluster side by side, clusters in increasing number, order within kept.
struct Grouped {
  std::vector<double> values;
  std::vector<std::size_t> begin;  // [clusters + 1]

  std::size_t clusters() const { return begin.size() - 1; }
};

Grouped GroupByCluster(const Clustered& data) {
  CR_CHECK(data.values.size() == data.cluster.size(), "{} values, {} clusters", data.values.size(),
           data.cluster.size());
  std::vector<std::size_t> order(data.values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return data.cluster[a] < data.cluster[b]; });
  Grouped grouped;
  grouped.values.reserve(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || data.cluster[order[i]] != data.cluster[order[i - 1]]) grouped.begin.push_back(i);
    grouped.values.push_back(data.values[order[i]]);
  }
  grouped.begin.push_back(order.size());
  return grouped;
}

struct ClusterSum {
  double sum = 0;
  double count = 0;
};

// Mean of all values and the variance of that mean by the linearized (ratio) cluster estimator.
struct MeanAndVariance {
  double mean = 0;
  double variance = 0;
};

MeanAndVariance EstimateMean(std::span<const ClusterSum> sums) {
  double total = 0;
  double count = 0;
  for (const ClusterSum& s : sums) {
    total += s.sum;
    count += s.count;
  }
  MeanAndVariance result;
  result.mean = total / count;
  if (sums.size() < 2) return result;
  double squares = 0;
  for (const ClusterSum& s : sums) {
    const double residual = s.sum - result.mean * s.count;
    squares += residual * residual;
  }
  const double clusters = static_cast<double>(sums.size());
  result.variance = clusters / (clusters - 1) * squares / (count * count);
  return result;
}

double SampleVariance(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double mean = Mean(values);
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return squares / static_cast<double>(values.size() - 1);
}

// Resampled means, and (mean* - mean) / se* for the resamples with a standard error.
struct Resamples {
  std::vector<double> means;
  std::vector<double> studentized;
};

Resamples ResampleMean(std::span<const ClusterSum> sums, double mean, int draws,
                       std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<ClusterSum> drawn(sums.size());
  Resamples resamples;
  for (int i = 0; i < draws; ++i) {
    for (ClusterSum& d : drawn) d = sums[random.Below(sums.size())];
    const MeanAndVariance estimate = EstimateMean(drawn);
    resamples.means.push_back(estimate.mean);
    // One cluster drawn every time has no spread to divide by, and says nothing about it.
    if (estimate.variance > 0) {
      resamples.studentized.push_back((estimate.mean - mean) / std::sqrt(estimate.variance));
    }
  }
  return resamples;
}

double NormalQuantile(double p) {
  double low = -8.5, high = 8.5;
  for (int i = 0; i < 100; ++i) {
    const double middle = 0.5 * (low + high);
    (NormalCdf(middle) < p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

// Skewness of the mean over 6, from the means without one cluster each.
double Acceleration(std::span<const ClusterSum> sums) {
  double total = 0;
  double count = 0;
  for (const ClusterSum& s : sums) {
    total += s.sum;
    count += s.count;
  }
  std::vector<double> without;
  for (const ClusterSum& s : sums) without.push_back((total - s.sum) / (count - s.count));
  const double center = Mean(without);
  double squares = 0;
  double cubes = 0;
  for (const double w : without) {
    squares += (center - w) * (center - w);
    cubes += (center - w) * (center - w) * (center - w);
  }
  return squares == 0 ? 0.0 : cubes / (6 * squares * std::sqrt(squares));
}

Interval BcaInterval(std::span<const ClusterSum> sums, std::span<const double> means, double mean,
                     double tail) {
  double below = 0;  // resamples that equal the mean count half
  for (const double m : means) below += m < mean ? 1.0 : m == mean ? 0.5 : 0.0;
  const auto draws = static_cast<double>(means.size());
  const double bias = NormalQuantile(std::clamp(below / draws, 0.5 / draws, 1 - 0.5 / draws));
  const double acceleration = Acceleration(sums);
  const auto limit = [&](double level) {
    const double z = bias + NormalQuantile(level);
    const double stretch = 1 - acceleration * z;
    if (stretch <= 0) return Quantile(means, z > 0 ? 1.0 : 0.0);
    return Quantile(means, NormalCdf(bias + z / stretch));
  };
  return {limit(tail), limit(1.0 - tail)};
}

}  // namespace

double Mean(std::span<const double> values) {
  CR_CHECK(!values.empty(), "mean of nothing");
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

double RootMeanSquare(std::span<const double> values) {
  CR_CHECK(!values.empty(), "root mean square of nothing");
  double sum = 0;
  for (const double v : values) sum += v * v;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

double Quantile(std::span<const double> values, double q) {
  CR_CHECK(!values.empty(), "quantile of nothing");
  CR_CHECK(q >= 0 && q <= 1, "quantile {}", q);
  std::vector<double> copy(values.begin(), values.end());
  const double position = q * static_cast<double>(copy.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const auto at = copy.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(copy.begin(), at, copy.end());
  const double fraction = position - static_cast<double>(below);
  if (fraction == 0) return *at;
  const double above = *std::min_element(at + 1, copy.end());
  return *at + fraction * (above - *at);
}

double BootstrapUpper(const Clustered& data,
                      const std::function<double(std::span<const double>)>& statistic, double level,
                      int draws, std::uint64_t seed) {
  CR_CHECK(draws >= 200, "{} draws are too few for a limit", draws);
  const double observed = statistic(data.values);
  const Grouped grouped = GroupByCluster(data);
  RandomStream random(seed);
  std::vector<double> sample;
  std::vector<double> statistics;
  statistics.reserve(static_cast<std::size_t>(draws));
  for (int i = 0; i < draws; ++i) {
    sample.clear();
    for (std::size_t c = 0; c < grouped.clusters(); ++c) {
      const std::size_t drawn = random.Below(grouped.clusters());
      sample.insert(sample.end(),
                    grouped.values.begin() + static_cast<std::ptrdiff_t>(grouped.begin[drawn]),
                    grouped.values.begin() + static_cast<std::ptrdiff_t>(grouped.begin[drawn + 1]));
    }
    statistics.push_back(statistic(sample));
  }
  return std::max(observed, Quantile(statistics, level));
}

MeanInterval ClusteredMean(const Clustered& data, double level, int draws, std::uint64_t seed,
                           IntervalKind kind) {
  CR_CHECK(!data.values.empty(), "mean of nothing");
  CR_CHECK(draws >= 200, "{} draws are too few for an interval", draws);
  const Grouped grouped = GroupByCluster(data);
  std::vector<ClusterSum> sums(grouped.clusters());
  for (std::size_t c = 0; c < sums.size(); ++c) {
    for (std::size_t i = grouped.begin[c]; i < grouped.begin[c + 1]; ++i) {
      sums[c].sum += grouped.values[i];
    }
    sums[c].count = static_cast<double>(grouped.begin[c + 1] - grouped.begin[c]);
  }

  const MeanAndVariance estimate = EstimateMean(sums);
  MeanInterval result;
  result.mean = estimate.mean;
  result.standard_error = std::sqrt(estimate.variance);
  result.clusters = static_cast<int>(sums.size());
  const double iid = SampleVariance(data.values) / static_cast<double>(data.values.size());
  if (iid > 0 && sums.size() > 1) result.design_effect = estimate.variance / iid;

  const double tail = (1.0 - level) / 2;
  const Resamples resamples = ResampleMean(sums, estimate.mean, draws, seed);
  if (kind == IntervalKind::kBca && sums.size() >= 3) {
    result.interval = BcaInterval(sums, resamples.means, estimate.mean, tail);
    return result;
  }
  if (sums.size() < 3 || resamples.studentized.size() < static_cast<std::size_t>(draws) / 2) {
    result.interval = {Quantile(resamples.means, tail), Quantile(resamples.means, 1.0 - tail)};
    return result;
  }
  // The quantiles change sides: a resample that overshoots says that the sample may have too.
  result.interval = {
      estimate.mean - Quantile(resamples.studentized, 1.0 - tail) * result.standard_error,
      estimate.mean - Quantile(resamples.studentized, tail) * result.standard_error};
  return result;
}

}  // namespace cacheready
