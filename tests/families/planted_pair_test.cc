// In every family, and in every layout it is stored in, a planted pair is found and tied, and the
// written checkpoint routes as forecast.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/model.h"
#include "pipeline/plan_command.h"
#include "report/report.h"
#include "stream/forward.h"
#include "support/tied_pair.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::vector<std::string> FolderNames() {
  std::vector<std::string> folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(FamilyGoldens())) {
    folders.push_back(entry.path().filename());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

ScannedPair PlantAndScan(const std::string& folder, RoutingGroup group,
                         const ScratchFolder& scratch) {
  const Checkpoint source = Checkpoint::Open(FamilyGoldens() / folder);
  const CopiedExperts pair = ChoosePair(source, group);
  PlantPair(source, pair, scratch / "planted");
  return ScanPair(scratch / "planted", pair, scratch / "scan");
}

class PlantedPair : public testing::TestWithParam<std::string> {};

TEST_P(PlantedPair, IsTiedAndRoutesAsForecast) {
  const ScratchFolder scratch;
  ExpectTied(PlantAndScan(GetParam(), RoutingGroup::kSame, scratch), scratch / "out");
}

// Llama 4: the weight multiplies an expert's input, so nothing may be planned.
class RefusedPair : public testing::TestWithParam<std::string> {};

TEST_P(RefusedPair, IsRefusedWithTheReason) {
  const ScratchFolder scratch;
  try {
    PlantAndScan(GetParam(), RoutingGroup::kSame, scratch);
    FAIL() << "scanned";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("multiply the experts' inputs"));
  }
}

// Routers that choose routing groups first.
class PairAcrossGroups : public testing::TestWithParam<std::string> {};

TEST_P(PairAcrossGroups, IsLeftAloneWithTheReason) {
  const ScratchFolder scratch;
  const ScannedPair scanned = PlantAndScan(GetParam(), RoutingGroup::kOther, scratch);
  EXPECT_TRUE(scanned.plan.groups.empty());
  ASSERT_EQ(scanned.plan.untied.size(), 1u);
  const Json& untied = scanned.plan.untied[0];
  std::vector<std::int32_t> members = scanned.pair.members;
  std::sort(members.begin(), members.end());
  EXPECT_EQ(untied["members"], Json(members));
  EXPECT_EQ(untied["reason"], "its members lie in different routing groups");
  const std::string text = PlanText(scanned.plan);
  EXPECT_THAT(text,
              HasSubstr("none of which is tied: its members lie in different routing groups"));
}

// Two experts with equal logits: the first gets half of its weight, the second all of it.
TEST(PlantedPairOfSparseMixer, HalvesAreForecastAndWarnedOf) {
  const ScratchFolder scratch;
  const ScannedPair scanned = PlantAndScan("phimoe", RoutingGroup::kSame, scratch);
  ExpectTied(scanned, scratch / "out");
  ASSERT_EQ(scanned.plan.groups.size(), 1u);
  const PlannedGroup& group = scanned.plan.groups[0];

  const Checkpoint written = Checkpoint::Open(scratch / "out");
  const Routing routing = RunForward(*DescribeModel(written), scanned.text.batch, Fp32Arithmetic())
                              .routers.at(group.layer)
                              .routing;
  double halved = 0, sum = 0;
  for (std::int64_t t = 0; t < scanned.text.tokens; ++t) {
    const auto ids = routing.ids_of(t);
    if (std::min(ids[0], ids[1]) != group.members[0]) continue;
    if (std::max(ids[0], ids[1]) != group.members[1]) continue;
    EXPECT_LE(routing.weights_of(t)[0], 0.5f) << t;
    halved += 1;
    sum += static_cast<double>(routing.weights_of(t)[0]);
  }
  const Json& forecast = group.numbers["sparse_mixer"];
  EXPECT_GT(halved, 0);
  EXPECT_EQ(forecast["tokens_halved"], halved / static_cast<double>(scanned.text.tokens));
  EXPECT_DOUBLE_EQ(forecast["first_weight_after"].get<double>(), sum / halved);
  EXPECT_GT(forecast["first_weight_before"].get<double>(), sum / halved);

  const std::string warning = fmt::format(
      "SparseMixer halves the weight of the first of two tied experts: {:.2f} % of the tokens "
      "select two members, and the weight of the first goes from {:.3f} to {:.3f} on average",
      100 * halved / static_cast<double>(scanned.text.tokens),
      forecast["first_weight_before"].get<double>(), sum / halved);
  std::printf("phimoe: %s\n", warning.c_str());
  EXPECT_EQ(group.numbers["warnings"], Json({warning}));
  EXPECT_THAT(PlanText(scanned.plan), HasSubstr("warning: layer 3, experts"));
  EXPECT_THAT(PlanText(scanned.plan), HasSubstr(warning));
  ReportInputs inputs;
  inputs.plan = ToJson(scanned.plan);
  EXPECT_THAT(MarkdownReport(inputs), HasSubstr(warning));
}

// Folders of which FAMILY is Llama 4, or is not.
std::vector<std::string> FoldersOfLlama4(bool llama4) {
  std::vector<std::string> folders = FolderNames();
  std::erase_if(folders, [&](const auto& name) { return name.starts_with("llama4") != llama4; });
  return folders;
}

std::string NameOfPair(const testing::TestParamInfo<std::string>& instance) {
  std::string name = instance.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, PlantedPair, testing::ValuesIn(FoldersOfLlama4(false)), NameOfPair);
INSTANTIATE_TEST_SUITE_P(All, RefusedPair, testing::ValuesIn(FoldersOfLlama4(true)), NameOfPair);
INSTANTIATE_TEST_SUITE_P(All, PairAcrossGroups,
                         testing::Values("deepseek_v2-group_limited", "deepseek_v3",
                                         "deepseek_v3-groups", "dots1-groups", "glm4_moe-groups"),
                         NameOfPair);

}  // namespace
}  // namespace cacheready
