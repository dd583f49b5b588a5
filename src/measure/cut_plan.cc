// SPDX-License-Identifier: Apache-2.0
#include "measure/cut_plan.h"

#include <cstdint>
#include <utility>

namespace cacheready {
namespace {

// As planning lists a group that is equivalent and not tied.
Json UntiedEntry(const PlannedGroup& group, const std::string& reason) {
  Json entry;
  entry["layer"] = group.layer;
  entry["members"] = group.members;
  entry["reason"] = reason;
  entry["rule"] = group.rule;
  if (!group.numbers.is_object()) return entry;
  for (const auto& [key, value] : group.numbers.items()) {
    entry[key == "members" ? std::string("member_numbers") : key] = value;
  }
  return entry;
}

struct Tied {
  std::int64_t groups = 0, experts = 0;
};

Json Share(std::int64_t part, std::int64_t whole) {
  if (whole == 0) return nullptr;
  return static_cast<double>(part) / static_cast<double>(whole);
}

// Only counts that are there are changed: a plan made by hand may have no summaries.
void RecountLayer(const std::vector<PlannedGroup>& groups, Json& layer, Tied& all_tied,
                  std::int64_t& all_experts) {
  Tied tied;
  for (const PlannedGroup& group : groups) {
    if (group.layer != layer.value("layer", std::int64_t{-1})) continue;
    ++tied.groups;
    tied.experts += static_cast<std::int64_t>(group.members.size());
  }
  if (!layer.contains("groups") || !layer["groups"].is_object()) return;
  layer["groups"]["tied"] = tied.groups;
  layer["groups"]["rows_rewritten"] = tied.experts - tied.groups;
  if (!layer.contains("experts") || !layer["experts"].is_object()) return;
  const auto experts = layer["experts"].value("all", std::int64_t{0});
  layer["groups"]["tied_coverage"] = Share(tied.experts, experts);
  all_tied.experts += tied.experts;
  all_experts += experts;
}

}  // namespace

Plan CutPlan(const Plan& plan, const std::set<std::size_t>& kept, const std::string& reason) {
  if (kept.size() == plan.groups.size()) return plan;
  Plan cut = plan;
  cut.groups.clear();
  if (cut.untied.is_null()) cut.untied = Json::array();
  for (std::size_t n = 0; n < plan.groups.size(); ++n) {
    if (kept.contains(n)) {
      cut.groups.push_back(plan.groups[n]);
    } else {
      cut.untied.push_back(UntiedEntry(plan.groups[n], reason));
    }
  }
  if (!cut.layers.is_array()) return cut;
  Tied tied;
  std::int64_t experts = 0;
  for (Json& layer : cut.layers) {
    if (layer.is_object()) RecountLayer(cut.groups, layer, tied, experts);
  }
  if (cut.controls.is_object() && cut.controls.contains("coverage")) {
    cut.controls["coverage"]["tied"] = Share(tied.experts, experts);
  }
  return cut;
}

}  // namespace cacheready
