// A resample is a multiplicity per document. Its RMS needs the sums of the documents only; its
// upper quantiles need the values in falling order, each counted as often as its document was
// drawn, and the walk stops after the upper 5 % of them.
// SPDX-License-Identifier: Apache-2.0
#include "planning/distance_limits.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "base/statistics.h"

namespace cacheready {
namespace {

constexpr double kLevel = 0.95;

struct Resampler {
  struct Value {
    double value;
    std::size_t document;  // dense index
  };
  std::vector<Value> falling;
  std::vector<double> squares, counts;  // per dense document

  explicit Resampler(const TokenDistances& distances) {
    std::vector<std::int32_t> documents(distances.documents);
    std::sort(documents.begin(), documents.end());
    documents.erase(std::unique(documents.begin(), documents.end()), documents.end());
    squares.resize(documents.size());
    counts.resize(documents.size());
    for (std::size_t n = 0; n < distances.values.size(); ++n) {
      const auto at = std::lower_bound(documents.begin(), documents.end(), distances.documents[n]);
      const auto d = static_cast<std::size_t>(at - documents.begin());
      const double value = distances.values[n];
      falling.push_back({value, d});
      squares[d] += value * value;
      counts[d] += 1;
    }
    std::sort(falling.begin(), falling.end(), [](const Value& a, const Value& b) {
      return a.value != b.value ? a.value > b.value : a.document < b.document;
    });
  }

  // Type-7 quantile of the resample with `total` values.
  double QuantileOf(const std::vector<double>& times, double total, double q) const {
    const double position = q * (total - 1);
    const double below = std::floor(position);
    const double rank_above = total - 2 - below;  // falling ranks of the two order statistics
    const double rank_at = total - 1 - below;
    double above = 0;
    double seen = 0;
    for (const Value& v : falling) {
      const double next = seen + times[v.document];
      if (rank_above >= seen && rank_above < next) above = v.value;
      if (rank_at >= seen && rank_at < next) {
        const double fraction = position - below;
        return fraction == 0 ? v.value : v.value + fraction * (above - v.value);
      }
      seen = next;
    }
    return falling.back().value;
  }

  Statistics3 StatisticsOf(const std::vector<double>& times) const {
    double square = 0;
    double total = 0;
    for (std::size_t d = 0; d < times.size(); ++d) {
      square += times[d] * squares[d];
      total += times[d] * counts[d];
    }
    return {std::sqrt(square / total), QuantileOf(times, total, 0.95),
            QuantileOf(times, total, 0.99)};
  }
};

}  // namespace

std::int64_t TokenDistances::CountDocuments() const {
  return static_cast<std::int64_t>(
      std::set<std::int32_t>(documents.begin(), documents.end()).size());
}

Statistics3 Measure(const TokenDistances& distances) {
  if (distances.values.empty()) return {};
  return {RootMeanSquare(distances.values), Quantile(distances.values, 0.95),
          Quantile(distances.values, 0.99)};
}

DistanceLimits MeasureLimits(const TokenDistances& distances, int draws, std::uint64_t seed) {
  CR_CHECK(!distances.values.empty() && draws >= 200, "{} distances, {} draws",
           distances.values.size(), draws);
  const Resampler resampler(distances);
  const std::size_t documents = resampler.counts.size();
  DistanceLimits limits{
      distances.tokens(), static_cast<std::int64_t>(documents), Measure(distances), {}, 0};
  RandomStream random(seed);
  std::vector<double> rms, p95, p99, times(documents);
  for (int draw = 0; draw < draws; ++draw) {
    std::fill(times.begin(), times.end(), 0.0);
    for (std::size_t d = 0; d < documents; ++d) times[random.Below(documents)] += 1;
    const Statistics3 drawn = resampler.StatisticsOf(times);
    rms.push_back(drawn.rms);
    p95.push_back(drawn.p95);
    p99.push_back(drawn.p99);
  }
  limits.upper = {std::max(limits.observed.rms, Quantile(rms, kLevel)),
                  std::max(limits.observed.p95, Quantile(p95, kLevel)),
                  std::max(limits.observed.p99, Quantile(p99, kLevel))};
  limits.lower_rms = std::min(limits.observed.rms, Quantile(rms, 1 - kLevel));
  return limits;
}

}  // namespace cacheready
