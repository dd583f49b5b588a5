// SPDX-License-Identifier: Apache-2.0
#include "scan/pair_distances.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "compute/sequence_ops.h"
#include "scan/output_blocks.h"

namespace cacheready {
namespace {

std::span<const std::int32_t> Prefix(const std::vector<std::int32_t>& tokens, std::int64_t count) {
  return {tokens.data(), std::min(tokens.size(), static_cast<std::size_t>(count))};
}

// Rows each expert must run on: the probe and the sampled tokens of its partners and of itself.
std::vector<std::vector<std::int32_t>> NeededRows(std::span<const PairRequest> requests,
                                                  const PairTokens& tokens) {
  std::vector<std::vector<std::int32_t>> needed(tokens.samples.size());
  const auto add = [](std::vector<std::int32_t>& rows, std::span<const std::int32_t> more) {
    rows.insert(rows.end(), more.begin(), more.end());
  };
  for (const PairRequest& request : requests) {
    for (const std::int32_t member : {request.pair.i, request.pair.j}) {
      auto& rows = needed[static_cast<std::size_t>(member)];
      if (rows.empty()) add(rows, tokens.probe_rows);
      for (const std::int32_t side : {request.pair.i, request.pair.j}) {
        const ExpertSample& sample = tokens.samples[static_cast<std::size_t>(side)];
        add(rows, Prefix(sample.tokens, request.tokens));
      }
      std::sort(rows.begin(), rows.end());
      rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    }
  }
  return needed;
}

struct TokenComparison {
  double difference = 0;  // |f_i - f_j|
  double larger_norm = 0;
};

TokenComparison Compare(const OutputBlock& block, ExpertPair pair, std::int32_t token) {
  const std::span<const float> f_i = block.Output(pair.i, token);
  const std::span<const float> f_j = block.Output(pair.j, token);
  return {std::sqrt(SquaredDistance(f_i, f_j)),
          std::sqrt(std::max(SquaredNorm(f_i), SquaredNorm(f_j)))};
}

void FillSide(const OutputBlock& block, ExpertPair pair, std::span<const std::int32_t> sample,
              std::vector<float>& difference, std::vector<float>& larger_norm) {
  difference.resize(sample.size());
  larger_norm.resize(sample.size());
  for (std::size_t n = 0; n < sample.size(); ++n) {
    if (!block.Covers(sample[n])) continue;
    const TokenComparison compared = Compare(block, pair, sample[n]);
    difference[n] = static_cast<float>(compared.difference);
    larger_norm[n] = static_cast<float>(compared.larger_norm);
  }
}

void FillProbe(const OutputBlock& block, ExpertPair pair, std::span<const std::int32_t> rows,
               std::vector<float>& distance) {
  distance.resize(rows.size());
  for (std::size_t n = 0; n < rows.size(); ++n) {
    if (!block.Covers(rows[n])) continue;
    const TokenComparison compared = Compare(block, pair, rows[n]);
    distance[n] = compared.difference == 0
                      ? 0.0f
                      : static_cast<float>(compared.difference / compared.larger_norm);
  }
}

}  // namespace

std::vector<PairRecord> MeasurePairs(const MoeBlock& moe, const Matrix& x,
                                     std::span<const PairRequest> requests,
                                     const PairTokens& tokens, std::uint64_t budget_bytes) {
  std::vector<PairRecord> records(requests.size());
  for (std::size_t n = 0; n < requests.size(); ++n) {
    records[n].i = requests[n].pair.i;
    records[n].j = requests[n].pair.j;
    records[n].candidate = requests[n].candidate;
  }
  const auto fill = [&](const OutputBlock& block) {
    ParallelFor(static_cast<std::int64_t>(requests.size()), [&](std::int64_t index) {
      const PairRequest& request = requests[static_cast<std::size_t>(index)];
      PairRecord& record = records[static_cast<std::size_t>(index)];
      const auto side = [&](std::int32_t expert) {
        return Prefix(tokens.samples[static_cast<std::size_t>(expert)].tokens, request.tokens);
      };
      FillSide(block, request.pair, side(record.i), record.difference_on_i,
               record.larger_norm_on_i);
      FillSide(block, request.pair, side(record.j), record.difference_on_j,
               record.larger_norm_on_j);
      FillProbe(block, request.pair, tokens.probe_rows, record.probe_distance);
    });
  };
  ForEachOutputBlock(moe, x, NeededRows(requests, tokens), budget_bytes, fill);
  return records;
}

}  // namespace cacheready
