// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "report/markdown.h"
#include "report/sections.h"
#include "report/verdict.h"

namespace cacheready {
namespace {

std::string SpreadText(const ReportedSpread& spread) {
  return fmt::format("{} / {} / {}", Figure(spread.min), Figure(spread.median), Figure(spread.max));
}

std::string Domains(const std::vector<std::string>& untested) {
  std::string text;
  for (const std::string& domain : untested) {
    text += (text.empty() ? "" : ", ") + EscapeMarkdown(domain);
  }
  return text.empty() ? "–" : text;
}

void AddGrouping(const std::string& name, const std::optional<ReportedGrouping>& grouping,
                 const std::string& reading, MarkdownTable* table) {
  std::string result(kNotMeasured);
  if (grouping) {
    result = fmt::format("{} groups, {} of the experts", Count(grouping->groups),
                         Share(grouping->coverage));
    if (grouping->layers) result += fmt::format(" in {} layers", *grouping->layers);
  }
  table->AddRow({name, result, reading});
}

void AddDecoys(const ReportedControls& controls, MarkdownTable* table) {
  std::string result(kNotMeasured);
  if (controls.decoys && controls.decoys_refused) {
    result =
        fmt::format("{} of {} refused", Count(*controls.decoys_refused), Count(*controls.decoys));
    if (const auto skipped = controls.decoys_without_evidence.value_or(0); skipped > 0) {
      result += fmt::format(" ({} more without evidence)", Count(skipped));
    }
  }
  table->AddRow(
      {"decoys: a copy plus weight noise at twice the threshold", result, "all must be refused"});
}

void AddSplitHalf(const ReportedControls& controls, MarkdownTable* table) {
  std::string result(kNotMeasured);
  if (controls.split_half_layers && *controls.split_half_layers == 0) {
    result = "no group in either half";
  } else if (controls.split_half_agreement) {
    result = fmt::format("{} in {}", Share(controls.split_half_agreement),
                         Plural(controls.split_half_layers.value_or(0), "layer", "layers"));
  }
  table->AddRow({"groups found by each half of the documents: pairs in both", result,
                 "100 %: both halves give the same groups"});
}

std::string WarningList(const ReportFindings& f) {
  std::string text;
  for (const ReportedGroup& group : f.groups) {
    for (const std::string& warning : group.warnings) {
      text += fmt::format("- **Warning**, layer {}, experts {}: {}.\n", group.layer,
                          ExpertList(group.members), EscapeMarkdown(warning));
    }
  }
  return text.empty() ? text : text + "\n";
}

}  // namespace

std::string LayerSection(const ReportFindings& f) {
  std::string text = "## Layers\n\n";
  if (f.layers.empty()) return text + std::string(kNotMeasured) + "\n\n";
  MarkdownTable table({"layer", "experts with evidence", "nearest distance: min / median / max",
                       "threshold: min / median / max", "pairs: candidates / confirmed / lost",
                       "groups: equivalent / tied", "coverage", "budget used", "flips, removed",
                       "starved"});
  for (const ReportedLayer& layer : f.layers) {
    table.AddRow({Count(layer.layer),
                  fmt::format("{} / {}", Count(layer.with_evidence), Count(layer.experts)),
                  SpreadText(layer.nearest_distance), SpreadText(layer.threshold),
                  fmt::format("{} / {} / {}", Count(layer.candidates), Count(layer.confirmed),
                              Count(layer.lost)),
                  fmt::format("{} / {}", Count(layer.groups_equivalent), Count(layer.groups_tied)),
                  Share(layer.coverage), Share(layer.budget_used),
                  fmt::format("{}, {}", Share(layer.flips_profile), Share(layer.flips_removed)),
                  Count(layer.starved)});
  }
  return text + table.Text() +
         "Distances are relative L2 between the outputs of an expert and of its nearest other one "
         "on the same input; the threshold is what two independent renditions of one expert differ "
         "by at this profile. Experts without evidence are unknown, never equivalent. \"Lost\" are "
         "pairs that qualified on one half of the documents and failed on the other. \"Flips\": "
         "share of tokens whose selection differs under the profile, and the share forecast to go "
         "by tying. \"Starved\": experts that were selected before and never after.\n\n";
}

std::string GroupSection(const ReportFindings& f) {
  std::string text = "## Groups\n\n";
  if (!f.planned) return text + std::string(kNotMeasured) + "\n\n";
  if (f.groups.empty()) return text + "No group: no router row is to be changed.\n\n";
  MarkdownTable table({"layer", "experts", "row", "distance / threshold", "tokens changed",
                       "gate mass moved", "output change", "flips inside, removed", "untested in"});
  for (const ReportedGroup& group : f.groups) {
    table.AddRow({Count(group.layer), ExpertList(group.members), EscapeMarkdown(group.rule),
                  Figure(group.ratio), Share(group.tokens_changed), Share(group.gate_mass),
                  Share(group.output_change),
                  fmt::format("{}, {}", Share(group.flips_addressable), Share(group.flips_removed)),
                  Domains(group.untested_domains)});
  }
  return text + table.Text() +
         "\"Distance / threshold\": of the farthest pair inside, by its upper 95 % limit; at most "
         "1. \"Tokens changed\": share that select another number of members of some class. "
         "\"Output change\": RMS change of the layer's output over its norm. Each group is "
         "measured as if it were tied alone.\n\n" +
         WarningList(f);
}

std::string UntiedSection(const ReportFindings& f) {
  std::string text = "## Equivalent, not tied\n\n";
  if (!f.planned) return text + std::string(kNotMeasured) + "\n\n";
  if (f.untied.empty()) return text + "None.\n\n";
  MarkdownTable table(
      {"layer", "experts", "distance / threshold", "tying moves of the gate mass", "why not"});
  for (const ReportedUntied& untied : f.untied) {
    table.AddRow({Count(untied.layer), ExpertList(untied.members), Figure(untied.ratio),
                  Share(untied.gate_mass),
                  untied.reason.empty() ? "–" : EscapeMarkdown(untied.reason)});
  }
  return text + table.Text() +
         "Their outputs are interchangeable, but their router rows are not: tying them would cost "
         "more than the budget allows, remove no flip, or not suit the router's shape.\n\n";
}

std::string ControlSection(const ReportFindings& f) {
  const ReportedControls& controls = f.controls;
  MarkdownTable table({"control", "result", "how to read it"});
  AddDecoys(controls, &table);
  AddSplitHalf(controls, &table);
  AddGrouping("router correlation, real logits", controls.correlation_real,
              "groups by correlated router probabilities; outputs are never compared", &table);
  AddGrouping("router correlation, permuted tokens", controls.correlation_permuted,
              "there is nothing to find", &table);
  AddGrouping("router correlation, Gaussian noise", controls.correlation_noise,
              "there is nothing to find; near the real logits, that method measures nothing",
              &table);
  std::string coverage(kNotMeasured);
  if (const auto experts = f.Experts(); f.planned && experts && *experts > 0) {
    coverage = fmt::format(
        "{} groups, {} of the experts", Count(static_cast<std::int64_t>(f.groups.size())),
        Share(static_cast<double>(f.TiedExperts()) / static_cast<double>(*experts)));
  }
  table.AddRow({"**this plan**", coverage, "to be read beside the lines above"});
  return "## Controls\n\n" + table.Text();
}

}  // namespace cacheready
