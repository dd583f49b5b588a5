// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/math.h"
#include "base/parallel.h"
#include "model/expert_pass.h"
#include "model/model.h"
#include "model/weight_store.h"

namespace cacheready {
namespace {

// Expert outputs held at once. At 1 GiB, 10,922 tokens a block at top 8 and hidden 3,072, so a scan
// of 16,384 tokens decodes each expert twice. The bits do not depend on it: a token's sum lies in
// one block.
std::int64_t MaxOutputBytes(const MoeBlock& moe) {
  return static_cast<std::int64_t>(PlanOf(moe.store).output_bytes);
}

// The (token, slot) entries of tokens [begin, end) that one expert serves.
struct ExpertLoad {
  std::int32_t expert = 0;
  std::vector<std::int32_t> rows;   // of x
  std::vector<std::int64_t> slots;  // (row - begin) * top_k + slot
  Matrix output;                    // [rows, hidden], as they are summed
};

std::vector<ExpertLoad> GatherLoads(const MoeBlock& moe, const Routing& routing, std::int64_t begin,
                                    std::int64_t end) {
  std::vector<ExpertLoad> loads(moe.experts.size());
  for (std::int64_t t = begin; t < end; ++t) {
    const auto ids = routing.ids_of(t);
    for (std::size_t slot = 0; slot < ids.size(); ++slot) {
      CR_CHECK(ids[slot] >= 0 && static_cast<std::size_t>(ids[slot]) < loads.size(),
               "expert {} of {}", ids[slot], loads.size());
      ExpertLoad& load = loads[static_cast<std::size_t>(ids[slot])];
      load.expert = ids[slot];
      load.rows.push_back(static_cast<std::int32_t>(t));
      load.slots.push_back((t - begin) * routing.top_k + static_cast<std::int64_t>(slot));
    }
  }
  std::erase_if(loads, [](const ExpertLoad& load) { return load.rows.empty(); });
  // Largest first, so that the last task to start is a short one.
  std::stable_sort(loads.begin(), loads.end(), [](const ExpertLoad& a, const ExpertLoad& b) {
    return a.rows.size() > b.rows.size();
  });
  return loads;
}

void RunLoad(const Arithmetic& arithmetic, const MoeBlock& moe, const Matrix& x,
             std::span<const float> weights, ExpertLoad& load) {
  const auto weigh = [&](Matrix& rows) {
    for (std::size_t n = 0; n < load.slots.size(); ++n) {
      const float weight = weights[static_cast<std::size_t>(load.slots[n])];
      for (float& value : rows.row(static_cast<std::int64_t>(n))) value *= weight;
    }
    Round(arithmetic, RoundingPoint::kWeightedExpert, rows.values());
  };
  if (moe.router.weights_on_input) {
    Matrix input = GatherRows(x, load.rows);
    weigh(input);
    load.output = RunFeedForward(arithmetic, Role::kExpert,
                                 moe.experts[static_cast<std::size_t>(load.expert)], input);
  } else {
    load.output = RunExpert(arithmetic, moe, load.expert, x, load.rows);
    weigh(load.output);
  }
}

// Adds the outputs of one token to `y`, one rounding an addition: in top-k order or in rising
// expert id. The id order is what makes the fp32 reference independent of near ties inside the
// selection.
class TokenSums {
 public:
  TokenSums(const Arithmetic& arithmetic, const std::vector<ExpertLoad>& loads, std::int64_t slots)
      : arithmetic_(arithmetic), outputs_(static_cast<std::size_t>(slots)) {
    for (const ExpertLoad& load : loads) {
      for (std::size_t n = 0; n < load.slots.size(); ++n) {
        outputs_[static_cast<std::size_t>(load.slots[n])] =
            load.output.row(static_cast<std::int64_t>(n));
      }
    }
  }

  void Add(std::int64_t token_in_block, std::span<const std::int32_t> ids,
           std::span<float> y) const {
    std::vector<std::size_t> order(ids.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (!arithmetic_.profile->expert_sum_in_topk_order) {
      std::sort(order.begin(), order.end(), [&](auto a, auto b) { return ids[a] < ids[b]; });
    }
    for (const std::size_t slot : order) {
      const auto output = outputs_[static_cast<std::size_t>(token_in_block) * ids.size() + slot];
      for (std::size_t h = 0; h < y.size(); ++h) y[h] += output[h];
      Round(arithmetic_, RoundingPoint::kExpertSum, y);
    }
  }

 private:
  const Arithmetic& arithmetic_;
  std::vector<std::span<const float>> outputs_;  // by slot
};

}  // namespace

Matrix RouterLogits(const Arithmetic& arithmetic, const MoeBlock& moe, const Matrix& x) {
  return Linear(arithmetic, moe.router_role, *moe.router_weight, x, moe.router.logit_bias);
}

Matrix RunExpert(const Arithmetic& arithmetic, const MoeBlock& moe, std::int64_t expert,
                 const Matrix& x, std::span<const std::int32_t> rows) {
  return RunFeedForward(arithmetic, Role::kExpert, moe.experts[static_cast<std::size_t>(expert)],
                        RowsView(x, rows));
}

Matrix RunShared(const Arithmetic& arithmetic, const MoeBlock& moe, const Matrix& x) {
  if (!moe.shared) return Matrix(x.rows(), x.cols());
  Matrix y = RunFeedForward(arithmetic, Role::kSharedExpert, *moe.shared, x);
  if (!moe.shared_gate) return y;
  Matrix gate = Linear(arithmetic, Role::kGate, *moe.shared_gate, x);
  Sigmoid(gate.values());
  Round(arithmetic, RoundingPoint::kGate, gate.values());
  ForEachRow(y, [&](std::int64_t t) {
    for (float& value : y.row(t)) value *= gate.at(t, 0);
  });
  Round(arithmetic, RoundingPoint::kGate, y.values());
  return y;
}

Matrix RunMoe(const Arithmetic& arithmetic, const MoeBlock& moe, const Matrix& x,
              const Routing& routing) {
  CR_CHECK(routing.tokens() == x.rows(), "{} routed tokens, {} rows", routing.tokens(), x.rows());
  Matrix y(x.rows(), x.cols());
  const std::int64_t bytes_per_token =
      routing.top_k * x.cols() * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t block = std::max<std::int64_t>(1, MaxOutputBytes(moe) / bytes_per_token);
  for (std::int64_t begin = 0; begin < x.rows(); begin += block) {
    const std::int64_t end = std::min(x.rows(), begin + block);
    std::vector<ExpertLoad> loads = GatherLoads(moe, routing, begin, end);
    const std::span<const float> weights =
        std::span(routing.weights)
            .subspan(static_cast<std::size_t>(begin * routing.top_k),
                     static_cast<std::size_t>((end - begin) * routing.top_k));
    std::vector<std::int32_t> order;
    order.reserve(loads.size());
    for (const ExpertLoad& load : loads) order.push_back(load.expert);
    ForEachExpert(moe, std::move(order), [&](std::int64_t n) {
      RunLoad(arithmetic, moe, x, weights, loads[static_cast<std::size_t>(n)]);
    });
    const TokenSums sums(arithmetic, loads, (end - begin) * routing.top_k);
    ParallelFor(end - begin,
                [&](std::int64_t n) { sums.Add(n, routing.ids_of(begin + n), y.row(begin + n)); });
  }
  if (moe.shared) {
    AddInto(y, RunShared(arithmetic, moe, x));
    Round(arithmetic, RoundingPoint::kExpertSum, y.values());
  }
  return y;
}

}  // namespace cacheready
