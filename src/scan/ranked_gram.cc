// SPDX-License-Identifier: Apache-2.0
#include "scan/ranked_gram.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "base/parallel.h"
#include "scan/output_blocks.h"

namespace cacheready {
namespace {

constexpr std::size_t kLanes = 8;  // sums of one row of the triangle taken side by side
constexpr std::int64_t kTokensPerTask = 64;

// Tokens of each expert, ascending, from `per_token` experts a token.
std::vector<std::vector<std::int32_t>> TokensByExpert(const std::vector<std::int32_t>& ranked,
                                                      std::int64_t per_token, std::size_t experts) {
  std::vector<std::vector<std::int32_t>> tokens(experts);
  for (std::size_t n = 0; n < ranked.size(); ++n) {
    tokens[static_cast<std::size_t>(ranked[n])].push_back(
        static_cast<std::int32_t>(static_cast<std::int64_t>(n) / per_token));
  }
  return tokens;
}

}  // namespace

void PackedGram(std::span<const std::span<const float>> vectors, double* packed) {
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    for (std::size_t j = i; j < vectors.size(); j += kLanes) {
      const std::size_t lanes = std::min(kLanes, vectors.size() - j);
      std::array<const float*, kLanes> other;
      for (std::size_t l = 0; l < kLanes; ++l)
        other[l] = vectors[j + std::min(l, lanes - 1)].data();
      std::array<double, kLanes> sums{};
      for (std::size_t h = 0; h < vectors[i].size(); ++h) {
        const double factor = vectors[i][h];
        for (std::size_t l = 0; l < kLanes; ++l) {
          sums[l] += factor * static_cast<double>(other[l][h]);
        }
      }
      packed = std::copy_n(sums.begin(), lanes, packed);
    }
  }
}

void RecordRankedGram(const MoeBlock& moe, const Matrix& x, std::uint64_t budget_bytes,
                      LayerRecord& record, Numerics numerics) {
  const std::int64_t tokens = record.logits.rows();
  const std::int64_t ranked = std::min(2 * moe.router.top_k, moe.router.experts);
  const std::int64_t entries = (ranked + 1) * (ranked + 2) / 2;
  record.x = FirstRows(x, tokens);
  record.ranked = BestExperts(moe.router, record.logits, ranked);
  record.ranked_per_token = ranked;
  record.gram.resize(static_cast<std::size_t>(tokens * entries));

  const auto visit = [&](const OutputBlock& block) {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(block.end_token - block.first_token));
    std::iota(rows.begin(), rows.end(), block.first_token);
    const Matrix shared = RunShared(Fp32Arithmetic(numerics), moe, GatherRows(record.x, rows));
    const auto count = static_cast<std::int64_t>(rows.size());
    ParallelFor((count + kTokensPerTask - 1) / kTokensPerTask, [&](std::int64_t task) {
      std::vector<std::span<const float>> vectors(static_cast<std::size_t>(ranked) + 1);
      const std::int64_t end = std::min((task + 1) * kTokensPerTask, count);
      for (std::int64_t r = task * kTokensPerTask; r < end; ++r) {
        const std::int64_t t = block.first_token + r;
        for (std::int64_t n = 0; n < ranked; ++n) {
          vectors[static_cast<std::size_t>(n)] =
              block.Output(record.ranked[static_cast<std::size_t>(t * ranked + n)],
                           static_cast<std::int32_t>(t));
        }
        vectors.back() = shared.row(r);
        PackedGram(vectors, record.gram.data() + t * entries);
      }
    });
  };
  ForEachOutputBlock(moe, record.x, TokensByExpert(record.ranked, ranked, moe.experts.size()),
                     budget_bytes, visit, numerics);
}

}  // namespace cacheready
