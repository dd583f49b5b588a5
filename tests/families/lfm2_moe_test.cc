// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "model/model.h"
#include "support/changed_checkpoint.h"
#include "synth/scratch_folder.h"

namespace cacheready {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path kLfm2 = FamilyGoldens() / "lfm2_moe";

TEST(Lfm2Moe, DescribesRoutersWithTheirBias) {
  const Checkpoint checkpoint = Checkpoint::Open(kLfm2);
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  ASSERT_EQ(model->info().moe_layers.size(), 3u);  // the first layer is dense
  EXPECT_EQ(model->info().moe_layers[0].tensors.weight, "model.layers.1.feed_forward.gate.weight");
  EXPECT_EQ(model->info().moe_layers[0].tensors.selection_bias,
            "model.layers.1.feed_forward.expert_bias");
}

TEST(Lfm2Moe, EmbeddingsAreTiedUnlessTheConfigSaysOtherwise) {
  ChangedCheckpoint changed(kLfm2);
  changed.Find("lm_head.weight").bytes = changed.Find("model.embed_tokens.weight").bytes;
  const std::vector<std::byte> expected = ForwardBits(changed.Write());
  changed.Remove("lm_head.weight");
  EXPECT_THAT(Refusal(changed), HasSubstr("lm_head"));
  changed.config["tie_embedding"] = true;  // the older name wins
  EXPECT_EQ(ForwardBits(changed.Write()), expected);
  changed.config.erase("tie_embedding");
  changed.config.erase("tie_word_embeddings");
  EXPECT_EQ(ForwardBits(changed.Write()), expected);
}

TEST(Lfm2Moe, SwitchesAskForTheirTensors) {
  ChangedCheckpoint changed(kLfm2);
  changed.config["conv_bias"] = true;
  EXPECT_THAT(Refusal(changed), HasSubstr("conv.in_proj.bias"));
  ChangedCheckpoint unbiased(kLfm2);
  unbiased.Remove("model.layers.2.feed_forward.expert_bias");
  EXPECT_THAT(Refusal(unbiased), HasSubstr("model.layers.2.feed_forward.expert_bias"));
}

}  // namespace
}  // namespace cacheready
