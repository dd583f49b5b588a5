// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "model/model.h"
#include "support/changed_checkpoint.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::filesystem::path kJamba = FamilyGoldens() / "jamba";

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

}  // namespace
}  // namespace cacheready
