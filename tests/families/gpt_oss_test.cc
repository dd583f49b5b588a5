// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "model/model.h"
#include "support/changed_checkpoint.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

const std::filesystem::path kGptOss = FamilyGoldens() / "gpt_oss";

TEST(GptOss, DescribesRoutersWithTheirBias) {
  const Checkpoint checkpoint = Checkpoint::Open(kGptOss);
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  EXPECT_EQ(model->info().expert_layout, "fused");
  EXPECT_EQ(model->info().moe_layers[2].tensors.weight, "model.layers.2.mlp.router.weight");
  EXPECT_EQ(model->info().moe_layers[2].tensors.logit_bias, "model.layers.2.mlp.router.bias");
}

TEST(GptOss, OlderNamesAndAbsentDefaultsGiveTheSameBits) {
  ChangedCheckpoint changed(kGptOss);
  for (const char* key : {"layer_types", "num_experts_per_tok", "attention_bias"}) {
    changed.config.erase(key);
  }
  changed.config["experts_per_token"] = 4;
  changed.config["swiglu_limit"] = 7.0;
  Json scaling = changed.config["rope_parameters"];
  changed.config.erase("rope_parameters");
  changed.config["rope_theta"] = scaling["rope_theta"];
  scaling.erase("rope_theta");
  changed.config["rope_scaling"] = scaling;
  EXPECT_EQ(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(kGptOss)));
}

}  // namespace
}  // namespace cacheready
