// SPDX-License-Identifier: Apache-2.0
#include "planning/correlation_control.h"

#include <cmath>

#include "base/parallel.h"
#include "base/random.h"

namespace cacheready {
namespace {

enum Stream : std::uint64_t { kFlow, kPermutation, kNoise };

// Spread of all logits of a layer around their mean: the noise gets the same.
double StandardDeviation(const Matrix& logits) {
  double sum = 0;
  for (const float value : logits.values()) sum += static_cast<double>(value);
  const auto count = static_cast<double>(logits.values().size());
  const double mean = sum / count;
  double squares = 0;
  for (const float value : logits.values()) {
    const double deviation = static_cast<double>(value) - mean;
    squares += deviation * deviation;
  }
  return std::sqrt(squares / count);
}

}  // namespace

void CorrelationControl::Add(const LayerRecord& record) {
  const std::int64_t top_k = GetInt(record.router.spec, "top_k", "router spec");
  const auto layer = static_cast<std::uint64_t>(record.layer);
  real_.push_back({record.layer, MeasureRouter(record.logits, top_k)});
  if (static_cast<std::int64_t>(permuted_.size()) >= null_layers_) return;
  const Matrix permuted = PermutedLogits(record.logits, HashWords({seed_, layer, kPermutation}));
  permuted_.push_back({record.layer, MeasureRouter(permuted, top_k)});
  const Matrix noise =
      GaussianLogits(record.logits.rows(), record.logits.cols(), StandardDeviation(record.logits),
                     HashWords({seed_, layer, kNoise}));
  gaussian_.push_back({record.layer, MeasureRouter(noise, top_k)});
}

Json CorrelationControl::Numbers(const std::vector<Case>& cases) const {
  std::vector<RouterCorrelationResult> results(cases.size());
  ParallelFor(static_cast<std::int64_t>(cases.size()), [&](std::int64_t c) {
    const Case& one = cases[static_cast<std::size_t>(c)];
    results[static_cast<std::size_t>(c)] = RouterCorrelationGroups(
        one.statistics, HashWords({seed_, static_cast<std::uint64_t>(one.layer), kFlow}));
  });
  double coverage = 0;
  std::int64_t rows = 0;
  std::size_t groups = 0;
  for (const RouterCorrelationResult& result : results) {
    coverage += result.coverage;
    rows += result.rows_rewritten;
    groups += result.groups.size();
  }
  Json json;
  json["layers"] = cases.size();
  json["coverage"] =
      cases.empty() ? Json(nullptr) : Json(coverage / static_cast<double>(cases.size()));
  json["groups"] = groups;
  json["rows_rewritten"] = rows;
  return json;
}

Json CorrelationControl::Finish() const {
  Json json;
  json["note"] =
      "groups from correlations of router probabilities look at no expert output; a coverage that "
      "noise reaches too says nothing about equivalence";
  json["real_logits"] = Numbers(real_);
  json["permuted_tokens"] = Numbers(permuted_);
  json["gaussian_noise"] = Numbers(gaussian_);
  return json;
}

}  // namespace cacheready
