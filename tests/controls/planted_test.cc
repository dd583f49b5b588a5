// Known copies: they are found, all of them and nothing else; what their rows allow is tied.
// SPDX-License-Identifier: Apache-2.0
#include "synth/planted.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "controls/controls.h"
#include "measure/check.h"
#include "measure/eval.h"
#include "planning/pair_evidence.h"
#include "planning/text_layout.h"
#include "synth/fused_twin.h"
#include "writer/writer.h"

namespace cacheready {
namespace {

using Groups = std::set<std::pair<std::int64_t, std::vector<std::int32_t>>>;  // with their layer

struct PlantedModel {
  std::string name;
  std::vector<CopiedExperts> planted;
  std::unique_ptr<ScannedModel> scanned;
  Plan plan;
};

// The fused bf16 twin of the reference model, made once.
const std::filesystem::path& FusedReference() {
  static const std::filesystem::path folder = [] {
    const std::filesystem::path out = Scratch("fused");
    WriteFusedTwin(Checkpoint::Open(ShippedModel("reference-fp8")), {}, out);
    return out;
  }();
  return folder;
}

PlantedModel Plant(const std::filesystem::path& source, const std::string& name,
                   const PlantedOptions& options) {
  PlantedModel model;
  model.name = name;
  const std::filesystem::path folder = Scratch(name);
  model.planted = WritePlanted(Checkpoint::Open(source), options, folder);
  model.scanned = std::make_unique<ScannedModel>(folder, name);
  model.plan = model.scanned->MakePlan();
  return model;
}

// Planted groups without the members that too few tokens selected: nobody could find those.
Groups Findable(const PlantedModel& model) {
  Groups groups;
  const TextLayout text = MakeTextLayout(model.scanned->header().documents, 0);
  for (const CopiedExperts& copied : model.planted) {
    const LayerRecord record = model.scanned->Layer(copied.layer);
    const EvidenceSource source{&record, &text, nullptr, nullptr, {}};
    std::vector<std::int32_t> members;
    for (const std::int32_t e : copied.members) {
      if (HasEvidence(source, {}, e)) members.push_back(e);
    }
    if (members.size() >= 2) groups.emplace(copied.layer, members);
  }
  return groups;
}

Groups TiedGroups(const Plan& plan) {
  Groups groups;
  for (const PlannedGroup& group : plan.groups) groups.emplace(group.layer, group.members);
  return groups;
}

// Tied or not; the parts of split groups left out.
Groups FoundGroups(const Plan& plan) {
  Groups groups = TiedGroups(plan);
  for (const Json& untied : plan.untied) {
    groups.emplace(GetInt(untied, "layer", "untied"),
                   GetMember(untied, "members", "untied").get<std::vector<std::int32_t>>());
  }
  return groups;
}

void ExpectExactlyThePlanted(const PlantedModel& model) {
  const Groups findable = Findable(model);
  EXPECT_EQ(FoundGroups(model.plan), findable) << model.name;
  EXPECT_GT(findable.size(), model.planted.size() / 2) << model.name;
  std::printf("%s: planted %zu, with evidence %zu, found %zu, tied %zu\n", model.name.c_str(),
              model.planted.size(), findable.size(), FoundGroups(model.plan).size(),
              model.plan.groups.size());
  ExpectDecoysRefused(model.plan, model.name);
}

PlantedOptions RowNoise(double noise) {
  PlantedOptions options;
  options.row_noise = noise;
  return options;
}

CheckResult CheckPlanted(const PlantedModel& model) {
  const Source& source = model.scanned->source();
  const CheckResult result = CheckPlan(*source.model, source.checkpoint, model.plan,
                                       EvaluationDocuments(source, 4096, 128), {});
  std::printf(
      "%s: check chose %lld of %zu groups, KL %.5f (upper limit %.5f, accepted up to %.5f), flips "
      "%.4f -> %.4f\n",
      model.name.c_str(), static_cast<long long>(result.chosen.groups), model.plan.groups.size(),
      result.chosen.kl.mean, result.chosen.kl.upper, result.limit, result.before.share(),
      result.after.share());
  return result;
}

TEST(PlantedControl, RowsOnePercentApartAreFoundAndTiedAll) {
  const PlantedModel model = Plant(ShippedModel("reference-fp8"), "fp8 1 %", RowNoise(0.01));
  ExpectExactlyThePlanted(model);
  EXPECT_EQ(TiedGroups(model.plan), Findable(model));
  const CheckResult result = CheckPlanted(model);
  EXPECT_EQ(TiedGroups(result.plan), Findable(model));
  EXPECT_LT(result.after.share(), 0.9 * result.before.share());
}

TEST(PlantedControl, RowsFivePercentApartAreFound) {
  const PlantedModel model = Plant(ShippedModel("reference-fp8"), "fp8 5 %", RowNoise(0.05));
  ExpectExactlyThePlanted(model);
  CheckPlanted(model);
}

// Copies all the same, but tying their rows would cost more than serving does.
TEST(PlantedControl, RowsTwentyPercentApartAreFoundAndTiedWithinTheBudget) {
  const PlantedModel model = Plant(ShippedModel("reference-fp8"), "fp8 20 %", RowNoise(0.2));
  ExpectExactlyThePlanted(model);
  EXPECT_LT(model.plan.groups.size(), Findable(model).size());
  const CheckResult result = CheckPlanted(model);
  EXPECT_LE(result.chosen.kl.upper, result.limit);

  // Nothing is silently dropped: each pair is tied, or listed with what it would cost.
  EXPECT_EQ(FoundGroups(result.plan), Findable(model));
  for (const Json& untied : result.plan.untied) {
    EXPECT_GT(GetDouble(untied, "cost_alone", "untied"), 0);
    EXPECT_GT(GetDouble(GetMember(untied, "alone", "untied"), "gate_mass_moved", "alone"), 0);
    EXPECT_FALSE(GetString(untied, "reason", "untied").empty());
  }

  // What the check measured in memory is what the written checkpoint does.
  const Source& source = model.scanned->source();
  const std::filesystem::path out = Scratch("fp8 20 % tied");
  WriteCheckpoint(source.checkpoint, RowPatches(result.plan), WriteJson(ToJson(result.plan)), out,
                  {});
  const auto written = OpenSource(out.string());
  const std::vector<Variant> variants = {
      {.name = "base", .arithmetic = Fp32Arithmetic()},
      {.name = "written", .arithmetic = Fp32Arithmetic(), .model = written->model.get()}};
  const Evaluation evaluation =
      Evaluate(*source.model, EvaluationDocuments(source, 4096, 128), variants);
  EXPECT_EQ(EstimateKl(evaluation, 1, {}).mean, result.chosen.kl.mean);
}

TEST(PlantedControl, GroupsOfFourAreFoundWhole) {
  PlantedOptions options = RowNoise(0.01);
  options.groups = 2;
  options.group_size = 4;
  ExpectExactlyThePlanted(Plant(ShippedModel("reference-fp8"), "fp8 groups of 4", options));
}

TEST(PlantedFusedControl, RowsOnePercentApartAreFoundAndTiedAll) {
  const PlantedModel model = Plant(FusedReference(), "fused 1 %", RowNoise(0.01));
  EXPECT_EQ(model.plan.profile, "bf16-tp1");
  ExpectExactlyThePlanted(model);
  EXPECT_EQ(TiedGroups(model.plan), Findable(model));
}

TEST(PlantedFusedControl, RowsFivePercentApartAreFound) {
  ExpectExactlyThePlanted(Plant(FusedReference(), "fused 5 %", RowNoise(0.05)));
}

TEST(PlantedFusedControl, RowsTwentyPercentApartAreFound) {
  ExpectExactlyThePlanted(Plant(FusedReference(), "fused 20 %", RowNoise(0.2)));
}

}  // namespace
}  // namespace cacheready
