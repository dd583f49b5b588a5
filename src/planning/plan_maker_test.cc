// Whole plans of synthetic layers whose right answer is known.
// SPDX-License-Identifier: Apache-2.0
#include "planning/plan_maker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "planning/synthetic_layer.h"

namespace cacheready {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

PlanOptions QuickOptions() {
  PlanOptions options;
  options.bootstrap_draws = 300;
  return options;
}

Plan PlanOf(const SyntheticLayer& layer, const PlanOptions& options = QuickOptions()) {
  return MakePlan(
      layer.header(), [&](std::int64_t) { return layer.record(); }, options);
}

std::vector<std::vector<std::int32_t>> MembersOf(const Plan& plan) {
  std::vector<std::vector<std::int32_t>> members;
  for (const PlannedGroup& group : plan.groups) members.push_back(group.members);
  return members;
}

// Three copies within the noise, rows nearly equal; 4 and 5 differ by three times the threshold.
SyntheticOptions Planted() {
  SyntheticOptions options;
  options.copies = {{0, 1, 0.0, 0.01}, {2, 9, 0.02, 0.01}, {4, 5, 0.2, 0.01}};
  return options;
}

std::string ErrorOf(const PlanOptions& options) {
  try {
    MakePlan(
        ScanHeader{}, [](std::int64_t) { return LayerRecord{}; }, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(MakePlan, FindsExactlyThePlantedCopies) {
  const SyntheticLayer layer(Planted());
  const Plan plan = PlanOf(layer);
  EXPECT_THAT(MembersOf(plan), ElementsAre(ElementsAre(0, 1), ElementsAre(2, 9)));
  const PlannedGroup& group = plan.groups[0];
  EXPECT_EQ(group.tensors[0].tensor, "layers.0.gate.weight");
  EXPECT_EQ(group.tensors[0].row.size(), 48u);  // 24 bf16
  EXPECT_EQ(group.numbers["pairs"][0]["ratio"], 0.0);
  EXPECT_GT(group.numbers["flips"]["forecast_removed"].get<double>(), 0);
  EXPECT_EQ(plan.layers[0]["groups"]["tied_coverage"], 0.25);
  EXPECT_EQ(plan.layers[0]["experts"]["unknown"], 0);
  EXPECT_LE(plan.layers[0]["budget"]["used"].get<double>(),
            plan.layers[0]["budget"]["limit"].get<double>());
}

TEST(MakePlan, FindsNothingAmongUnrelatedExperts) {
  const Plan plan = PlanOf(SyntheticLayer{SyntheticOptions{}});
  EXPECT_THAT(plan.groups, IsEmpty());
  EXPECT_EQ(plan.layers[0]["groups"]["equivalent"], 0);
  EXPECT_GT(plan.layers[0]["nearest_distance"].is_null(), false);
  EXPECT_GT(plan.controls["router_correlation"]["real_logits"]["coverage"].get<double>(), 0);
}

TEST(MakePlan, ToleranceDecidesWhatIsEquivalent) {
  SyntheticOptions options;
  // Relative difference of the outputs about 0.1, threshold sqrt(2) * 0.05 = 0.07.
  options.copies = {{0, 1, 0.1, 0.01}};
  const SyntheticLayer layer(options);
  EXPECT_THAT(PlanOf(layer).groups, IsEmpty());
  PlanOptions wide = QuickOptions();
  wide.tolerance = 3;
  EXPECT_THAT(MembersOf(PlanOf(layer, wide)), ElementsAre(ElementsAre(0, 1)));
}

TEST(MakePlan, SaysWhatIsEquivalentButNotTied) {
  SyntheticOptions options = Planted();
  options.copies[0].row_difference = 0.5;  // equal outputs, unlike rows
  options.profile_change = 0.005;
  const Plan plan = PlanOf(SyntheticLayer(options));
  ASSERT_FALSE(plan.untied.empty());
  EXPECT_EQ(plan.untied[0]["members"], Json({0, 1}));
  EXPECT_THAT(plan.untied[0]["statement"].get<std::string>(),
              HasSubstr("equivalent, not tied: moves"));
  for (const PlannedGroup& group : plan.groups) EXPECT_NE(group.members.front(), 0);
}

TEST(MakePlan, IsTheSameWhateverTheOrderOfPairsAndTheThreads) {
  SyntheticLayer layer(Planted());
  const std::string text = WriteJson(ToJson(PlanOf(layer)));
  std::reverse(layer.record().pairs.begin(), layer.record().pairs.end());
  EXPECT_EQ(WriteJson(ToJson(PlanOf(layer))), text);
  SetNumThreads(3);
  EXPECT_EQ(WriteJson(ToJson(PlanOf(layer))), text);
}

TEST(MakePlan, ComesFromTheFilesAsFromMemory) {
  const SyntheticLayer layer(Planted());
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "plan_maker_scan";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  WriteScanHeader(folder, layer.header());
  WriteLayerRecord(folder, layer.record());
  const std::string text = WriteJson(ToJson(MakePlan(folder, QuickOptions())));
  EXPECT_EQ(text, WriteJson(ToJson(PlanOf(layer))));
  EXPECT_EQ(text.find(folder.string()), std::string::npos);
  const Plan read = PlanFromJson(ParseJson(text, "plan"), "plan");
  EXPECT_EQ(WriteJson(ToJson(read)), text);
  EXPECT_EQ(RowPatches(read).size(), 4u);
  std::filesystem::remove_all(folder);
}

TEST(MakePlan, KeepsTheMembersOfAGroupLimitedRouterInOneRoutingGroup) {
  SyntheticOptions options;
  options.spec.scoring = Scoring::kSigmoid;
  options.spec.num_groups = 4;
  options.spec.top_groups = 2;
  options.copies = {{0, 1, 0.0, 0.01}, {3, 4, 0.0, 0.01}};  // 3 and 4 lie in different groups
  options.documents = 48;
  const Plan plan = PlanOf(SyntheticLayer(options));
  EXPECT_THAT(MembersOf(plan), ElementsAre(ElementsAre(0, 1)));
  ASSERT_EQ(plan.untied.size(), 1u);
  EXPECT_EQ(plan.untied[0]["members"], Json({3, 4}));
  EXPECT_EQ(plan.untied[0]["reason"], "its members lie in different routing groups");
}

// A group has at most as many members as a token has experts: here one.
TEST(MakePlan, SaysThatARouterOfOneExpertIsNotTiedByDefault) {
  SyntheticOptions options;
  options.spec.top_k = 1;
  options.copies = {{0, 1, 0.0, 0.01}};
  options.documents = 96;
  const SyntheticLayer layer(options);
  const Plan plan = PlanOf(layer);
  EXPECT_THAT(plan.groups, IsEmpty());
  ASSERT_EQ(plan.untied.size(), 1u);
  EXPECT_EQ(plan.untied[0]["members"], Json({0, 1}));
  EXPECT_THAT(plan.untied[0]["reason"].get<std::string>(), HasSubstr("--max-group 2"));
  PlanOptions two = QuickOptions();
  two.max_group = 2;
  for (const Json& untied : PlanOf(layer, two).untied) {
    EXPECT_THAT(untied["reason"].get<std::string>(), Not(HasSubstr("--max-group")));
  }
}

TEST(MakePlan, TiesTheCorrectionBiasWithTheRow) {
  SyntheticOptions options;
  options.spec.scoring = Scoring::kSigmoid;
  options.spec.selection_bias.assign(16, 0.0f);
  options.spec.selection_bias[1] = 0.001f;
  options.copies = {{0, 1, 0.0, 0.01}};
  const Plan plan = PlanOf(SyntheticLayer(options));
  ASSERT_EQ(plan.groups.size(), 1u);
  ASSERT_EQ(plan.groups[0].tensors.size(), 2u);
  EXPECT_THAT(plan.groups[0].tensors[1].tensor, HasSubstr("e_score_correction_bias"));
}

TEST(MakePlan, RefusesAPartOfAScan) {
  ScanHeader header;
  header.part = {3, 16};
  try {
    MakePlan(
        header, [](std::int64_t) { return LayerRecord{}; }, PlanOptions{});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("part 3 of 16"), std::string::npos);
  }
}

TEST(MakePlan, PrintsTheRateAtWhichDecoysAreRefused) {
  SyntheticLayer layer(Planted());
  const auto decoy = [&](std::int32_t expert, double times_threshold) {
    DecoyRecord record;
    record.expert = expert;
    const std::size_t n = layer.record().samples[static_cast<std::size_t>(expert)].tokens.size();
    record.larger_norm.assign(n, 1.0f);
    record.difference.assign(n, static_cast<float>(times_threshold * 0.05 * std::sqrt(2.0)));
    return record;
  };
  layer.record().decoys = {decoy(3, 2.0), decoy(6, 0.5), decoy(7, 2.0)};
  layer.record().decoys[2].difference.resize(10);
  layer.record().decoys[2].larger_norm.resize(10);
  const Plan plan = PlanOf(layer);
  EXPECT_EQ(plan.controls["decoys"]["measured"], 2);
  EXPECT_EQ(plan.controls["decoys"]["refused"], 1);
  EXPECT_EQ(plan.controls["decoys"]["without_evidence"], 1);
  EXPECT_EQ(plan.controls["decoys"]["refusal_rate"], 0.5);
}

TEST(MakePlan, TheTwoHalvesOfTheTextAgreeOnCopies) {
  const Plan plan = PlanOf(SyntheticLayer(Planted()));
  EXPECT_EQ(plan.controls["split_half"]["layers_with_groups"], 1);
  EXPECT_EQ(plan.controls["split_half"]["pair_agreement"], 1.0);
}

TEST(MakePlan, DescribesTheText) {
  const Plan plan = PlanOf(SyntheticLayer(Planted()));
  EXPECT_EQ(plan.text["documents"], 32);
  EXPECT_EQ(plan.text["tokens"], 32 * 48);
  EXPECT_EQ(plan.text["longest_context"], 48);
  EXPECT_EQ(plan.text["domains"][0]["domain"], "code");
  EXPECT_EQ(plan.text["scope"], "text only: image tokens not measured");
}

TEST(MakePlan, ByRouterCorrelationReportsCoverageAndPlansNothing) {
  PlanOptions options = QuickOptions();
  options.method = "router-correlation";
  const Plan plan = PlanOf(SyntheticLayer(Planted()), options);
  EXPECT_THAT(plan.groups, IsEmpty());
  EXPECT_EQ(plan.controls["router_correlation"]["gaussian_noise"]["layers"], 1);
  EXPECT_GT(plan.controls["router_correlation"]["gaussian_noise"]["coverage"].get<double>(), 0);
}

TEST(MakePlan, RefusesARecordOfAnotherText) {
  SyntheticLayer layer(Planted());
  ScanHeader header = layer.header();
  header.documents.pop_back();
  EXPECT_THROW(MakePlan(
                   header, [&](std::int64_t) { return layer.record(); }, QuickOptions()),
               Error);
}

TEST(MakePlan, RefusesOptionsOutOfRange) {
  const auto with = [](const std::function<void(PlanOptions&)>& change) {
    PlanOptions options;
    change(options);
    return ErrorOf(options);
  };
  EXPECT_THAT(with([](PlanOptions& o) { o.mtp = "patch"; }), HasSubstr("not run by a scan"));
  EXPECT_THAT(with([](PlanOptions& o) { o.method = "magic"; }), HasSubstr("router-correlation"));
  EXPECT_THAT(with([](PlanOptions& o) { o.tolerance = 0; }), HasSubstr("--tolerance"));
  EXPECT_THAT(with([](PlanOptions& o) { o.budget = -1; }), HasSubstr("--budget"));
  EXPECT_THAT(with([](PlanOptions& o) { o.max_group = 1; }), HasSubstr("--max-group"));
  EXPECT_THAT(with([](PlanOptions& o) { o.bootstrap_draws = 10; }), HasSubstr("draws"));
}

}  // namespace
}  // namespace cacheready
