// What the measuring stages write is what reports read.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "measure/check.h"
#include "report/findings.h"

namespace cacheready {
namespace {

using ::testing::HasSubstr;

TEST(MeasuredInput, AnEvaluationIsRead) {
  Evaluation evaluation;
  evaluation.documents = {{"code", 3}};
  evaluation.document_of_token = {0, 0, 0};
  evaluation.document_of_scored = {0, 0};
  evaluation.variants = {{"original", "fp32", {{1, 2}, {0, 0}, {1, 1}}, {{0, 1, {0, 1, 2}}}},
                         {"new", "fp32", {{1.5, 2}, {0.5, 0}, {1, 0}}, {{0, 1, {0, 1, 3}}}}};
  ReportInputs inputs;
  inputs.evaluation = ToJson(evaluation, EvaluationJsonOptions{});
  const ReportFindings findings = ReadFindings(inputs);
  ASSERT_EQ(findings.evaluated.size(), 2u);
  EXPECT_EQ(findings.evaluated[0].name, "original");
  EXPECT_EQ(findings.evaluated[1].name, "new");
  EXPECT_EQ(findings.evaluated[1].kl.mean, 0.25);
  EXPECT_EQ(findings.evaluated[1].nll_difference.mean, 0.25);
  EXPECT_EQ(findings.evaluated[1].same_top, 0.5);
  EXPECT_NEAR(findings.evaluated[1].flips.value(), 1.0 / 3, 1e-15);
  EXPECT_THAT(findings.quality_verdict.value(), HasSubstr("indicative"));
}

TEST(MeasuredInput, ACheckAndItsStabilityAreRead) {
  CheckResult result;
  result.accepted = true;
  result.limit = 0.005;
  result.tokens = 4000;
  result.documents = 24;
  result.options.profile = "fp8-w8a8";
  result.profile.kl.mean = 0.01;
  result.chosen = {.name = "3 of 4 groups", .groups = 3, .kl = {}, .nll_difference = {}};
  result.chosen.kl.upper = 0.004;
  result.chosen.accepted = true;
  result.prefixes = {result.chosen};
  result.before = {100, 20, 15, 1, 4, {12, 8}, {}};  // tokens, flips, kinds, by layer
  result.after = {100, 5, 0, 1, 4, {3, 2}, {}};
  ReportInputs inputs;
  inputs.check = ToJson(result);
  inputs.stability = StabilityJson(result);
  const ReportFindings findings = ReadFindings(inputs);
  ASSERT_TRUE(findings.check);
  EXPECT_EQ(findings.check->accepted, true);
  EXPECT_EQ(findings.check->limit, 0.005);
  EXPECT_EQ(findings.check->tokens, 4000);
  EXPECT_EQ(findings.check->profile.kl.mean, 0.01);
  ASSERT_EQ(findings.check->prefixes.size(), 1u);
  EXPECT_EQ(findings.check->prefixes[0].groups, 3);
  EXPECT_EQ(findings.check->chosen->kl.upper, 0.004);
  ASSERT_EQ(findings.routing.size(), 1u);
  EXPECT_EQ(findings.routing[0].name, "fp8-w8a8");
  EXPECT_EQ(findings.routing[0].flips_before, 0.1);
  EXPECT_EQ(findings.routing[0].flips_after, 0.025);
  EXPECT_EQ(findings.routing[0].within, 0.75);
  EXPECT_EQ(findings.routing[0].singleton, 0.2);
}

}  // namespace
}  // namespace cacheready
