// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "report/report.h"
#include "report/verdict.h"

namespace cacheready {
namespace {

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json TextOrNull(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json EstimateJson(const ReportedEstimate& estimate) {
  Json json;
  json["mean"] = OrNull(estimate.mean);
  json["low"] = OrNull(estimate.low);
  json["high"] = OrNull(estimate.high);
  json["upper"] = OrNull(estimate.upper);
  return json;
}

Json ControlJson(const std::optional<ReportedGrouping>& control) {
  if (!control) return {};
  Json json;
  json["groups"] = OrNull(control->groups);
  json["coverage"] = OrNull(control->coverage);
  return json;
}

Json FoundJson(const ReportFindings& f) {
  if (!f.planned) return {};
  Json json;
  json["experts"] = OrNull(f.Experts());
  json["groups"] = f.groups.size();
  json["tied_experts"] = f.TiedExperts();
  json["equivalent_not_tied"] = f.untied.size();
  Json layers = Json::array();
  for (const ReportedLayer& layer : f.layers) {
    Json entry;
    entry["layer"] = layer.layer;
    entry["experts"] = OrNull(layer.experts);
    entry["experts_with_evidence"] = OrNull(layer.with_evidence);
    entry["smallest_nearest_distance"] = OrNull(layer.nearest_distance.min);
    entry["largest_threshold"] = OrNull(layer.threshold.max);
    entry["groups_equivalent"] = OrNull(layer.groups_equivalent);
    entry["groups_tied"] = OrNull(layer.groups_tied);
    entry["coverage"] = OrNull(layer.coverage);
    entry["budget_used"] = OrNull(layer.budget_used);
    layers.push_back(std::move(entry));
  }
  json["layers"] = std::move(layers);
  return json;
}

Json ControlsJson(const ReportedControls& controls) {
  Json json;
  json["decoys"] = OrNull(controls.decoys);
  json["decoys_refused"] = OrNull(controls.decoys_refused);
  json["split_half_agreement"] = OrNull(controls.split_half_agreement);
  json["router_correlation_permuted_tokens"] = ControlJson(controls.correlation_permuted);
  json["router_correlation_real_logits"] = ControlJson(controls.correlation_real);
  json["router_correlation_gaussian_noise"] = ControlJson(controls.correlation_noise);
  return json;
}

Json CheckJson(const std::optional<ReportedCheck>& check) {
  if (!check) return {};
  Json json;
  json["accepted"] = OrNull(check->accepted);
  json["limit"] = OrNull(check->limit);
  json["kl_of_profile"] = EstimateJson(check->profile.kl);
  json["kl_of_chosen"] = check->chosen ? EstimateJson(check->chosen->kl) : Json();
  return json;
}

Json ProofJson(const std::optional<ReportedProof>& proof) {
  if (!proof) return {};
  Json json;
  json["passed"] = proof->passed;
  json["checked_against_plan"] = proof->against_plan;
  json["rows_changed"] = proof->rows_changed;
  json["bytes_compared"] = proof->bytes_compared;
  json["bytes_changed"] = proof->bytes_changed;
  return json;
}

Json RoutingJson(const std::vector<ReportedRouting>& routing) {
  if (routing.empty()) return {};
  Json json = Json::array();
  for (const ReportedRouting& entry : routing) {
    Json profile;
    profile["name"] = entry.name;
    profile["flips_before"] = OrNull(entry.flips_before);
    profile["flips_after"] = OrNull(entry.flips_after);
    json.push_back(std::move(profile));
  }
  return json;
}

}  // namespace

Json SummaryReport(const ReportInputs& inputs) {
  const ReportFindings f = ReadFindings(inputs);
  Json json;
  json["schema"] = "cacheready.report/1";
  json["outcome"] = std::string(OutcomeName(OutcomeOf(f)));
  json["verdict"] = VerdictLines(f);
  json["profile"] = TextOrNull(f.profile);
  json["tolerance"] = OrNull(f.tolerance);
  json["budget"] = OrNull(f.budget);
  json["found"] = FoundJson(f);
  json["written"] = OrNull(f.written);
  json["controls"] = ControlsJson(f.controls);
  json["check"] = CheckJson(f.check);
  json["quality_verdict"] = OrNull(f.quality_verdict);
  json["routing"] = RoutingJson(f.routing);
  json["proof"] = ProofJson(f.proof);
  Json reproduce;
  reproduce["command"] = TextOrNull(f.command);
  reproduce["seed"] = OrNull(f.seed);
  reproduce["tool_version"] = TextOrNull(f.tool_version);
  reproduce["numerics_class"] = TextOrNull(f.numerics_class);
  reproduce["scan_key"] = TextOrNull(f.scan_key);
  reproduce["layout_sha256"] = TextOrNull(f.layout_sha256);
  json["reproduce"] = std::move(reproduce);
  return json;
}

}  // namespace cacheready
