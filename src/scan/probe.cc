// |f_i - f_j|^2 = |f_i|^2 + |f_j|^2 - 2 f_i.f_j turns all pairs of one token into one matrix
// product [experts, hidden] x [hidden, experts]. An fp32 chain over `hidden` products leaves an
// error of about 1e-6 of the norms, so a ratio below 0.02 (4e-4 squared) could be off by a percent;
// such pairs, in practice copies, are few and are computed directly.
// SPDX-License-Identifier: Apache-2.0
#include "scan/probe.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "base/phases.h"
#include "compute/matmul.h"
#include "compute/sequence_ops.h"
#include "scan/output_blocks.h"

namespace cacheready {
namespace {

constexpr double kDirectBelow = 4e-4;         // of the larger squared norm
constexpr std::int64_t kTokensPerBatch = 16;  // held at once, or more for many threads

// All experts on one token.
struct TokenProducts {
  Matrix rows;      // outputs [experts, hidden]
  Matrix products;  // inner products [experts, experts]
  std::vector<double> squared_norm;
};

TokenProducts MakeProducts(std::span<const Matrix> outputs, std::int64_t t) {
  TokenProducts token;
  token.rows = Matrix::Uninitialized(static_cast<std::int64_t>(outputs.size()), outputs[0].cols());
  for (std::size_t e = 0; e < outputs.size(); ++e) {
    const std::span<const float> f = outputs[e].row(t);
    std::copy(f.begin(), f.end(), token.rows.row(static_cast<std::int64_t>(e)).begin());
  }
  token.squared_norm = SquaredNorms(token.rows);
  token.products = MatMul(*MakeDenseMatrix(token.rows), PackedTokens(token.rows));
  return token;
}

// Pairs (i, j > i) of one token.
void AddRow(const TokenProducts& token, std::int64_t number, std::int64_t i, PairSums& sums) {
  for (std::int64_t j = i + 1; j < token.rows.rows(); ++j) {
    const double norm_i = token.squared_norm[static_cast<std::size_t>(i)];
    const double norm_j = token.squared_norm[static_cast<std::size_t>(j)];
    const double larger = std::max(norm_i, norm_j);
    double difference = norm_i + norm_j - 2.0 * static_cast<double>(token.products.at(i, j));
    if (difference < kDirectBelow * larger) {
      difference = SquaredDistance(token.rows.row(i), token.rows.row(j));
    }
    sums.AddToken(number, i, j, difference, larger);
  }
}

}  // namespace

double PairSums::Distance(std::int64_t i, std::int64_t j) const {
  const std::size_t index = Index(std::min(i, j), std::max(i, j));
  if (difference_[index] == 0.0) return 0.0;
  return std::sqrt(difference_[index] / larger_[index]);
}

std::vector<float> PairSums::TokenDistances(std::int64_t i, std::int64_t j) const {
  std::vector<float> distances;
  for (std::int64_t token = 0; token < kept_tokens_; ++token) {
    const float ratio = ratios_[Kept(token, i, j)];
    distances.push_back(ratio > 0 ? std::sqrt(ratio) : 0.0f);  // 0 / 0 is none
  }
  return distances;
}

void AddTokens(std::span<const Matrix> outputs, std::int64_t first_number, PairSums& sums) {
  const Phase phase("distances on the probe");
  const std::int64_t tokens = outputs[0].rows();
  const std::int64_t batch_tokens = std::max(kTokensPerBatch, std::int64_t{2} * NumThreads());
  for (std::int64_t first = 0; first < tokens; first += batch_tokens) {
    const std::int64_t count = std::min(batch_tokens, tokens - first);
    std::vector<TokenProducts> batch(static_cast<std::size_t>(count));
    ParallelFor(count, [&](std::int64_t t) {
      batch[static_cast<std::size_t>(t)] = MakeProducts(outputs, first + t);
    });
    // An expert owns its row of the sums and adds tokens in order: same bits for any thread count.
    ParallelFor(sums.experts(), [&](std::int64_t i) {
      for (std::int64_t t = 0; t < count; ++t) {
        AddRow(batch[static_cast<std::size_t>(t)], first_number + first + t, i, sums);
      }
    });
  }
}

PairSums ProbeDistances(const MoeBlock& moe, const Matrix& x,
                        std::span<const std::int32_t> probe_rows, std::uint64_t budget_bytes,
                        Numerics numerics) {
  const Phase phase("outputs on the probe");
  PairSums sums(static_cast<std::int64_t>(moe.experts.size()),
                static_cast<std::int64_t>(probe_rows.size()));
  std::int64_t added = 0;
  const std::vector<std::vector<std::int32_t>> needed(
      moe.experts.size(), std::vector<std::int32_t>(probe_rows.begin(), probe_rows.end()));
  ForEachOutputBlock(
      moe, x, needed, budget_bytes,
      [&](const OutputBlock& block) {
        AddTokens(block.outputs, added, sums);
        added += block.outputs.front().rows();
      },
      numerics);
  return sums;
}

std::vector<std::vector<std::int32_t>> ProbeSamples(const Matrix& logits,
                                                    std::span<const std::int32_t> probe_rows,
                                                    std::int64_t count) {
  std::vector<std::vector<std::int32_t>> samples(static_cast<std::size_t>(logits.cols()));
  ParallelFor(logits.cols(), [&](std::int64_t e) {
    std::vector<std::int32_t>& rows = samples[static_cast<std::size_t>(e)];
    rows.assign(probe_rows.begin(), probe_rows.end());
    std::stable_sort(rows.begin(), rows.end(), [&](std::int32_t a, std::int32_t b) {
      return logits.at(a, e) > logits.at(b, e);
    });
    rows.resize(std::min(rows.size(), static_cast<std::size_t>(count)));
    std::sort(rows.begin(), rows.end());
  });
  return samples;
}

}  // namespace cacheready
