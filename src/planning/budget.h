// Which equivalent groups are tied: those that remove most flips for what they cost, until the
// layer's budget is used.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planning/boundary.h"
#include "planning/canonical_rows.h"
#include "planning/grouping.h"
#include "planning/replay.h"

namespace cacheready {

// A group with its best row and what tying it alone would do.
struct ScoredGroup {
  int node = -1;  // of the tree
  RowCandidate row;
  std::vector<float> logits;  // [tokens]
  double benefit = 0;         // expected flips removed, tokens
  double cost_alone = 0;      // mean (|dy| / |y|)^2 if nothing else is tied
  double cost_taken = 0;      // its rise given what was taken before (taken groups)
  RoutingEffects alone;
};

struct UntiedGroup {
  ScoredGroup group;
  std::string reason;
};

struct BudgetResult {
  double limit = 0, used = 0;       // mean (|dy| / |y|)^2
  std::vector<ScoredGroup> taken;   // by first member
  std::vector<UntiedGroup> untied;  // in the order in which they were put aside
};

// `replay` is fresh at the start and holds all taken groups at the end.
BudgetResult TakeGroups(const LayerRecord& record, const GroupTree& tree,
                        const Boundaries& boundaries, double limit, Replay& replay);

// Class numbers: experts of a group share that of its first member, others have their own.
std::vector<std::int32_t> ClassesOf(std::int64_t experts,
                                    const std::vector<std::vector<std::int32_t>>& groups);

}  // namespace cacheready
