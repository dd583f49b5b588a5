// SPDX-License-Identifier: Apache-2.0
#include "measure/selections.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cacheready {
namespace {

using ::testing::ElementsAre;

// Two experts a token.
Routing RoutingOf(std::vector<std::int32_t> ids) {
  Routing routing;
  routing.top_k = 2;
  routing.margin.resize(ids.size() / 2);
  routing.weights.resize(ids.size());
  routing.ids = std::move(ids);
  return routing;
}

const GroupsByLayer kGroups = {{3, {{0, 1}, {2, 4}}}};

SelectionFlips Compare(std::vector<std::int32_t> a, std::vector<std::int32_t> b,
                       const GroupsByLayer& groups = kGroups) {
  return CompareSelections({SelectionsOf(3, RoutingOf(std::move(a)))},
                           {SelectionsOf(3, RoutingOf(std::move(b)))}, groups);
}

TEST(Selections, TheOrderOfIdsMeansNothing) {
  EXPECT_EQ(Compare({0, 5, 6, 2}, {5, 0, 2, 6}).total, 0);
}

TEST(Selections, AnotherMemberOfTheSameGroupIsAFlipWithin) {
  const SelectionFlips flips = Compare({0, 5, 2, 1}, {5, 1, 0, 4});
  EXPECT_EQ(flips.total, 2);
  EXPECT_EQ(flips.within, 2);
}

TEST(Selections, AMemberForAnOutsiderIsAFlipAcross) {
  EXPECT_EQ(Compare({0, 5}, {6, 5}).across, 1);  // a member went
  EXPECT_EQ(Compare({0, 5}, {0, 1}).across, 1);  // a member came
  EXPECT_EQ(Compare({0, 5}, {2, 5}).across, 1);  // of one group for one of the other
  EXPECT_EQ(Compare({0, 5}, {1, 6}).across, 1);  // within the group, and an outsider besides
}

TEST(Selections, OutsidersThatChangePlacesAreASingletonFlip) {
  const SelectionFlips flips = Compare({0, 5}, {0, 6});
  EXPECT_EQ(flips.singleton, 1);
  EXPECT_EQ(flips.within + flips.across, 0);
}

TEST(Selections, GroupsOfAnotherLayerDoNotCount) {
  EXPECT_EQ(Compare({0, 5}, {1, 5}, {{2, {{0, 1}}}}).singleton, 1);
}

TEST(Selections, FlipsAreCountedByLayerAndByToken) {
  const auto selections = [](std::vector<std::int32_t> first, std::vector<std::int32_t> second) {
    return Selections{SelectionsOf(3, RoutingOf(std::move(first))),
                      SelectionsOf(7, RoutingOf(std::move(second)))};
  };
  const SelectionFlips flips =
      CompareSelections(selections({0, 5, 0, 5, 0, 5}, {8, 9, 8, 9, 8, 9}),
                        selections({1, 5, 0, 5, 0, 6}, {8, 9, 8, 9, 7, 9}), kGroups);
  EXPECT_THAT(flips.by_layer, ElementsAre(2, 1));
  EXPECT_THAT(flips.by_token, ElementsAre(1, 0, 2));
  EXPECT_EQ(flips.tokens, 3);
  EXPECT_DOUBLE_EQ(flips.share(), 0.5);
  EXPECT_EQ(flips.within, 1);
  EXPECT_EQ(flips.singleton, 2);
}

TEST(Selections, PlannedGroupsAreSortedIntoTheirLayers) {
  const std::vector<PlannedGroup> groups = {
      {0, {4, 7}, "", {}, {}}, {2, {0, 1}, "", {}, {}}, {0, {1, 2, 3}, "", {}, {}}};
  const GroupsByLayer members = MembersByLayer(groups);
  ASSERT_EQ(members.size(), 2u);
  EXPECT_THAT(members.at(0), ElementsAre(ElementsAre(4, 7), ElementsAre(1, 2, 3)));
  EXPECT_THAT(members.at(2), ElementsAre(ElementsAre(0, 1)));
}

}  // namespace
}  // namespace cacheready
