// SPDX-License-Identifier: Apache-2.0
#include "planning/layer_numbers.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/statistics.h"

namespace cacheready {
namespace {

double Share(double part, std::int64_t whole) {
  return whole == 0 ? 0.0 : part / static_cast<double>(whole);
}

Json ToJson(const Statistics3& statistics) {
  Json json;
  json["rms"] = Finite(statistics.rms);
  json["p95"] = Finite(statistics.p95);
  json["p99"] = Finite(statistics.p99);
  return json;
}

bool IsMember(const std::vector<std::int32_t>& members, std::int32_t expert) {
  return std::binary_search(members.begin(), members.end(), expert);
}

const std::vector<std::int32_t>& MembersOf(const LayerFindings& findings,
                                           const ScoredGroup& group) {
  return findings.tree->node(group.node).members;
}

Json PairsInside(const LayerFindings& findings, const std::vector<std::int32_t>& members) {
  Json array = Json::array();
  for (const PairEvidence& pair : findings.pairs) {
    if (IsMember(members, pair.i) && IsMember(members, pair.j)) array.push_back(ToJson(pair));
  }
  return array;
}

Json MemberNumbers(const LayerFindings& findings, const std::vector<std::int32_t>& members) {
  Json array = Json::array();
  for (const std::int32_t e : members) {
    const auto expert = static_cast<std::size_t>(e);
    Json entry;
    entry["expert"] = e;
    entry["sampled_tokens"] = findings.source->record->samples[expert].tokens.size();
    entry["noise"] = ToJson(findings.source->noise[expert].nu);
    entry["selections_before"] = findings.load_before.selections[expert];
    entry["selections_after"] = findings.load_after.selections[expert];
    array.push_back(std::move(entry));
  }
  return array;
}

std::vector<std::vector<std::int32_t>> TakenMembers(const LayerFindings& findings) {
  std::vector<std::vector<std::int32_t>> groups;
  if (findings.budget == nullptr) return groups;
  for (const ScoredGroup& group : findings.budget->taken) {
    groups.push_back(MembersOf(findings, group));
  }
  return groups;
}

Json FlipNumbers(const LayerFindings& findings,
                 const std::vector<std::vector<std::int32_t>>& groups) {
  const FlipCounts counts = CountFlips(*findings.source->routing, *findings.profile_routing,
                                       ClassesOf(findings.source->record->logits.cols(), groups));
  Json json;
  json["profile"] = Share(static_cast<double>(counts.flips), counts.tokens);
  json["addressable"] = Share(static_cast<double>(counts.within), counts.tokens);
  return json;
}

// Expected shares of flipped tokens as stored and as tied.
void AddForecast(const LayerFindings& findings,
                 const std::vector<std::vector<std::int32_t>>& groups, Json& flips) {
  const LayerRecord& record = *findings.source->record;
  const std::int64_t experts = record.logits.cols();
  const RouterSpec spec = RouterSpecFromJson(record.router.spec, "router spec");
  const LogitNoise& noise = findings.boundaries->noise;
  const double stored = ExpectedFlips(spec, record.logits, ClassesOf(experts, {}), noise);
  const double tied = groups.empty()
                          ? stored
                          : ExpectedFlips(findings.replay->spec(), findings.replay->logits(),
                                          ClassesOf(experts, groups), noise);
  flips["forecast_before"] = Share(stored, record.logits.rows());
  flips["forecast_after"] = Share(tied, record.logits.rows());
  flips["forecast_removed"] = Share(stored - tied, record.logits.rows());
}

// Near each other by the probe, and not to be judged.
std::int64_t UnknownCandidates(const LayerFindings& findings) {
  std::set<std::pair<std::int32_t, std::int32_t>> candidates;
  for (const PairRecord& pair : findings.source->record->pairs) {
    if (pair.candidate) candidates.emplace(pair.i, pair.j);
  }
  return std::count_if(findings.pairs.begin(), findings.pairs.end(), [&](const PairEvidence& pair) {
    return pair.verdict == PairVerdict::kUnknown && candidates.contains({pair.i, pair.j});
  });
}

Json PairCounts(const LayerFindings& findings) {
  const auto count = [&](PairVerdict verdict) {
    return std::count_if(findings.pairs.begin(), findings.pairs.end(),
                         [&](const PairEvidence& pair) { return pair.verdict == verdict; });
  };
  const auto& records = findings.source->record->pairs;
  Json json;
  json["measured"] = records.size();
  json["candidates"] = std::count_if(records.begin(), records.end(),
                                     [](const PairRecord& pair) { return pair.candidate; });
  json["unknown"] = count(PairVerdict::kUnknown);
  json["unknown_candidates"] = UnknownCandidates(findings);
  json["apart"] = count(PairVerdict::kApart);
  json["chosen"] = count(PairVerdict::kLost) + count(PairVerdict::kEquivalent);
  json["confirmed"] = count(PairVerdict::kEquivalent);
  json["lost_at_confirmation"] = count(PairVerdict::kLost);
  Json lost = Json::array();
  for (const PairEvidence& pair : findings.pairs) {
    if (pair.verdict != PairVerdict::kLost) continue;
    Json entry;
    entry["experts"] = {pair.i, pair.j};
    entry["ratio"] = Finite(pair.ratio);
    entry["decided_by"] = pair.decided_by;
    lost.push_back(std::move(entry));
  }
  json["lost"] = std::move(lost);
  return json;
}

std::size_t Covered(const std::vector<std::vector<std::int32_t>>& groups) {
  std::size_t covered = 0;
  for (const auto& members : groups) covered += members.size();
  return covered;
}

Json GroupCounts(const LayerFindings& findings) {
  const auto experts = findings.source->record->logits.cols();
  std::size_t equivalent = 0;
  for (const int root : findings.tree->roots)
    equivalent += findings.tree->node(root).members.size();
  const auto taken = TakenMembers(findings);
  Json json;
  json["equivalent"] = findings.tree->roots.size();
  json["equivalent_coverage"] = Share(static_cast<double>(equivalent), experts);
  json["tied"] = taken.size();
  json["tied_coverage"] = Share(static_cast<double>(Covered(taken)), experts);
  json["rows_rewritten"] = Covered(taken) - taken.size();
  return json;
}

Json ExpertCounts(const LayerFindings& findings, const EvidenceRule& rule) {
  const std::int64_t experts = findings.source->record->logits.cols();
  std::int64_t with_evidence = 0;
  for (std::int64_t e = 0; e < experts; ++e) {
    with_evidence += HasEvidence(*findings.source, rule, e) ? 1 : 0;
  }
  std::set<std::int32_t> confirmed;
  for (const PairEvidence& pair : findings.pairs) {
    if (pair.verdict == PairVerdict::kEquivalent) confirmed.insert({pair.i, pair.j});
  }
  Json json;
  json["all"] = experts;
  json["with_evidence"] = with_evidence;
  json["unknown"] = experts - with_evidence;
  json["in_a_confirmed_pair"] = confirmed.size();
  return json;
}

Json NearestDistances(const LayerRecord& record) {
  std::vector<double> distances;
  for (std::size_t e = 0; e < record.nearest.size(); ++e) {
    if (record.nearest[e] >= 0) {
      distances.push_back(static_cast<double>(record.nearest_distance[e]));
    }
  }
  return Spread(std::move(distances));
}

Json Thresholds(const LayerFindings& findings, const EvidenceRule& rule) {
  std::vector<double> thresholds;
  for (const ExpertNoise& noise : findings.source->noise) {
    if (noise.tokens > 0) thresholds.push_back(rule.tolerance * std::sqrt(2.0) * noise.nu.rms);
  }
  return Spread(std::move(thresholds));
}

double ProfileChange(const LayerRecord& record) {
  std::vector<double> change(record.profile_change.begin(), record.profile_change.end());
  return change.empty() ? 0.0 : RootMeanSquare(change);
}

// SparseMixer weighs the first of its two experts by a softmax over all whose logits are near the
// largest, so a tied partner takes half of it; the second keeps all of its weight.
struct MixerTies {
  std::int64_t tokens = 0, of = 0;  // that select two members
  double stored = 0, tied = 0;      // mean weight of the first of the two on these
};

MixerTies CountMixerTies(const Replay& replay, const std::vector<std::int32_t>& members) {
  MixerTies ties;
  ties.of = replay.tokens();
  for (std::int64_t t = 0; t < replay.tokens(); ++t) {
    const auto ids = replay.routing().ids_of(t);
    if (!std::all_of(ids.begin(), ids.end(), [&](auto e) { return IsMember(members, e); }))
      continue;
    ++ties.tokens;
    ties.stored += static_cast<double>(replay.stored_routing().weights_of(t)[0]);
    ties.tied += static_cast<double>(replay.routing().weights_of(t)[0]);
  }
  if (ties.tokens > 0) {
    ties.stored /= static_cast<double>(ties.tokens);
    ties.tied /= static_cast<double>(ties.tokens);
  }
  return ties;
}

Json ToJson(const MixerTies& ties) {
  Json json;
  json["tokens_halved"] = Share(static_cast<double>(ties.tokens), ties.of);
  json["first_weight_before"] = ties.tokens == 0 ? Json(nullptr) : Json(ties.stored);
  json["first_weight_after"] = ties.tokens == 0 ? Json(nullptr) : Json(ties.tied);
  return json;
}

std::string MixerWarning(const MixerTies& ties) {
  return fmt::format(
      "SparseMixer halves the weight of the first of two tied experts: {:.2f} % of the tokens "
      "select two members, and the weight of the first goes from {:.3f} to {:.3f} on average",
      100 * Share(static_cast<double>(ties.tokens), ties.of), ties.stored, ties.tied);
}

Json BudgetNumbers(const BudgetResult& budget) {
  Json json;
  json["limit"] = budget.limit;
  json["used"] = budget.used;
  json["share_used"] = budget.limit == 0 ? Json(nullptr) : Finite(budget.used / budget.limit);
  return json;
}

}  // namespace

Json Finite(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json Spread(std::vector<double> values) {
  if (values.empty()) return nullptr;
  Json json;
  json["min"] = *std::min_element(values.begin(), values.end());
  json["median"] = Quantile(values, 0.5);
  json["max"] = *std::max_element(values.begin(), values.end());
  return json;
}

Json ToJson(const PairEvidence& pair) {
  Json json;
  json["experts"] = {pair.i, pair.j};
  json["verdict"] = std::string(VerdictName(pair.verdict));
  json["ratio"] = Finite(pair.ratio);
  json["decided_by"] = pair.decided_by;
  json["threshold"] = ToJson(pair.threshold);
  json["sides"] = Json::array();
  for (std::size_t s = 0; s < 2; ++s) {
    Json side;
    side["expert"] = s == 0 ? pair.i : pair.j;
    side["sampled_tokens"] = pair.tokens[s];
    side["confirming_tokens"] = pair.sides[s].tokens;
    side["confirming_documents"] = pair.sides[s].documents;
    side["observed"] = ToJson(pair.sides[s].observed);
    side["upper_limit"] = ToJson(pair.sides[s].upper);
    side["contribution"] = Finite(pair.contribution[s]);
    json["sides"].push_back(std::move(side));
  }
  json["probe"]["tokens"] = pair.probe_tokens;
  json["probe"]["rms"] = Finite(pair.probe_rms);
  json["untested_domains"] = pair.untested_domains;
  return json;
}

Json ToJson(const RoutingEffects& effects) {
  Json json;
  json["class_counts_changed"] = effects.class_counts_changed;
  json["gate_mass_moved"] = effects.gate_mass_moved;
  json["rms_change"] = effects.rms_change;
  json["tokens_by_stand_in"] = effects.stand_in_tokens;
  json["tokens_bounded"] = effects.bounded_tokens;
  return json;
}

Json GroupNumbers(const LayerFindings& findings, const ScoredGroup& group) {
  const auto& members = MembersOf(findings, group);
  const std::int64_t tokens = findings.replay->tokens();
  Json json;
  json["diameter"] = findings.tree->node(group.node).diameter;
  json["alone"] = ToJson(group.alone);
  json["cost_alone"] = group.cost_alone;
  json["cost_taken"] = group.cost_taken;
  json["flips"] = FlipNumbers(findings, {members});
  json["flips"]["forecast_removed"] = Share(group.benefit, tokens);
  json["members"] = MemberNumbers(findings, members);
  json["pairs"] = PairsInside(findings, members);
  if (findings.replay->spec().scoring == Scoring::kSparseMixer) {
    const MixerTies ties = CountMixerTies(*findings.replay, members);
    json["sparse_mixer"] = ToJson(ties);
    if (ties.tokens > 0) json["warnings"] = {MixerWarning(ties)};
  }
  return json;
}

Json UntiedNumbers(const LayerFindings& findings, const GroupNode& node,
                   const std::string& reason) {
  Json json;
  json["layer"] = findings.source->record->layer;
  json["members"] = node.members;
  json["reason"] = reason;
  json["diameter"] = node.diameter;
  json["pairs"] = PairsInside(findings, node.members);
  json["statement"] = fmt::format("equivalent, not tied: {}", reason);
  return json;
}

Json UntiedNumbers(const LayerFindings& findings, const UntiedGroup& untied) {
  const auto& members = MembersOf(findings, untied.group);
  Json json;
  json["layer"] = findings.source->record->layer;
  json["members"] = members;
  json["reason"] = untied.reason;
  json["rule"] = untied.group.row.rule;
  json["diameter"] = findings.tree->node(untied.group.node).diameter;
  json["alone"] = ToJson(untied.group.alone);
  json["cost_alone"] = Finite(untied.group.cost_alone);
  json["forecast_removed"] = Share(untied.group.benefit, findings.replay->tokens());
  json["statement"] = fmt::format("equivalent, not tied: moves {:.2f} % of the gate mass",
                                  100 * untied.group.alone.gate_mass_moved);
  return json;
}

Json LayerSummary(const LayerFindings& findings, const EvidenceRule& rule) {
  const LayerRecord& record = *findings.source->record;
  const auto taken = TakenMembers(findings);
  Json json;
  json["layer"] = record.layer;
  json["experts"] = ExpertCounts(findings, rule);
  json["pairs"] = PairCounts(findings);
  json["groups"] = GroupCounts(findings);
  json["nearest_distance"] = NearestDistances(record);
  json["threshold"] = Thresholds(findings, rule);
  json["profile_change_rms"] = ProfileChange(record);
  json["logit_noise"] = findings.boundaries->sigma;
  json["flips"] = FlipNumbers(findings, taken);
  if (findings.budget != nullptr) {
    json["budget"] = BudgetNumbers(*findings.budget);
    json["effects"] =
        ToJson(findings.replay->EffectsOfCommitted(ClassesOf(record.logits.cols(), taken)));
  } else {
    json["budget"] = nullptr;
    json["effects"] = nullptr;
  }
  AddForecast(findings, taken, json["flips"]);
  json["load"] = LoadEffects(findings.load_before, findings.load_after);
  return json;
}

}  // namespace cacheready
