// A control, not a method to use: groups from correlations of router probabilities, in the way of
// the published release, made repeatable by a seed. It looks at no expert output, and on noise it
// finds about as many groups as on a model; printed beside our coverage, that number says what a
// coverage without such a control is worth. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/matrix.h"

namespace cacheready {

// What the groups are made from: absolute correlations of softmax probabilities over tokens, and
// how often each expert is among the top k.
struct RouterStatistics {
  std::int64_t experts = 0;
  std::vector<double> correlation;  // [experts, experts], absolute values, diagonal 0
  std::vector<std::int64_t> usage;  // [experts]
};
RouterStatistics MeasureRouter(const Matrix& logits, std::int64_t top_k);

struct RouterCorrelationResult {
  std::vector<std::vector<std::int32_t>> groups;  // two or more members, ascending
  double coverage = 0;                            // share of experts in a group
  std::int64_t rows_rewritten = 0;                // members other than the canonical one
};
RouterCorrelationResult RouterCorrelationGroups(const RouterStatistics& statistics,
                                                std::uint64_t seed);
RouterCorrelationResult RouterCorrelationGroups(const Matrix& logits, std::int64_t top_k,
                                                std::uint64_t seed);

// Null models of the same shape: independent normal logits, and the given logits with the tokens of
// each expert permuted independently (every expert keeps its values, no two keep their company).
Matrix GaussianLogits(std::int64_t tokens, std::int64_t experts, double sigma, std::uint64_t seed);
Matrix PermutedLogits(const Matrix& logits, std::uint64_t seed);

}  // namespace cacheready
