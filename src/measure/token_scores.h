// What logits say about the tokens that came: likelihood, and divergence from other logits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/matrix.h"

namespace cacheready {

// Of one token, from the logits [vocab] before it.
struct TokenScore {
  double nll = 0;        // nats
  double kl = 0;         // KL(base || this), nats; 0 for the base itself
  bool same_top = true;  // argmax equals the base's, ties to the lowest index
};

// Scores of `target` by each of logits[v], [0] being the base: log-softmax over all of the
// vocabulary in fp64, sums in increasing index.
std::vector<TokenScore> ScoreToken(std::span<const std::span<const float>> logits,
                                   std::int32_t target);

}  // namespace cacheready
