// SPDX-License-Identifier: Apache-2.0
#include "synth/routed_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "synth/new_checkpoint.h"
#include "synth/planted.h"
#include "synth/scratch_folder.h"
#include "synth/stored_floats.h"

namespace cacheready {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

NewTensor Counting(const std::string& name, Dtype dtype, std::vector<std::int64_t> shape) {
  NewTensor tensor{name, dtype, std::move(shape), {}};
  const std::size_t elements =
      StoredBytes(tensor) * 8 / static_cast<std::size_t>(DtypeBits(tensor.dtype));
  tensor.bytes = [elements, dtype] {
    std::vector<float> values(elements);
    for (std::size_t i = 0; i < elements; ++i) values[i] = static_cast<float>(i + 1);
    return StoreFloats(values, dtype);
  };
  return tensor;
}

// Four experts of a DeepSeek-like layer: a score-correction entry for each expert.
void WriteBiased(const std::filesystem::path& out, int experts) {
  const std::string mlp = "model.layers.3.mlp.";
  NewShard shard = {Counting(mlp + "gate.weight", Dtype::kBF16, {4, 8}),
                    Counting(mlp + "gate.e_score_correction_bias", Dtype::kF32, {4}),
                    Counting("model.layers.3.self_attn.gate.weight", Dtype::kBF16, {4, 8})};
  for (int e = 0; e < experts; ++e) {
    for (const std::string leaf : {"gate_proj", "up_proj", "down_proj"}) {
      shard.push_back(Counting(mlp + "experts." + std::to_string(e) + "." + leaf + ".weight",
                               Dtype::kBF16, {8, 8}));
    }
  }
  WriteNewCheckpoint(out, Json::object(), std::vector<NewShard>{shard}, "");
}

TEST(RoutedBlocks, FindsLayersAndMtpOfTheReference) {
  const std::vector<RoutedBlock> blocks = RoutedBlocks(Checkpoint::Open(ReferenceFp8()));
  ASSERT_EQ(blocks.size(), 5u);
  EXPECT_EQ(blocks[3].gate, "model.language_model.layers.3.mlp.gate.weight");
  EXPECT_EQ(blocks[3].layer, 3);
  EXPECT_EQ(blocks[3].experts, 32);
  EXPECT_THAT(blocks[3].fused, IsEmpty());
  EXPECT_THAT(blocks[3].leaves, ElementsAre("down_proj.weight", "down_proj.weight_scale_inv",
                                            "gate_proj.weight", "gate_proj.weight_scale_inv",
                                            "up_proj.weight", "up_proj.weight_scale_inv"));
  EXPECT_TRUE(blocks[4].mtp);
}

TEST(RoutedBlocks, FindsBiasesAndNoGatesWithoutExperts) {
  const ScratchFolder scratch;
  WriteBiased(scratch / "out", 4);
  const std::vector<RoutedBlock> blocks = RoutedBlocks(Checkpoint::Open(scratch / "out"));
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_THAT(blocks[0].biases, ElementsAre("model.layers.3.mlp.gate.e_score_correction_bias"));
}

TEST(RoutedBlocks, FailsIfAnExpertOfTheGateIsMissing) {
  const ScratchFolder scratch;
  WriteBiased(scratch / "out", 3);
  EXPECT_THROW(RoutedBlocks(Checkpoint::Open(scratch / "out")), Error);
}

TEST(Planted, GivesCopiesTheSameCorrectionBias) {
  const ScratchFolder scratch;
  WriteBiased(scratch / "out", 4);
  PlantedOptions options;
  options.groups = 2;
  WritePlanted(Checkpoint::Open(scratch / "out"), options, scratch / "planted");
  const Checkpoint planted = Checkpoint::Open(scratch / "planted");
  EXPECT_THAT(ReadFloats(planted.GetTensor("model.layers.3.mlp.gate.e_score_correction_bias")),
              ElementsAre(1, 1, 3, 3));
}

TEST(Planted, ChosenGroupsLieWhereTheyAreAskedForWithNoisyBiases) {
  const ScratchFolder scratch;
  WriteBiased(scratch / "out", 4);
  const Checkpoint source = Checkpoint::Open(scratch / "out");
  const std::string mlp = "model.layers.3.mlp.", bias = mlp + "gate.e_score_correction_bias";
  const PlantedOptions options{.bias_noise = 0.25, .chosen = {{3, false, {2, 0}}}};
  WritePlanted(source, options, scratch / "planted");
  const Checkpoint planted = Checkpoint::Open(scratch / "planted");
  const std::vector<float> biases = ReadFloats(planted.GetTensor(bias));
  EXPECT_EQ(std::abs(biases[0] - 3), 0.75f);
  EXPECT_THAT(std::vector<float>(biases.begin() + 1, biases.end()), ElementsAre(2, 3, 4));
  EXPECT_EQ(BytesOf(planted, mlp + "experts.0.up_proj.weight"),
            BytesOf(source, mlp + "experts.2.up_proj.weight"));
  EXPECT_EQ(BytesOf(planted, mlp + "experts.1.up_proj.weight"),
            BytesOf(source, mlp + "experts.1.up_proj.weight"));
}

TEST(Planted, ChosenGroupsThatAreNotThereAreRefused) {
  const ScratchFolder scratch;
  WriteBiased(scratch / "out", 4);
  const Checkpoint source = Checkpoint::Open(scratch / "out");
  EXPECT_THROW(WritePlanted(source, {.chosen = {{2, false, {0, 1}}}}, scratch / "layer"), Error);
  EXPECT_THROW(WritePlanted(source, {.chosen = {{3, false, {0, 4}}}}, scratch / "expert"), Error);
}

// Names that differ from family to family; all experts of a layer are found, and its biases.
TEST(RoutedBlocks, FindsTheRoutersOfEveryFamily) {
  struct Layout {
    const char* folder;
    const char* gate;
    std::vector<std::string> biases, fused;
    std::size_t leaves;
  };
  const std::string gpt = "model.layers.3.mlp.", granite = "model.layers.3.block_sparse_moe.";
  const Layout layouts[] = {{"hunyuan_v1_moe", "model.layers.3.mlp.gate.wg.weight", {}, {}, 3},
                            {"jamba", "model.layers.3.feed_forward.router.weight", {}, {}, 3},
                            {"lfm2_moe",
                             "model.layers.3.feed_forward.gate.weight",
                             {"model.layers.3.feed_forward.expert_bias"},
                             {},
                             3},
                            {"ernie4_5_moe",
                             "model.layers.3.mlp.gate.weight",
                             {"model.layers.3.mlp.moe_statics.e_score_correction_bias"},
                             {},
                             3},
                            {"gpt_oss",
                             "model.layers.3.mlp.router.weight",
                             {gpt + "router.bias"},
                             {gpt + "experts.down_proj", gpt + "experts.down_proj_bias",
                              gpt + "experts.gate_up_proj", gpt + "experts.gate_up_proj_bias"},
                             0},
                            {"granitemoe",
                             "model.layers.3.block_sparse_moe.router.layer.weight",
                             {},
                             {granite + "input_linear.weight", granite + "output_linear.weight"},
                             0}};
  for (const Layout& layout : layouts) {
    const auto folder = std::filesystem::path(CACHEREADY_SOURCE_DIR) / "goldens/families";
    const RoutedBlock block = RoutedBlocks(Checkpoint::Open(folder / layout.folder)).back();
    EXPECT_EQ(block.gate, layout.gate);
    EXPECT_EQ(block.biases, layout.biases) << layout.folder;
    EXPECT_EQ(block.fused, layout.fused) << layout.folder;
    EXPECT_EQ(block.leaves.size(), layout.leaves) << layout.folder;
  }
}

TEST(StoredFloats, KeepExactValuesAndRoundOthersToEven) {
  const std::vector<float> values = {1.0f, -0.5f, 1.00390625f};  // the last: half a bf16 step
  EXPECT_THAT(LoadFloats(StoreFloats(values, Dtype::kF32), Dtype::kF32),
              ElementsAre(1.0f, -0.5f, 1.00390625f));
  EXPECT_THAT(LoadFloats(StoreFloats(values, Dtype::kBF16), Dtype::kBF16),
              ElementsAre(1.0f, -0.5f, 1.0f));
  EXPECT_THAT(LoadFloats(StoreFloats(values, Dtype::kF16), Dtype::kF16),
              ElementsAre(1.0f, -0.5f, 1.00390625f));
  EXPECT_THROW(StoreFloats(values, Dtype::kF8E4M3), Error);
}

}  // namespace
}  // namespace cacheready
