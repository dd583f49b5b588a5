// Complete linkage: two groups may merge if the farthest pair across them is within the threshold,
// nearest first. So the guarantee "every pair is equivalent" holds by construction, which single or
// average linkage and leader clustering do not give: distances between experts are no metric, a
// chain of near neighbours may end anywhere. Ties go to the smallest first members, so the result
// depends on the ratios only. Cost O(merges * groups^2) with groups <= experts that have a partner.
//
// Where groups may not grow beyond a size, the nearest merges leave many that are not full and do
// not fit together (three, three and two, of four). Every group is one more class that can pass
// another at the k boundary, so a group whose members all find room in others, within the threshold
// of all members there, is dissolved into them: smallest groups first, until none can be.
// SPDX-License-Identifier: Apache-2.0
#include "planning/grouping.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "planning/numbers.h"

namespace cacheready {
namespace {

constexpr double kCut = 1.0;

double DistanceWithin(const PairRatios& ratios, const GroupingOptions& options, std::int64_t i,
                      std::int64_t j) {
  const std::int64_t size = options.routing_group_size;
  return size > 0 && i / size != j / size ? kInfinity : ratios.At(i, j);
}

void SortRoots(GroupTree& tree) {
  std::sort(tree.roots.begin(), tree.roots.end(), [&](int a, int b) {
    return tree.node(a).members.front() < tree.node(b).members.front();
  });
}

// Distances between the current groups, kept up to date by Lance-Williams' rule for complete
// linkage: the distance to a merged group is the larger of the two.
class Linkage {
 public:
  Linkage(const PairRatios& ratios, const GroupingOptions& options)
      : ratios_(ratios), options_(options) {
    for (std::int64_t e = 0; e < ratios.experts(); ++e) {
      if (HasPartner(e)) {
        active_.push_back(static_cast<int>(tree_.nodes.size()));
        tree_.nodes.push_back({{static_cast<std::int32_t>(e)}, 0, -1, -1});
      }
    }
    distance_.assign(active_.size(), std::vector<double>(active_.size(), kInfinity));
    for (std::size_t a = 0; a < active_.size(); ++a) {
      for (std::size_t b = 0; b < active_.size(); ++b) {
        if (a != b) distance_[a][b] = Distance(First(a), First(b));
      }
    }
  }

  GroupTree Run() {
    while (MergeNearest()) {
    }
    for (const int node : active_) {
      if (tree_.node(node).members.size() >= 2) tree_.roots.push_back(node);
    }
    SortRoots(tree_);
    return std::move(tree_);
  }

 private:
  std::int32_t First(std::size_t slot) const { return tree_.node(active_[slot]).members.front(); }
  std::size_t SizeOf(std::size_t slot) const { return tree_.node(active_[slot]).members.size(); }

  double Distance(std::int64_t i, std::int64_t j) const {
    return DistanceWithin(ratios_, options_, i, j);
  }

  bool HasPartner(std::int64_t e) const {
    for (std::int64_t other = 0; other < ratios_.experts(); ++other) {
      if (other != e && Distance(e, other) <= kCut) return true;
    }
    return false;
  }

  // Slots stay in order of their first member, so the first pair found is the smallest tie.
  bool MergeNearest() {
    double nearest = kInfinity;
    std::size_t left = 0, right = 0;
    for (std::size_t a = 0; a < active_.size(); ++a) {
      for (std::size_t b = a + 1; b < active_.size(); ++b) {
        if (distance_[a][b] > kCut || distance_[a][b] >= nearest) continue;
        if (static_cast<std::int64_t>(SizeOf(a) + SizeOf(b)) > options_.max_group) continue;
        nearest = distance_[a][b];
        left = a;
        right = b;
      }
    }
    if (nearest == kInfinity) return false;
    Merge(left, right, nearest);
    return true;
  }

  void Merge(std::size_t a, std::size_t b, double diameter) {
    GroupNode merged;
    const auto& left = tree_.node(active_[a]).members;
    const auto& right = tree_.node(active_[b]).members;
    std::merge(left.begin(), left.end(), right.begin(), right.end(),
               std::back_inserter(merged.members));
    merged.diameter = diameter;
    merged.left = active_[a];
    merged.right = active_[b];
    active_[a] = static_cast<int>(tree_.nodes.size());
    tree_.nodes.push_back(std::move(merged));
    for (std::size_t c = 0; c < active_.size(); ++c) {
      if (c == a) continue;
      distance_[a][c] = distance_[c][a] = std::max(distance_[a][c], distance_[b][c]);
    }
    active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(b));
    distance_.erase(distance_.begin() + static_cast<std::ptrdiff_t>(b));
    for (auto& row : distance_) row.erase(row.begin() + static_cast<std::ptrdiff_t>(b));
  }

  const PairRatios& ratios_;
  GroupingOptions options_;
  GroupTree tree_;
  std::vector<int> active_;  // nodes not merged yet, by first member
  std::vector<std::vector<double>> distance_;
};

// Dissolves groups into others that have room.
class Packing {
 public:
  Packing(const PairRatios& ratios, const GroupingOptions& options, GroupTree tree)
      : ratios_(ratios), options_(options), tree_(std::move(tree)) {}

  GroupTree Run() {
    while (DissolveOne()) {
    }
    SortRoots(tree_);
    return std::move(tree_);
  }

 private:
  bool DissolveOne() {
    SortRoots(tree_);
    std::stable_sort(tree_.roots.begin(), tree_.roots.end(), [&](int a, int b) {
      return tree_.node(a).members.size() < tree_.node(b).members.size();
    });
    for (std::size_t r = 0; r < tree_.roots.size(); ++r) {
      const std::vector<int> roots = tree_.roots;
      const std::size_t nodes = tree_.nodes.size();
      if (Dissolve(r)) return true;
      tree_.roots = roots;
      tree_.nodes.resize(nodes);
    }
    return false;
  }

  bool Dissolve(std::size_t r) {
    const std::vector<std::int32_t> members = tree_.node(tree_.roots[r]).members;
    tree_.roots.erase(tree_.roots.begin() + static_cast<std::ptrdiff_t>(r));
    return std::all_of(members.begin(), members.end(), [&](std::int32_t e) { return Place(e); });
  }

  // Into the group in which it is nearest to the farthest member.
  bool Place(std::int32_t expert) {
    double nearest = kInfinity;
    std::size_t place = 0;
    for (std::size_t r = 0; r < tree_.roots.size(); ++r) {
      const double distance = DistanceTo(tree_.node(tree_.roots[r]).members, expert);
      if (distance > kCut || distance >= nearest) continue;
      nearest = distance;
      place = r;
    }
    if (nearest == kInfinity) return false;
    const int group = tree_.roots[place];
    GroupNode grown{tree_.node(group).members, std::max(tree_.node(group).diameter, nearest), group,
                    LeafOf(expert)};
    grown.members.insert(std::lower_bound(grown.members.begin(), grown.members.end(), expert),
                         expert);
    tree_.roots[place] = static_cast<int>(tree_.nodes.size());
    tree_.nodes.push_back(std::move(grown));
    return true;
  }

  double DistanceTo(const std::vector<std::int32_t>& members, std::int32_t expert) const {
    if (static_cast<std::int64_t>(members.size()) >= options_.max_group) return kInfinity;
    double farthest = 0;
    for (const std::int32_t member : members) {
      farthest = std::max(farthest, DistanceWithin(ratios_, options_, member, expert));
    }
    return farthest;
  }

  int LeafOf(std::int32_t expert) const {
    for (std::size_t n = 0; n < tree_.nodes.size(); ++n) {
      const GroupNode& node = tree_.nodes[n];
      if (node.members.size() == 1 && node.members.front() == expert) return static_cast<int>(n);
    }
    CR_CHECK(false, "expert {} has no node", expert);
  }

  const PairRatios& ratios_;
  GroupingOptions options_;
  GroupTree tree_;
};

std::set<std::pair<std::int32_t, std::int32_t>> PairsOf(const GroupTree& tree) {
  std::set<std::pair<std::int32_t, std::int32_t>> pairs;
  for (const int root : tree.roots) {
    const auto& members = tree.node(root).members;
    for (std::size_t a = 0; a < members.size(); ++a) {
      for (std::size_t b = a + 1; b < members.size(); ++b) pairs.emplace(members[a], members[b]);
    }
  }
  return pairs;
}

}  // namespace

PairRatios::PairRatios(std::int64_t experts)
    : experts_(experts), values_(static_cast<std::size_t>(experts * experts), kInfinity) {}

PairRatios::PairRatios(std::int64_t experts, std::span<const PairEvidence> pairs)
    : PairRatios(experts) {
  for (const PairEvidence& pair : pairs) {
    if (pair.verdict == PairVerdict::kEquivalent) Set(pair.i, pair.j, pair.ratio);
  }
}

GroupTree GroupExperts(const PairRatios& ratios, const GroupingOptions& options) {
  return Packing(ratios, options, Linkage(ratios, options).Run()).Run();
}

void CheckEveryPair(const GroupTree& tree, const PairRatios& ratios) {
  for (const auto& [i, j] : PairsOf(tree)) {
    CR_CHECK(ratios.At(i, j) <= kCut, "experts {} and {} share a group at ratio {}", i, j,
             ratios.At(i, j));
  }
}

double PairJaccard(const GroupTree& a, const GroupTree& b) {
  const auto left = PairsOf(a);
  const auto right = PairsOf(b);
  std::size_t both = 0;
  for (const auto& pair : left) both += right.count(pair);
  const std::size_t either = left.size() + right.size() - both;
  return either == 0 ? 1.0 : static_cast<double>(both) / static_cast<double>(either);
}

}  // namespace cacheready
