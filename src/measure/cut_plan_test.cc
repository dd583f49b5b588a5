// SPDX-License-Identifier: Apache-2.0
#include "measure/cut_plan.h"

#include <gtest/gtest.h>

namespace cacheready {
namespace {

PlannedGroup Group(std::int64_t layer, std::vector<std::int32_t> members) {
  PlannedGroup group;
  group.layer = layer;
  group.members = std::move(members);
  group.rule = "mean";
  group.numbers = {{"diameter", 0.5},
                   {"alone", {{"gate_mass_moved", 0.01}}},
                   {"members", Json::array({Json{{"expert", 1}}})}};
  return group;
}

Plan TwoLayers() {
  Plan plan;
  plan.groups = {Group(0, {0, 1}), Group(0, {2, 3, 4}), Group(5, {6, 7})};
  plan.untied = Json::array({Json{{"layer", 5}, {"reason", "over budget"}}});
  for (const std::int64_t layer : {0, 5}) {
    Json summary;
    summary["layer"] = layer;
    summary["experts"]["all"] = 10;
    summary["groups"] = {{"equivalent", 3}, {"tied", layer == 0 ? 2 : 1}, {"tied_coverage", 0.5}};
    plan.layers.push_back(summary);
  }
  plan.controls["coverage"] = {{"equivalent", 0.9}, {"tied", 0.35}};
  return plan;
}

TEST(CutPlan, KeepsTheOrderAndListsTheOthersAfterWhatWasUntiedBefore) {
  const Plan cut = CutPlan(TwoLayers(), {2, 0}, "costs too much");
  ASSERT_EQ(cut.groups.size(), 2u);
  EXPECT_EQ(cut.groups[0].layer, 0);
  EXPECT_EQ(cut.groups[1].layer, 5);
  ASSERT_EQ(cut.untied.size(), 2u);
  EXPECT_EQ(cut.untied[0]["reason"], "over budget");
  const Json& dropped = cut.untied[1];
  EXPECT_EQ(dropped["layer"], 0);
  EXPECT_EQ(dropped["members"], Json::array({2, 3, 4}));
  EXPECT_EQ(dropped["reason"], "costs too much");
  EXPECT_EQ(dropped["diameter"], 0.5);
  EXPECT_EQ(dropped["alone"]["gate_mass_moved"], 0.01);
  EXPECT_EQ(dropped["member_numbers"][0]["expert"], 1);
}

TEST(CutPlan, TiedCountsAndCoverageFollow) {
  const Plan cut = CutPlan(TwoLayers(), {0}, "costs too much");
  EXPECT_EQ(cut.layers[0]["groups"]["tied"], 1);
  EXPECT_EQ(cut.layers[0]["groups"]["rows_rewritten"], 1);
  EXPECT_EQ(cut.layers[0]["groups"]["tied_coverage"], 0.2);
  EXPECT_EQ(cut.layers[0]["groups"]["equivalent"], 3);
  EXPECT_EQ(cut.layers[1]["groups"]["tied"], 0);
  EXPECT_EQ(cut.controls["coverage"]["tied"], 0.1);
  EXPECT_EQ(cut.controls["coverage"]["equivalent"], 0.9);
}

TEST(CutPlan, APlanThatIsKeptWholeDoesNotChange) {
  const Plan plan = TwoLayers();
  EXPECT_EQ(WriteJson(ToJson(CutPlan(plan, {0, 1, 2}, "no reason"))), WriteJson(ToJson(plan)));
}

}  // namespace
}  // namespace cacheready
