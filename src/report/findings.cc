// SPDX-License-Identifier: Apache-2.0
#include "report/findings.h"

#include "report/effect_findings.h"
#include "report/json_reader.h"

namespace cacheready {
namespace {

LayerFindings ReadLayer(const JsonReader& json) {
  LayerFindings layer;
  layer.layer = json.Int("layer").value_or(-1);
  layer.experts = json.Int("experts");
  layer.with_evidence = json.Int("experts_with_evidence");
  layer.nearest_distance = json.Double("nearest_distance");
  layer.threshold = json.Double("threshold");
  layer.candidates = json.Int("candidate_pairs");
  layer.confirmed = json.Int("equivalent_pairs");
  layer.lost = json.CountOf("lost_pairs");
  layer.groups = json.CountOf("groups");
  layer.tied_experts = json.Int("tied_experts");
  layer.budget_used = json.Double("budget_used");
  return layer;
}

GroupFindings ReadGroup(const JsonReader& json) {
  const JsonReader numbers = json.Object("numbers");
  GroupFindings group;
  group.layer = json.Int("layer").value_or(-1);
  group.members = json.Experts("members");
  group.rule = json.String("rule");
  group.ratio = numbers.Double("ratio");
  group.tokens_changed = numbers.Double("tokens_changed");
  group.gate_mass = numbers.Double("gate_mass_moved");
  group.output_change = numbers.Double("output_change");
  group.flips = numbers.Double("addressable_flips");
  group.untested_domains = numbers.Strings("untested_domains");
  return group;
}

UntiedFindings ReadUntied(const JsonReader& json) {
  return {json.Int("layer").value_or(-1), json.Experts("members"), json.Double("gate_mass_moved"),
          json.String("reason")};
}

std::optional<ControlGroups> ReadControlGroups(const JsonReader& json) {
  if (!json) return std::nullopt;
  return ControlGroups{json.CountOf("groups"), json.Double("coverage")};
}

ControlFindings ReadControls(const JsonReader& json) {
  ControlFindings controls;
  const JsonReader decoys = json.Object("decoys");
  controls.decoys = decoys.Int("tested");
  controls.decoys_refused = decoys.Int("refused");
  controls.split_half_agreement = json.Object("split_half").Double("agreement");
  controls.permuted = ReadControlGroups(json.Object("permuted"));
  const JsonReader correlation = json.Object("router_correlation");
  controls.correlation_real = ReadControlGroups(correlation.Object("real_logits"));
  controls.correlation_noise = ReadControlGroups(correlation.Object("gaussian_noise"));
  return controls;
}

TextFindings ReadText(const JsonReader& json) {
  TextFindings text;
  text.tokens = json.Int("tokens");
  text.documents = json.Int("documents");
  text.longest_context = json.Int("longest_context");
  for (const JsonReader& domain : json.Array("domains")) {
    text.domains.emplace_back(domain.String("domain"), domain.Int("tokens").value_or(0));
  }
  return text;
}

void ReadPlanFindings(const Json& json, Findings* f) {
  const JsonReader plan(&json, "plan.json");
  if (!plan) return;
  f->planned = true;
  f->tool_version = plan.String("tool_version");
  f->family = plan.String("family");
  f->profile = plan.String("profile");
  f->numerics_class = plan.String("numerics_class");
  f->scan_key = plan.String("scan_key");
  f->layout_sha256 = plan.String("layout_sha256");
  f->tolerance = plan.Double("tolerance");
  f->budget = plan.Double("budget");
  for (const JsonReader& layer : plan.Array("layers")) f->layers.push_back(ReadLayer(layer));
  for (const JsonReader& group : plan.Array("groups")) f->groups.push_back(ReadGroup(group));
  for (const JsonReader& untied : plan.Array("untied")) f->untied.push_back(ReadUntied(untied));
  f->controls = ReadControls(plan.Object("controls"));
  f->text = ReadText(plan.Object("text"));
}

// What a scan without a plan still says.
void ReadScanFindings(const Json& json, Findings* f) {
  const JsonReader scan(&json, "scan.json");
  if (!scan || f->planned) return;
  f->tool_version = scan.String("tool_version");
  f->family = scan.String("family");
  f->profile = scan.String("profile");
  f->numerics_class = scan.String("numerics_class");
  f->scan_key = scan.String("key");
  f->layout_sha256 = scan.String("layout_sha256");
}

void ReadRunFindings(const Json& json, Findings* f) {
  const JsonReader run(&json, "run.json");
  f->command = run.String("command");
  f->source = run.String("source");
  f->output = run.String("output");
  f->seed = run.Int("seed");
  f->written = run.Bool("written");
}

}  // namespace

std::int64_t Findings::TiedExperts() const {
  std::int64_t experts = 0;
  for (const GroupFindings& group : groups) {
    experts += static_cast<std::int64_t>(group.members.size());
  }
  return experts;
}

std::optional<std::int64_t> Findings::Experts() const {
  if (layers.empty()) return std::nullopt;
  std::int64_t experts = 0;
  for (const LayerFindings& layer : layers) {
    if (!layer.experts) return std::nullopt;
    experts += *layer.experts;
  }
  return experts;
}

Findings ReadFindings(const ReportInputs& inputs) {
  Findings findings;
  ReadPlanFindings(inputs.plan, &findings);
  ReadScanFindings(inputs.scan, &findings);
  ReadRunFindings(inputs.run, &findings);
  findings.check = ReadCheck(inputs.check);
  findings.proof = ReadProof(inputs.verification);
  ReadEvaluation(inputs.evaluation, &findings);
  ReadStability(inputs.stability, &findings);
  return findings;
}

}  // namespace cacheready
