// SPDX-License-Identifier: Apache-2.0
#include "records/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "base/error_of.h"

namespace cacheready {
namespace {

using ::testing::HasSubstr;

Plan SmallPlan() {
  Plan plan;
  plan.tool_version = "1";
  plan.family = "f";
  plan.profile = "fp8-w8a8";
  plan.numerics_class = "c";
  plan.scan_key = "k";
  plan.layout_sha256 = "l";
  PlannedTensor weight;
  weight.tensor = "b.weight";
  weight.row = {std::byte{1}, std::byte{2}};
  weight.replaced_sha256 = {std::string(64, '0'), std::string(64, 'a')};
  PlannedTensor bias = weight;
  bias.tensor = "a.bias";
  plan.groups.push_back({0, {4, 7}, "mean", {weight, bias}, Json::object()});
  return plan;
}

TEST(Plan, ReadsBackAsItWasWritten) {
  const Plan plan = SmallPlan();
  const std::string text = WriteJson(ToJson(plan));
  const Plan read = PlanFromJson(ParseJson(text, "plan"), "plan");
  EXPECT_EQ(WriteJson(ToJson(read)), text);
  EXPECT_EQ(read.groups[0].tensors[0].row, plan.groups[0].tensors[0].row);
  EXPECT_EQ(read.groups[0].members, plan.groups[0].members);
}

TEST(Plan, PatchesEveryMemberOfEveryTensorInOrder) {
  const std::vector<RowPatch> patches = RowPatches(SmallPlan());
  ASSERT_EQ(patches.size(), 4u);
  EXPECT_EQ(patches[0].tensor, "a.bias");
  EXPECT_EQ(patches[0].row, 4);
  EXPECT_EQ(patches[1].row, 7);
  EXPECT_EQ(patches[1].replaced_sha256, std::string(64, 'a'));
  EXPECT_EQ(patches[3].tensor, "b.weight");
  EXPECT_EQ(patches[3].bytes, SmallPlan().groups[0].tensors[0].row);
}

TEST(Plan, RefusesARowNamedTwice) {
  Plan plan = SmallPlan();
  plan.groups.push_back({1, {7, 9}, "mean", {plan.groups[0].tensors[0]}, Json::object()});
  EXPECT_THAT(ErrorOf([&] { RowPatches(plan); }), HasSubstr("row 7 of tensor 'b.weight' twice"));
  EXPECT_THAT(ErrorOf([&] { PlanFromJson(ToJson(plan), "p.json"); }), HasSubstr("twice"));
}

TEST(Plan, NamesWhatIsMalformed) {
  const auto error_after = [](const std::function<void(Json&)>& damage) {
    Json json = ToJson(SmallPlan());
    damage(json);
    return ErrorOf([&] { PlanFromJson(json, "p.json"); });
  };
  EXPECT_THAT(error_after([](Json& j) { j["schema"] = "x"; }), HasSubstr("schema is 'x'"));
  EXPECT_THAT(error_after([](Json& j) { j.erase("scan_key"); }), HasSubstr("scan_key"));
  EXPECT_THAT(error_after([](Json& j) {
                j["groups"][0]["members"] = {7, 4};
              }),
              HasSubstr("ascending"));
  EXPECT_THAT(error_after([](Json& j) { j["groups"][0]["members"] = {4}; }),
              HasSubstr("at least two"));
  EXPECT_THAT(error_after([](Json& j) {
                j["groups"][0]["members"] = {-1, 4};
              }),
              HasSubstr("holds -1"));
  EXPECT_THAT(error_after([](Json& j) { j["groups"][0]["tensors"][0]["row"] = "AQ="; }),
              HasSubstr("b.weight"));
  EXPECT_THAT(error_after([](Json& j) { j["groups"][0]["tensors"][0]["row"] = "AQ=="; }),
              HasSubstr("a row of 1 bytes"));
  EXPECT_THAT(error_after([](Json& j) { j["groups"][0]["tensors"][0]["dtype"] = "BF17"; }),
              HasSubstr("BF17"));
  EXPECT_THAT(
      error_after([](Json& j) { j["groups"][0]["tensors"][0]["replaced_sha256"].erase(0); }),
      HasSubstr("1 hashes of replaced rows for 2 members"));
  EXPECT_THAT(
      error_after([](Json& j) { j["groups"][0]["tensors"][0]["replaced_sha256"][0] = "zz"; }),
      HasSubstr("64 lower-case hex"));
}

}  // namespace
}  // namespace cacheready
