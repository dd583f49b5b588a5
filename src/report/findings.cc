// SPDX-License-Identifier: Apache-2.0
#include "report/findings.h"

#include <set>

#include "report/effect_findings.h"
#include "report/json_reader.h"

namespace cacheready {
namespace {

ReportedSpread ReadSpread(const JsonReader& json) {
  return {json.Double("min"), json.Double("median"), json.Double("max")};
}

ReportedLayer ReadLayer(const JsonReader& json) {
  const JsonReader experts = json.Object("experts"), pairs = json.Object("pairs");
  const JsonReader groups = json.Object("groups"), flips = json.Object("flips");
  ReportedLayer layer;
  layer.layer = json.Int("layer").value_or(-1);
  layer.experts = experts.Int("all");
  layer.with_evidence = experts.Int("with_evidence");
  layer.nearest_distance = ReadSpread(json.Object("nearest_distance"));
  layer.threshold = ReadSpread(json.Object("threshold"));
  layer.candidates = pairs.Int("candidates");
  layer.unknown_candidates = pairs.Int("unknown_candidates");
  layer.confirmed = pairs.Int("confirmed");
  layer.lost = pairs.Int("lost_at_confirmation");
  layer.groups_equivalent = groups.Int("equivalent");
  layer.groups_tied = groups.Int("tied");
  layer.coverage = groups.Double("tied_coverage");
  layer.budget_used = json.Object("budget").Double("share_used");
  layer.flips_profile = flips.Double("profile");
  layer.flips_removed = flips.Double("forecast_removed");
  layer.starved = json.Object("load").CountOf("starved");
  return layer;
}

// Domains in which some pair of the group was not tested, ascending.
std::vector<std::string> UntestedDomains(const JsonReader& numbers) {
  std::set<std::string> domains;
  for (const JsonReader& pair : numbers.Array("pairs")) {
    for (const std::string& domain : pair.Strings("untested_domains")) domains.insert(domain);
  }
  return {domains.begin(), domains.end()};
}

ReportedGroup ReadGroup(const JsonReader& json) {
  const JsonReader numbers = json.Object("numbers");
  const JsonReader alone = numbers.Object("alone"), flips = numbers.Object("flips");
  ReportedGroup group;
  group.layer = json.Int("layer").value_or(-1);
  group.members = json.Experts("members");
  group.rule = json.String("rule");
  group.ratio = numbers.Double("diameter");
  group.tokens_changed = alone.Double("class_counts_changed");
  group.gate_mass = alone.Double("gate_mass_moved");
  group.output_change = alone.Double("rms_change");
  group.flips_addressable = flips.Double("addressable");
  group.flips_removed = flips.Double("forecast_removed");
  group.untested_domains = UntestedDomains(numbers);
  group.warnings = numbers.Strings("warnings");
  return group;
}

ReportedUntied ReadUntied(const JsonReader& json) {
  return {json.Int("layer").value_or(-1), json.Experts("members"), json.Double("diameter"),
          json.Object("alone").Double("gate_mass_moved"), json.String("reason")};
}

std::optional<ReportedGrouping> ReadGrouping(const JsonReader& json) {
  if (!json) return std::nullopt;
  return ReportedGrouping{json.Int("layers"), json.Int("groups"), json.Double("coverage")};
}

ReportedControls ReadControls(const JsonReader& json) {
  const JsonReader decoys = json.Object("decoys"), halves = json.Object("split_half");
  const JsonReader correlation = json.Object("router_correlation");
  ReportedControls controls;
  controls.method = json.String("method");
  controls.decoys = decoys.Int("measured");
  controls.decoys_refused = decoys.Int("refused");
  controls.decoys_without_evidence = decoys.Int("without_evidence");
  controls.split_half_layers = halves.Int("layers_with_groups");
  controls.split_half_agreement = halves.Double("pair_agreement");
  controls.correlation_real = ReadGrouping(correlation.Object("real_logits"));
  controls.correlation_permuted = ReadGrouping(correlation.Object("permuted_tokens"));
  controls.correlation_noise = ReadGrouping(correlation.Object("gaussian_noise"));
  return controls;
}

ReportedText ReadText(const JsonReader& json) {
  ReportedText text;
  text.tokens = json.Int("tokens");
  text.documents = json.Int("documents");
  text.longest_context = json.Int("longest_context");
  for (const JsonReader& domain : json.Array("domains")) {
    text.domains.emplace_back(domain.String("domain"), domain.Int("tokens").value_or(0));
  }
  return text;
}

void ReadPlanFindings(const Json& json, ReportFindings* f) {
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
  f->seed = plan.Object("controls").Int("seed");
}

// What a scan without a plan still says.
void ReadScanFindings(const Json& json, ReportFindings* f) {
  const JsonReader scan(&json, "scan.json");
  if (!scan || f->planned) return;
  f->tool_version = scan.String("tool_version");
  f->family = scan.String("family");
  f->profile = scan.String("profile");
  f->numerics_class = scan.String("numerics_class");
  f->scan_key = scan.String("key");
  f->layout_sha256 = scan.String("layout_sha256");
}

void ReadRunFindings(const Json& json, ReportFindings* f) {
  const JsonReader run(&json, "run.json");
  f->command = run.String("command");
  f->source = run.String("source");
  f->output = run.String("output");
  if (const auto seed = run.Int("seed")) f->seed = seed;
  f->written = run.Bool("written");
}

}  // namespace

std::int64_t ReportFindings::TiedExperts() const {
  std::int64_t experts = 0;
  for (const ReportedGroup& group : groups) {
    experts += static_cast<std::int64_t>(group.members.size());
  }
  return experts;
}

std::optional<std::int64_t> ReportFindings::Experts() const {
  if (layers.empty()) return std::nullopt;
  std::int64_t experts = 0;
  for (const ReportedLayer& layer : layers) {
    if (!layer.experts) return std::nullopt;
    experts += *layer.experts;
  }
  return experts;
}

ReportFindings ReadFindings(const ReportInputs& inputs) {
  ReportFindings findings;
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
