// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "report/markdown.h"
#include "report/sections.h"
#include "report/verdict.h"

namespace cacheready {
namespace {

std::optional<double> Coverage(const LayerFindings& layer) {
  if (!layer.experts || *layer.experts == 0 || !layer.tied_experts) return std::nullopt;
  return static_cast<double>(*layer.tied_experts) / static_cast<double>(*layer.experts);
}

std::string Domains(const std::vector<std::string>& untested) {
  std::string text;
  for (const std::string& domain : untested) {
    text += (text.empty() ? "" : ", ") + EscapeMarkdown(domain);
  }
  return text.empty() ? "–" : text;
}

void AddControlGroups(const std::string& name, const std::optional<ControlGroups>& control,
                      const std::string& reading, MarkdownTable* table) {
  const std::string result = control ? fmt::format("{} groups, {} of the experts",
                                                   Count(control->groups), Share(control->coverage))
                                     : std::string(kNotMeasured);
  table->AddRow({name, result, reading});
}

}  // namespace

std::string LayerSection(const Findings& f) {
  std::string text = "## Layers\n\n";
  if (f.layers.empty()) return text + std::string(kNotMeasured) + "\n\n";
  MarkdownTable table({"layer", "experts with evidence", "nearest distance", "its threshold",
                       "pairs: candidates / confirmed / lost", "groups", "coverage",
                       "budget used"});
  for (const LayerFindings& layer : f.layers) {
    table.AddRow({Count(layer.layer),
                  fmt::format("{} / {}", Count(layer.with_evidence), Count(layer.experts)),
                  Figure(layer.nearest_distance), Figure(layer.threshold),
                  fmt::format("{} / {} / {}", Count(layer.candidates), Count(layer.confirmed),
                              Count(layer.lost)),
                  Count(layer.groups), Share(Coverage(layer)), Share(layer.budget_used)});
  }
  return text + table.Text() +
         "Distances are relative L2 between outputs of two experts on the same input; the "
         "threshold is what two independent renditions of one expert differ by at this profile. "
         "Experts without evidence are unknown, never equivalent. \"Lost\" are pairs that "
         "qualified on one half of the documents and failed on the other.\n\n";
}

std::string GroupSection(const Findings& f) {
  std::string text = "## Groups\n\n";
  if (!f.planned) return text + std::string(kNotMeasured) + "\n\n";
  if (f.groups.empty()) return text + "No group: no router row is to be changed.\n\n";
  MarkdownTable table({"layer", "experts", "row", "distance / threshold", "tokens changed",
                       "gate mass moved", "output change", "flips addressed", "untested in"});
  for (const GroupFindings& group : f.groups) {
    table.AddRow({Count(group.layer), ExpertList(group.members), EscapeMarkdown(group.rule),
                  Figure(group.ratio), Share(group.tokens_changed), Share(group.gate_mass),
                  Figure(group.output_change), Figure(group.flips),
                  Domains(group.untested_domains)});
  }
  return text + table.Text() +
         "\"Tokens changed\": share of tokens that select another number of members of some class. "
         "\"Output change\": RMS of the change of the layer's output over its norm.\n\n";
}

std::string UntiedSection(const Findings& f) {
  std::string text = "## Equivalent, not tied\n\n";
  if (!f.planned) return text + std::string(kNotMeasured) + "\n\n";
  if (f.untied.empty()) return text + "None.\n\n";
  MarkdownTable table({"layer", "experts", "tying moves of the gate mass", "why not"});
  for (const UntiedFindings& untied : f.untied) {
    table.AddRow({Count(untied.layer), ExpertList(untied.members), Share(untied.gate_mass),
                  untied.reason.empty() ? "–" : EscapeMarkdown(untied.reason)});
  }
  return text + table.Text() +
         "Their outputs are interchangeable, but their router rows are not: tying them would cost "
         "more than the budget allows.\n\n";
}

std::string ControlSection(const Findings& f) {
  const ControlFindings& controls = f.controls;
  MarkdownTable table({"control", "result", "how to read it"});
  std::string decoys(kNotMeasured);
  if (controls.decoys && controls.decoys_refused) {
    decoys =
        fmt::format("{} of {} refused", Count(*controls.decoys_refused), Count(*controls.decoys));
  }
  table.AddRow(
      {"decoys: a member plus weight noise at twice the threshold", decoys, "all must be refused"});
  table.AddRow({"split-half agreement of the groups",
                controls.split_half_agreement ? Share(controls.split_half_agreement)
                                              : std::string(kNotMeasured),
                "100 %: both halves of the documents give the same groups"});
  AddControlGroups("permuted tokens", controls.permuted, "must find nothing", &table);
  AddControlGroups("router correlation, real logits", controls.correlation_real,
                   "groups by correlated router probabilities, outputs never compared", &table);
  AddControlGroups("router correlation, Gaussian noise", controls.correlation_noise,
                   "where this is near the line above, that method does not measure equivalence",
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
