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

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::filesystem::path kMiniMax = FamilyGoldens() / "minimax_m2";

TEST(MiniMaxM2, DescribesRoutersWithTheirCorrection) {
  const Checkpoint checkpoint = Checkpoint::Open(kMiniMax);
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  const RouterTensors& tensors = model->info().moe_layers[1].tensors;
  EXPECT_EQ(tensors.weight, "model.layers.1.block_sparse_moe.gate.weight");
  EXPECT_EQ(tensors.selection_bias, "model.layers.1.block_sparse_moe.e_score_correction_bias");
}

TEST(MiniMaxM2, RotatedColumnsMayBeCounted) {
  ChangedCheckpoint changed(kMiniMax);
  changed.config["rope_parameters"].erase("partial_rotary_factor");
  EXPECT_EQ(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(kMiniMax)));
  changed.config["partial_rotary_factor"] = 1.0;
  EXPECT_THAT(Refusal(changed), AllOf(HasSubstr("'rotary_dim' rotates 16 of 32"),
                                      HasSubstr("'partial_rotary_factor' is 1")));
}

TEST(MiniMaxM2, TheModuleNameOfTransformersGivesTheSameBits) {
  ChangedCheckpoint changed(kMiniMax);
  for (int layer = 0; layer < 4; ++layer) {
    changed.MoveBelow(fmt::format("model.layers.{}.block_sparse_moe.", layer),
                      fmt::format("model.layers.{}.mlp.", layer));
  }
  EXPECT_EQ(ForwardBits(changed.Write()), ForwardBits(Checkpoint::Open(kMiniMax)));
}

TEST(MiniMaxM2, WithoutARoutingBiasNoTensorIsAskedFor) {
  ChangedCheckpoint zeros(kMiniMax);
  for (int layer = 0; layer < 4; ++layer) {
    auto& bias =
        zeros.Find(fmt::format("model.layers.{}.block_sparse_moe.e_score_correction_bias", layer));
    std::fill(bias.bytes.begin(), bias.bytes.end(), std::byte{0});
  }
  const std::vector<std::byte> expected = ForwardBits(zeros.Write());
  std::erase_if(zeros.tensors, [](const auto& tensor) {
    return tensor.name.ends_with("e_score_correction_bias");
  });
  EXPECT_THAT(Refusal(zeros), HasSubstr("e_score_correction_bias"));
  zeros.config["use_routing_bias"] = false;
  EXPECT_EQ(ForwardBits(zeros.Write()), expected);
}

}  // namespace
}  // namespace cacheready
