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
                                                  const PairTokens& tokens, std::int64_t all_rows) {
  std::vector<std::vector<std::size_t>> of_expert(tokens.samples.size());
  for (std::size_t n = 0; n < requests.size(); ++n) {
    of_expert[static_cast<std::size_t>(requests[n].pair.i)].push_back(n);
    of_expert[static_cast<std::size_t>(requests[n].pair.j)].push_back(n);
  }
  std::vector<std::vector<std::int32_t>> needed(of_expert.size());
  ParallelFor(static_cast<std::int64_t>(needed.size()), [&](std::int64_t expert) {
    const auto e = static_cast<std::size_t>(expert);
    if (of_expert[e].empty()) return;
    std::vector<char> is_needed(static_cast<std::size_t>(all_rows), 0);
    const auto need = [&](std::span<const std::int32_t> rows) {
      for (const std::int32_t row : rows) is_needed[static_cast<std::size_t>(row)] = 1;
    };
    for (const std::size_t n : of_expert[e]) {
      const PairRequest& request = requests[n];
      if (request.candidate) need(tokens.probe_rows);
      for (const std::int32_t side : {request.pair.i, request.pair.j}) {
        need(Prefix(tokens.samples[static_cast<std::size_t>(side)].tokens, request.tokens));
      }
    }
    for (std::int32_t row = 0; row < all_rows; ++row) {
      if (is_needed[static_cast<std::size_t>(row)] != 0) needed[e].push_back(row);
    }
  });
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

// Calls put(n, |f_i - f_j|, the larger of |f_i| and |f_j|) for every rows[n] that the block covers.
template <typename Put>
void CompareOn(const NormedBlock& normed, ExpertPair pair, std::span<const std::int32_t> rows,
               Put put) {
  const auto i = static_cast<std::size_t>(pair.i), j = static_cast<std::size_t>(pair.j);
  std::vector<std::size_t> covered;
  std::vector<std::int32_t> rows_i, rows_j;  // of the outputs
  for (std::size_t n = 0; n < rows.size(); ++n) {
    if (!normed.block.Covers(rows[n])) continue;
    covered.push_back(n);
    rows_i.push_back(static_cast<std::int32_t>(normed.block.RowOf(pair.i, rows[n])));
    rows_j.push_back(static_cast<std::int32_t>(normed.block.RowOf(pair.j, rows[n])));
  }
  if (covered.empty()) return;  // an expert that ran on nothing has no outputs of any width
  const std::vector<double> differences = SquaredDistances(
      RowsView(normed.block.outputs[i], rows_i), RowsView(normed.block.outputs[j], rows_j));
  for (std::size_t k = 0; k < covered.size(); ++k) {
    const double larger = std::max(normed.squared_norms[i][static_cast<std::size_t>(rows_i[k])],
                                   normed.squared_norms[j][static_cast<std::size_t>(rows_j[k])]);
    put(covered[k], std::sqrt(differences[k]), std::sqrt(larger));
  }
}

void FillSide(const NormedBlock& normed, ExpertPair pair, std::span<const std::int32_t> sample,
              std::vector<float>& difference, std::vector<float>& larger_norm) {
  difference.resize(sample.size());
  larger_norm.resize(sample.size());
  CompareOn(normed, pair, sample, [&](std::size_t n, double distance, double larger) {
    difference[n] = static_cast<float>(distance);
    larger_norm[n] = static_cast<float>(larger);
  });
}

void FillProbe(const NormedBlock& normed, ExpertPair pair, std::span<const std::int32_t> rows,
               std::vector<float>& distances) {
  distances.resize(rows.size());
  CompareOn(normed, pair, rows, [&](std::size_t n, double distance, double larger) {
    distances[n] = distance == 0 ? 0.0f : static_cast<float>(distance / larger);
  });
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
  ForEachOutputBlock(moe, x, NeededRows(requests, tokens, x.rows()), budget_bytes, fill, numerics);
  return records;
}

}  // namespace cacheready
