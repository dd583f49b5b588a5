// SPDX-License-Identifier: Apache-2.0
#include "measure/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace cacheready {
namespace {

using ::testing::HasSubstr;

// Documents of `tokens` scored tokens each, two runs; the second costs `difference` more per token.
Evaluation SmallEvaluation(const std::vector<std::int64_t>& tokens,
                           const std::vector<double>& difference) {
  Evaluation evaluation;
  evaluation.variants = {{"original", "fp32", {}, {}}, {"new", "fp8-w8a8", {}, {}}};
  for (std::size_t d = 0; d < tokens.size(); ++d) {
    evaluation.documents.push_back({d % 2 == 0 ? "code" : "prose", tokens[d] + 1});
    for (std::int64_t n = 0; n <= tokens[d]; ++n) {
      evaluation.document_of_token.push_back(static_cast<std::int32_t>(d));
      if (n == tokens[d]) break;
      evaluation.document_of_scored.push_back(static_cast<std::int32_t>(d));
      TokenScores &base = evaluation.variants[0].scores, &other = evaluation.variants[1].scores;
      base.nll.push_back(static_cast<double>(d % 2 + 1));
      base.kl.push_back(0);
      base.same_top.push_back(1);
      other.nll.push_back(base.nll.back() + difference[d]);
      other.kl.push_back(0.001 * static_cast<double>(other.kl.size()));
      other.same_top.push_back(n % 2 == 0 ? 1 : 0);
    }
  }
  return evaluation;
}

Estimate Between(double lower, double upper) {
  Estimate estimate;
  estimate.mean = (lower + upper) / 2;
  estimate.lower = lower;
  estimate.upper = upper;
  estimate.standard_error = (upper - lower) / 2 / 1.6448536269514722;
  estimate.design_effect = 3;
  return estimate;
}

std::string Outcome(double lower, double upper, double documents = 30) {
  return JudgeDifference(Between(lower, upper), documents, 1000, 0.005).outcome;
}

TEST(Summary, VerdictFollowsFromBothOneSidedLimitsAndTheMargin) {
  EXPECT_EQ(Outcome(-0.004, 0.004), "equivalent");
  EXPECT_EQ(Outcome(0.001, 0.004), "equivalent");  // a difference, but inside the margin
  EXPECT_EQ(Outcome(-0.006, 0.004), "undecided");
  EXPECT_EQ(Outcome(0.004, 0.006), "undecided");
  EXPECT_EQ(Outcome(-0.02, 0.02), "undecided");
  EXPECT_EQ(Outcome(0.0051, 0.006), "different");
  EXPECT_EQ(Outcome(-0.009, -0.0051), "different");
  EXPECT_EQ(Outcome(-0.004, 0.005), "undecided");  // the margin itself is not inside it
}

TEST(Summary, FewEffectiveDocumentsGiveNoVerdict) {
  EXPECT_EQ(Outcome(-0.001, 0.001, 19.9), "indicative");
  EXPECT_EQ(Outcome(0.1, 0.2, 19.9), "indicative");
  EXPECT_EQ(Outcome(-0.001, 0.001, 20), "equivalent");
}

TEST(Summary, TokensToDecideShrinkTheErrorToTheDistanceFromTheMargin) {
  // Standard error s at 1000 tokens, mean 0: (1.6449 + 0.8416)^2 (s / 0.005)^2 x 1000.
  const Estimate wide = Between(-0.01, 0.01);
  const Verdict verdict = JudgeDifference(wide, 30, 1000, 0.005);
  ASSERT_TRUE(verdict.tokens_to_decide);
  const double s = 0.01 / 1.6448536269514722;
  EXPECT_NEAR(static_cast<double>(*verdict.tokens_to_decide),
              1000 * std::pow(2.4864748605 * s / 0.005, 2), 1.5);
  EXPECT_THAT(VerdictText(verdict), HasSubstr("undecided"));
  EXPECT_THAT(VerdictText(verdict), HasSubstr("design effect 3.00"));
  EXPECT_FALSE(JudgeDifference(Between(0.004, 0.006), 30, 1000, 0.005).tokens_to_decide);
  EXPECT_FALSE(JudgeDifference(Between(-0.001, 0.001), 30, 1000, 0.005).tokens_to_decide);
}

TEST(Summary, RefusesAMarginThatIsNotPositive) {
  EXPECT_THROW(JudgeDifference(Between(0, 1), 30, 1000, 0), Error);
}

TEST(Summary, EffectiveDocumentsWeighByLength) {
  EXPECT_DOUBLE_EQ(EffectiveDocuments(SmallEvaluation({10, 10, 10}, {0, 0, 0})), 3);
  EXPECT_DOUBLE_EQ(EffectiveDocuments(SmallEvaluation({30, 10}, {0, 0})), 1600.0 / 1000);
}

TEST(Summary, MeansAreOverTokensAndDifferencesArePaired) {
  const Evaluation evaluation = SmallEvaluation({30, 10, 20}, {0.25, 0.25, 0.25});
  EXPECT_DOUBLE_EQ(EstimateNll(evaluation, 0, {}).mean, (30 * 1 + 10 * 2 + 20 * 1) / 60.0);
  // Every token differs by the same: nothing is left to vary, however much the documents do.
  const Estimate difference = EstimateNllDifference(evaluation, 1, {});
  EXPECT_DOUBLE_EQ(difference.mean, 0.25);
  EXPECT_DOUBLE_EQ(difference.lower, 0.25);
  EXPECT_DOUBLE_EQ(difference.upper, 0.25);
  EXPECT_GT(EstimateNll(evaluation, 1, {}).standard_error, 0.1);
}

TEST(Summary, OneSidedLimitsLieInsideTheTwoSidedInterval) {
  const std::vector<std::int64_t> tokens(24, 10);
  std::vector<double> difference;
  for (int d = 0; d < 24; ++d) difference.push_back(0.01 * std::sin(3.0 * d));
  const Estimate estimate = EstimateNllDifference(SmallEvaluation(tokens, difference), 1, {});
  EXPECT_LT(estimate.interval.low, estimate.lower);
  EXPECT_LT(estimate.lower, estimate.mean);
  EXPECT_LT(estimate.mean, estimate.upper);
  EXPECT_LT(estimate.upper, estimate.interval.high);
  // About the normal quantiles of 90 and 95 %.
  EXPECT_NEAR((estimate.upper - estimate.lower) / (2 * estimate.standard_error), 1.71, 0.2);
  EXPECT_NEAR((estimate.interval.high - estimate.interval.low) / (2 * estimate.standard_error),
              2.07, 0.25);
}

TEST(Summary, LadderHasTheStepsOfLlamaCpp) {
  // 0, 0.001, ..., 1.000
  const auto ladder = KlLadder(SmallEvaluation({1001}, {0}), 1);
  const std::vector<std::pair<std::string, double>> expected = {
      {"maximum", 1.0}, {"99.9%", 0.999}, {"99%", 0.99},   {"95%", 0.95},
      {"90%", 0.9},     {"median", 0.5},  {"10%", 0.1},    {"5%", 0.05},
      {"1%", 0.01},     {"0.1%", 0.001},  {"minimum", 0.0}};
  ASSERT_EQ(ladder.size(), expected.size());
  for (std::size_t n = 0; n < ladder.size(); ++n) {
    EXPECT_EQ(ladder[n].first, expected[n].first);
    EXPECT_NEAR(ladder[n].second, expected[n].second, 1e-12);
  }
}

Selections OneLayer(std::vector<std::int32_t> ids) {
  return {{.layer = 2, .top_k = 1, .ids = ids}};
}

TEST(Summary, JsonHoldsBaseVariantsDomainsAndVerdict) {
  Evaluation evaluation = SmallEvaluation({2, 1}, {0.25, 0.5});
  evaluation.variants[0].selections = OneLayer({0, 1, 2, 3, 4});
  evaluation.variants[1].selections = OneLayer({1, 1, 2, 3, 5});
  EvaluationJsonOptions options;
  options.groups = {{2, {{0, 1}}}};
  const Json json = ToJson(evaluation, options);
  EXPECT_EQ(json["schema"], "cacheready.eval/1");
  EXPECT_EQ(json["base"]["tokens"], 3);
  EXPECT_DOUBLE_EQ(json["base"]["mean_nll"], 4.0 / 3);
  EXPECT_NEAR(json["base"]["ppl"], std::exp(4.0 / 3), 1e-12);
  EXPECT_EQ(json["text"]["tokens"], 5);
  EXPECT_EQ(json["text"]["longest_context"], 3);
  const Json& variant = json["variants"][1];
  EXPECT_EQ(variant["name"], "new");
  EXPECT_EQ(variant["profile"], "fp8-w8a8");
  EXPECT_DOUBLE_EQ(variant["nll_difference"]["mean"], 1.0 / 3);
  EXPECT_NEAR(variant["kl"]["mean"], 0.001, 1e-15);
  EXPECT_DOUBLE_EQ(variant["same_top"], 2.0 / 3);
  EXPECT_DOUBLE_EQ(variant["flips"], 2.0 / 5);
  EXPECT_EQ(variant["flip_kinds"], (Json{{"within", 1}, {"across", 0}, {"singleton", 1}}));
  EXPECT_EQ(variant["flips_by_layer"], Json::array({Json{{"layer", 2}, {"tokens", 2}}}));
  EXPECT_EQ(variant["per_domain"][1]["domain"], "prose");
  EXPECT_DOUBLE_EQ(variant["per_domain"][1]["nll_difference"], 0.5);
  EXPECT_EQ(variant["judgement"]["outcome"], "indicative");
  EXPECT_EQ(json["judged"], "new");
  EXPECT_THAT(json["verdict"].get<std::string>(), HasSubstr("indicative"));
  EXPECT_FALSE(json["variants"][0].contains("kl"));
}

TEST(Summary, VerdictIsAboutTheVariantThatWasNamed) {
  Evaluation evaluation = SmallEvaluation({2, 1}, {0.25, 0.5});
  evaluation.variants.push_back(evaluation.variants[0]);
  evaluation.variants.back().name = "other";
  EvaluationJsonOptions options;
  EXPECT_EQ(ToJson(evaluation, options)["judged"], "other");
  options.judged = "new";
  EXPECT_THAT(ToJson(evaluation, options)["verdict"].get<std::string>(), HasSubstr("0.33333"));
  options.judged = "missing";
  EXPECT_THROW(ToJson(evaluation, options), Error);
  evaluation.variants.resize(1);
  EXPECT_TRUE(ToJson(evaluation, {})["verdict"].is_null());
}

}  // namespace
}  // namespace cacheready
