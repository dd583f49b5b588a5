// SPDX-License-Identifier: Apache-2.0
#include "planning/expert_load.h"

#include <algorithm>
#include <numeric>

namespace cacheready {

ExpertLoad MeasureLoad(const Routing& routing, std::int64_t experts) {
  ExpertLoad load;
  load.selections.assign(static_cast<std::size_t>(experts), 0);
  for (const std::int32_t e : routing.ids) ++load.selections[static_cast<std::size_t>(e)];
  load.distinct = experts - std::count(load.selections.begin(), load.selections.end(), 0);
  for (const std::int64_t ranks : {2, 4, 8}) {
    if (experts % ranks != 0 || routing.ids.empty()) continue;
    std::int64_t busiest = 0;
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      const auto first = load.selections.begin() + rank * (experts / ranks);
      busiest = std::max(busiest, std::accumulate(first, first + experts / ranks, std::int64_t{0}));
    }
    load.ranks.push_back({ranks, static_cast<double>(busiest) * static_cast<double>(ranks) /
                                     static_cast<double>(routing.ids.size())});
  }
  return load;
}

Json LoadEffects(const ExpertLoad& before, const ExpertLoad& after) {
  Json json;
  json["distinct_experts"]["before"] = before.distinct;
  json["distinct_experts"]["after"] = after.distinct;
  json["expert_parallel"] = Json::array();
  for (std::size_t r = 0; r < before.ranks.size(); ++r) {
    Json entry;
    entry["ranks"] = before.ranks[r].ranks;
    entry["max_over_mean_before"] = before.ranks[r].max_over_mean;
    entry["max_over_mean_after"] = after.ranks[r].max_over_mean;
    json["expert_parallel"].push_back(std::move(entry));
  }
  json["starved"] = Json::array();
  for (std::size_t e = 0; e < before.selections.size(); ++e) {
    if (before.selections[e] > 0 && after.selections[e] == 0) json["starved"].push_back(e);
  }
  return json;
}

}  // namespace cacheready
