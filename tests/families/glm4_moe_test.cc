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

const std::filesystem::path kGlm = FamilyGoldens() / "glm4_moe";

TEST(Glm4Moe, RoutersBehindTheLastLayerAreListed) {
  ChangedCheckpoint changed(kGlm);
  for (const char* name : {"weight", "e_score_correction_bias"}) {
    auto tensor = changed.Find(fmt::format("model.layers.3.mlp.gate.{}", name));
    tensor.name = fmt::format("model.layers.4.mlp.gate.{}", name);
    changed.tensors.push_back(tensor);
  }
  const Checkpoint checkpoint = changed.Write();
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  ASSERT_EQ(model->info().mtp_routers.size(), 1u);
  EXPECT_EQ(model->info().mtp_routers[0].tensors.weight, "model.layers.4.mlp.gate.weight");
  changed.Remove("model.layers.4.mlp.gate.e_score_correction_bias");
  EXPECT_THAT(Refusal(changed), HasSubstr("model.layers.4.mlp.gate.e_score_correction_bias"));
}

TEST(Glm4Moe, HalfOfAHeadIsRotatedWhereTheConfigIsSilent) {
  ChangedCheckpoint changed(kGlm);
  changed.config.erase("partial_rotary_factor");
  changed.config["rope_parameters"].erase("partial_rotary_factor");
  EXPECT_EQ(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(kGlm)));
}

}  // namespace
}  // namespace cacheready
