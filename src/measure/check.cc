// Prefixes of the groups, cheapest first, run side by side with the original: a layer is read once
// for all of them. What tying costs is taken between two fp32 runs, so that no rounding of the
// profile hides in it, and is held against what the profile costs by itself on the same tokens.
// SPDX-License-Identifier: Apache-2.0
#include "measure/check.h"

#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "measure/cut_plan.h"
#include "measure/eval.h"
#include "measure/overrides.h"
#include "measure/prefix_search.h"
#include "stream/stream.h"

namespace cacheready {
namespace {

// A prefix as measured in its last pass.
struct MeasuredPrefix {
  CheckedRun run;
  Selections fp32;
  Selections profile;  // empty if it did not run under the profile
};

class PlanCheck {
 public:
  PlanCheck(const Model& model, const Checkpoint& checkpoint, const Plan& plan,
            std::span<const Document> documents, const CheckOptions& options)
      : model_(model),
        checkpoint_(checkpoint),
        plan_(plan),
        documents_(documents),
        order_(OrderByCost(plan.groups)) {
    result_.options = options;
    if (options.profile.empty()) result_.options.profile = plan.profile;
    served_ = {.profile = &GetProfile(result_.options.profile), .dither_seed = {}};
  }

  CheckResult Run() {
    const std::size_t chosen = FindLargestAccepted(
        order_.size(), [&](std::span<const std::size_t> sizes) { return RunPass(sizes); });
    if (order_.empty()) RunPass({});
    Conclude(chosen);
    return std::move(result_);
  }

 private:
  std::vector<PlannedGroup> Cheapest(std::size_t size) const {
    std::vector<PlannedGroup> groups;
    for (std::size_t n = 0; n < size; ++n) groups.push_back(plan_.groups[order_[n]]);
    return groups;
  }

  std::string NameOf(std::size_t size) const {
    return fmt::format("{} of {} groups", size, order_.size());
  }

  // The first pass tells what the profile costs, the second runs whatever may be chosen under the
  // profile too.
  std::vector<bool> RunPass(std::span<const std::size_t> sizes) {
    const bool first = passes_++ == 0;
    std::vector<RouterOverrides> overrides;
    for (const std::size_t size : sizes) {
      overrides.push_back(MakeOverrides(model_, checkpoint_, Cheapest(size)));
    }
    std::vector<Variant> variants = {{.name = "original", .arithmetic = Fp32Arithmetic()}};
    if (first) variants.push_back({.name = result_.options.profile, .arithmetic = served_});
    std::vector<std::size_t> fp32_of, served_of(sizes.size());  // indices of variants; 0: none
    for (std::size_t n = 0; n < sizes.size(); ++n) {
      fp32_of.push_back(variants.size());
      variants.push_back({NameOf(sizes[n]), Fp32Arithmetic(), &overrides[n]});
      if (first && sizes[n] != order_.size()) continue;
      served_of[n] = variants.size();
      variants.push_back({NameOf(sizes[n]), served_, &overrides[n]});
    }
    CR_CHECK(variants.size() <= kMostVariantsOfCheck, "{} variants", variants.size());
    Evaluation evaluation = Evaluate(model_, documents_, variants);
    if (first) KeepOriginal(evaluation);
    std::vector<bool> verdicts;
    for (std::size_t n = 0; n < sizes.size(); ++n) {
      MeasuredPrefix& measured = measured_[sizes[n]];
      measured.run = Summarize(evaluation, fp32_of[n]);
      measured.run.groups = static_cast<std::int64_t>(sizes[n]);
      measured.run.accepted = measured.run.kl.upper <= result_.limit;
      measured.fp32 = std::move(evaluation.variants[fp32_of[n]].selections);
      if (served_of[n] != 0) {
        measured.profile = std::move(evaluation.variants[served_of[n]].selections);
      }
      verdicts.push_back(measured.run.accepted);
    }
    return verdicts;
  }

  CheckedRun Summarize(const Evaluation& evaluation, std::size_t variant) const {
    const BootstrapOptions bootstrap{result_.options.seed, result_.options.draws};
    const EvaluatedVariant& of_variant = evaluation.variants[variant];
    return {.name = of_variant.name,
            .groups = 0,
            .kl = EstimateKl(evaluation, variant, bootstrap),
            .nll_difference = EstimateNllDifference(evaluation, variant, bootstrap),
            .flips =
                CompareSelections(evaluation.variants[0].selections, of_variant.selections).share(),
            .same_top = SameTopShare(evaluation, variant)};
  }

  void KeepOriginal(Evaluation& evaluation) {
    result_.tokens = evaluation.scored();
    result_.documents = static_cast<std::int64_t>(evaluation.documents.size());
    result_.effective_documents = EffectiveDocuments(evaluation);
    result_.profile = Summarize(evaluation, 1);
    result_.limit = result_.options.kl_share * result_.profile.kl.mean;
    base_ = evaluation.variants[0].selections;
    served_base_ = std::move(evaluation.variants[1].selections);
  }

  void Conclude(std::size_t chosen) {
    result_.accepted = chosen > 0 || order_.empty();
    for (auto prefix = measured_.rbegin(); prefix != measured_.rend(); ++prefix) {
      result_.prefixes.push_back(prefix->second.run);
    }
    const GroupsByLayer groups = MembersByLayer(Cheapest(chosen));
    result_.before = CompareSelections(base_, served_base_, groups);
    result_.after = result_.before;
    if (chosen > 0) {
      const MeasuredPrefix& measured = measured_.at(chosen);
      result_.chosen = measured.run;
      result_.after = CompareSelections(measured.fp32, measured.profile, groups);
    } else {
      result_.chosen.name = NameOf(0);
    }
    result_.plan =
        CutPlan(plan_, {order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(chosen)},
                fmt::format("end-to-end check: only the {} cheapest of {} groups are accepted",
                            chosen, order_.size()));
  }

  const Model& model_;
  const Checkpoint& checkpoint_;
  const Plan& plan_;
  std::span<const Document> documents_;
  std::vector<std::size_t> order_;  // of plan_.groups, by rising cost
  Arithmetic served_;
  int passes_ = 0;
  Selections base_, served_base_;                   // of the original, fp32 and under the profile
  std::map<std::size_t, MeasuredPrefix> measured_;  // by size
  CheckResult result_;
};

}  // namespace

CheckResult CheckPlan(const Model& model, const Checkpoint& checkpoint, const Plan& plan,
                      std::span<const Document> documents, const CheckOptions& options) {
  if (!(options.kl_share >= 0)) {
    Fail("the share of the profile's KL is {}, expected a number >= 0", options.kl_share);
  }
  return PlanCheck(model, checkpoint, plan, documents, options).Run();
}

}  // namespace cacheready
