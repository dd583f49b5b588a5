// Which pairs of experts are worth measuring.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scan/probe.h"

namespace cacheready {

struct ExpertPair {
  std::int32_t i = 0, j = 0;  // i < j
  friend auto operator<=>(const ExpertPair&, const ExpertPair&) = default;
};

struct Neighbours {
  std::vector<std::int32_t> nearest;  // [experts], ties to the lowest index; -1 for a lone expert
  std::vector<float> distance;        // [experts]
};
Neighbours FindNeighbours(const PairSums& probe);

// The most two renditions of one expert may differ: tolerance * sqrt(2) * the smaller noise.
double PairThreshold(double tolerance, double noise_i, double noise_j);

// Pairs with a probe distance below 3 x their threshold, or of exactly 0; ascending.
std::vector<ExpertPair> ChooseCandidates(const PairSums& probe, std::span<const double> noise,
                                         double tolerance);

// Pairs of each expert without a candidate and its nearest neighbour; ascending, none twice.
std::vector<ExpertPair> NeighbourPairs(const Neighbours& neighbours,
                                       std::span<const ExpertPair> candidates);

}  // namespace cacheready
