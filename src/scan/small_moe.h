// For tests: a mixture of experts small enough to compute by hand, held in memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>

#include "base/random.h"
#include "model/model.h"

namespace cacheready {

inline Matrix NormalMatrix(std::int64_t rows, std::int64_t cols, double scale, std::uint64_t seed) {
  Matrix values(rows, cols);
  for (std::size_t n = 0; n < values.values().size(); ++n) {
    values.values()[n] = static_cast<float>(scale * NormalAt(seed, n));
  }
  return values;
}

inline FeedForward NormalFeedForward(std::int64_t inner, std::int64_t hidden, std::uint64_t seed) {
  FeedForward ffn;
  ffn.gate = MakeDenseMatrix(NormalMatrix(inner, hidden, 0.3, HashWords({seed, 0})));
  ffn.up = MakeDenseMatrix(NormalMatrix(inner, hidden, 0.3, HashWords({seed, 1})));
  ffn.down = MakeDenseMatrix(NormalMatrix(hidden, inner, 0.3, HashWords({seed, 2})));
  return ffn;
}

// `experts` experts of hidden 24 and inner 16, top 2, a shared expert with a gate. Expert 2 is a
// copy of expert 0.
inline MoeBlock SmallMoe(std::int64_t experts) {
  constexpr std::int64_t kHidden = 24, kInner = 16;
  MoeBlock moe;
  moe.router.experts = experts;
  moe.router.top_k = 2;
  moe.router_weight = MakeDenseMatrix(NormalMatrix(experts, kHidden, 0.3, 99));
  for (std::int64_t e = 0; e < experts; ++e) {
    moe.experts.push_back(
        NormalFeedForward(kInner, kHidden, e == 2 ? 0 : static_cast<std::uint64_t>(e)));
  }
  moe.shared = NormalFeedForward(kInner, kHidden, 1000);
  moe.shared_gate = MakeDenseMatrix(NormalMatrix(1, kHidden, 0.3, 1001));
  return moe;
}

}  // namespace cacheready
