// How evenly a layer's experts are used, before and after tying.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"
#include "model/router.h"

namespace cacheready {

struct RankLoad {
  std::int64_t ranks = 0;
  double max_over_mean = 0;  // selections that the busiest rank serves, over the mean
};

struct ExpertLoad {
  std::vector<std::int64_t> selections;  // [experts]
  std::int64_t distinct = 0;             // experts selected at least once
  std::vector<RankLoad> ranks;           // expert-parallel 2, 4, 8, where they divide the experts
};

// Ranks own consecutive blocks of experts, as the engines place them by default.
ExpertLoad MeasureLoad(const Routing& routing, std::int64_t experts);

// {"distinct_experts": {"before", "after"}, "expert_parallel": [...], "starved": [...]}: starved
// are experts that were selected before and are not any more.
Json LoadEffects(const ExpertLoad& before, const ExpertLoad& after);

}  // namespace cacheready
