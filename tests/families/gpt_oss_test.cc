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

const std::filesystem::path kGptOss = kGoldens / "gpt_oss";

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

TEST(GptOss, ConfigsThatChangeTheMathematicsAreRefusedByKey) {
  const std::pair<const char*, Json> changes[] = {{"hidden_act", "gelu"},
                                                  {"swiglu_limit", 5.0},
                                                  {"sliding_window", nullptr},
                                                  {"rope_parameters", nullptr},
                                                  {"num_experts_per_tok", 9},
                                                  {"partial_rotary_factor", 0.5},
                                                  {"layer_types", {"a", "b", "c", "d"}}};
  for (const auto& [key, value] : changes) {
    ChangedCheckpoint changed(kGptOss);
    changed.config[key] = value;
    EXPECT_THAT(Refusal(changed), AllOf(HasSubstr("config.json"), HasSubstr(key)));
  }
}

TEST(GptOss, EveryTensorOfALayerIsAskedForAndItsShapeChecked) {
  const ChangedCheckpoint names(kGptOss);
  for (const auto& tensor : names.tensors) {
    ChangedCheckpoint missing(kGptOss);
    missing.Remove(tensor.name);
    const std::string module = tensor.name.substr(0, tensor.name.rfind(".weight"));
    EXPECT_THAT(Refusal(missing), HasSubstr(module.substr(module.rfind('.') + 1))) << tensor.name;
    ChangedCheckpoint misshapen(kGptOss);
    misshapen.Find(tensor.name).shape.push_back(1);
    EXPECT_THAT(Refusal(misshapen), HasSubstr("expected")) << tensor.name;
  }
}

}  // namespace
}  // namespace cacheready
