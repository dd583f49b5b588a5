// SPDX-License-Identifier: Apache-2.0
#include "report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "base/error.h"

namespace cacheready {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// From a heading to the next one.
std::string SectionOf(const std::string& report, const std::string& heading) {
  const std::size_t begin = report.find("## " + heading + "\n");
  if (begin == std::string::npos) return {};
  return report.substr(begin, report.find("\n## ", begin) - begin);
}

// Two layers of 32 experts in which nothing is close.
Json EmptyPlan() {
  return ParseJson(R"({
    "schema": "cacheready.plan/1", "tool_version": "0.1.0", "family": "qwen3_5_moe",
    "profile": "fp8-w8a8", "numerics_class": "fp32-chain-1", "scan_key": "abc",
    "layout_sha256": "def", "tolerance": 1.0, "budget": 0.5,
    "text": {"tokens": 16384, "documents": 40, "longest_context": 2048,
             "domains": [{"domain": "law", "tokens": 9000}, {"domain": "c|o*de", "tokens": 7384}]},
    "groups": [], "untied": [],
    "layers": [
      {"layer": 0, "experts": {"all": 32, "with_evidence": 32},
       "pairs": {"candidates": 0, "confirmed": 0, "lost_at_confirmation": 0},
       "groups": {"equivalent": 0, "tied": 0, "tied_coverage": 0.0},
       "nearest_distance": {"min": 1.06, "median": 1.1, "max": 1.25},
       "threshold": {"min": 0.2, "median": 0.22, "max": 0.24},
       "flips": {"profile": 0.087, "addressable": 0.0, "forecast_removed": 0.0},
       "budget": null, "load": {"starved": []}},
      {"layer": 1, "experts": {"all": 32, "with_evidence": 30},
       "pairs": {"candidates": 1, "confirmed": 0, "lost_at_confirmation": 1},
       "groups": {"equivalent": 1, "tied": 1, "tied_coverage": 0.0625},
       "nearest_distance": {"min": 1.2, "median": 1.21, "max": 1.3},
       "threshold": {"min": 0.1, "median": 0.15, "max": 0.2},
       "flips": {"profile": 0.09, "addressable": 0.01, "forecast_removed": 0.004},
       "budget": {"limit": 2e-6, "used": 1e-6, "share_used": 0.5},
       "load": {"starved": [3, 4]}}],
    "controls": {"method": "outputs", "seed": 7,
      "decoys": {"measured": 6, "refused": 6, "without_evidence": 2},
      "split_half": {"layers_with_groups": 2, "pair_agreement": 0.75},
      "router_correlation": {"real_logits": {"layers": 4, "groups": 9, "coverage": 0.44},
                             "permuted_tokens": {"layers": 1, "groups": 1, "coverage": 0.1},
                             "gaussian_noise": {"layers": 4, "groups": 10, "coverage": 0.45}}}})",
                   "plan");
}

Json PlanWithGroups() {
  Json plan = EmptyPlan();
  plan["groups"] = ParseJson(R"([
    {"layer": 0, "members": [0, 1], "rule": "mean", "tensors": [],
     "numbers": {"diameter": 0.125,
       "alone": {"class_counts_changed": 0.07, "gate_mass_moved": 0.011, "rms_change": 0.0042},
       "flips": {"profile": 0.09, "addressable": 0.03, "forecast_removed": 0.02},
       "pairs": [{"untested_domains": ["medicine"]}, {"untested_domains": ["law", "medicine"]}]}},
    {"layer": 0, "members": [4, 5, 6], "rule": "row of expert 5", "tensors": [], "numbers": {}}])",
                             "groups");
  plan["untied"] = ParseJson(
      R"([{"layer": 1, "members": [8, 9], "diameter": 0.5, "alone": {"gate_mass_moved": 0.22},
           "reason": "over | budget"}])",
      "untied");
  return plan;
}

Json Check(bool accepted) {
  Json check = ParseJson(R"({"limit": 0.005, "tokens": 4096, "documents": 24,
    "profile": {"name": "profile", "kl": {"mean": 0.0103, "low": 0.009, "high": 0.012},
                "flips": 0.091},
    "prefixes": [{"name": "100 %", "groups": 2, "kl": {"mean": 0.0017, "upper": 0.0022},
                  "flips": 0.03, "accepted": true}],
    "chosen": {"name": "100 %", "groups": 2, "kl": {"mean": 0.0017, "upper": 0.0022}}})",
                         "check");
  check["accepted"] = accepted;
  return check;
}

Json Verification(bool passed) {
  Json json = ParseJson(R"({"checked_against_plan": true, "tensors": 1095, "tensors_changed": 1,
    "rows_changed": 5, "groups_identical": 2, "bytes_compared": 22654316, "bytes_changed": 2511,
    "findings": [],
    "files": [{"path": "a.safetensors", "sha256_source": "aa", "sha256_out": "bb",
               "changed_bytes": 2511},
              {"path": "b.json", "sha256_source": "cc", "sha256_out": "cc", "changed_bytes": 0}]})",
                        "verification");
  json["passed"] = passed;
  if (!passed) {
    json["findings"].push_back(
        Json{{"file", "a.safetensors"}, {"tensor", "x"}, {"offset_bytes", 12}, {"message", "<b>"}});
  }
  return json;
}

ReportInputs FullInputs() {
  ReportInputs inputs;
  inputs.plan = PlanWithGroups();
  inputs.check = Check(true);
  inputs.verification = Verification(true);
  inputs.run = Json{{"command", "cacheready canonicalize A|B -o OUT"},
                    {"source", "A|B"},
                    {"seed", 7},
                    {"written", true}};
  inputs.stability = ParseJson(R"({"profiles": [{"name": "bf16-tp1",
    "before": {"flips": 0.068, "within": 0.9, "across": 0.04, "singleton": 0.06},
    "after": {"flips": 0.025}}]})",
                               "stability");
  return inputs;
}

TEST(Report, TellsTheWholeVerdictInTheFirstFiveLines) {
  const std::vector<std::string> lines = Lines(MarkdownReport(FullInputs()));
  ASSERT_GT(lines.size(), 5u);
  EXPECT_EQ(lines[0],
            "1. **Found:** 2 groups of equivalent experts at `fp8-w8a8`: 5 experts of 64 (7.81 %), "
            "in 1 layer; 1 group more equivalent, not tied. 2 experts were selected by too few "
            "tokens and not "
            "judged.");
  EXPECT_EQ(lines[1],
            "2. **Written:** router rows of 5 experts (5 rows in 1 tensor), nothing else.");
  EXPECT_EQ(lines[2],
            "3. **Proven:** 22,654,316 bytes of 1,095 tensors compared; 2,511 differ, all inside "
            "planned rows.");
  EXPECT_EQ(lines[3],
            "4. **Cost:** KL(base‖new) 0.0017 nats per token (95 % upper limit 0.0022), against "
            "0.0103 that `fp8-w8a8` costs by itself: accepted.");
  EXPECT_THAT(lines[4], HasSubstr("from 6.8 % to 2.5 %"));
  EXPECT_THAT(lines[4], HasSubstr("not better output"));
  EXPECT_EQ(lines[5], "");
}

TEST(Report, SaysThatNothingIsEquivalentAsAnAnswer) {
  ReportInputs inputs;
  inputs.plan = EmptyPlan();
  const std::string report = MarkdownReport(inputs);
  const std::vector<std::string> lines = Lines(report);
  EXPECT_EQ(
      lines[0],
      "1. **Nothing here is equivalent.** Of 64 experts in 2 layers, no two are "
      "interchangeable at `fp8-w8a8`: the closest pair (layer 0) differs by 1.06 of its "
      "output where at most 0.24 is allowed. That is an answer, not a failure: tying any of them "
      "would change the model. 2 experts were selected by too few tokens and not judged.");
  EXPECT_EQ(lines[1], "2. **Written:** nothing to write.");
  EXPECT_EQ(lines[3], "4. **Cost:** none; no weight changes.");
  EXPECT_THAT(lines[4], HasSubstr("fp32"));
  EXPECT_EQ(SummaryReport(inputs).at("outcome"), "nothing equivalent");
}

TEST(Report, DoesNotCallExpertsWithoutEvidenceDifferent) {
  ReportInputs inputs;
  inputs.plan = EmptyPlan();
  for (Json& layer : inputs.plan["layers"]) layer["experts"]["with_evidence"] = 0;
  EXPECT_THAT(MarkdownReport(inputs), HasSubstr("1. **Unknown.**"));
  EXPECT_EQ(SummaryReport(inputs).at("outcome"), "unknown");
}

TEST(Report, ClaimsNothingFromAPlanThatComparedNoOutputs) {
  ReportInputs inputs;
  inputs.plan = EmptyPlan();
  inputs.plan["layers"] = Json::array();
  inputs.plan["controls"]["method"] = "router-correlation";
  EXPECT_THAT(Lines(MarkdownReport(inputs))[0],
              HasSubstr("`router-correlation`, which compares no output"));
  EXPECT_EQ(SummaryReport(inputs).at("outcome"), "unknown");
}

TEST(Report, ADecoyThatPassesIsSaidInTheFirstLine) {
  ReportInputs inputs = FullInputs();
  inputs.plan["controls"]["decoys"]["refused"] = 5;
  EXPECT_THAT(Lines(MarkdownReport(inputs))[0],
              HasSubstr("**Do not trust this plan:** 1 decoy passed"));
}

TEST(Report, GivesTheForecastWhereRoutingWasNotMeasured) {
  ReportInputs inputs = FullInputs();
  inputs.stability = nullptr;
  // Means over the two layers: (8.7 + 9) / 2 and (0 + 0.4) / 2.
  EXPECT_THAT(Lines(MarkdownReport(inputs))[4],
              HasSubstr("of the 8.85 % of token-layers whose selection flips under `fp8-w8a8`, "
                        "0.2 % stop."));
}

TEST(Report, ShowsLayersWithTheirNumbers) {
  const std::string layers = SectionOf(MarkdownReport(FullInputs()), "Layers");
  EXPECT_THAT(layers, HasSubstr("| 0 | 32 / 32 | 1.06 / 1.1 / 1.25 | 0.2 / 0.22 / 0.24 | "
                                "0 / 0 / 0 | 0 / 0 | 0 % | – | 8.7 %, 0 % | 0 |"));
  EXPECT_THAT(layers, HasSubstr("| 1 | 30 / 32 | 1.2 / 1.21 / 1.3 | 0.1 / 0.15 / 0.2 | "
                                "1 / 0 / 1 | 1 / 1 | 6.25 % | 50 % | 9 %, 0.4 % | 2 |"));
}

TEST(Report, NamesEquivalentExpertsThatWereNotTied) {
  ReportInputs inputs;
  inputs.plan = PlanWithGroups();
  inputs.plan["groups"] = Json::array();
  const std::string report = MarkdownReport(inputs);
  EXPECT_THAT(report, HasSubstr("none of which is tied: over \\| budget."));
  EXPECT_THAT(SectionOf(report, "Equivalent, not tied"),
              HasSubstr("| 1 | 8, 9 | 0.5 | 22 % | over \\| budget |"));
}

TEST(Report, RepeatsTheWarningsOfThePlanBelowTheGroups) {
  ReportInputs inputs;
  inputs.plan = PlanWithGroups();
  EXPECT_THAT(SectionOf(MarkdownReport(inputs), "Groups"), Not(HasSubstr("Warning")));
  inputs.plan["groups"][0]["numbers"]["warnings"] = {"a tie | costs half"};
  EXPECT_THAT(SectionOf(MarkdownReport(inputs), "Groups"),
              HasSubstr("- **Warning**, layer 0, experts 0, 1: a tie \\| costs half."));
}

TEST(Report, WithNothingMeasuredSaysSoInEverySection) {
  const std::string report = MarkdownReport({});
  for (const char* section :
       {"Layers", "Groups", "Equivalent, not tied", "Controls", "End-to-end check",
        "Quality on held-out text", "Routing", "Proof from the bytes"}) {
    EXPECT_THAT(SectionOf(report, section), HasSubstr("not measured")) << section;
  }
  EXPECT_THAT(SectionOf(report, "Reproducing this"), HasSubstr("not recorded"));
  EXPECT_THAT(SectionOf(report, "Limits"), HasSubstr("image tokens not measured"));
  const Json summary = SummaryReport({});
  EXPECT_EQ(summary.at("outcome"), "not planned");
  EXPECT_TRUE(summary.at("check").is_null());
  EXPECT_TRUE(summary.at("proof").is_null());
}

TEST(Report, AFailedProofIsSaidAtTheTopAndShownEscaped) {
  ReportInputs inputs = FullInputs();
  inputs.verification = Verification(false);
  const std::string report = MarkdownReport(inputs);
  EXPECT_THAT(Lines(report)[2], HasSubstr("**Not proven.** Verification found 1 difference"));
  EXPECT_THAT(SectionOf(report, "Proof from the bytes"),
              HasSubstr("| `a.safetensors: x @ 12` | &lt;b&gt; |"));
}

TEST(Report, ARefusedPlanIsNotWritten) {
  ReportInputs inputs = FullInputs();
  inputs.check = Check(false);
  inputs.run["written"] = false;
  const std::vector<std::string> lines = Lines(MarkdownReport(inputs));
  EXPECT_EQ(lines[1], "2. **Written:** nothing. The end-to-end check refused the plan.");
  EXPECT_THAT(lines[3], HasSubstr(": refused."));
}

TEST(Report, PutsControlsBesideTheCoverage) {
  const std::string controls = SectionOf(MarkdownReport(FullInputs()), "Controls");
  EXPECT_THAT(controls, HasSubstr("| 6 of 6 refused (2 more without evidence) |"));
  EXPECT_THAT(controls, HasSubstr("| 75 % in 2 layers |"));
  EXPECT_THAT(controls, HasSubstr("real logits | 9 groups, 44 % of the experts in 4 layers |"));
  EXPECT_THAT(controls, HasSubstr("Gaussian noise | 10 groups, 45 % of the experts in 4 layers |"));
  EXPECT_THAT(controls, HasSubstr("| **this plan** | 2 groups, 7.81 % of the experts |"));
}

TEST(Report, ShowsGroupsWithTheirNumbers) {
  const std::string groups = SectionOf(MarkdownReport(FullInputs()), "Groups");
  EXPECT_THAT(
      groups,
      HasSubstr("| 0 | 0, 1 | mean | 0.125 | 7 % | 1.1 % | 0.42 % | 3 %, 2 % | law, medicine |"));
  EXPECT_THAT(groups, HasSubstr("| 0 | 4, 5, 6 | row of expert 5 | – | – | – | – | –, – | – |"));
}

TEST(Report, ListsOnlyChangedFilesInTheProof) {
  const std::string proof = SectionOf(MarkdownReport(FullInputs()), "Proof from the bytes");
  EXPECT_THAT(proof, HasSubstr("| `a.safetensors` | `aa` | `bb` |"));
  EXPECT_THAT(proof, Not(HasSubstr("b.json")));
}

TEST(Report, EscapesTextFromOutside) {
  const std::string report = MarkdownReport(FullInputs());
  EXPECT_THAT(report, HasSubstr("`cacheready canonicalize A\\|B -o OUT`"));
  EXPECT_THAT(report, HasSubstr("c\\|o\\*de (7,384 tokens)"));
}

TEST(Report, SameInputsSameBytes) {
  EXPECT_EQ(MarkdownReport(FullInputs()), MarkdownReport(FullInputs()));
  EXPECT_EQ(WriteJson(SummaryReport(FullInputs())), WriteJson(SummaryReport(FullInputs())));
}

TEST(Report, FailsNamingTheStageOnAWrongType) {
  ReportInputs inputs = FullInputs();
  inputs.plan["layers"][1]["nearest_distance"]["min"] = "far";
  try {
    MarkdownReport(inputs);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("plan.json: layers[1]: nearest_distance"));
    EXPECT_THAT(error.what(), HasSubstr("'min'"));
  }
}

TEST(Summary, HoldsTheNumbersOfTheVerdict) {
  const Json summary = SummaryReport(FullInputs());
  EXPECT_EQ(summary.at("outcome"), "groups");
  EXPECT_EQ(summary.at("verdict").size(), 5u);
  EXPECT_EQ(summary.at("found").at("tied_experts"), 5);
  EXPECT_EQ(summary.at("found").at("experts"), 64);
  EXPECT_EQ(summary.at("check").at("kl_of_chosen").at("mean"), 0.0017);
  EXPECT_EQ(summary.at("check").at("kl_of_profile").at("mean"), 0.0103);
  EXPECT_EQ(summary.at("proof").at("bytes_changed"), 2511);
  EXPECT_EQ(summary.at("routing").at(0).at("flips_after"), 0.025);
}

}  // namespace
}  // namespace cacheready
