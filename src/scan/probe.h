// Distances of all pairs of experts on the probe tokens: cheap, and used only to choose which pairs
// are measured.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"
#include "tensor/matrix.h"

namespace cacheready {

// Sums over probe tokens, from which the distance of a pair is a ratio; and that of each of the
// first `kept_tokens`.
class PairSums {
 public:
  explicit PairSums(std::int64_t experts, std::int64_t kept_tokens = 0)
      : experts_(experts),
        kept_tokens_(kept_tokens),
        difference_(static_cast<std::size_t>(experts * experts), 0.0),
        larger_(static_cast<std::size_t>(experts * experts), 0.0),
        ratios_(static_cast<std::size_t>(kept_tokens * pairs())) {}
  std::int64_t experts() const { return experts_; }
  std::int64_t pairs() const { return experts_ * (experts_ - 1) / 2; }
  std::int64_t kept_tokens() const { return kept_tokens_; }
  // Adds one token's |f_i - f_j|^2 and max(|f_i|^2, |f_j|^2), i < j.
  void Add(std::int64_t i, std::int64_t j, double difference, double larger) {
    difference_[Index(i, j)] += difference;
    larger_[Index(i, j)] += larger;
  }
  // The same, of token `token`, whose ratio is kept.
  void AddToken(std::int64_t token, std::int64_t i, std::int64_t j, double difference,
                double larger) {
    Add(i, j, difference, larger);
    if (token < kept_tokens_) ratios_[Kept(token, i, j)] = static_cast<float>(difference / larger);
  }
  // |f_i - f_j| / max(|f_i|, |f_j|) of each kept token, 0 if both are 0; i < j.
  std::vector<float> TokenDistances(std::int64_t i, std::int64_t j) const;
  // sqrt(sum_t |f_i - f_j|^2 / sum_t max(|f_i|^2, |f_j|^2)); 0 if both sums are 0. Symmetric.
  double Distance(std::int64_t i, std::int64_t j) const;

 private:
  std::size_t Index(std::int64_t i, std::int64_t j) const {
    return static_cast<std::size_t>(i * experts_ + j);
  }
  std::size_t Kept(std::int64_t token, std::int64_t i, std::int64_t j) const {
    return static_cast<std::size_t>(token * pairs() + i * experts_ - i * (i + 1) / 2 + j - i - 1);
  }
  std::int64_t experts_, kept_tokens_;
  std::vector<double> difference_, larger_;
  std::vector<float> ratios_;  // of squares, [kept tokens][pairs]
};

// Adds tokens, `first` of them and on, to `sums`; outputs[e] is [tokens, hidden]. Inner products
// come from the fp32 kernels; where a squared distance is so small a part of the norms that their
// rounding would show, it is taken again from the differences in fp64.
void AddTokens(std::span<const Matrix> outputs, std::int64_t first, PairSums& sums);

// All experts on the given rows of x, the ratios of all of them kept.
PairSums ProbeDistances(const MoeBlock& moe, const Matrix& x,
                        std::span<const std::int32_t> probe_rows, std::uint64_t budget_bytes,
                        Numerics numerics = Numerics::kFp32Chain);

// Per expert up to `count` of the probe rows, ascending: those whose logits favour it most, ties to
// the lower row. They stand for the tokens that select it, which a probe has too few of.
std::vector<std::vector<std::int32_t>> ProbeSamples(const Matrix& logits,
                                                    std::span<const std::int32_t> probe_rows,
                                                    std::int64_t count);

}  // namespace cacheready
