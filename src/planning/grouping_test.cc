// SPDX-License-Identifier: Apache-2.0
#include "planning/grouping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"

namespace cacheready {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::vector<std::int32_t>> Groups(const PairRatios& ratios,
                                              const GroupingOptions& options) {
  const GroupTree tree = GroupExperts(ratios, options);
  CheckEveryPair(tree, ratios);
  std::vector<std::vector<std::int32_t>> groups;
  for (const int root : tree.roots) groups.push_back(tree.node(root).members);
  return groups;
}

TEST(Grouping, DoesNotFollowAChain) {
  PairRatios ratios(3);  // 0-1 and 1-2 are near, 0-2 was never measured
  ratios.Set(0, 1, 0.5);
  ratios.Set(1, 2, 0.4);
  EXPECT_THAT(Groups(ratios, {.max_group = 8}), ElementsAre(ElementsAre(1, 2)));
}

TEST(Grouping, TakesAWholeClique) {
  PairRatios ratios(5);
  for (const int i : {0, 2, 4}) {
    for (const int j : {0, 2, 4}) {
      if (i < j) ratios.Set(i, j, 0.9);
    }
  }
  EXPECT_THAT(Groups(ratios, {.max_group = 8}), ElementsAre(ElementsAre(0, 2, 4)));
}

TEST(Grouping, CutsAtARatioOfOne) {
  PairRatios ratios(4);
  ratios.Set(0, 1, 1.0);
  ratios.Set(2, 3, 1.0000001);
  EXPECT_THAT(Groups(ratios, {.max_group = 8}), ElementsAre(ElementsAre(0, 1)));
}

TEST(Grouping, BreaksTiesByTheSmallestExperts) {
  PairRatios ratios(4);  // a square: 0-1-2-3-0, no diagonal
  ratios.Set(0, 1, 0.5);
  ratios.Set(1, 2, 0.5);
  ratios.Set(2, 3, 0.5);
  ratios.Set(0, 3, 0.5);
  EXPECT_THAT(Groups(ratios, {.max_group = 8}), ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3)));
}

TEST(Grouping, KeepsGroupsWithinTheirLargestSize) {
  PairRatios ratios(6);
  for (int i = 0; i < 6; ++i) {
    for (int j = i + 1; j < 6; ++j) ratios.Set(i, j, 0);
  }
  for (const auto& group : Groups(ratios, {.max_group = 4})) EXPECT_LE(group.size(), 4u);
  EXPECT_THAT(Groups(ratios, {.max_group = 2}),
              ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3), ElementsAre(4, 5)));
}

TEST(Grouping, StaysInsideRoutingGroups) {
  PairRatios ratios(4);
  ratios.Set(0, 1, 0.9);
  ratios.Set(1, 2, 0.1);  // across the border of the groups {0, 1} and {2, 3}
  EXPECT_THAT(Groups(ratios, {.max_group = 8, .routing_group_size = 2}),
              ElementsAre(ElementsAre(0, 1)));
}

TEST(Grouping, FindsNothingWithoutPairs) {
  EXPECT_THAT(Groups(PairRatios(8), {.max_group = 8}), IsEmpty());
}

TEST(Grouping, EveryPairOfEveryGroupIsWithinTheThreshold) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    PairRatios ratios(24);
    for (int i = 0; i < 24; ++i) {
      for (int j = i + 1; j < 24; ++j) {
        const double ratio = 1.6 * UniformAt(seed, static_cast<std::uint64_t>(i * 24 + j));
        if (ratio <= 1) ratios.Set(i, j, ratio);
      }
    }
    std::vector<int> seen(24, 0);
    for (const auto& group : Groups(ratios, {.max_group = 5})) {
      for (const auto i : group) {
        ++seen[static_cast<std::size_t>(i)];
        for (const auto j : group) {
          if (i == j) continue;
          EXPECT_LE(ratios.At(i, j), 1);
        }
      }
    }
    for (const int times : seen) EXPECT_LE(times, 1);
  }
}

TEST(Grouping, RemembersItsLastMerge) {
  PairRatios ratios(4);
  ratios.Set(0, 1, 0.1);
  ratios.Set(2, 3, 0.2);
  for (const int i : {0, 1}) {
    for (const int j : {2, 3}) ratios.Set(i, j, 0.7);
  }
  const GroupTree tree = GroupExperts(ratios, {.max_group = 4});
  ASSERT_EQ(tree.roots.size(), 1u);
  const GroupNode& root = tree.node(tree.roots[0]);
  EXPECT_EQ(root.diameter, 0.7);
  EXPECT_THAT(tree.node(root.left).members, ElementsAre(0, 1));
  EXPECT_THAT(tree.node(root.right).members, ElementsAre(2, 3));
}

// The nearest merges leave groups of three, three and two.
PairRatios ThreeThreeTwo() {
  PairRatios ratios(8);
  for (int i = 0; i < 8; ++i) {
    for (int j = i + 1; j < 8; ++j) ratios.Set(i, j, 0.9);
  }
  for (const auto& [i, j] : {std::pair(0, 1), std::pair(3, 4)}) {
    ratios.Set(i, j, 0.1);
    ratios.Set(i, j + 1, 0.2);
    ratios.Set(i + 1, j + 1, 0.2);
  }
  ratios.Set(6, 7, 0.3);
  return ratios;
}

TEST(Grouping, DissolvesAGroupThatFitsIntoOthers) {
  PairRatios ratios = ThreeThreeTwo();
  for (const int i : {3, 4, 5}) ratios.Set(i, 6, 0.8);
  EXPECT_THAT(Groups(ratios, {.max_group = 4}),
              ElementsAre(ElementsAre(0, 1, 2, 7), ElementsAre(3, 4, 5, 6)));
  const GroupTree tree = GroupExperts(ratios, {.max_group = 4});
  const GroupNode& grown = tree.node(tree.roots[1]);
  EXPECT_EQ(grown.diameter, 0.8);
  EXPECT_THAT(tree.node(grown.left).members, ElementsAre(3, 4, 5));
  EXPECT_THAT(tree.node(grown.right).members, ElementsAre(6));
}

TEST(Grouping, KeepsAGroupOfWhichAMemberFitsNowhereElse) {
  PairRatios ratios = ThreeThreeTwo();
  for (int i = 0; i < 6; ++i) ratios.Set(i, 7, 1.1);
  EXPECT_THAT(Groups(ratios, {.max_group = 4}),
              ElementsAre(ElementsAre(0, 1, 2), ElementsAre(3, 4, 5), ElementsAre(6, 7)));
}

TEST(Grouping, AgreementCountsSharedPairs) {
  PairRatios a(5), b(5);
  a.Set(0, 1, 0);
  a.Set(2, 3, 0);
  b.Set(0, 1, 0);
  b.Set(3, 4, 0);
  const GroupTree left = GroupExperts(a, {.max_group = 2});
  const GroupTree right = GroupExperts(b, {.max_group = 2});
  EXPECT_DOUBLE_EQ(PairJaccard(left, right), 1.0 / 3.0);
  EXPECT_DOUBLE_EQ(PairJaccard(left, left), 1.0);
}

}  // namespace
}  // namespace cacheready
