// SPDX-License-Identifier: Apache-2.0
#include "pipeline/plan_command.h"

#include <fmt/ranges.h>

#include <map>

#include "base/error.h"
#include "pipeline/files.h"
#include "pipeline/text_table.h"
#include "planning/plan_maker.h"
#include "report/report.h"
#include "report/verdict.h"

namespace cacheready {
namespace {

std::string LayerTable(const ReportFindings& findings) {
  TextTable table({"layer", "with evidence", "nearest", "threshold", "candidates", "confirmed",
                   "groups", "tied"});
  const auto count = [](const auto& value) { return value ? std::to_string(*value) : "-"; };
  const auto figure = [](const auto& value) { return value ? fmt::format("{:.3g}", *value) : "-"; };
  for (const ReportedLayer& layer : findings.layers) {
    table.AddRow({std::to_string(layer.layer),
                  fmt::format("{}/{}", count(layer.with_evidence), count(layer.experts)),
                  figure(layer.nearest_distance.min), figure(layer.threshold.median),
                  count(layer.candidates), count(layer.confirmed), count(layer.groups_equivalent),
                  count(layer.groups_tied)});
  }
  return table.Text();
}

std::string WarningText(const ReportFindings& findings) {
  std::string text;
  for (const ReportedGroup& group : findings.groups) {
    for (const std::string& warning : group.warnings) {
      text += fmt::format("warning: layer {}, experts {}: {}\n", group.layer,
                          fmt::join(group.members, " "), warning);
    }
  }
  std::map<std::string, int> untied;  // by reason
  for (const ReportedUntied& group : findings.untied) ++untied[group.reason];
  for (const auto& [reason, groups] : untied) {
    text += fmt::format("equivalent, not tied: {} {}: {}\n", groups,
                        groups == 1 ? "group" : "groups", reason);
  }
  return text.empty() ? text : text + "\n";
}

std::string ControlText(const ReportedControls& controls) {
  FactList facts;
  if (controls.decoys && controls.decoys_refused) {
    facts.Add("decoys refused",
              fmt::format("{} of {}", *controls.decoys_refused, *controls.decoys));
  }
  if (controls.split_half_agreement) {
    facts.Add("split-half agreement", PercentText(*controls.split_half_agreement));
  }
  const auto add = [&](const char* name, const std::optional<ReportedGrouping>& grouping) {
    if (grouping && grouping->coverage) facts.Add(name, PercentText(*grouping->coverage));
  };
  add("router correlation would cover", controls.correlation_real);
  add("... and of Gaussian noise", controls.correlation_noise);
  return facts.Text();
}

}  // namespace

Plan PlanScan(const PlanRequest& request) {
  PlanOptions options;
  options.tolerance = request.tolerance;
  options.budget = request.budget;
  options.max_group = request.max_group;
  options.seed = request.seed;
  options.method = request.method;
  options.mtp = request.mtp;
  return MakePlan(request.scan, options);
}

std::string PlanText(const Plan& plan) {
  ReportInputs inputs;
  inputs.plan = ToJson(plan);
  const ReportFindings findings = ReadFindings(inputs);
  const std::string found = PlainText(VerdictLines(findings).front());
  std::string text = found + "\n\n";
  if (!findings.layers.empty()) text += LayerTable(findings) + "\n";
  return text + WarningText(findings) + ControlText(findings.controls);
}

Outcome MakePlan(const PlanRequest& request) {
  if (!request.dry_run) RequireWritablePlace(request.out);
  const Plan plan = PlanScan(request);
  const Json json = ToJson(plan);
  if (!request.dry_run) WriteJsonFile(request.out, json);
  return {.json = WriteJson(json), .summary = PlanText(plan)};
}

}  // namespace cacheready
