// SPDX-License-Identifier: Apache-2.0
#include "model/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"

namespace cacheready {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;

Matrix Row(std::initializer_list<float> values) {
  Matrix row(1, static_cast<std::int64_t>(values.size()));
  std::copy(values.begin(), values.end(), row.values().begin());
  return row;
}

Matrix RandomLogits(std::int64_t tokens, std::int64_t experts) {
  Matrix logits(tokens, experts);
  std::uint64_t index = 0;
  for (float& value : logits.values()) value = static_cast<float>(NormalAt(7, index++));
  return logits;
}

// Softmax of these is 0.1, 0.2, 0.3, 0.4.
Matrix TenthsLogits() {
  return Row({std::log(1.0f), std::log(2.0f), std::log(3.0f), std::log(4.0f)});
}

TEST(Router, RenormalizedSoftmaxWeightsSumToOne) {
  const RouterSpec spec{.experts = 4, .top_k = 2};
  const Routing routing = Route(spec, TenthsLogits(), Fp32Arithmetic());
  EXPECT_THAT(routing.ids, ElementsAre(3, 2));
  EXPECT_THAT(routing.weights,
              ElementsAre(FloatNear(0.4f / 0.7f, 1e-6f), FloatNear(0.3f / 0.7f, 1e-6f)));
  EXPECT_NEAR(routing.margin[0], 0.1f, 1e-6f);
}

TEST(Router, WithoutRenormalizationWeightsAreTheScaledProbabilities) {
  const RouterSpec spec{.experts = 4, .top_k = 2, .renormalize = false, .scaling = 2.5};
  const Routing routing = Route(spec, TenthsLogits(), Fp32Arithmetic());
  EXPECT_THAT(routing.weights, ElementsAre(FloatNear(1.0f, 1e-6f), FloatNear(0.75f, 1e-6f)));
}

TEST(Router, RankedLogitsAreSoftmaxedOverTheSelectedOnly) {
  const RouterSpec spec{.experts = 4, .top_k = 2, .scoring = Scoring::kLogits};
  const Routing routing = Route(spec, TenthsLogits(), Fp32Arithmetic());
  EXPECT_THAT(routing.ids, ElementsAre(3, 2));
  EXPECT_THAT(routing.weights, ElementsAre(FloatNear(4.0f / 7, 1e-6f), FloatNear(3.0f / 7, 1e-6f)));
  EXPECT_FLOAT_EQ(routing.margin[0], std::log(3.0f) - std::log(2.0f));
}

// The sigmoids of 20 and 30 are both 1 in fp32: only the logits tell them apart.
TEST(Router, RankedLogitsKeepTheirOrderWhereTheirSigmoidsAreEqual) {
  const RouterSpec spec{
      .experts = 3, .top_k = 1, .scoring = Scoring::kLogitsSigmoid, .renormalize = false};
  const Routing routing = Route(spec, Row({20.0f, 30.0f, 0.0f}), Fp32Arithmetic());
  EXPECT_THAT(routing.ids, ElementsAre(1));
  EXPECT_THAT(routing.weights, ElementsAre(1.0f));
  EXPECT_EQ(routing.margin[0], 10.0f);
  EXPECT_THAT(WeightsOfSelection(spec, Row({20.0f, 30.0f, 0.0f}), std::vector<std::int32_t>{2},
                                 Fp32Arithmetic()),
              ElementsAre(0.5f));
}

TEST(Router, SelectionBiasMovesTheChoiceAndNotTheWeights) {
  const RouterSpec spec{.experts = 3,
                        .top_k = 1,
                        .scoring = Scoring::kSigmoid,
                        .renormalize = false,
                        .selection_bias = {0.0f, 0.0f, 0.9f}};
  const Routing routing = Route(spec, Row({2.0f, 1.0f, 0.0f}), Fp32Arithmetic());
  EXPECT_THAT(routing.ids, ElementsAre(2));
  EXPECT_THAT(routing.weights, ElementsAre(0.5f));
}

TEST(Router, TheEpsilonIsAddedToTheSumOfTheSelected) {
  const RouterSpec spec{
      .experts = 2, .top_k = 1, .scoring = Scoring::kSigmoid, .renormalize_epsilon = 0.5};
  const Routing routing = Route(spec, Row({0.0f, -1.0f}), Fp32Arithmetic());
  EXPECT_THAT(routing.weights, ElementsAre(0.5f));
}

TEST(Router, TheFloorBoundsTheSumOfTheSelectedFromBelow) {
  RouterSpec spec{.experts = 2, .top_k = 1, .scoring = Scoring::kSigmoid};
  spec.renormalize_floor = 0.75;
  EXPECT_THAT(Route(spec, Row({0.0f, -1.0f}), Fp32Arithmetic()).weights, ElementsAre(0.5f / 0.75f));
  spec.renormalize_floor = 0.25;
  EXPECT_THAT(Route(spec, Row({0.0f, -1.0f}), Fp32Arithmetic()).weights, ElementsAre(1.0f));
}

// Expected values: sparsemixer() of transformers 5.17 (models/phimoe/modeling_phimoe.py).
TEST(Router, SparseMixerWeighsAgainstAllExpertsWithinTheJitter) {
  const RouterSpec spec{.experts = 4, .top_k = 2, .scoring = Scoring::kSparseMixer, .jitter = 0.2};
  const struct {
    Matrix logits;
    std::vector<std::int32_t> ids;
    std::vector<float> weights;
  } cases[] = {
      {Row({1.0f, 0.7f, -2.0f, 0.5f}), {0, 1}, {0.574442506f, 0.549833953f}},
      {Row({2.0f, 2.0f, 1.5f, 1.0f}), {0, 1}, {0.383651733f, 0.622459352f}},
      {Row({-1.0f, -1.5f, -1.75f, -5.0f}), {0, 1}, {0.622459352f, 0.562176526f}},
      {Row({0.5f, -0.125f, 0.375f, 0.25f}), {0, 2}, {0.531209409f, 0.531209409f}},
      {Row({0.0f, 0.0f, -1.0f, -0.5f}), {0, 1}, {0.5f, 1.0f}},
  };
  for (const auto& [logits, ids, weights] : cases) {
    const Routing routing = Route(spec, logits, Fp32Arithmetic());
    EXPECT_EQ(routing.ids, ids);
    EXPECT_THAT(routing.weights,
                ElementsAre(FloatNear(weights[0], 2e-7f), FloatNear(weights[1], 2e-7f)));
    const std::vector<std::int32_t> reversed = {ids[1], ids[0]};
    EXPECT_THAT(WeightsOfSelection(spec, logits, reversed, Fp32Arithmetic()),
                ElementsAre(routing.weights[1], routing.weights[0]));
  }
}

TEST(Router, OfTiedLogitsTheFirstByTheTieRuleGetsHalf) {
  const RouterSpec spec{.experts = 4, .top_k = 2, .scoring = Scoring::kSparseMixer, .jitter = 0.01};
  const Matrix logits = Row({1.0f, 3.0f, 1.0f, 3.0f});
  EXPECT_THAT(Route(spec, logits, Fp32Arithmetic()).ids, ElementsAre(1, 3));
  EXPECT_THAT(Route(spec, logits, Fp32Arithmetic()).weights, ElementsAre(0.5f, 1.0f));
  Profile highest = *Fp32Arithmetic().profile;
  highest.tie_rule = TieRule::kHighest;
  const Arithmetic arithmetic{.profile = &highest, .dither_seed = {}};
  EXPECT_THAT(Route(spec, logits, arithmetic).ids, ElementsAre(3, 1));
  EXPECT_THAT(Route(spec, logits, arithmetic).weights, ElementsAre(0.5f, 1.0f));
}

TEST(Router, SigmoidGroupsAreRankedByTheSumOfTheirTwoBest) {
  RouterSpec spec{.experts = 6, .top_k = 2, .scoring = Scoring::kSigmoid};
  spec.num_groups = 2;
  spec.top_groups = 1;
  // Group 0 holds the best expert, group 1 the better pair.
  const Matrix logits = Row({4.0f, -4.0f, -4.0f, 1.0f, 2.0f, -4.0f});
  const Routing routing = Route(spec, logits, Fp32Arithmetic());
  EXPECT_THAT(routing.ids, ElementsAre(4, 3));
  const Matrix ranking = RankingScores(spec, logits);
  EXPECT_EQ(ranking.at(0, 0), -std::numeric_limits<float>::infinity());
  EXPECT_GT(ranking.at(0, 5), 0.0f);
}

TEST(Router, SoftmaxGroupsAreRankedByTheirBest) {
  RouterSpec spec{.experts = 6, .top_k = 2};
  spec.num_groups = 2;
  spec.top_groups = 1;
  const Routing routing =
      Route(spec, Row({4.0f, -4.0f, -3.0f, 3.5f, 3.4f, -4.0f}), Fp32Arithmetic());
  EXPECT_THAT(routing.ids, ElementsAre(0, 2));
}

TEST(Router, EqualScoresGoToTheLowestOrTheHighestIndexAsTheProfileSays) {
  const RouterSpec spec{.experts = 4, .top_k = 2};
  const Matrix logits = Row({1.0f, 2.0f, 1.0f, 1.0f});
  EXPECT_THAT(Route(spec, logits, Fp32Arithmetic()).ids, ElementsAre(1, 0));
  Profile highest = *Fp32Arithmetic().profile;
  highest.tie_rule = TieRule::kHighest;
  EXPECT_THAT(Route(spec, logits, {.profile = &highest, .dither_seed = {}}).ids, ElementsAre(1, 3));
  EXPECT_EQ(Route(spec, logits, Fp32Arithmetic()).margin[0], 0.0f);
}

TEST(Router, ARouterThatSelectsAllHasNoBoundary) {
  const RouterSpec spec{.experts = 2, .top_k = 2};
  const Routing routing = Route(spec, Row({1.0f, 2.0f}), Fp32Arithmetic());
  EXPECT_EQ(routing.margin[0], std::numeric_limits<float>::infinity());
}

TEST(Router, SelectionEqualsAFullSortOnRandomLogits) {
  const RouterSpec spec{.experts = 32, .top_k = 5};
  const Matrix logits = RandomLogits(200, 32);
  const Routing routing = Route(spec, logits, Fp32Arithmetic());
  const std::vector<std::int32_t> best = BestExperts(spec, logits, 5);
  EXPECT_EQ(best, routing.ids);
  for (std::int64_t t = 0; t < logits.rows(); ++t) {
    std::vector<std::pair<float, std::int32_t>> sorted;
    for (std::int32_t e = 0; e < 32; ++e) sorted.emplace_back(-logits.at(t, e), e);
    std::sort(sorted.begin(), sorted.end());
    for (std::size_t n = 0; n < 5; ++n) EXPECT_EQ(routing.ids_of(t)[n], sorted[n].second);
  }
}

TEST(Router, WeightsOfASelectionDoNotDependOnItsOrder) {
  for (const Scoring scoring :
       {Scoring::kSoftmax, Scoring::kSigmoid, Scoring::kLogits, Scoring::kLogitsSigmoid}) {
    const RouterSpec spec{.experts = 16, .top_k = 6, .scoring = scoring};
    const Matrix logits = RandomLogits(50, 16);
    const Routing routing = Route(spec, logits, Fp32Arithmetic());
    EXPECT_EQ(WeightsOfSelection(spec, logits, routing.ids, Fp32Arithmetic()), routing.weights);
    std::vector<std::int32_t> reversed(routing.ids.rbegin(), routing.ids.rend());
    Matrix reversed_logits(50, 16);
    for (std::int64_t t = 0; t < 50; ++t) {
      std::copy_n(logits.row(49 - t).begin(), 16, reversed_logits.row(t).begin());
    }
    std::vector<float> weights =
        WeightsOfSelection(spec, reversed_logits, reversed, Fp32Arithmetic());
    std::reverse(weights.begin(), weights.end());
    EXPECT_EQ(weights, routing.weights);
  }
}

TEST(Router, SpecSurvivesJsonBitForBit) {
  const RouterSpec spec{.experts = 4,
                        .top_k = 2,
                        .scoring = Scoring::kSigmoid,
                        .renormalize = false,
                        .renormalize_epsilon = 1e-20,
                        .renormalize_floor = 1e-12,
                        .jitter = 0.01,
                        .scaling = 2.827,
                        .weights_on_input = true,
                        .selection_bias = {0.1f, -1e-30f, 3.0f, 1.0f / 3},
                        .logit_bias = {0.3f, 0.0f, -0.0f, 7.0f},
                        .num_groups = 2,
                        .top_groups = 1};
  const RouterSpec read = RouterSpecFromJson(ParseJson(WriteJson(ToJson(spec)), "spec"), "spec");
  EXPECT_EQ(read.experts, spec.experts);
  EXPECT_EQ(read.top_k, spec.top_k);
  EXPECT_EQ(read.scoring, spec.scoring);
  EXPECT_EQ(read.renormalize, spec.renormalize);
  EXPECT_EQ(read.renormalize_epsilon, spec.renormalize_epsilon);
  EXPECT_EQ(read.renormalize_floor, spec.renormalize_floor);
  EXPECT_EQ(read.jitter, spec.jitter);
  EXPECT_EQ(read.scaling, spec.scaling);
  EXPECT_EQ(read.weights_on_input, spec.weights_on_input);
  EXPECT_EQ(read.selection_bias, spec.selection_bias);
  EXPECT_EQ(read.logit_bias, spec.logit_bias);
  EXPECT_EQ(read.num_groups, spec.num_groups);
  EXPECT_EQ(read.top_groups, spec.top_groups);
}

TEST(Router, MalformedSpecsAreRefusedByName) {
  Json json = ToJson(RouterSpec{.experts = 4, .top_k = 2});
  json["scoring"] = "argmax";
  EXPECT_THROW(RouterSpecFromJson(json, "spec"), Error);
  json["scoring"] = "sparse-mixer";
  json["top_k"] = 3;
  EXPECT_THROW(RouterSpecFromJson(json, "spec"), Error);
  json["scoring"] = "softmax";
  json["top_k"] = 5;
  EXPECT_THROW(RouterSpecFromJson(json, "spec"), Error);
  json["top_k"] = 2;
  json["num_groups"] = 3;
  EXPECT_THROW(RouterSpecFromJson(json, "spec"), Error);
  json["num_groups"] = 1;
  json["selection_bias"] = {1.0, 2.0};
  EXPECT_THROW(RouterSpecFromJson(json, "spec"), Error);
}

}  // namespace
}  // namespace cacheready
