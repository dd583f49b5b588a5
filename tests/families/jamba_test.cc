// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "model/model.h"
#include "support/changed_checkpoint.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::filesystem::path kGoldens =
    std::filesystem::path(CACHEREADY_SOURCE_DIR) / "goldens/families";

const std::filesystem::path kJamba = kGoldens / "jamba";

TEST(Jamba, DescribesItsCycles) {
  const Checkpoint checkpoint = Checkpoint::Open(kJamba);
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  ASSERT_EQ(model->info().moe_layers.size(), 2u);
  EXPECT_EQ(model->info().moe_layers[0].layer, 1);
  EXPECT_EQ(model->info().moe_layers[1].layer, 3);
  EXPECT_EQ(model->info().moe_layers[1].tensors.weight,
            "model.layers.3.feed_forward.router.weight");
  EXPECT_EQ(model->info().attention, "3 layers of Mamba, 1 of attention without positions");
}

TEST(Jamba, ConfigsThatChangeTheMathematicsAreRefusedByKey) {
  const std::pair<const char*, Json> changes[] = {
      {"hidden_act", "gelu"},     {"sliding_window", 8},      {"attn_layer_offset", 4},
      {"expert_layer_offset", 2}, {"num_experts_per_tok", 9}, {"mamba_dt_rank", "half"}};
  for (const auto& [key, value] : changes) {
    ChangedCheckpoint changed(kJamba);
    changed.config[key] = value;
    EXPECT_THAT(Refusal(changed), AllOf(HasSubstr("config.json"), HasSubstr(key)));
  }
}

// Stored with rank 8 at hidden size 64; a sixteenth would be 4.
TEST(Jamba, TheAutomaticRankIsASixteenthOfTheHiddenSize) {
  ChangedCheckpoint changed(kJamba);
  changed.config["mamba_dt_rank"] = "auto";
  EXPECT_THAT(Refusal(changed), AllOf(HasSubstr("mamba.x_proj"), HasSubstr("[20, 128]")));
}

TEST(Jamba, AModelOfOneExpertRoutesNothing) {
  ChangedCheckpoint changed(kJamba);
  changed.config["num_experts"] = 1;
  changed.config["num_experts_per_tok"] = 1;
  EXPECT_THAT(Refusal(changed), HasSubstr("model.layers.1.feed_forward.gate_proj"));
}

TEST(Jamba, EveryTensorOfAMambaLayerIsAskedForAndItsShapeChecked) {
  const ChangedCheckpoint names(kJamba);
  for (const auto& tensor : names.tensors) {
    if (tensor.name.find("layers.0.mamba.") == std::string::npos) continue;
    ChangedCheckpoint missing(kJamba);
    missing.Remove(tensor.name);
    const std::string module = tensor.name.substr(0, tensor.name.rfind(".weight"));
    EXPECT_THAT(Refusal(missing), HasSubstr(module.substr(module.rfind('.') + 1))) << tensor.name;
    ChangedCheckpoint misshapen(kJamba);
    misshapen.Find(tensor.name).shape.push_back(1);
    EXPECT_THAT(Refusal(misshapen), HasSubstr("expected")) << tensor.name;
  }
}

}  // namespace
}  // namespace cacheready
