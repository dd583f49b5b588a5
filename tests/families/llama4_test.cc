// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "model/model.h"
#include "support/changed_checkpoint.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

const std::filesystem::path kLlama4 = FamilyGoldens() / "llama4_text";

TEST(Llama4, DescribesItsRouters) {
  const Checkpoint checkpoint = Checkpoint::Open(kLlama4);
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  EXPECT_EQ(model->info().expert_layout, "fused");
  ASSERT_EQ(model->info().moe_layers.size(), 4u);
  EXPECT_EQ(model->info().moe_layers[3].tensors.weight,
            "model.layers.3.feed_forward.router.weight");
  EXPECT_TRUE(model->OpenLayer(0)->moe()->router.weights_on_input);
}

TEST(Llama4, ALanguageModelInsideAnotherGivesTheSameBits) {
  ChangedCheckpoint changed(kLlama4);
  changed.MoveBelow("model.", "language_model.model.");
  changed.MoveBelow("lm_head.", "language_model.lm_head.");
  changed.config = {{"model_type", "llama4"},
                    {"text_config", changed.config},
                    {"vision_config", {{"model_type", "llama4_vision_model"}}}};
  EXPECT_EQ(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(kLlama4)));
}

TEST(Llama4, LayerKindsFollowFromIntervals) {
  ChangedCheckpoint changed(kLlama4);
  changed.config["no_rope_layers"] = Json::array();
  for (const char* key : {"layer_types", "moe_layers"}) changed.config.erase(key);
  EXPECT_EQ(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(kLlama4)));
}

TEST(Llama4, EverySecondLayerIsRoutedAtAStepOfTwo) {
  ChangedCheckpoint changed(FamilyGoldens() / "llama4_text-interleave");
  changed.config.erase("moe_layers");
  EXPECT_EQ(ForwardBits(changed.Write()),
            ForwardBits(Checkpoint::Open(FamilyGoldens() / "llama4_text-interleave")));
}

TEST(Llama4, TemperatureTuningMayBeWrittenAsANumber) {
  const std::filesystem::path tuned = FamilyGoldens() / "llama4_text-temperature";
  ChangedCheckpoint changed(tuned);
  changed.config["no_rope_layers"] = {1, 0};
  const std::vector<std::byte> expected = ForwardBits(changed.Write());
  changed.config["attn_temperature_tuning"] = 4;
  EXPECT_EQ(ForwardBits(changed.Write()), expected);
  changed.config["attn_temperature_tuning"] = 0;
  EXPECT_NE(ForwardBits(changed.Write()), expected);
}

}  // namespace
}  // namespace cacheready
