// Greedy by benefit per cost. The cost of a group depends on what was taken before it (two groups
// that displace the same expert hurt less than twice, or more), so the best group by its last known
// cost is replayed against the present state before it is taken, and goes back in line if another
// now looks better. Each group is replayed a few times instead of once a step. A group that does
// not fit the rest of the budget is undone into the two groups of its last merge, which are tried
// in its stead. A group whose members never meet at the boundary would cost and gain nothing: it is
// taken only if it is free. SPDX-License-Identifier: Apache-2.0
#include "planning/budget.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "planning/numbers.h"

namespace cacheready {
namespace {

std::vector<double> UsageOf(const Routing& routing, std::span<const std::int32_t> members) {
  std::vector<double> usage(members.size(), 0.0);
  for (const std::int32_t id : routing.ids) {
    const auto place = std::lower_bound(members.begin(), members.end(), id);
    if (place != members.end() && *place == id) {
      usage[static_cast<std::size_t>(place - members.begin())] += 1;
    }
  }
  return usage;
}

std::vector<float> Column(const Matrix& matrix, std::int64_t col) {
  std::vector<float> column;
  for (std::int64_t r = 0; r < matrix.rows(); ++r) column.push_back(matrix.at(r, col));
  return column;
}

// A group in line, with its cost as last replayed.
struct Waiting {
  ScoredGroup group;
  double cost = 0;

  double Rate() const { return cost <= 0 ? kInfinity : group.benefit / cost; }
};

class Taker {
 public:
  Taker(const LayerRecord& record, const GroupTree& tree, const Boundaries& boundaries,
        double limit, Replay& replay)
      : record_(record), tree_(tree), boundaries_(boundaries), stored_(replay), replay_(replay) {
    result_.limit = limit;
  }

  BudgetResult Run() {
    Enqueue(tree_.roots);
    while (!waiting_.empty()) Step();
    std::sort(result_.taken.begin(), result_.taken.end(),
              [&](const ScoredGroup& a, const ScoredGroup& b) {
                return Members(a).front() < Members(b).front();
              });
    result_.used = replay_.mean_square_change();
    return std::move(result_);
  }

 private:
  const std::vector<std::int32_t>& Members(const ScoredGroup& group) const {
    return tree_.node(group.node).members;
  }

  RowEdit EditOf(const ScoredGroup& group) const {
    return {Members(group), group.logits, group.row.selection_bias_value};
  }

  // The row with the least change if the group is tied alone; ties to the earlier rule.
  ScoredGroup Score(int node) const {
    ScoredGroup best;
    best.node = node;
    const auto& members = Members(best);
    const std::vector<RowCandidate> rows =
        CandidateRows(record_.router, members, UsageOf(stored_.stored_routing(), members));
    const Matrix logits = CandidateLogits(record_.x, rows);
    const std::vector<std::int32_t> classes = ClassesOf(record_.logits.cols(), {members});
    best.cost_alone = kInfinity;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      ScoredGroup tried;
      tried.node = node;
      tried.row = rows[r];
      tried.logits = Column(logits, static_cast<std::int64_t>(r));
      const ReplayedTokens replayed = stored_.Evaluate(EditOf(tried));
      tried.cost_alone = replayed.mean_square_rise;
      if (tried.cost_alone >= best.cost_alone) continue;
      tried.alone = stored_.EffectsOf(replayed, classes);
      best = std::move(tried);
    }
    best.benefit = ExpectedFlips(boundaries_, members);
    return best;
  }

  void Enqueue(const std::vector<int>& nodes) {
    std::vector<ScoredGroup> scored(nodes.size());
    ParallelFor(static_cast<std::int64_t>(nodes.size()), [&](std::int64_t n) {
      const auto i = static_cast<std::size_t>(n);
      scored[i] = Score(nodes[i]);
    });
    for (ScoredGroup& group : scored) {
      const double cost = group.cost_alone;
      waiting_.push_back({std::move(group), cost});
    }
  }

  // Best rate first; ties to the smallest first member.
  std::size_t BestWaiting() const {
    std::size_t best = 0;
    for (std::size_t w = 1; w < waiting_.size(); ++w) {
      const double rate = waiting_[w].Rate();
      const double leader = waiting_[best].Rate();
      const bool smaller =
          Members(waiting_[w].group).front() < Members(waiting_[best].group).front();
      if (rate > leader || (rate == leader && smaller)) best = w;
    }
    return best;
  }

  void Step() {
    const std::size_t best = BestWaiting();
    Waiting& leader = waiting_[best];
    const double known_rate = leader.Rate();
    const ReplayedTokens replayed = replay_.Evaluate(EditOf(leader.group));
    leader.cost = replayed.mean_square_rise;
    if (leader.Rate() < known_rate && BestWaiting() != best) return;  // another looks better now

    Waiting chosen = std::move(leader);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(best));
    if (chosen.cost > 0 && chosen.group.benefit == 0) {
      result_.untied.push_back(
          {std::move(chosen.group), "no token has its boundary between two members"});
    } else if (chosen.cost > 0 && replay_.mean_square_change() + chosen.cost > result_.limit) {
      PutAside(std::move(chosen.group));
    } else {
      chosen.group.cost_taken = chosen.cost;
      replay_.Commit(EditOf(chosen.group), replayed);
      result_.taken.push_back(std::move(chosen.group));
    }
  }

  void PutAside(ScoredGroup group) {
    const GroupNode& node = tree_.node(group.node);
    std::vector<int> parts;
    for (const int part : {node.left, node.right}) {
      if (tree_.node(part).members.size() >= 2) parts.push_back(part);
    }
    result_.untied.push_back({std::move(group), parts.empty() ? "does not fit the budget"
                                                              : "does not fit the budget; split"});
    Enqueue(parts);
  }

  const LayerRecord& record_;
  const GroupTree& tree_;
  const Boundaries& boundaries_;
  const Replay stored_;  // nothing committed
  Replay& replay_;
  std::vector<Waiting> waiting_;
  BudgetResult result_;
};

}  // namespace

BudgetResult TakeGroups(const LayerRecord& record, const GroupTree& tree,
                        const Boundaries& boundaries, double limit, Replay& replay) {
  return Taker(record, tree, boundaries, limit, replay).Run();
}

std::vector<std::int32_t> ClassesOf(std::int64_t experts,
                                    const std::vector<std::vector<std::int32_t>>& groups) {
  std::vector<std::int32_t> class_of(static_cast<std::size_t>(experts));
  std::iota(class_of.begin(), class_of.end(), 0);
  for (const auto& members : groups) {
    for (const std::int32_t e : members) class_of[static_cast<std::size_t>(e)] = members.front();
  }
  return class_of;
}

}  // namespace cacheready
