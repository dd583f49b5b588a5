// SPDX-License-Identifier: Apache-2.0
#include "scan/candidates.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace cacheready {
namespace {

// The probe is a coarse sight: anything that might still be found within the threshold must pass.
constexpr double kProbeMargin = 3.0;

}  // namespace

Neighbours FindNeighbours(const PairSums& probe) {
  Neighbours found;
  for (std::int64_t i = 0; i < probe.experts(); ++i) {
    std::int32_t nearest = -1;
    double least = 0;
    for (std::int64_t j = 0; j < probe.experts(); ++j) {
      if (i == j) continue;
      const double distance = probe.Distance(i, j);
      if (nearest < 0 || distance < least) {
        nearest = static_cast<std::int32_t>(j);
        least = distance;
      }
    }
    found.nearest.push_back(nearest);
    found.distance.push_back(static_cast<float>(least));
  }
  return found;
}

double PairThreshold(double tolerance, double noise_i, double noise_j) {
  return tolerance * std::sqrt(2.0) * std::min(noise_i, noise_j);
}

std::vector<ExpertPair> ChooseCandidates(const PairSums& probe, std::span<const double> noise,
                                         double tolerance) {
  std::vector<ExpertPair> candidates;
  for (std::int64_t i = 0; i < probe.experts(); ++i) {
    for (std::int64_t j = i + 1; j < probe.experts(); ++j) {
      const double limit =
          kProbeMargin * PairThreshold(tolerance, noise[static_cast<std::size_t>(i)],
                                       noise[static_cast<std::size_t>(j)]);
      const double distance = probe.Distance(i, j);
      if (distance < limit || distance == 0.0) {
        candidates.push_back({static_cast<std::int32_t>(i), static_cast<std::int32_t>(j)});
      }
    }
  }
  return candidates;
}

std::vector<ExpertPair> NeighbourPairs(const Neighbours& neighbours,
                                       std::span<const ExpertPair> candidates) {
  std::vector<bool> has_candidate(neighbours.nearest.size(), false);
  for (const ExpertPair& pair : candidates) {
    has_candidate[static_cast<std::size_t>(pair.i)] = true;
    has_candidate[static_cast<std::size_t>(pair.j)] = true;
  }
  std::set<ExpertPair> pairs;
  for (std::size_t e = 0; e < neighbours.nearest.size(); ++e) {
    if (has_candidate[e] || neighbours.nearest[e] < 0) continue;
    const auto expert = static_cast<std::int32_t>(e);
    pairs.insert(
        {std::min(expert, neighbours.nearest[e]), std::max(expert, neighbours.nearest[e])});
  }
  return {pairs.begin(), pairs.end()};
}

}  // namespace cacheready
