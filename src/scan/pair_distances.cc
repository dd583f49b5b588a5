// SPDX-License-Identifier: Apache-2.0
#include "scan/pair_distances.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "base/phases.h"
#include "compute/sequence_ops.h"
#include "scan/output_blocks.h"

namespace cacheready {
namespace {

std::span<const std::int32_t> Prefix(const std::vector<std::int32_t>& tokens, std::int64_t count) {
  return {tokens.data(), std::min(tokens.size(), static_cast<std::size_t>(count))};
}

// Rows each expert must run on: the sampled tokens of its partners and of itself, and the probe if
// it is in a candidate.
std::vector<std::vector<std::int32_t>> NeededRows(std::span<const PairRequest> requests,
                                                  const PairTokens& tokens) {
  std::vector<std::vector<std::int32_t>> needed(tokens.samples.size());
  std::vector<bool> has_probe(needed.size(), false);
  const auto add = [](std::vector<std::int32_t>& rows, std::span<const std::int32_t> more) {
    rows.insert(rows.end(), more.begin(), more.end());
  };
  for (const PairRequest& request : requests) {
    for (const std::int32_t member : {request.pair.i, request.pair.j}) {
      auto& rows = needed[static_cast<std::size_t>(member)];
      if (request.candidate && !has_probe[static_cast<std::size_t>(member)]) {
        add(rows, tokens.probe_rows);
        has_probe[static_cast<std::size_t>(member)] = true;
      }
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

// A block with the norms of its outputs: an output meets many partners.
struct NormedBlock {
  const OutputBlock& block;
  std::vector<std::vector<double>> squared_norms;  // [experts][rows]

  explicit NormedBlock(const OutputBlock& outputs)
      : block(outputs), squared_norms(outputs.outputs.size()) {
    ParallelFor(static_cast<std::int64_t>(squared_norms.size()), [&](std::int64_t expert) {
      const auto e = static_cast<std::size_t>(expert);
      squared_norms[e] = SquaredNorms(block.outputs[e]);
    });
  }
};

struct TokenComparison {
  double difference = 0;  // |f_i - f_j|
  double larger_norm = 0;
};

TokenComparison Compare(const NormedBlock& normed, ExpertPair pair, std::int32_t token) {
  const auto i = static_cast<std::size_t>(pair.i), j = static_cast<std::size_t>(pair.j);
  const std::int64_t row_i = normed.block.RowOf(pair.i, token);
  const std::int64_t row_j = normed.block.RowOf(pair.j, token);
  const double difference =
      SquaredDistance(normed.block.outputs[i].row(row_i), normed.block.outputs[j].row(row_j));
  const double larger = std::max(normed.squared_norms[i][static_cast<std::size_t>(row_i)],
                                 normed.squared_norms[j][static_cast<std::size_t>(row_j)]);
  return {std::sqrt(difference), std::sqrt(larger)};
}

void FillSide(const NormedBlock& normed, ExpertPair pair, std::span<const std::int32_t> sample,
              std::vector<float>& difference, std::vector<float>& larger_norm) {
  difference.resize(sample.size());
  larger_norm.resize(sample.size());
  for (std::size_t n = 0; n < sample.size(); ++n) {
    if (!normed.block.Covers(sample[n])) continue;
    const TokenComparison compared = Compare(normed, pair, sample[n]);
    difference[n] = static_cast<float>(compared.difference);
    larger_norm[n] = static_cast<float>(compared.larger_norm);
  }
}

void FillProbe(const NormedBlock& normed, ExpertPair pair, std::span<const std::int32_t> rows,
               std::vector<float>& distance) {
  distance.resize(rows.size());
  for (std::size_t n = 0; n < rows.size(); ++n) {
    if (!normed.block.Covers(rows[n])) continue;
    const TokenComparison compared = Compare(normed, pair, rows[n]);
    distance[n] = compared.difference == 0
                      ? 0.0f
                      : static_cast<float>(compared.difference / compared.larger_norm);
  }
}

}  // namespace

std::vector<PairRecord> MeasurePairs(const MoeBlock& moe, const Matrix& x,
                                     std::span<const PairRequest> requests,
                                     const PairTokens& tokens, std::uint64_t budget_bytes,
                                     Numerics numerics) {
  const Phase phase("outputs of pairs");
  std::vector<PairRecord> records(requests.size());
  for (std::size_t n = 0; n < requests.size(); ++n) {
    records[n].i = requests[n].pair.i;
    records[n].j = requests[n].pair.j;
    records[n].candidate = requests[n].candidate;
    if (!requests[n].candidate) {
      records[n].probe_distance = tokens.probe->TokenDistances(records[n].i, records[n].j);
    }
  }
  const auto fill = [&](const OutputBlock& block) {
    const Phase inner_phase("distances of pairs");
    const NormedBlock normed(block);
    ParallelFor(static_cast<std::int64_t>(requests.size()), [&](std::int64_t index) {
      const PairRequest& request = requests[static_cast<std::size_t>(index)];
      PairRecord& record = records[static_cast<std::size_t>(index)];
      const auto side = [&](std::int32_t expert) {
        return Prefix(tokens.samples[static_cast<std::size_t>(expert)].tokens, request.tokens);
      };
      FillSide(normed, request.pair, side(record.i), record.difference_on_i,
               record.larger_norm_on_i);
      FillSide(normed, request.pair, side(record.j), record.difference_on_j,
               record.larger_norm_on_j);
      if (request.candidate) {
        FillProbe(normed, request.pair, tokens.probe_rows, record.probe_distance);
      }
    });
  };
  ForEachOutputBlock(moe, x, NeededRows(requests, tokens), budget_bytes, fill, numerics);
  return records;
}

}  // namespace cacheready
