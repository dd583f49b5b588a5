// SPDX-License-Identifier: Apache-2.0
#include "measure/prefix_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace cacheready {
namespace {

using ::testing::ElementsAre;
using Sizes = std::vector<std::size_t>;

PlannedGroup Group(std::int64_t layer, std::int32_t first, Json cost) {
  PlannedGroup group;
  group.layer = layer;
  group.members = {first, first + 1};
  group.numbers["cost_taken"] = std::move(cost);
  return group;
}

TEST(PrefixSearch, OrdersGroupsByCostThenLayerThenFirstMember) {
  const std::vector<PlannedGroup> groups = {Group(0, 0, 0.5), Group(0, 4, 0.1), Group(1, 2, 0.1),
                                            Group(1, 0, 0.1), Group(2, 0, -0.1)};
  EXPECT_THAT(OrderByCost(groups), ElementsAre(4, 1, 3, 2, 0));
}

TEST(PrefixSearch, GroupsWithoutACostComeLast) {
  std::vector<PlannedGroup> groups = {Group(0, 0, nullptr), Group(0, 2, 9.0), Group(0, 4, 0.0)};
  groups[0].numbers = Json();
  EXPECT_THAT(OrderByCost(groups), ElementsAre(2, 1, 0));
  groups[1].numbers["cost_taken"] = "much";
  EXPECT_THROW(OrderByCost(groups), Error);
}

TEST(PrefixSearch, PrefixesThatCoincideAreRunOnce) {
  EXPECT_THAT(FirstPrefixes(16), ElementsAre(16, 12, 8, 4));
  EXPECT_THAT(FirstPrefixes(5), ElementsAre(5, 4, 3, 2));
  EXPECT_THAT(FirstPrefixes(2), ElementsAre(2, 1));
  EXPECT_THAT(FirstPrefixes(1), ElementsAre(1));
  EXPECT_THAT(FirstPrefixes(0), ElementsAre());
}

TEST(PrefixSearch, TheSecondPassDividesTheGapAndMeasuresTheAcceptedPrefixAgain) {
  EXPECT_THAT(SecondPrefixes(8, 12), ElementsAre(11, 10, 9, 8));
  EXPECT_THAT(SecondPrefixes(100, 200), ElementsAre(175, 150, 125, 100));
  EXPECT_THAT(SecondPrefixes(3, 5), ElementsAre(4, 3));
  EXPECT_THAT(SecondPrefixes(3, 4), ElementsAre(3));
  EXPECT_THAT(SecondPrefixes(0, 4), ElementsAre(3, 2, 1));
  EXPECT_THAT(SecondPrefixes(0, 1), ElementsAre());
}

// A judge that accepts up to `largest` groups and notes what it was asked.
struct Threshold {
  std::size_t largest;
  std::vector<Sizes> passes = {};

  std::size_t Search(std::size_t groups) {
    return FindLargestAccepted(groups, [&](std::span<const std::size_t> sizes) {
      passes.emplace_back(sizes.begin(), sizes.end());
      std::vector<bool> verdicts;
      for (const std::size_t size : sizes) verdicts.push_back(size <= largest);
      return verdicts;
    });
  }
};

TEST(PrefixSearch, APlanThatIsAcceptedWholeTakesOnePass) {
  Threshold judge{16};
  EXPECT_EQ(judge.Search(16), 16u);
  EXPECT_THAT(judge.passes, ElementsAre(Sizes{16, 12, 8, 4}));
}

TEST(PrefixSearch, BisectsBetweenTheLargestAcceptedAndTheNextRefused) {
  Threshold judge{10};
  EXPECT_EQ(judge.Search(16), 10u);
  EXPECT_THAT(judge.passes, ElementsAre(Sizes{16, 12, 8, 4}, Sizes{11, 10, 9, 8}));
}

TEST(PrefixSearch, FallsBackToThePrefixOfTheFirstPassIfNothingBetweenIsAccepted) {
  Threshold judge{8};
  EXPECT_EQ(judge.Search(16), 8u);
  EXPECT_EQ(judge.passes.size(), 2u);
}

TEST(PrefixSearch, ChoosesNothingIfEvenTheSmallestPrefixIsRefused) {
  Threshold judge{0};
  EXPECT_EQ(judge.Search(16), 0u);
  EXPECT_THAT(judge.passes, ElementsAre(Sizes{16, 12, 8, 4}, Sizes{3, 2, 1}));
  Threshold single{0};
  EXPECT_EQ(single.Search(1), 0u);
  EXPECT_EQ(single.passes.size(), 1u);
  EXPECT_EQ(Threshold{5}.Search(0), 0u);
}

// Every threshold: accepted, within a quarter of the largest possible, never above it.
TEST(PrefixSearch, NeverExceedsTheThresholdAndComesNearIt) {
  for (std::size_t groups = 1; groups <= 60; ++groups) {
    for (std::size_t largest = 0; largest <= groups; ++largest) {
      Threshold judge{largest};
      const std::size_t found = judge.Search(groups);
      EXPECT_LE(found, largest);
      EXPECT_LE(largest - found, 1 + groups / 16) << groups << " groups";
      EXPECT_LE(judge.passes.size(), 2u);
    }
  }
}

TEST(PrefixSearch, AJudgeThatIsNotMonotoneStillGetsAnAcceptedPrefix) {
  const std::size_t found = FindLargestAccepted(16, [](std::span<const std::size_t> sizes) {
    std::vector<bool> verdicts;
    for (const std::size_t size : sizes) verdicts.push_back(size == 8 || size == 10);
    return verdicts;
  });
  EXPECT_EQ(found, 10u);
}

}  // namespace
}  // namespace cacheready
