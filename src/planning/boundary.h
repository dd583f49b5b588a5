// The k boundary: which two experts it lies between, how wide the gap is, and how often serving
// noise is expected to cross it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/router.h"
#include "planning/logit_noise.h"
#include "tensor/matrix.h"

namespace cacheready {

struct Boundaries {
  std::vector<std::int32_t> inside, outside;  // [tokens]: experts ranked k and k+1; -1: no boundary
  std::vector<double> flip_probability;  // [tokens]: Phi(-gap / deviation of the two); 0 without
                                         // boundary
  double sigma = 0;  // RMS deviation of these two experts' difference between profile and fp32
  LogitNoise noise;  // deviations of all pairs
};
// The gap is of logits where logits alone rank the experts, else of ranking scores.
Boundaries FindBoundaries(const RouterSpec& spec, const Matrix& logits,
                          const Matrix& profile_logits);

// Expected flips that tying the members removes: the sum over tokens whose boundary lies between
// two of them.
double ExpectedFlips(const Boundaries& boundaries, std::span<const std::int32_t> members);

// Expected flips of a router in which the members of a class have one row, so that noise moves them
// together: the sum over tokens of the probability that another class passes the one at the k
// boundary. `logits` [tokens, experts]; `noise` as in Boundaries. With classes of one this is the
// sum of flip_probability.
double ExpectedFlips(const RouterSpec& spec, const Matrix& logits,
                     std::span<const std::int32_t> class_of, const LogitNoise& noise);

// Tokens whose selection differs between the passes, by what differs. `class_of` [experts].
struct FlipCounts {
  std::int64_t tokens = 0, flips = 0;
  std::int64_t within = 0;  // other ids, the same number of members in every class
};
FlipCounts CountFlips(const Routing& a, const Routing& b, std::span<const std::int32_t> class_of);

}  // namespace cacheready
