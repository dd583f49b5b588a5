// On a checkpoint with planted copies: tying copies does little, tying strangers does much.
// SPDX-License-Identifier: Apache-2.0
#include "measure/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/parallel.h"
#include "io/mapped_file.h"
#include "measure/tied_group.h"
#include "synth/planted.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

using ::testing::HasSubstr;

// Experts 2j and 2j + 1, j < 8, are copies in each layer; router rows differ by 1 %.
class CheckTest : public ::testing::Test {
 protected:
  CheckTest() {
    WritePlanted(Checkpoint::Open(ReferenceFp8()), {}, scratch_ / "planted");
    checkpoint_ = std::make_unique<Checkpoint>(Checkpoint::Open(scratch_ / "planted"));
    model_ = DescribeModel(*checkpoint_);
    const std::string json = (ReferenceFp8() / "tokenizer.json").string();
    const Tokenizer tokenizer = Tokenizer::Parse(ReadTextFile(json), json);
    const std::string text = std::string(CACHEREADY_SOURCE_DIR) + "/text/evaluation.jsonl";
    documents_ = ParseDocuments(ReadTextFile(text), text, &tokenizer, 64, 64);
    documents_.resize(24);
  }

  CheckResult Check(const Plan& plan) const {
    return CheckPlan(*model_, *checkpoint_, plan, documents_, {.profile = "", .seed = 7});
  }

  Plan PlanOf(std::vector<PlannedGroup> groups) const {
    Plan plan;
    plan.profile = "fp8-w8a8";
    plan.groups = std::move(groups);
    plan.untied = Json::array();
    return plan;
  }

  std::vector<PlannedGroup> Copies(std::int64_t layers) const {
    std::vector<PlannedGroup> groups;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      for (std::int32_t j = 0; j < 8; ++j) {
        groups.push_back(TiedToFirst(*checkpoint_, layer, {2 * j, 2 * j + 1}, 1e-4 * (j + 1)));
      }
    }
    return groups;
  }

  PlannedGroup Strangers() const {
    return TiedToFirst(*checkpoint_, 0, {16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27}, 1e-2);
  }

  ScratchFolder scratch_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Model> model_;
  std::vector<Document> documents_;
};

TEST_F(CheckTest, CopiesAreAcceptedWholeInOnePassAndFlipLess) {
  const Plan plan = PlanOf(Copies(4));
  const CheckResult result = Check(plan);
  EXPECT_TRUE(result.accepted);
  ASSERT_EQ(result.prefixes.size(), 4u);
  for (std::size_t n = 0; n < 4; ++n) {
    EXPECT_EQ(result.prefixes[n].groups, static_cast<std::int64_t>(32 - 8 * n));
  }
  EXPECT_EQ(result.chosen.groups, 32);
  EXPECT_EQ(result.tokens, 24 * 63);
  EXPECT_DOUBLE_EQ(result.limit, 0.5 * result.profile.kl.mean);
  EXPECT_GT(result.chosen.kl.mean, 0);
  EXPECT_LE(result.chosen.kl.upper, result.limit);
  EXPECT_EQ(WriteJson(ToJson(result.plan)), WriteJson(ToJson(plan)));
  EXPECT_GT(result.before.within, 0);
  EXPECT_LT(result.after.total, result.before.total);
  EXPECT_EQ(result.after.within, 0);  // members share one logit: the same ones are always taken
}

TEST_F(CheckTest, AGroupOfStrangersIsCutAndListedWithItsReason) {
  std::vector<PlannedGroup> groups = Copies(1);
  groups.resize(3);
  groups.insert(groups.begin(), Strangers());
  const CheckResult result = Check(PlanOf(groups));
  EXPECT_TRUE(result.accepted);
  ASSERT_FALSE(result.prefixes.empty());
  EXPECT_FALSE(result.prefixes[0].accepted);
  EXPECT_GT(result.prefixes[0].kl.mean, result.limit);
  EXPECT_EQ(result.chosen.groups, 3);
  EXPECT_EQ(result.chosen.name, "3 of 4 groups");
  ASSERT_EQ(result.plan.groups.size(), 3u);
  for (const PlannedGroup& group : result.plan.groups) EXPECT_EQ(group.members.size(), 2u);
  ASSERT_EQ(result.plan.untied.size(), 1u);
  EXPECT_EQ(result.plan.untied[0]["members"].size(), 12u);
  EXPECT_EQ(result.plan.untied[0]["cost_taken"], 1e-2);
  EXPECT_THAT(result.plan.untied[0]["reason"].get<std::string>(),
              HasSubstr("end-to-end check: only the 3 cheapest of 4 groups"));
}

TEST_F(CheckTest, NothingIsAcceptedOfAPlanThatTiesStrangersOnly) {
  const CheckResult result = Check(PlanOf({Strangers()}));
  EXPECT_FALSE(result.accepted);
  EXPECT_TRUE(result.plan.groups.empty());
  EXPECT_EQ(result.plan.untied.size(), 1u);
  EXPECT_TRUE(ToJson(result)["chosen"].is_null());
  EXPECT_EQ(result.after.total, result.before.total);
}

TEST_F(CheckTest, AnEmptyPlanIsAcceptedAndOnlyTheProfileIsMeasured) {
  const CheckResult result = Check(PlanOf({}));
  EXPECT_TRUE(result.accepted);
  EXPECT_TRUE(result.prefixes.empty());
  EXPECT_GT(result.profile.kl.mean, 0);
  EXPECT_GT(result.before.singleton, 0);
  EXPECT_EQ(result.before.within, 0);
}

TEST_F(CheckTest, TheChosenSetIsMeasuredAsIfItWereTheWholePlan) {
  std::vector<PlannedGroup> groups = Copies(1);
  groups.resize(3);
  const CheckResult alone = Check(PlanOf(groups));
  groups.push_back(Strangers());
  const CheckResult cut = Check(PlanOf(groups));
  ASSERT_EQ(cut.chosen.groups, alone.chosen.groups);
  EXPECT_EQ(ToJson(cut)["chosen"]["kl"], ToJson(alone)["chosen"]["kl"]);
  EXPECT_EQ(StabilityJson(cut), StabilityJson(alone));
}

TEST_F(CheckTest, GivesTheSameBytesAtAnyNumberOfThreads) {
  std::vector<PlannedGroup> groups = Copies(1);
  groups.push_back(Strangers());
  const auto run = [&](int threads) {
    SetNumThreads(threads);
    const CheckResult result = Check(PlanOf(groups));
    return WriteJson(ToJson(result)) + WriteJson(StabilityJson(result)) +
           WriteJson(ToJson(result.plan));
  };
  const int threads = NumThreads();
  const std::string one = run(1), three = run(3);
  SetNumThreads(threads);
  EXPECT_EQ(one, three);
}

TEST_F(CheckTest, JsonHasWhatReportsRead) {
  std::vector<PlannedGroup> groups = Copies(1);
  groups.resize(2);
  const CheckResult result = Check(PlanOf(groups));
  const Json json = ToJson(result);
  EXPECT_EQ(json["schema"], "cacheready.check/1");
  EXPECT_EQ(json["profile"]["name"], "fp8-w8a8");
  EXPECT_EQ(json["documents"], 24);
  EXPECT_EQ(json["prefixes"][1]["groups"], 1);
  for (const char* key : {"mean", "low", "high", "upper"}) {
    EXPECT_TRUE(json["chosen"]["kl"][key].is_number()) << key;
  }
  const Json profile = StabilityJson(result)["profiles"][0];
  EXPECT_EQ(profile["name"], "fp8-w8a8");
  EXPECT_DOUBLE_EQ(profile["before"]["flips"], result.before.share());
  const Json& before = profile["before"];
  EXPECT_NEAR(before["within"].get<double>() + before["across"].get<double>() +
                  before["singleton"].get<double>(),
              1, 1e-12);
}

TEST_F(CheckTest, RefusesAPlanForOtherWeightsAndAnUnknownProfile) {
  const Checkpoint other = Checkpoint::Open(ReferenceFp8());
  EXPECT_THROW(Check(PlanOf({TiedToFirst(other, 0, {0, 1})})), Error);
  Plan plan = PlanOf({});
  plan.profile = "int3";
  EXPECT_THROW(Check(plan), Error);
}

}  // namespace
}  // namespace cacheready
