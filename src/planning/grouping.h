// Groups of experts in which every pair is equivalent.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "planning/pair_evidence.h"

namespace cacheready {

// Ratio to threshold of every pair; infinity where a pair is unmeasured or not equivalent.
class PairRatios {
 public:
  explicit PairRatios(std::int64_t experts);
  PairRatios(std::int64_t experts, std::span<const PairEvidence> pairs);

  std::int64_t experts() const { return experts_; }
  double At(std::int64_t i, std::int64_t j) const { return values_[Index(i, j)]; }
  void Set(std::int64_t i, std::int64_t j, double ratio) {
    values_[Index(i, j)] = values_[Index(j, i)] = ratio;
  }

 private:
  std::size_t Index(std::int64_t i, std::int64_t j) const {
    return static_cast<std::size_t>(i * experts_ + j);
  }
  std::int64_t experts_;
  std::vector<double> values_;
};

// A node of the merge tree: a group that can be undone into the two it was made of.
struct GroupNode {
  std::vector<std::int32_t> members;  // ascending
  double diameter = 0;                // largest ratio of a pair inside
  int left = -1, right = -1;          // indices into GroupTree::nodes; -1: a single expert
};
struct GroupTree {
  std::vector<GroupNode> nodes;
  std::vector<int> roots;  // groups of two or more, by first member

  const GroupNode& node(int n) const { return nodes[static_cast<std::size_t>(n)]; }
};

struct GroupingOptions {
  std::int64_t max_group = 0;  // members at most
  std::int64_t routing_group_size =
      0;  // experts [g*size, (g+1)*size) stay among themselves; 0: all
};
GroupTree GroupExperts(const PairRatios& ratios, const GroupingOptions& options);

// Aborts unless every pair of every group has a ratio of at most 1: the check does not trust the
// linkage.
void CheckEveryPair(const GroupTree& tree, const PairRatios& ratios);

// Of the pairs that share a group in either grouping, the share that do in both; 1 if there is
// none.
double PairJaccard(const GroupTree& a, const GroupTree& b);

}  // namespace cacheready
