// The numbers of a layer's plan as JSON, for reports and for people.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "planning/budget.h"
#include "planning/expert_load.h"
#include "planning/pair_evidence.h"

namespace cacheready {

// A number, or null if it is infinite or NaN (JSON has neither).
Json Finite(double value);

Json ToJson(const PairEvidence& pair);
Json ToJson(const RoutingEffects& effects);
// {"min", "median", "max"}, or null if there are none.
Json Spread(std::vector<double> values);

// Everything the numbers of a layer are taken from. Valid while its parts live.
struct LayerFindings {
  const EvidenceSource* source = nullptr;
  std::span<const PairEvidence> pairs;
  const GroupTree* tree = nullptr;
  const BudgetResult* budget = nullptr;  // null: no group, nothing replayed
  const Replay* replay = nullptr;        // with the taken groups; null as above
  const Boundaries* boundaries = nullptr;
  const Routing* profile_routing = nullptr;
  ExpertLoad load_before, load_after;
};

// Of one taken group.
Json GroupNumbers(const LayerFindings& findings, const ScoredGroup& group);
// Of one group that is equivalent but not tied.
Json UntiedNumbers(const LayerFindings& findings, const UntiedGroup& untied);
// Of one that was not even tried; `reason` is a phrase.
Json UntiedNumbers(const LayerFindings& findings, const GroupNode& node, const std::string& reason);
// Experts, pairs, groups, coverage, distances, budget, flips, load of the layer.
Json LayerSummary(const LayerFindings& findings, const EvidenceRule& rule);

}  // namespace cacheready
