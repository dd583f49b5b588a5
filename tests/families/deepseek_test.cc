// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "model/model.h"
#include "support/changed_checkpoint.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path kV2 = FamilyGoldens() / "deepseek_v2";
const std::filesystem::path kV3 = FamilyGoldens() / "deepseek_v3";

TEST(DeepseekV3, DescribesRoutersAndTheirCorrections) {
  const Checkpoint checkpoint = Checkpoint::Open(kV3);
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  const ModelInfo& info = model->info();
  EXPECT_EQ(info.experts, 16);
  EXPECT_EQ(info.top_k, 4);
  EXPECT_TRUE(info.mtp_routers.empty());
  ASSERT_EQ(info.moe_layers.size(), 3u);  // the first layer is dense
  EXPECT_EQ(info.moe_layers[0].layer, 1);
  EXPECT_EQ(info.moe_layers[0].tensors.weight, "model.layers.1.mlp.gate.weight");
  EXPECT_EQ(info.moe_layers[0].tensors.selection_bias,
            "model.layers.1.mlp.gate.e_score_correction_bias");
}

// The layout of Kimi-K2.5: the same model inside a multimodal one.
TEST(DeepseekV3, ALanguageModelInsideAnotherGivesTheSameBits) {
  ChangedCheckpoint changed(kV3);
  changed.MoveBelow("model.", "language_model.model.");
  changed.MoveBelow("lm_head.", "language_model.lm_head.");
  Json text = changed.config;
  text["model_type"] = "kimi_k2";
  changed.config = {{"model_type", "kimi_k25"}, {"text_config", text}};
  const Checkpoint checkpoint = changed.Write();
  EXPECT_EQ(DescribeModel(checkpoint)->info().moe_layers[0].tensors.weight,
            "language_model.model.layers.1.mlp.gate.weight");
  EXPECT_EQ(ForwardBits(checkpoint), ForwardBits(Checkpoint::Open(kV3)));
}

TEST(DeepseekV3, TheOlderNamesOfScaledPositionsGiveTheSameBits) {
  ChangedCheckpoint changed(kV3);
  Json scaling = changed.config["rope_parameters"];
  changed.config.erase("rope_parameters");
  changed.config["rope_theta"] = scaling["rope_theta"];
  scaling["type"] = "yarn";
  scaling.erase("rope_type");
  scaling.erase("rope_theta");
  changed.config["rope_scaling"] = scaling;
  EXPECT_EQ(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(kV3)));
}

// Layers 1 and 3 get the dense part of layer 0.
TEST(DeepseekV3, LayersBetweenTheRoutedOnesAreDense) {
  ChangedCheckpoint changed(kV3);
  for (const char* layer : {"model.layers.1.", "model.layers.3."}) {
    std::erase_if(changed.tensors, [&](const auto& tensor) {
      return tensor.name.starts_with(std::string(layer) + "mlp.");
    });
    for (const char* name : {"gate_proj", "up_proj", "down_proj"}) {
      auto dense = changed.Find(fmt::format("model.layers.0.mlp.{}.weight", name));
      dense.name = fmt::format("{}mlp.{}.weight", layer, name);
      changed.tensors.push_back(dense);
    }
  }
  EXPECT_THAT(Refusal(changed), HasSubstr("model.layers.1.mlp.gate"));
  changed.config["moe_layer_freq"] = 2;
  const Checkpoint checkpoint = changed.Write();
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  ASSERT_EQ(model->info().moe_layers.size(), 1u);
  EXPECT_EQ(model->info().moe_layers[0].layer, 2);
}

TEST(DeepseekV3, RoutersBehindTheLastLayerAreListedAndNotRun) {
  ChangedCheckpoint changed(kV3);
  for (const char* name : {"weight", "e_score_correction_bias"}) {
    auto tensor = changed.Find(fmt::format("model.layers.3.mlp.gate.{}", name));
    tensor.name = fmt::format("model.layers.4.mlp.gate.{}", name);
    changed.tensors.push_back(tensor);
  }
  const Checkpoint checkpoint = changed.Write();
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  EXPECT_EQ(model->info().moe_layers.size(), 3u);
  ASSERT_EQ(model->info().mtp_routers.size(), 1u);
  const MoeLayerInfo& router = model->info().mtp_routers[0];
  EXPECT_EQ(router.layer, -1);
  EXPECT_EQ(router.tensors.weight, "model.layers.4.mlp.gate.weight");
  EXPECT_EQ(router.tensors.selection_bias, "model.layers.4.mlp.gate.e_score_correction_bias");
  EXPECT_EQ(ForwardBits(checkpoint), ForwardBits(Checkpoint::Open(kV3)));

  changed.Find("model.layers.4.mlp.gate.weight").shape = {8, 128};
  EXPECT_THAT(Refusal(changed), HasSubstr("model.layers.4.mlp.gate"));
}

// Greedy routing does not look at groups.
TEST(DeepseekV2, GroupsOfGreedyRoutingChangeNothing) {
  ChangedCheckpoint changed(kV2);
  changed.config["n_group"] = 4;
  changed.config["topk_group"] = 1;
  EXPECT_EQ(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(kV2)));
  changed.config["topk_method"] = "group_limited_greedy";
  EXPECT_NE(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(kV2)));
}

}  // namespace
}  // namespace cacheready
