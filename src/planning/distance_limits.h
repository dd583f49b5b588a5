// How large a set of per-token distances is, and how large it may be: statistics with one-sided
// upper limits by bootstrap over documents.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace cacheready {

// Distances with the document each was measured in.
struct TokenDistances {
  std::vector<double> values;
  std::vector<std::int32_t> documents;  // same length

  void Add(double value, std::int32_t document) {
    values.push_back(value);
    documents.push_back(document);
  }
  std::int64_t tokens() const { return static_cast<std::int64_t>(values.size()); }
  std::int64_t CountDocuments() const;
};

struct Statistics3 {
  double rms = 0, p95 = 0, p99 = 0;
};
Statistics3 Measure(const TokenDistances& distances);  // zeros if empty

struct DistanceLimits {
  std::int64_t tokens = 0, documents = 0;
  Statistics3 observed;
  Statistics3 upper;     // 95 % limits, never below `observed`
  double lower_rms = 0;  // 5 % limit, never above observed.rms
};
// Percentile bootstrap: `draws` resamples of whole documents. The same limits as BootstrapUpper
// (base/statistics.h) with the same seed, from sums per document and one sort instead of a copy of
// the sample a draw: pairs are judged by the ten thousand. Requires at least one distance.
DistanceLimits MeasureLimits(const TokenDistances& distances, int draws, std::uint64_t seed);

}  // namespace cacheready
