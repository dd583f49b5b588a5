// SPDX-License-Identifier: Apache-2.0
#include "report/verdict.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "report/markdown.h"

namespace cacheready {
namespace {

std::string UnderProfile(const ReportFindings& f) {
  return f.profile.empty() ? std::string("its profile") : CodeSpan(f.profile);
}

// The layer whose nearest pair comes closest to its threshold, or nullptr.
const ReportedLayer* ClosestLayer(const ReportFindings& f) {
  const ReportedLayer* closest = nullptr;
  const auto ratio = [](const ReportedLayer& layer) {
    return *layer.nearest_distance.min / *layer.threshold.max;
  };
  for (const ReportedLayer& layer : f.layers) {
    if (!layer.nearest_distance.min || layer.threshold.max.value_or(0) <= 0) continue;
    if (!closest || ratio(layer) < ratio(*closest)) closest = &layer;
  }
  return closest;
}

// Experts with too little evidence to be judged; none if that is not recorded.
std::string UnknownClause(const ReportFindings& f) {
  std::int64_t unknown = 0;
  for (const ReportedLayer& layer : f.layers) {
    if (layer.experts && layer.with_evidence) unknown += *layer.experts - *layer.with_evidence;
  }
  if (unknown == 0) return {};
  return fmt::format(" {} selected by too few tokens and not judged.",
                     Plural(unknown, "expert was", "experts were"));
}

std::string NothingEquivalentLine(const ReportFindings& f) {
  std::string line = "**Nothing here is equivalent.** ";
  if (const auto experts = f.Experts()) {
    line += fmt::format(
        "Of {} in {}, no two are interchangeable at {}", Plural(*experts, "expert", "experts"),
        Plural(static_cast<std::int64_t>(f.layers.size()), "layer", "layers"), UnderProfile(f));
  } else {
    line += fmt::format("No two experts are interchangeable at {}", UnderProfile(f));
  }
  if (const ReportedLayer* closest = ClosestLayer(f)) {
    line += fmt::format(
        ": the closest pair (layer {}) differs by {} of its output where at most {} is allowed",
        closest->layer, Figure(closest->nearest_distance.min), Figure(closest->threshold.max));
  }
  return line + ". That is an answer, not a failure: tying any of them would change the model." +
         UnknownClause(f);
}

std::string GroupsLine(const ReportFindings& f) {
  std::set<std::int64_t> layers;
  for (const ReportedGroup& group : f.groups) layers.insert(group.layer);
  const auto groups = static_cast<std::int64_t>(f.groups.size());
  std::string line = fmt::format("**Found:** {} of equivalent experts at {}: {}",
                                 Plural(groups, "group", "groups"), UnderProfile(f),
                                 Plural(f.TiedExperts(), "expert", "experts"));
  if (const auto experts = f.Experts(); experts && *experts > 0) {
    line +=
        fmt::format(" of {} ({})", Count(*experts),
                    Share(static_cast<double>(f.TiedExperts()) / static_cast<double>(*experts)));
  }
  line +=
      fmt::format(", in {}", Plural(static_cast<std::int64_t>(layers.size()), "layer", "layers"));
  if (!f.untied.empty()) {
    line += fmt::format("; {} more equivalent, not tied",
                        Plural(static_cast<std::int64_t>(f.untied.size()), "group", "groups"));
  }
  return line + "." + UnknownClause(f);
}

std::int64_t UnjudgedPairs(const ReportFindings& f) {
  std::int64_t pairs = 0;
  for (const ReportedLayer& layer : f.layers) pairs += layer.unknown_candidates.value_or(0);
  return pairs;
}

std::string UnknownLine(const ReportFindings& f) {
  if (!f.controls.method.empty() && f.controls.method != "outputs") {
    return fmt::format(
        "**Unknown.** This plan groups by {}, which compares no output of any expert: nothing is "
        "known about equivalence.",
        CodeSpan(f.controls.method));
  }
  if (const std::int64_t pairs = UnjudgedPairs(f); pairs > 0) {
    return fmt::format(
        "**Unknown.** {} near each other, but too few tokens or documents selected them to be "
        "judged: give more calibration text, or shorter documents. Nothing is claimed to be "
        "equivalent.",
        Plural(pairs, "pair of experts is", "pairs of experts are"));
  }
  return "**Unknown.** No expert was selected by enough tokens to be judged; a larger or more "
         "varied calibration text is needed. Nothing is claimed to be equivalent.";
}

// Each once.
std::set<std::string> ReasonsOf(const std::vector<ReportedUntied>& untied) {
  std::set<std::string> reasons;
  for (const ReportedUntied& group : untied) reasons.insert(EscapeMarkdown(group.reason));
  return reasons;
}

// A decoy that passes refutes the method, so it is said where the groups are.
std::string DecoyClause(const ReportFindings& f) {
  const std::int64_t passed = f.controls.decoys.value_or(0) - f.controls.decoys_refused.value_or(0);
  if (!f.controls.decoys || !f.controls.decoys_refused || passed == 0) return {};
  return fmt::format(" **Do not trust this plan:** {} passed that had to be refused.",
                     Plural(passed, "decoy", "decoys"));
}

std::string FoundLine(const ReportFindings& f) {
  switch (OutcomeOf(f)) {
    case ReportOutcome::kNotPlanned:
      return "**Found:** not measured; there is no plan to report on.";
    case ReportOutcome::kUnknown:
      return UnknownLine(f);
    case ReportOutcome::kNothingEquivalent:
      return NothingEquivalentLine(f);
    case ReportOutcome::kEquivalentNotTied:
      return fmt::format("**Found:** {} of equivalent experts at {}, none of which is tied: {}.",
                         Plural(static_cast<std::int64_t>(f.untied.size()), "group", "groups"),
                         UnderProfile(f), fmt::join(ReasonsOf(f.untied), "; "));
    case ReportOutcome::kGroups:
      return GroupsLine(f);
  }
  return {};
}

std::string WrittenLine(const ReportFindings& f) {
  const bool refused = f.check && f.check->accepted && !*f.check->accepted;
  if (f.written && !*f.written) {
    const char* reason = refused            ? " The end-to-end check refused the plan."
                         : f.groups.empty() ? " There is nothing to tie; the source is untouched."
                                            : "";
    return fmt::format("**Written:** nothing.{}", reason);
  }
  if (f.written) {
    std::string line =
        fmt::format("**Written:** router rows of {}", Plural(f.TiedExperts(), "expert", "experts"));
    if (f.proof) {
      line += fmt::format(" ({} in {})", Plural(f.proof->rows_changed, "row", "rows"),
                          Plural(f.proof->tensors_changed, "tensor", "tensors"));
    }
    return line + ", nothing else.";
  }
  if (f.groups.empty()) return "**Written:** nothing to write.";
  return "**Written:** not recorded here; the plan alone changes nothing.";
}

std::string ProvenLine(const ReportFindings& f) {
  if (!f.proof) return "**Proven:** not measured; no copy was verified.";
  if (!f.proof->passed) {
    return fmt::format("**Not proven.** Verification found {}; do not use this copy.",
                       Plural(f.proof->findings_total, "difference", "differences"));
  }
  std::string line =
      fmt::format("**Proven:** {} bytes of {} compared; {} differ", Count(f.proof->bytes_compared),
                  Plural(f.proof->tensors, "tensor", "tensors"), Count(f.proof->bytes_changed));
  line += f.proof->against_plan ? ", all inside planned rows."
                                : "; the changed rows were not checked against a plan.";
  return line;
}

std::string CostLine(const ReportFindings& f) {
  if (!f.check || !f.check->chosen || !f.check->chosen->kl.mean) {
    return f.groups.empty() && f.planned ? "**Cost:** none; no weight changes."
                                         : "**Cost:** not measured.";
  }
  const ReportedEstimate& kl = f.check->chosen->kl;
  std::string line = fmt::format("**Cost:** KL(base‖new) {} nats per token", Figure(kl.mean));
  if (kl.upper) line += fmt::format(" (95 % upper limit {})", Figure(kl.upper));
  if (const auto noise = f.check->profile.kl.mean) {
    line += fmt::format(", against {} that {} costs by itself", Figure(noise), UnderProfile(f));
  }
  if (f.check->accepted) line += *f.check->accepted ? ": accepted" : ": refused";
  line += '.';
  if (const auto flips = f.check->chosen->flips; flips && !f.groups.empty()) {
    line += fmt::format(" In {} of token-layers other experts are selected than before.",
                        Share(*flips));
  }
  return line;
}

// Every layer has the same tokens, so the mean over layers is the share of token-layers.
std::string ForecastClause(const ReportFindings& f) {
  double flips = 0, removed = 0;
  for (const ReportedLayer& layer : f.layers) {
    if (!layer.flips_profile || !layer.flips_removed) return {};
    flips += *layer.flips_profile;
    removed += *layer.flips_removed;
  }
  if (f.layers.empty()) return {};
  const auto layers = static_cast<double>(f.layers.size());
  return fmt::format(
      " Forecast by the plan: of the {} of token-layers whose selection flips under {}, {} stop.",
      Share(flips / layers), UnderProfile(f), Share(removed / layers));
}

std::string GainLine(const ReportFindings& f) {
  if (f.planned && f.groups.empty()) {
    return "**Gain:** none to be had by tying; router logits in fp32 or a fixed reduction order "
           "reduce flips without touching weights.";
  }
  const auto both = std::find_if(f.routing.begin(), f.routing.end(), [](const auto& routing) {
    return routing.flips_before && routing.flips_after;
  });
  if (both == f.routing.end()) return "**Gain:** not measured." + ForecastClause(f);
  return fmt::format(
      "**Gain:** under {} the share of token-layers whose selection flips goes from {} to {}: more "
      "repeatable routing, not better output.",
      CodeSpan(both->name), Share(both->flips_before), Share(both->flips_after));
}

}  // namespace

ReportOutcome OutcomeOf(const ReportFindings& f) {
  if (!f.planned) return ReportOutcome::kNotPlanned;
  if (!f.groups.empty()) return ReportOutcome::kGroups;
  if (!f.untied.empty()) return ReportOutcome::kEquivalentNotTied;
  const bool nobody_judged =
      std::all_of(f.layers.begin(), f.layers.end(), [](const ReportedLayer& layer) {
        return layer.with_evidence && *layer.with_evidence < 2;  // one alone has no partner
      });
  return nobody_judged || UnjudgedPairs(f) > 0 ? ReportOutcome::kUnknown
                                               : ReportOutcome::kNothingEquivalent;
}

std::string_view OutcomeName(ReportOutcome outcome) {
  switch (outcome) {
    case ReportOutcome::kNotPlanned:
      return "not planned";
    case ReportOutcome::kUnknown:
      return "unknown";
    case ReportOutcome::kNothingEquivalent:
      return "nothing equivalent";
    case ReportOutcome::kEquivalentNotTied:
      return "equivalent, not tied";
    case ReportOutcome::kGroups:
      return "groups";
  }
  return {};
}

std::vector<std::string> VerdictLines(const ReportFindings& findings) {
  return {FoundLine(findings) + DecoyClause(findings), WrittenLine(findings), ProvenLine(findings),
          CostLine(findings), GainLine(findings)};
}

}  // namespace cacheready
