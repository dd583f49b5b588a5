// SPDX-License-Identifier: Apache-2.0
#include "planning/layer_plan.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "planning/budget.h"
#include "planning/layer_numbers.h"

namespace cacheready {
namespace {

std::vector<PairEvidence> JudgePairs(const EvidenceSource& source, const DocumentRoles& roles,
                                     const EvidenceRule& rule) {
  const auto& records = source.record->pairs;
  std::vector<PairEvidence> pairs(records.size());
  ParallelFor(static_cast<std::int64_t>(records.size()), [&](std::int64_t p) {
    const auto index = static_cast<std::size_t>(p);
    pairs[index] = JudgePair(source, roles, rule, records[index]);
  });
  std::sort(pairs.begin(), pairs.end(), [](const PairEvidence& a, const PairEvidence& b) {
    return std::pair(a.i, a.j) < std::pair(b.i, b.j);
  });
  return pairs;
}

GroupingOptions GroupingOf(const RouterSpec& spec, const LayerPlanOptions& options) {
  GroupingOptions grouping;
  grouping.max_group = options.max_group > 0 ? options.max_group : spec.top_k;
  if (spec.top_groups < spec.num_groups) {
    grouping.routing_group_size = spec.experts / spec.num_groups;
  }
  return grouping;
}

// A group that the router's shape forbids, whatever it would cost.
struct ExcludedGroup {
  GroupNode node;
  std::string reason;
};

// Groups that would be if neither mattered: that the router chooses among whole routing groups
// first (equal rows in two of them do not rank equally), and that a token may be sent to one expert
// only (of equal rows the first would take all tokens).
std::vector<ExcludedGroup> ExcludedGroups(const PairRatios& ratios,
                                          const GroupingOptions& grouping) {
  std::vector<ExcludedGroup> excluded;
  const std::int64_t size = grouping.routing_group_size;
  if (size == 0 && grouping.max_group >= 2) return excluded;
  const GroupTree tree = GroupExperts(
      ratios,
      {.max_group = std::max<std::int64_t>(grouping.max_group, 2), .routing_group_size = 0});
  for (const int root : tree.roots) {
    const GroupNode& node = tree.node(root);
    if (size > 0 && node.members.front() / size != node.members.back() / size) {
      excluded.push_back({node, "its members lie in different routing groups"});
    } else if (grouping.max_group < 2) {
      excluded.push_back({node, "a token is sent to one expert: --max-group 2 would tie two"});
    }
  }
  return excluded;
}

// Groups from one half of the documents alone, by half the evidence.
GroupTree GroupsOfHalf(const EvidenceSource& source, const LayerPlanOptions& options,
                       const GroupingOptions& grouping, int half) {
  EvidenceRule rule = options.evidence;
  rule.min_tokens /= 2;
  rule.min_documents /= 2;
  const auto pairs = JudgePairs(source, HalfRoles(*source.text, half), rule);
  return GroupExperts(PairRatios(source.record->logits.cols(), pairs), grouping);
}

DecoyCounts JudgeDecoys(const EvidenceSource& source, const EvidenceRule& rule) {
  DecoyCounts counts;
  for (const DecoyRecord& decoy : source.record->decoys) {
    const double ratio = DecoyRatio(source, rule, decoy);
    if (ratio == std::numeric_limits<double>::infinity()) {
      ++counts.without_evidence;
      continue;
    }
    ++counts.measured;
    counts.refused += ratio > 1 ? 1 : 0;
  }
  return counts;
}

// Of all pairs near enough to be compared in full, the equivalent ones and the others alike.
OutputDistances DistancesOf(const EvidenceSource& source, const EvidenceRule& rule) {
  const auto& records = source.record->pairs;
  std::vector<DistanceRange> ranges(records.size());
  ParallelFor(static_cast<std::int64_t>(records.size()), [&](std::int64_t p) {
    const PairRecord& pair = records[static_cast<std::size_t>(p)];
    if (pair.candidate) ranges[static_cast<std::size_t>(p)] = RangeOf(source, rule, pair);
  });
  OutputDistances distances(source.record->logits.cols());
  for (std::size_t p = 0; p < records.size(); ++p) {
    distances.Set(records[p].i, records[p].j, ranges[p]);
  }
  return distances;
}

double MeanSquare(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

PlannedGroup Planned(const LayerFindings& findings, const ScoredGroup& group) {
  const LayerRecord& record = *findings.source->record;
  PlannedGroup planned;
  planned.layer = record.layer;
  planned.members = findings.tree->node(group.node).members;
  planned.rule = group.row.rule;
  planned.tensors = PlannedTensors(record.router, planned.members, group.row);
  planned.numbers = GroupNumbers(findings, group);
  return planned;
}

}  // namespace

RouterSpec CheckRecord(const TextLayout& text, const LayerRecord& record) {
  RouterSpec spec = RouterSpecFromJson(record.router.spec,
                                       fmt::format("layer record {}: router spec", record.layer));
  const auto experts = static_cast<std::size_t>(spec.experts);
  if (record.logits.cols() != spec.experts || record.samples.size() != experts) {
    Fail("layer record {}: {} logits and {} samples for {} experts", record.layer,
         record.logits.cols(), record.samples.size(), spec.experts);
  }
  if (record.logits.rows() != text.tokens()) {
    Fail(
        "layer record {}: {} tokens, but the scan's documents hold {}; the files are of "
        "different scans",
        record.layer, record.logits.rows(), text.tokens());
  }
  return spec;
}

LayerPlan PlanLayer(const TextLayout& text, const LayerRecord& record,
                    const LayerPlanOptions& options) {
  const RouterSpec spec = CheckRecord(text, record);
  const Routing routing = Route(spec, record.logits, Fp32Arithmetic());
  const Routing profile_routing = Route(spec, record.profile_logits, Fp32Arithmetic());
  const Routing probe_routing = Route(spec, record.probe_logits, Fp32Arithmetic());
  const EvidenceSource source{&record, &text, &routing, &probe_routing, MeasureNoise(record)};
  LayerPlan plan;

  // Who is equivalent: nothing below may call a pair so that was not judged here.
  const auto pairs = JudgePairs(source, SplitRoles(text), options.evidence);
  const PairRatios ratios(spec.experts, pairs);
  const GroupingOptions grouping = GroupingOf(spec, options);
  const GroupTree tree = GroupExperts(ratios, grouping);
  CheckEveryPair(tree, ratios);

  // Which of them are tied.
  const Boundaries boundaries = FindBoundaries(spec, record.logits, record.profile_logits);
  std::optional<OutputDistances> distances;
  std::optional<Replay> replay;
  std::optional<BudgetResult> budget;
  if (!tree.roots.empty()) {
    if (record.ranked_per_token == 0) {
      Fail("layer record {}: has candidate pairs but no tensors 'x' and 'gram'; scan again",
           record.layer);
    }
    distances = DistancesOf(source, options.evidence);
    replay.emplace(record, spec, &*distances);
    const double limit = options.budget * MeanSquare(record.profile_change);
    budget = TakeGroups(record, tree, boundaries, limit, *replay);
  }

  // From here on nothing is decided, only told.
  LayerFindings findings{&source,
                         pairs,
                         &tree,
                         budget ? &*budget : nullptr,
                         replay ? &*replay : nullptr,
                         &boundaries,
                         &profile_routing,
                         MeasureLoad(routing, spec.experts),
                         {}};
  findings.load_after =
      replay ? MeasureLoad(replay->routing(), spec.experts) : findings.load_before;
  plan.untied = Json::array();
  plan.experts = spec.experts;
  for (const int root : tree.roots) {
    plan.confirmed_experts += static_cast<std::int64_t>(tree.node(root).members.size());
  }
  if (budget) {
    for (const ScoredGroup& group : budget->taken) {
      plan.groups.push_back(Planned(findings, group));
      plan.tied_experts += static_cast<std::int64_t>(plan.groups.back().members.size());
    }
    for (const UntiedGroup& untied : budget->untied) {
      plan.untied.push_back(UntiedNumbers(findings, untied));
    }
  }
  for (const ExcludedGroup& excluded : ExcludedGroups(ratios, grouping)) {
    plan.untied.push_back(UntiedNumbers(findings, excluded.node, excluded.reason));
  }
  plan.summary = LayerSummary(findings, options.evidence);
  plan.decoys = JudgeDecoys(source, options.evidence);
  if (options.split_half) {
    const GroupTree first = GroupsOfHalf(source, options, grouping, 0);
    const GroupTree second = GroupsOfHalf(source, options, grouping, 1);
    plan.split_half_agreement = PairJaccard(first, second);
    plan.split_half_found = !first.roots.empty() || !second.roots.empty();
  }
  return plan;
}

}  // namespace cacheready
