// SPDX-License-Identifier: Apache-2.0
#include "report/effect_findings.h"

#include <fmt/format.h>

#include <algorithm>

#include "report/json_reader.h"

namespace cacheready {
namespace {

ReportedEstimate ReadEstimate(const JsonReader& json) {
  return {json.Double("mean"), json.Double("low"), json.Double("high"), json.Double("upper")};
}

ReportedVariant ReadVariant(const JsonReader& json) {
  ReportedVariant variant;
  variant.name = json.String("name");
  variant.groups = json.CountOf("groups");
  variant.kl = ReadEstimate(json.Object("kl"));
  variant.flips = json.Double("flips");
  variant.same_top = json.Double("same_top");
  variant.nll_difference = ReadEstimate(json.Object("nll_difference"));
  variant.accepted = json.Bool("accepted");
  return variant;
}

std::string Place(const JsonReader& finding) {
  std::string place = finding.String("file");
  if (const std::string tensor = finding.String("tensor"); !tensor.empty()) place += ": " + tensor;
  if (const auto offset = finding.Int("offset_bytes")) place += fmt::format(" @ {}", *offset);
  return place;
}

}  // namespace

std::optional<ReportedCheck> ReadCheck(const Json& json) {
  const JsonReader check(&json, "check.json");
  if (!check) return std::nullopt;
  ReportedCheck findings;
  findings.accepted = check.Bool("accepted");
  findings.limit = check.Double("limit");
  findings.tokens = check.Int("tokens");
  findings.documents = check.Int("documents");
  findings.profile = ReadVariant(check.Object("profile"));
  for (const JsonReader& prefix : check.Array("prefixes")) {
    findings.prefixes.push_back(ReadVariant(prefix));
  }
  if (const JsonReader chosen = check.Object("chosen")) findings.chosen = ReadVariant(chosen);
  return findings;
}

std::optional<ReportedProof> ReadProof(const Json& json) {
  const JsonReader verification(&json, "verification.json");
  if (!verification) return std::nullopt;
  ReportedProof proof;
  const auto number = [&](std::string_view key) { return verification.Int(key).value_or(0); };
  proof.passed = verification.Bool("passed").value_or(false);
  proof.against_plan = verification.Bool("checked_against_plan").value_or(false);
  proof.tensors = number("tensors");
  proof.tensors_changed = number("tensors_changed");
  proof.rows_changed = number("rows_changed");
  proof.groups_identical = number("groups_identical");
  proof.bytes_compared = number("bytes_compared");
  proof.bytes_changed = number("bytes_changed");
  for (const JsonReader& finding : verification.Array("findings")) {
    proof.findings.emplace_back(Place(finding), finding.String("message"));
  }
  proof.findings_total =
      std::max(number("findings_total"), static_cast<std::int64_t>(proof.findings.size()));
  proof.left_out = verification.Strings("left_out");
  for (const JsonReader& file : verification.Array("files")) {
    if (file.Int("changed_bytes").value_or(0) == 0) continue;
    proof.changed_files.push_back(
        {file.String("path"), file.String("sha256_source"), file.String("sha256_out")});
  }
  return proof;
}

void ReadEvaluation(const Json& json, ReportFindings* f) {
  const JsonReader evaluation(&json, "eval.json");
  for (const JsonReader& variant : evaluation.Array("variants")) {
    f->evaluated.push_back(ReadVariant(variant));
  }
  const std::string verdict = evaluation.String("verdict");
  if (!verdict.empty()) f->quality_verdict = verdict;
}

void ReadStability(const Json& json, ReportFindings* f) {
  const JsonReader stability(&json, "stability.json");
  for (const JsonReader& profile : stability.Array("profiles")) {
    const JsonReader before = profile.Object("before"), after = profile.Object("after");
    ReportedRouting routing;
    routing.name = profile.String("name");
    routing.flips_before = before.Double("flips");
    routing.flips_after = after.Double("flips");
    routing.within = before.Double("within");
    routing.across = before.Double("across");
    routing.singleton = before.Double("singleton");
    f->routing.push_back(routing);
  }
}

}  // namespace cacheready
