// SPDX-License-Identifier: Apache-2.0
#include "planning/budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/math.h"
#include "planning/synthetic_layer.h"

namespace cacheready {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Boundaries, FlipsFollowTheNormalLaw) {
  RouterSpec spec{.experts = 3, .top_k = 1};
  Matrix logits(2, 3), profile(2, 3);
  logits.at(0, 0) = 1.0f;  // gap 1 to expert 1 (tie with 2 goes to the lower)
  logits.at(1, 2) = 0.5f;
  logits.at(1, 1) = 0.25f;
  profile = logits;
  profile.at(0, 0) = 1.75f;  // deviations of the two gaps: 0.75 and 0
  profile.at(0, 2) = 0.5f;   // where 2 and 1 are not at the boundary, they deviate by 0.5
  const Boundaries boundaries = FindBoundaries(spec, logits, profile);
  const double sigma = 0.75 / std::sqrt(2.0), of_second = 0.5 / std::sqrt(2.0);
  EXPECT_NEAR(boundaries.sigma, sigma, 1e-7);
  EXPECT_NEAR(boundaries.flip_probability[0], NormalCdf(-1.0 / sigma), 1e-7);
  EXPECT_NEAR(boundaries.flip_probability[1], NormalCdf(-0.25 / of_second), 1e-7);
  const std::vector<std::int32_t> pair{1, 2};
  EXPECT_NEAR(ExpectedFlips(boundaries, pair), NormalCdf(-0.25 / of_second), 1e-7);
  const std::vector<std::int32_t> all{0, 1, 2};
  EXPECT_NEAR(ExpectedFlips(boundaries, all),
              NormalCdf(-0.25 / of_second) + NormalCdf(-1.0 / sigma), 1e-7);
}

TEST(Boundaries, WithoutNoiseOnlyTiesMayFlip) {
  RouterSpec spec{.experts = 2, .top_k = 1};
  Matrix logits(2, 2);
  logits.at(1, 0) = 1;
  const Boundaries boundaries = FindBoundaries(spec, logits, logits);
  EXPECT_THAT(boundaries.flip_probability, ElementsAre(0.5, 0.0));
}

TEST(Boundaries, CountsFlipsThatStayWithinAClass) {
  Routing a, b;
  a.top_k = b.top_k = 2;
  a.margin = b.margin = {0, 0, 0};
  a.ids = {0, 1, 0, 1, 0, 1};
  b.ids = {1, 0, 0, 2, 0, 3};
  const std::vector<std::int32_t> classes{0, 1, 1, 3};
  const FlipCounts counts = CountFlips(a, b, classes);
  EXPECT_EQ(counts.flips, 2);
  EXPECT_EQ(counts.within, 1);
}

class Budget : public ::testing::Test {
 protected:
  static SyntheticOptions Options() {
    SyntheticOptions options;
    options.copies = {{2, 9, 0.0, 0.02}, {3, 12, 0.0, 0.3}};
    return options;
  }
  Budget() : layer_(Options()) {
    PairRatios ratios(16);
    ratios.Set(2, 9, 0.1);
    ratios.Set(3, 12, 0.1);
    tree_ = GroupExperts(ratios, {.max_group = 4});
    boundaries_ =
        FindBoundaries(layer_.spec(), layer_.record().logits, layer_.record().profile_logits);
  }
  BudgetResult Take(const GroupTree& tree, double limit) {
    Replay replay(layer_.record(), layer_.spec());
    BudgetResult result = TakeGroups(layer_.record(), tree, boundaries_, limit, replay);
    EXPECT_LE(replay.mean_square_change(), std::max(limit, 0.0));
    EXPECT_DOUBLE_EQ(result.used, replay.mean_square_change());
    return result;
  }
  std::vector<std::vector<std::int32_t>> Members(const GroupTree& tree,
                                                 const std::vector<ScoredGroup>& groups) {
    std::vector<std::vector<std::int32_t>> members;
    for (const ScoredGroup& group : groups) members.push_back(tree.node(group.node).members);
    return members;
  }

  SyntheticLayer layer_;
  GroupTree tree_;
  Boundaries boundaries_;
};

TEST_F(Budget, TakesAllThatFits) {
  const BudgetResult result = Take(tree_, 1.0);
  EXPECT_THAT(Members(tree_, result.taken), ElementsAre(ElementsAre(2, 9), ElementsAre(3, 12)));
  EXPECT_THAT(result.untied, IsEmpty());
  EXPECT_GT(result.taken[1].cost_alone, 10 * result.taken[0].cost_alone);
}

TEST_F(Budget, LeavesOutWhatWouldPassTheLimit) {
  const BudgetResult all = Take(tree_, 1.0);
  const double between = 0.5 * (all.taken[0].cost_alone + all.taken[1].cost_alone);
  const BudgetResult result = Take(tree_, between);
  EXPECT_THAT(Members(tree_, result.taken), ElementsAre(ElementsAre(2, 9)));
  ASSERT_EQ(result.untied.size(), 1u);
  EXPECT_EQ(tree_.node(result.untied[0].group.node).members, (std::vector<std::int32_t>{3, 12}));
  EXPECT_GT(result.untied[0].group.alone.gate_mass_moved, 0);
}

TEST_F(Budget, OfNothingTiesNothingThatCosts) {
  const BudgetResult result = Take(tree_, 0);
  EXPECT_THAT(result.taken, IsEmpty());
  EXPECT_EQ(result.untied.size(), 2u);
}

TEST_F(Budget, AGroupThatDoesNotFitIsSplitAtItsLastMerge) {
  // One group of four from two good pairs with unrelated rows: the whole costs much, a half little.
  SyntheticOptions options = Options();
  options.copies = {{2, 9, 0.0, 0.02}, {3, 12, 0.0, 0.02}};
  layer_ = SyntheticLayer(options);
  boundaries_ =
      FindBoundaries(layer_.spec(), layer_.record().logits, layer_.record().profile_logits);
  PairRatios ratios(16);
  ratios.Set(2, 9, 0.1);
  ratios.Set(3, 12, 0.1);
  for (const int i : {2, 9}) {
    for (const int j : {3, 12}) ratios.Set(i, j, 0.8);
  }
  const GroupTree tree = GroupExperts(ratios, {.max_group = 4});
  ASSERT_EQ(tree.roots.size(), 1u);
  const BudgetResult whole = Take(tree, 100.0);
  ASSERT_EQ(whole.taken.size(), 1u);
  const BudgetResult result = Take(tree, 0.5 * whole.used);
  EXPECT_THAT(Members(tree, result.taken), ElementsAre(ElementsAre(2, 9), ElementsAre(3, 12)));
  ASSERT_EQ(result.untied.size(), 1u);
  EXPECT_THAT(result.untied[0].reason, ::testing::HasSubstr("split"));
}

TEST_F(Budget, PicksTheRowThatMovesTheLayerLeast) {
  const BudgetResult result = Take(tree_, 1.0);
  const Replay replay(layer_.record(), layer_.spec());
  for (const ScoredGroup& group : result.taken) {
    const auto& members = tree_.node(group.node).members;
    const std::vector<double> usage(members.size(), 1.0);
    const auto rows = CandidateRows(layer_.record().router, members, usage);
    const Matrix logits = CandidateLogits(layer_.record().x, rows);
    for (std::int64_t r = 0; r < logits.cols(); ++r) {
      std::vector<float> column;
      for (std::int64_t t = 0; t < logits.rows(); ++t) column.push_back(logits.at(t, r));
      EXPECT_LE(group.cost_alone, replay.Evaluate({members, column, 0}).mean_square_rise);
    }
  }
}

}  // namespace
}  // namespace cacheready
